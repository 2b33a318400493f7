//! The ioctls that list and clear bad blocks, with the kernel's layouts: extents of files, device-mapper tables, the nd
//! bus.
#![allow(unsafe_code, reason = "each ioctl rests on its number belonging to its structure")]

use pmemset_core::Errno;
use rustix::fd::BorrowedFd;
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

use crate::errno::errno;

/// The number of extents asked for at a time.
const EXTENTS_MAX: u32 = 32;
/// The longest device-mapper table that is read, header and all.
const TABLE_MAX: u32 = 1536;
pub(crate) const TABLE_MAX_BYTES: usize = TABLE_MAX as usize;

const FIEMAP: Opcode = opcode::read_write::<[u64; 4]>(b'f', 11);
const FSGETXATTR: Opcode = opcode::read::<[u32; 7]>(b'X', 31);
const DM_TABLE_STATUS: Opcode = opcode::read_write::<[u64; 39]>(0xfd, 12);
const ARS_CAP: Opcode = opcode::read_write::<ArsCap>(b'N', 1);
const CLEAR_ERROR: Opcode = opcode::read_write::<ClearRequest>(b'N', 4);

/// `struct fiemap_extent` (`linux/fiemap.h`): one extent of a file; all in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Extent {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) length_bytes: u64,
    pub(crate) reserved64: [u64; 2],
    pub(crate) flags: u32,
    pub(crate) reserved: [u32; 3],
}

/// `struct fiemap`, with room for some extents.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Extents {
    start: u64,
    length_bytes: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; EXTENTS_MAX as usize],
}

impl Extents {
    /// Asks for the extents of `fd` that touch the bytes from `start` on, after what is delayed was allocated.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub(crate) fn read(&mut self, fd: BorrowedFd<'_>, start: u64, length_bytes: u64) -> Result<(), Errno> {
        self.ask(fd, start, length_bytes, linux_raw_sys::ioctl::FIEMAP_FLAG_SYNC)
    }

    /// As [`read`](Self::read), and allocates nothing.
    pub(crate) fn look(&mut self, fd: BorrowedFd<'_>, start: u64, length_bytes: u64) -> Result<(), Errno> {
        self.ask(fd, start, length_bytes, 0)
    }

    fn ask(&mut self, fd: BorrowedFd<'_>, start: u64, length_bytes: u64, flags: u32) -> Result<(), Errno> {
        (self.start, self.length_bytes, self.mapped) = (start, length_bytes, 0);
        (self.flags, self.room) = (flags, EXTENTS_MAX);
        // SAFETY: the number is FIEMAP's, and the structure has as many extents as it says.
        let call = unsafe { Updater::<FIEMAP, Self>::new(self) };
        // SAFETY: FIEMAP writes to the structure alone.
        unsafe { ioctl(fd, call) }.map_err(errno)
    }

    /// Makes an answer that says it has `mapped` extents.
    #[cfg(any(test, feature = "_internal"))]
    pub(crate) fn of(list: impl Iterator<Item = Extent>, mapped: u32) -> Self {
        let mut extents = [Extent::default(); EXTENTS_MAX as usize];
        extents.iter_mut().zip(list).for_each(|(to, from)| *to = from);
        Self { start: 0, length_bytes: 0, flags: 0, mapped, room: EXTENTS_MAX, reserved: 0, extents }
    }

    /// Returns the extents, in the order of their offsets in the file.
    pub(crate) fn list(&self) -> &[Extent] {
        self.extents.get(..self.mapped as usize).unwrap_or(&self.extents)
    }
}

/// Returns whether the file has its bytes on another device than its file system has its names: `FS_XFLAG_REALTIME`.
pub(crate) fn is_elsewhere(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    const REALTIME: u32 = 1;
    // SAFETY: the number is FS_IOC_FSGETXATTR's, whose structure has 28 bytes, the flags first (`linux/fs.h`).
    let call = unsafe { Getter::<FSGETXATTR, [u32; 7]>::new() };
    // SAFETY: FS_IOC_FSGETXATTR writes to the structure alone.
    match unsafe { ioctl(fd, call) }.map_err(errno) {
        Ok([flags, ..]) => Ok(flags & REALTIME != 0),
        // A file system that has no such attributes has no such devices.
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Asks `/dev/mapper/control` for the table of the block device `number`; the answer (`linux/dm-ioctl.h`) is read with
/// [`targets`](super::device_mapper::targets). `table` is empty: all zeros.
pub(crate) fn mapper_table(
    control: BorrowedFd<'_>,
    number: u64,
    table: &mut [u8; TABLE_MAX_BYTES],
) -> Result<(), Errno> {
    const STATUS_TABLE: u32 = 1 << 4;
    const HEADER_BYTES: u32 = 312;
    const NUMBER_AT: usize = 40;
    let words: [u32; 8] = [4, 0, 0, TABLE_MAX, HEADER_BYTES, 0, 0, STATUS_TABLE];
    for (to, word) in table.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_ne_bytes();
    }
    if let Some(to) = table.get_mut(NUMBER_AT..).and_then(<[u8]>::first_chunk_mut) {
        *to = number.to_ne_bytes();
    }
    // SAFETY: the number is DM_TABLE_STATUS's, and the structure is as long as it says in its fourth word.
    let call = unsafe { Updater::<DM_TABLE_STATUS, [u8; TABLE_MAX_BYTES]>::new(table) };
    // SAFETY: DM_TABLE_STATUS writes to the structure alone.
    unsafe { ioctl(control, call) }.map_err(errno)
}

/// `struct nd_cmd_ars_cap` (`linux/ndctl.h`): what the bus can do with a range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ArsCap {
    /// The first physical address; the bus may widen the range.
    pub address: u64,
    /// The length in bytes.
    pub length_bytes: u64,
    /// 0 in the low 16 bits if the bus knows the range.
    pub status: u32,
    /// The length in bytes of an answer to a scrub.
    pub max_ars_out: u32,
    /// What address and length of a clear must be multiples of, in bytes.
    pub clear_unit_bytes: u32,
    /// Flags.
    pub flags: u16,
    /// Not used.
    pub reserved: u16,
}

impl ArsCap {
    /// Asks the bus, through its control node `/dev/ndctlB`.
    ///
    /// # Errors
    ///
    /// The kernel's reason; `NOTTY` for a bus that cannot. A refusal by the firmware is in `status` alone.
    pub fn ask(&mut self, bus: BorrowedFd<'_>) -> Result<(), Errno> {
        // SAFETY: the number is ND_IOCTL_ARS_CAP's, made from this structure.
        let call = unsafe { Updater::<ARS_CAP, Self>::new(self) };
        // SAFETY: ND_IOCTL_ARS_CAP writes to the structure alone.
        unsafe { ioctl(bus, call) }.map_err(errno)
    }
}

/// `struct nd_cmd_clear_error` (`linux/ndctl.h`): clears what is bad in a range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClearRequest {
    /// The first physical address.
    pub address: u64,
    /// The length in bytes.
    pub length_bytes: u64,
    /// 0 in the low 16 bits if the firmware has done it.
    pub status: u32,
    /// Not used.
    pub reserved: [u8; 4],
    /// How many bytes were cleared.
    pub cleared_bytes: u64,
}

impl ClearRequest {
    /// Has the bus clear the range, through its control node `/dev/ndctlB`. The bytes are 0 then.
    ///
    /// The call succeeds also when the firmware refuses: look at `status` **and** `cleared_bytes`.
    ///
    /// # Errors
    ///
    /// The kernel's reason; `NOTTY` for a bus that cannot.
    pub fn ask(&mut self, bus: BorrowedFd<'_>) -> Result<(), Errno> {
        // SAFETY: the number is ND_IOCTL_CLEAR_ERROR's, made from this structure.
        let call = unsafe { Updater::<CLEAR_ERROR, Self>::new(self) };
        // SAFETY: ND_IOCTL_CLEAR_ERROR writes to the structure, and zeros to memory that nothing could be read from.
        unsafe { ioctl(bus, call) }.map_err(errno)
    }
}

const _: () = {
    assert!(size_of::<ArsCap>() == 32 && size_of::<ClearRequest>() == 32 && size_of::<Extent>() == 56);
    assert!(size_of::<Extents>() == 32 + 56 * EXTENTS_MAX as usize);
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    assert!(ARS_CAP == 0xC020_4E01 && CLEAR_ERROR == 0xC020_4E04 && FIEMAP == 0xC020_660B && FSGETXATTR == 0x801C_581F);
};
