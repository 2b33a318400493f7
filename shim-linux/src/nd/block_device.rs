//! Where the bytes of a block device are on disks of the nd bus: whole disks, partitions, and linear mappings of these.

use pmemset_core::error::DeviceError;
use pmemset_core::{DeviceId, Errno, Span};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, CWD, Dev, Mode, OFlags};

use crate::errno::errno;
use crate::fd::Fd;

use super::device_mapper as mapper;
use super::ioctl::{TABLE_MAX_BYTES, mapper_table};
use super::parse::{Garbage, SECTOR_BYTES, Sectors};
use super::region::{Device, Region, device_of};
use super::sysfs::{self, Attribute, NdError, Sysfs};

/// The most pieces that one block device may consist of.
const PIECES_MAX: usize = 8;
/// How many mapped devices may lie on top of each other.
const DEPTH_MAX: u32 = 4;

/// The table of a mapped device, as the kernel answers `DM_TABLE_STATUS`.
pub type Table = [u8; TABLE_MAX_BYTES];

/// Some bytes of a block device, and where they are on a disk.
#[derive(Debug)]
pub struct Piece {
    /// The bytes of the block device.
    pub bytes: Span,
    /// The first of them on the disk.
    pub disk_start: u64,
    /// The disk's directory in sysfs; its `badblocks` are counted from the disk's first byte.
    pub disk: Fd,
    /// The region that the disk is on.
    pub region: Region,
}

impl Piece {
    /// Returns the bytes of the block device that `disk` means, as far as they are in this piece.
    #[must_use]
    pub fn device_bytes(&self, disk: Span) -> Option<Span> {
        let on_disk = Span::new(self.disk_start, self.bytes.length_bytes())?;
        let shared = disk.intersect(on_disk)?;
        self.bytes.slice(shared.start().checked_sub(self.disk_start)?, shared.length_bytes())
    }
}

/// The pieces of a block device, in no particular order; together they are all of it.
#[derive(Debug)]
pub struct Pieces(heapless::Vec<Piece, PIECES_MAX>);

impl Pieces {
    /// Returns the pieces.
    #[must_use]
    pub fn as_slice(&self) -> &[Piece] {
        &self.0
    }

    /// Appends the ids of all memory modules below to the empty `id`, ordered by their numbers, and returns the sum of
    /// their unsafe shutdown counts.
    ///
    /// # Errors
    ///
    /// See [`device_of`].
    pub fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        device_of(&|index| self.0.get(index).map(|piece| &piece.region), id)
    }
}

impl Sysfs {
    /// Finds the pieces of the block device `number`: of all of it, or of none.
    ///
    /// Asks `/dev/mapper/control` about mapped devices, which only the administrator may.
    ///
    /// # Errors
    ///
    /// - [`NdError::Unreadable`] of `region`: some of it is on no nd bus.
    /// - [`NdError::Garbage`] of `table`: some of it is mapped in another way than linearly.
    /// - See [`NdError`].
    pub fn pieces(&self, number: Dev) -> Result<Pieces, NdError> {
        self.pieces_with(number, &mut table_of)
    }

    /// As [`pieces`](Self::pieces), with tables of mapped devices from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`pieces`](Self::pieces).
    pub fn pieces_with(
        &self,
        number: Dev,
        table: &mut dyn FnMut(Dev, &mut Table) -> Result<(), Errno>,
    ) -> Result<Pieces, NdError> {
        let mut search = Search { sysfs: self, table, found: heapless::Vec::new() };
        search.find(number, None, 0, 0)?;
        Ok(Pieces(search.found))
    }
}

/// Asks the kernel for the table of the mapped device `number`.
pub(crate) fn table_of(number: Dev, answer: &mut Table) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = Fd::open(CWD, c"/dev/mapper/control", flags, Mode::empty()).map_err(errno)?;
    mapper_table(control.as_fd(), number, answer)
}

/// Returns all bytes of the device with the directory `dir`.
fn whole(dir: BorrowedFd<'_>) -> Result<Span, NdError> {
    let attribute = Attribute::Size;
    let sectors = Sectors { start: 0, count: sysfs::number(dir, attribute, c"size")? };
    sectors.span().map_err(|Garbage| NdError::Garbage { attribute })
}

struct Search<'s, 't> {
    sysfs: &'s Sysfs,
    table: &'t mut dyn FnMut(Dev, &mut Table) -> Result<(), Errno>,
    found: heapless::Vec<Piece, PIECES_MAX>,
}

impl Search<'_, '_> {
    /// Finds where the bytes `range` of the device `number` are, or all of its bytes; they are those from `top` on of
    /// the device asked for.
    fn find(&mut self, number: Dev, range: Option<Span>, top: u64, depth: u32) -> Result<(), NdError> {
        let device = self.sysfs.device(Device::Block(number))?;
        let dir = device.dir.as_fd();
        let range = match range {
            Some(range) => range,
            None => whole(dir)?,
        };
        if let Some(region) = device.region {
            let (start, path) = match sysfs::number(dir, Attribute::Partition, c"partition") {
                Ok(_) => (sysfs::number(dir, Attribute::Start, c"start")?, c".."),
                Err(NdError::Unreadable { cause: Errno::NOENT, .. }) => (0, c"."),
                Err(error) => return Err(error),
            };
            let disk = sysfs::open_directory(dir, Attribute::Disk, path)?;
            let garbage = NdError::Garbage { attribute: Attribute::Start };
            let disk_start = start.checked_mul(SECTOR_BYTES).ok_or(garbage)?;
            let disk_start = disk_start.checked_add(range.start()).ok_or(garbage)?;
            let bytes = Span::new(top, range.length_bytes()).ok_or(garbage)?;
            let piece = Piece { bytes, disk_start, disk, region };
            return self.found.push(piece).map_err(|_| NdError::TooLong { attribute: Attribute::Pieces });
        }
        sysfs::open_directory(dir, Attribute::Region, c"dm")?;
        if depth == DEPTH_MAX {
            return Err(NdError::TooLong { attribute: Attribute::Table });
        }
        self.find_below(number, range, top, depth)
    }

    /// Finds where bytes of the mapped device `number` are.
    fn find_below(&mut self, number: Dev, range: Span, top: u64, depth: u32) -> Result<(), NdError> {
        let mut targets = heapless::Vec::<mapper::Linear, PIECES_MAX>::new();
        self.targets(number, &mut targets)?;
        let garbage = NdError::Garbage { attribute: Attribute::Table };
        let mut covered = 0_u64;
        for target in &targets {
            let span = target.sectors.span().map_err(|Garbage| garbage)?;
            let Some(shared) = span.intersect(range) else { continue };
            let into = |from: u64| shared.start().checked_sub(from).ok_or(garbage);
            let start = target.start.checked_mul(SECTOR_BYTES).ok_or(garbage)?;
            let start = start.checked_add(into(span.start())?).ok_or(garbage)?;
            let below = Span::new(start, shared.length_bytes()).ok_or(garbage)?;
            let at = top.checked_add(into(range.start())?).ok_or(garbage)?;
            covered = covered.saturating_add(shared.length_bytes());
            self.find(fs::makedev(target.below.0, target.below.1), Some(below), at, depth.saturating_add(1))?;
        }
        if covered == range.length_bytes() { Ok(()) } else { Err(garbage) }
    }

    #[inline(never)]
    fn targets(&mut self, number: Dev, targets: &mut heapless::Vec<mapper::Linear, PIECES_MAX>) -> Result<(), NdError> {
        let attribute = Attribute::Table;
        let mut answer = [0; TABLE_MAX_BYTES];
        (self.table)(number, &mut answer).map_err(|cause| NdError::Unreadable { attribute, cause })?;
        mapper::targets(&answer, |target| targets.push(target).map_err(|_| Garbage))
            .map_err(|Garbage| NdError::Garbage { attribute })
    }
}
