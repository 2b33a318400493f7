//! The kernel's lists of bad blocks in sysfs, read line by line: as long as they are, and never a part for the whole.

use pmemset_core::Span;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::OFlags;

use crate::auxv;
use crate::sysfs::{self, NdError};
use crate::text::{self, Sectors};

const NAME: &str = "badblocks";
/// Two numbers of 64 bits, a blank and a newline.
const LINE_MAX_BYTES: usize = 64;

/// Calls `take` with each entry of the `badblocks` below `dir`, as bytes from the start of the disk or region.
///
/// # Errors
///
/// See [`NdError`]. The kernel writes no more than a page of text: `TooLong` where that may have cut off the list,
/// after `take` was called with what is there.
pub(crate) fn read(dir: BorrowedFd<'_>, mut take: impl FnMut(Span)) -> Result<(), NdError> {
    let garbage = NdError::Garbage { attribute: NAME };
    let file = sysfs::open(dir, NAME, &[b"badblocks"], OFlags::RDONLY)?;
    let (mut buffer, mut kept, mut total) = ([0_u8; LINE_MAX_BYTES], 0_usize, 0_usize);
    loop {
        let room = buffer.get_mut(kept..).unwrap_or_default();
        let read = sysfs::fill(file.as_fd(), room)
            .map_err(|cause| NdError::Unreadable { attribute: NAME, cause: sysfs::errno(cause) })?;
        total = total.saturating_add(read);
        let filled = kept.saturating_add(read);
        let mut rest = buffer.get(..filled).unwrap_or_default();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            take(text::bad_block(line).and_then(Sectors::span).map_err(|_| garbage)?);
            rest = tail.get(1..).unwrap_or_default();
        }
        let (at, left) = (filled.saturating_sub(rest.len()), rest.len());
        let cut_off = total >= auxv::page_size_bytes().saturating_sub(1);
        if read == 0 {
            return match left {
                _ if cut_off => Err(NdError::TooLong { attribute: NAME }),
                0 => Ok(()),
                _ => Err(garbage),
            };
        }
        if left == LINE_MAX_BYTES {
            return Err(garbage);
        }
        buffer.copy_within(at..filled, 0);
        kept = left;
    }
}
