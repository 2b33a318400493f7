//! Where the bytes of a file are on its block device, and which of them a list of bad blocks means.

use pmemset_core::error::BadBlocksError;
use pmemset_core::support::{Collector, in_extent};
use pmemset_core::{BadBlocks, Errno, Span};
use rustix::fd::{AsFd, BorrowedFd};

use linux_raw_sys::ioctl::{
    FIEMAP_EXTENT_DATA_ENCRYPTED, FIEMAP_EXTENT_DATA_INLINE, FIEMAP_EXTENT_DATA_TAIL, FIEMAP_EXTENT_DELALLOC,
    FIEMAP_EXTENT_ENCODED, FIEMAP_EXTENT_LAST, FIEMAP_EXTENT_NOT_ALIGNED, FIEMAP_EXTENT_UNKNOWN,
};

use crate::nd::block_device::Pieces;
use crate::nd::ioctl::{Extent, Extents};
use crate::nd::{NdError, bad_blocks as list};

/// How often a file whose extents move is looked at again.
const TRIES: u32 = 8;
/// Not where it says it is, not one to one, or not at all (`linux/fiemap.h`): unknown, delayed, encoded, encrypted,
/// unaligned, inside the inode, packed with others. Unwritten extents have their place, and the kernel clears it at the
/// first store; shared ones do as well.
const NO_PLACE: u32 = FIEMAP_EXTENT_UNKNOWN
    | FIEMAP_EXTENT_DELALLOC
    | FIEMAP_EXTENT_ENCODED
    | FIEMAP_EXTENT_DATA_ENCRYPTED
    | FIEMAP_EXTENT_NOT_ALIGNED
    | FIEMAP_EXTENT_DATA_INLINE
    | FIEMAP_EXTENT_DATA_TAIL;

/// Where the extents of a file come from.
pub(crate) trait ExtentReader {
    /// Returns the next extents that touch the bytes from `start` on, in the order of their offsets.
    fn read(&mut self, start: u64, length_bytes: u64, extents: &mut Extents) -> Result<(), Errno>;
}

impl ExtentReader for BorrowedFd<'_> {
    fn read(&mut self, start: u64, length_bytes: u64, extents: &mut Extents) -> Result<(), Errno> {
        extents.read(*self, start, length_bytes)
    }
}

/// Lists the bad blocks of the file that touch `range`, in whole units of `unit_bytes`.
///
/// `pieces` are those of the block device that the file system is on, and of nothing else.
pub(crate) fn bad_blocks(
    file: &mut impl ExtentReader,
    pieces: &Pieces,
    range: Span,
    unit_bytes: u64,
    blocks: &mut [Span],
) -> BadBlocks {
    match any_listed(pieces) {
        Ok(false) => return BadBlocks::None,
        Ok(true) => {}
        Err(error) => return BadBlocks::Unknown(error.into()),
    }
    let mut before = None;
    for _ in 0..TRIES {
        let mut collector = Collector::new(blocks);
        match one_pass(file, pieces, range, unit_bytes, &mut collector) {
            Err(cause) => return BadBlocks::Unknown(cause.into()),
            Ok(print) if before == Some(print) => return collector.finish(),
            Ok(print) => before = Some(print),
        }
    }
    BadBlocks::Unknown(BadBlocksError::Failed(Errno::AGAIN))
}

/// Returns whether a block of the device itself is listed at all.
fn any_listed(pieces: &Pieces) -> Result<bool, NdError> {
    let mut any = false;
    for piece in pieces.as_slice() {
        piece.region.lists_bad_blocks()?;
        list::read(piece.disk.as_fd(), &mut |block| any |= piece.device_bytes(block).is_some())?;
    }
    Ok(any)
}

/// Reads all extents of the range once; returns a fingerprint of where they are.
fn one_pass(
    file: &mut impl ExtentReader,
    pieces: &Pieces,
    range: Span,
    unit_bytes: u64,
    collector: &mut Collector<'_>,
) -> Result<u64, Errno> {
    let (mut print, mut rest) = (0xcbf2_9ce4_8422_2325_u64, Some(range));
    let mut extents = Extents::default();
    while let Some(asked) = rest {
        file.read(asked.start(), asked.length_bytes(), &mut extents)?;
        let found = extents.list();
        for extent in found {
            for number in [extent.logical, extent.physical, extent.length_bytes] {
                print = (print ^ number).wrapping_mul(0x0100_0000_01b3);
            }
            add_blocks(extent, pieces, asked, unit_bytes, collector)?;
        }
        rest = match found.last() {
            None => None,
            Some(last) if last.flags & FIEMAP_EXTENT_LAST != 0 => None,
            Some(last) => {
                let end = last.logical.checked_add(last.length_bytes).ok_or(Errno::OVERFLOW)?;
                if end <= asked.start() {
                    return Err(Errno::INVAL);
                }
                asked.starting_at(end)
            }
        };
    }
    Ok(print)
}

/// Adds what the lists say of one extent.
#[inline(never)]
fn add_blocks(
    extent: &Extent,
    pieces: &Pieces,
    range: Span,
    unit_bytes: u64,
    collector: &mut Collector<'_>,
) -> Result<(), Errno> {
    let Some(logical) = Span::new(extent.logical, extent.length_bytes) else { return Err(Errno::INVAL) };
    if !logical.overlaps(range) {
        return Ok(());
    }
    if extent.flags & NO_PLACE != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let physical = Span::new(extent.physical, extent.length_bytes).ok_or(Errno::INVAL)?;
    let mut placed_bytes = 0_u64;
    for piece in pieces.as_slice() {
        let Some(shared) = physical.intersect(piece.bytes) else { continue };
        placed_bytes = placed_bytes.saturating_add(shared.length_bytes());
        list::read(piece.disk.as_fd(), &mut |block| {
            let on_device = piece.device_bytes(block);
            let in_file = on_device.and_then(|block| in_extent(block, physical, extent.logical, unit_bytes));
            if let Some(block) = in_file.filter(|block| block.overlaps(range)) {
                collector.add(block);
            }
        })
        .map_err(|error| error.errno())?;
    }
    // A file system on several devices counts on where this one ends.
    if placed_bytes == physical.length_bytes() { Ok(()) } else { Err(Errno::OPNOTSUPP) }
}

#[cfg(test)]
mod tests;
