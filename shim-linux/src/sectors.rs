//! Lists of bad sectors, as sysfs shows them for regions and block devices.

use pmemset_core::Span;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;

use crate::sysfs::{self, NdError};
use crate::text;

/// The longest line: two 64-bit numbers with a blank between.
const LINE_MAX_BYTES: usize = 41;
/// An attribute is one page at most, of which the kernel uses all but the last byte.
const PAGE_MIN_BYTES: usize = 4096;

/// Calls `take` with each entry of the `badblocks` list in `dir`, in bytes; returns whether the list was complete.
///
/// The kernel cuts off what does not fit one page (`badblocks_show` in `block/badblocks.c`).
///
/// # Errors
///
/// See [`NdError`]; `take` may have been called before.
pub fn each_bad_block(dir: &OwnedFd, mut take: impl FnMut(Span)) -> Result<bool, NdError> {
    let attribute = "badblocks";
    let garbage = |text::Garbage| NdError::Garbage { attribute };
    let file = sysfs::open(dir.as_fd(), attribute, &[b"badblocks"], OFlags::RDONLY)?;
    let (mut line, mut length_bytes, mut total_bytes) = ([0_u8; LINE_MAX_BYTES], 0_usize, 0_usize);
    let mut buffer = [0_u8; 512];
    loop {
        let read = sysfs::fill(file.as_fd(), &mut buffer)
            .map_err(|cause| NdError::Unreadable { attribute, cause: sysfs::errno(cause) })?;
        for byte in buffer.iter().take(read) {
            if *byte == b'\n' {
                let sectors = text::bad_block(line.get(..length_bytes).unwrap_or_default()).map_err(garbage)?;
                take(sectors.span().map_err(garbage)?);
                length_bytes = 0;
            } else {
                *line.get_mut(length_bytes).ok_or(NdError::Garbage { attribute })? = *byte;
                length_bytes = length_bytes.saturating_add(1);
            }
        }
        total_bytes = total_bytes.saturating_add(read);
        if read < buffer.len() {
            break;
        }
    }
    let full = total_bytes > 0 && total_bytes.saturating_add(1) % PAGE_MIN_BYTES == 0;
    match (length_bytes, full) {
        (0, full) => Ok(!full),
        (_, true) => Ok(false),
        (_, false) => Err(NdError::Garbage { attribute }),
    }
}
