//! Files on broken memory: listing and clearing their bad blocks, and copies that survive them.

use pmemset_core::error::{BadBlocksError, ClearError, McsafeError};
use pmemset_core::support::check_bounds;
use pmemset_core::{BadBlocks, Errno, Span};
use rustix::fd::BorrowedFd;
use rustix::fs::{self, Dev, OFlags};
use rustix::io;

use crate::auxv;
use crate::errno::errno;
use crate::nd::ioctl;
use crate::nd::sysfs::Sysfs;

use super::extents;
use super::limit;

/// The largest page that is cleared at a time; larger ones are not supported.
const PAGE_MAX_BYTES: usize = 4096;
static ZEROS: [u8; PAGE_MAX_BYTES] = [0; PAGE_MAX_BYTES];

/// Lists the bad blocks of a file that touch `range`, in whole pages.
pub(crate) fn bad_blocks(fd: BorrowedFd<'_>, device: Dev, range: Span, blocks: &mut [Span]) -> BadBlocks {
    match Sysfs::system() {
        Ok(sysfs) => bad_blocks_in(&sysfs, fd, device, range, blocks),
        Err(cause) => BadBlocks::Unknown(cause.into()),
    }
}

fn bad_blocks_in(sysfs: &Sysfs, mut fd: BorrowedFd<'_>, device: Dev, range: Span, blocks: &mut [Span]) -> BadBlocks {
    let pieces = match sysfs.pieces(device) {
        Ok(pieces) => pieces,
        Err(error) => return BadBlocks::Unknown(error.into()),
    };
    match ioctl::is_elsewhere(fd) {
        Ok(false) => {}
        Ok(true) => return BadBlocks::Unknown(BadBlocksError::Unsupported),
        Err(cause) => return BadBlocks::Unknown(cause.into()),
    }
    extents::bad_blocks(&mut fd, &pieces, range, auxv::page_size_bytes() as u64, blocks)
}

/// Clears the pages of `block` that `list` names and that really cannot be read, and makes sure of it.
///
/// A whole page is overwritten: the kernel clears the memory below. A page that can be read is left alone, whatever
/// the list says, so nothing that is good is ever lost. Punching a hole would only move the bad memory to where the
/// next file finds it.
///
/// `sync` makes durable what was written; it may fail because of bytes that were lost elsewhere in the file.
pub(crate) fn clear(
    fd: BorrowedFd<'_>,
    block: Span,
    mut list: impl FnMut(Span, &mut [Span]) -> BadBlocks,
    sync: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), ClearError> {
    let page_bytes = auxv::page_size_bytes();
    let length_bytes = length(fd).map_err(ClearError::Failed)?;
    let pages = block.align_outward(page_bytes as u64).filter(|pages| pages.end() <= length_bytes);
    let pages = pages.ok_or(ClearError::OutOfRange { length_bytes })?;
    let zeros = ZEROS.get(..page_bytes).ok_or(ClearError::Unsupported)?;
    writes_there(fd, pages.end()).map_err(ClearError::Failed)?;
    let mut rest = Some(pages);
    while let Some(asked) = rest {
        let mut blocks = [asked; 8];
        let (count, more) = match list(asked, &mut blocks) {
            BadBlocks::None => break,
            BadBlocks::Listed { count, more } => (count, more),
            BadBlocks::Unknown(reason) => return Err(ClearError::Unknown(reason)),
            _ => return Err(ClearError::Unsupported),
        };
        let bad = blocks.get(..count).unwrap_or(&blocks);
        for bad in bad.iter().filter_map(|bad| bad.intersect(pages)) {
            for at in (bad.start()..bad.end()).step_by(page_bytes) {
                clear_page(fd, at, zeros)?;
            }
        }
        rest =
            bad.last().filter(|last| more && last.end() > asked.start()).and_then(|last| asked.starting_at(last.end()));
    }
    sync().map_err(ClearError::Failed)?;
    match list(pages, &mut []) {
        BadBlocks::None => Ok(()),
        BadBlocks::Unknown(reason) => Err(ClearError::Unknown(reason)),
        _ => Err(ClearError::StillBad),
    }
}

/// Makes the bytes of the file durable.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    fs::fdatasync(fd).map_err(errno)
}

/// Overwrites the page at `at` if it cannot be read.
fn clear_page(fd: BorrowedFd<'_>, at: u64, zeros: &[u8]) -> Result<(), ClearError> {
    let mut page = [0_u8; PAGE_MAX_BYTES];
    let page = page.get_mut(..zeros.len()).ok_or(ClearError::Unsupported)?;
    match io::retry_on_intr(|| io::pread(fd, &mut *page, at)) {
        Err(io::Errno::IO) => {}
        // It is as good as its neighbours: the list is older than what is there.
        Ok(_) => return Ok(()),
        Err(cause) => return Err(ClearError::Failed(errno(cause))),
    }
    match io::retry_on_intr(|| io::pwrite(fd, zeros, at)) {
        Ok(written) if written == zeros.len() => Ok(()),
        Ok(_) => Err(ClearError::Failed(Errno::IO)),
        Err(cause) => Err(ClearError::Failed(errno(cause))),
    }
}

/// Makes sure that bytes up to `end_bytes` are written where the caller says: no limit kills the process, and nobody
/// has made the descriptor append since it was opened (`fcntl(2)`).
fn writes_there(fd: BorrowedFd<'_>, end_bytes: u64) -> Result<(), Errno> {
    if !limit::allows(end_bytes) {
        return Err(Errno::FBIG);
    }
    let appends = fs::fcntl_getfl(fd).map_err(errno)?.contains(OFlags::APPEND);
    if appends { Err(Errno::INVAL) } else { Ok(()) }
}

fn length(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = fs::fstat(fd).map_err(errno)?;
    u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)
}

/// A call that copies some of the bytes at an offset.
type Transfer<'c> = &'c mut dyn FnMut(usize, u64) -> io::Result<usize>;

/// Repeats `transfer` until `total` bytes from `offset` on are copied.
fn transfer(fd: BorrowedFd<'_>, offset: u64, total: usize, transfer: Transfer<'_>) -> Result<(), McsafeError> {
    let length_bytes = length(fd).map_err(McsafeError::Failed)?;
    let Some(range) = check_bounds(offset, total, length_bytes)? else { return Ok(()) };
    let mut done = 0_usize;
    while done < total {
        match io::retry_on_intr(|| transfer(done, range.start().saturating_add(done as u64))) {
            // The file has become shorter meanwhile.
            Ok(0) => return Err(McsafeError::OutOfRange { length_bytes }),
            Ok(copied) => done = done.saturating_add(copied),
            // The kernel calls it a bad address when the memory behind the file is what is bad.
            Err(io::Errno::IO | io::Errno::FAULT) => return Err(McsafeError::IoFail),
            Err(cause) => return Err(McsafeError::Failed(errno(cause))),
        }
    }
    Ok(())
}

/// Copies bytes out of a file; the kernel does, so damaged memory is an error and no signal.
pub(crate) fn read(fd: BorrowedFd<'_>, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
    let total = bytes.len();
    transfer(fd, offset, total, &mut |done, at| io::pread(fd, bytes.get_mut(done..).unwrap_or_default(), at))
}

/// Copies bytes into a file; they are durable only after the file is synchronised.
pub(crate) fn write(fd: BorrowedFd<'_>, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
    writes_there(fd, offset.saturating_add(bytes.len() as u64)).map_err(McsafeError::Failed)?;
    transfer(fd, offset, bytes.len(), &mut |done, at| io::pwrite(fd, bytes.get(done..).unwrap_or_default(), at))
}

#[cfg(test)]
mod tests;
