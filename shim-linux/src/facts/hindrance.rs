//! What keeps huge pages away from a mapping.

use pmemset_core::{Errno, Extent, Span};
use rustix::fd::AsFd;

use linux_raw_sys::ioctl::FIEMAP_EXTENT_LAST;

use crate::nd::block_device::{Piece, Pieces};
use crate::nd::ioctl::Extents;
use crate::nd::sysfs::{self, Attribute, Sysfs};

use super::answers::{Hindrance, Memory};
use super::descriptor::{Kind, Mapped};
use super::hugepages;
use super::mounts;
use super::parse::Vma;

/// A mapping, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The whole mapping, as far as the kernel has made one of several.
    pub(super) vma: &'a Vma,
    /// The piece asked about.
    pub(super) piece: Extent,
    /// Its first byte in the file.
    pub(super) offset: u64,
    pub(super) memory: Memory,
    pub(super) mapped: &'a Mapped,
}

impl Asked<'_> {
    /// Returns what stands against huge pages, whether or not some are mapped.
    pub(super) fn hindrance(&self, sysfs: &Sysfs) -> Option<Hindrance> {
        let huge_bytes = hugepages::size_bytes();
        match self.memory {
            Memory::DeviceDax { alignment_bytes } => {
                return (alignment_bytes < huge_bytes).then_some(Hindrance::DeviceAlignment);
            }
            Memory::PageCache(_) => return Some(Hindrance::PageCache),
            Memory::FsDax | Memory::Tmpfs => {}
        }
        if let Some(denied) = hugepages::denied(sysfs) {
            return Some(denied);
        }
        if self.whole(huge_bytes).is_none() {
            return Some(Hindrance::TooShort { huge_bytes });
        }
        let mask = huge_bytes.wrapping_sub(1);
        let offset = usize::try_from(self.offset & mask as u64).unwrap_or(0);
        let by_bytes = self.piece.start().wrapping_sub(offset) & mask;
        if by_bytes != 0 {
            return Some(Hindrance::Misplaced { huge_bytes, by_bytes });
        }
        if self.memory == Memory::Tmpfs {
            return hugepages::denied_on_tmpfs(sysfs, mounts::huge(self.vma.device).ok()?);
        }
        self.on_medium(sysfs, huge_bytes)
    }

    /// Returns the whole huge pages that have room in the mapping, as far as they touch the piece.
    fn whole(&self, huge_bytes: usize) -> Option<Extent> {
        let mask = huge_bytes.wrapping_sub(1);
        let start = self.vma.extent.start().checked_add(mask)? & !mask;
        let all = Extent::between(start, self.vma.extent.end() & !mask)?;
        all.intersect(self.piece.align_outward(huge_bytes)?)
    }

    /// Returns how many bytes of the piece lie where no whole huge page has room.
    pub(super) fn at_the_ends(&self) -> usize {
        let whole = self.whole(hugepages::size_bytes()).and_then(|whole| whole.intersect(self.piece));
        self.piece.length_bytes().saturating_sub(whole.map_or(0, Extent::length_bytes))
    }

    /// Looks where on the medium the file's huge pages are.
    fn on_medium(&self, sysfs: &Sysfs, huge_bytes: usize) -> Option<Hindrance> {
        let Kind::File { device, .. } = self.mapped.kind else { return None };
        // Without the pieces, the device is taken for a disk of its own.
        let pieces = sysfs.pieces(device).ok();
        for piece in pieces.iter().flat_map(Pieces::as_slice) {
            if let Some(alignment_bytes) = misaligned(piece, huge_bytes as u64) {
                return Some(Hindrance::Namespace { alignment_bytes });
            }
        }
        let whole = self.whole(huge_bytes)?;
        let before = whole.start().wrapping_sub(self.piece.start());
        #[allow(clippy::cast_possible_wrap, reason = "the first huge page may begin before the piece")]
        let start = self.offset.wrapping_add_signed(before as isize as i64);
        let range = Span::new(start, whole.length_bytes() as u64)?;
        let file = self.mapped.open().ok()?;
        let read = |from: u64, length_bytes: u64, extents: &mut Extents| extents.look(file.as_fd(), from, length_bytes);
        let offset = scattered(&read, pieces.as_ref(), range, huge_bytes as u64)?;
        Some(Hindrance::Extents { huge_bytes, offset })
    }
}

/// Returns the alignment of the disk that `piece` is on, if it is less than a huge page's.
fn misaligned(piece: &Piece, huge_bytes: u64) -> Option<u64> {
    let disk = piece.disk.as_fd();
    if let Ok(alignment_bytes) = sysfs::number(disk, Attribute::Align, c"device/align")
        && alignment_bytes < huge_bytes
    {
        return Some(alignment_bytes);
    }
    // What the kernel writes when it does not want to tell is 0.
    let first = sysfs::number(disk, Attribute::Resource, c"device/resource").ok()?;
    (first & huge_bytes.wrapping_sub(1) != 0).then(|| 1_u64.wrapping_shl(first.trailing_zeros()))
}

/// Returns the offset of the first huge page of `range` that is not on one aligned piece of the disk.
///
/// `None` also where the file system does not say.
pub(super) fn scattered(
    read: &dyn Fn(u64, u64, &mut Extents) -> Result<(), Errno>,
    pieces: Option<&Pieces>,
    range: Span,
    huge_bytes: u64,
) -> Option<u64> {
    let mask = huge_bytes.wrapping_sub(1);
    let mut extents = Extents::default();
    let mut rest = Some(range);
    while let Some(asked) = rest {
        read(asked.start(), asked.length_bytes(), &mut extents).ok()?;
        let mut next = asked.start();
        for extent in extents.list() {
            let logical = Span::new(extent.logical, extent.length_bytes)?;
            let physical = on_disk(pieces, extent.physical);
            // Where nothing is allocated, nothing stands against it.
            while next < range.end() && next.checked_add(huge_bytes)? <= logical.start() {
                next = next.checked_add(huge_bytes)?;
            }
            // As many huge pages as the extent has from there on.
            while next < range.end() && logical.start() <= next && next.checked_add(huge_bytes)? <= logical.end() {
                if physical.wrapping_add(next.wrapping_sub(logical.start())) & mask != 0 {
                    return Some(next);
                }
                next = next.checked_add(huge_bytes)?;
            }
            if next < range.end() && logical.end() > next {
                return Some(next);
            }
            if extent.flags & FIEMAP_EXTENT_LAST != 0 {
                return None;
            }
        }
        // A walk that gets nowhere would be repeated for ever.
        rest = if next > asked.start() { range.starting_at(next) } else { None };
    }
    None
}

/// Returns where a byte of the block device is on its disk.
fn on_disk(pieces: Option<&Pieces>, at: u64) -> u64 {
    let mut pieces = pieces.into_iter().flat_map(Pieces::as_slice);
    let piece = pieces.find(|piece| piece.bytes.contains(at));
    piece.map_or(at, |piece| piece.disk_start.wrapping_add(at.wrapping_sub(piece.bytes.start())))
}
