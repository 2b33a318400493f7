//! The kernel's lists of bad blocks in sysfs, read line by line: as long as they are, and never a part for the whole.

use pmemset_core::Span;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::OFlags;

use crate::auxv;
use crate::errno::errno;

use super::parse::BadBlockLines;
use super::sysfs::{self, Attribute, NdError};

const NAME: Attribute = Attribute::BadBlocks;
/// How much is read at a time.
const CHUNK_BYTES: usize = 64;

/// Calls `take` with each entry of the `badblocks` below `dir`, as bytes from the start of the disk or region.
///
/// # Errors
///
/// See [`NdError`]. The kernel writes no more than a page of text: `TooLong` where that may have cut off the list,
/// after `take` was called with what is there.
pub(crate) fn read(dir: BorrowedFd<'_>, take: &mut dyn FnMut(Span)) -> Result<(), NdError> {
    let garbage = NdError::Garbage { attribute: NAME };
    let file = sysfs::open(dir, NAME, c"badblocks", OFlags::RDONLY)?;
    let (mut lines, mut total) = (BadBlockLines::default(), 0_usize);
    loop {
        let mut chunk = [0_u8; CHUNK_BYTES];
        let read = sysfs::fill(file.as_fd(), &mut chunk)
            .map_err(|cause| NdError::Unreadable { attribute: NAME, cause: errno(cause) })?;
        total = total.saturating_add(read);
        for byte in chunk.iter().take(read) {
            if let Some(block) = lines.next(*byte).map_err(|_| garbage)? {
                take(block);
            }
        }
        if read < chunk.len() {
            return match lines.is_complete() {
                _ if total >= auxv::page_size_bytes().saturating_sub(1) => Err(NdError::TooLong { attribute: NAME }),
                true => Ok(()),
                false => Err(garbage),
            };
        }
    }
}
