//! Copies from and to a device that survive damaged memory, without a signal handler: the kernel copies, through a
//! pipe.
#![allow(unsafe_code, reason = "maps pages of the device and hands them to the kernel")]

use core::slice;

use pmemset_core::error::{MapFailure, McsafeError};
use pmemset_core::support::check_bounds;
use pmemset_core::{BadBlocks, Errno, Extent, Platform as _, Source, Span};
use pmemset_linux::internal::errno;
use pmemset_linux::{Linux, Process};
use rustix::fd::OwnedFd;
use rustix::io;
use rustix::pipe::{PIPE_BUF, PipeFlags, pipe_with};

/// A device that is mapped in whole units of its alignment.
type Device<'d> = dyn Source<Space = Process> + 'd;

/// Pages of a device, mapped for one copy; in units of its alignment, away from every set.
struct Pages<'s> {
    source: &'s Device<'s>,
    window: Extent,
    offset: u64,
}

impl<'s> Pages<'s> {
    /// Maps the pages of `range`, and returns the addresses of its bytes with them.
    fn map(source: &'s Device<'s>, range: Span) -> Result<(Self, Extent), Errno> {
        let alignment_bytes = source.alignment_bytes().max(Linux.page_size_bytes());
        let units = range.align_outward(alignment_bytes as u64).ok_or(Errno::OVERFLOW)?;
        let length_bytes = usize::try_from(units.length_bytes()).map_err(|_| Errno::NOMEM)?;
        let window = Linux.reserve(length_bytes, alignment_bytes)?;
        // SAFETY: the window was reserved just now.
        if let Err(failure) = unsafe { source.map(window, units.start()) } {
            if !matches!(failure, MapFailure::WindowLost(_)) {
                // SAFETY: the same, and nothing is mapped in it.
                let _ = unsafe { Linux.release(window) };
            }
            return Err(failure.cause());
        }
        let pages = Self { source, window, offset: units.start() };
        let skipped = usize::try_from(range.start().saturating_sub(units.start())).map_err(|_| Errno::OVERFLOW)?;
        let wanted = usize::try_from(range.length_bytes()).map_err(|_| Errno::OVERFLOW)?;
        let bytes = window.slice(skipped, wanted).ok_or(Errno::OVERFLOW)?;
        Ok((pages, bytes))
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and only the borrower of this value knew of it.
        if unsafe { self.source.unmap(self.window, self.offset) }.is_ok() {
            // SAFETY: reserved by `map`, and nothing is mapped there any more.
            let _ = unsafe { Linux.release(self.window) };
        }
    }
}

/// Refuses a range that is known to be bad, and returns it checked.
fn check(source: &Device<'_>, offset: u64, length_bytes: usize) -> Result<Option<Span>, McsafeError> {
    let source_bytes = source.length_bytes().map_err(McsafeError::Failed)?;
    let Some(range) = check_bounds(offset, length_bytes, source_bytes)? else { return Ok(None) };
    match source.health().map(|health| health.bad_blocks(range, &mut [])) {
        Some(BadBlocks::Listed { .. }) => Err(McsafeError::IoFail),
        // Where nothing is known, the kernel finds out while it copies.
        _ => Ok(Some(range)),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), McsafeError> {
    pipe_with(PipeFlags::CLOEXEC).map_err(failed)
}

/// Tells damage from everything else: the kernel calls it a bad address when the memory there is what is bad.
fn failed(cause: io::Errno) -> McsafeError {
    match cause {
        io::Errno::FAULT | io::Errno::IO => McsafeError::IoFail,
        other => McsafeError::Failed(errno(other)),
    }
}

/// Moves all of `from` into the empty pipe, and out again into `to`; no more than the pipe takes at once.
fn through(pipe: &(OwnedFd, OwnedFd), from: &[u8], to: &mut [u8]) -> Result<(), McsafeError> {
    let (reader, writer) = pipe;
    let written = io::retry_on_intr(|| io::write(writer, from)).map_err(failed)?;
    let read = io::retry_on_intr(|| io::read(reader, &mut *to)).map_err(failed)?;
    if written == from.len() && read == written { Ok(()) } else { Err(McsafeError::Failed(Errno::IO)) }
}

/// Returns the addresses as bytes.
///
/// # Safety
///
/// They are mapped, readable and writable as long as the slice lives, and nobody else of this program has them.
unsafe fn bytes_of<'a>(extent: Extent) -> &'a mut [u8] {
    let start = core::ptr::with_exposed_provenance_mut(extent.start());
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts_mut(start, extent.length_bytes()) }
}

/// Copies bytes out of the device.
pub(crate) fn read(source: &Device<'_>, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
    let Some(range) = check(source, offset, bytes.len())? else { return Ok(()) };
    let pipe = pipe()?;
    let (_pages, extent) = Pages::map(source, range).map_err(McsafeError::Failed)?;
    // SAFETY: mapped as long as `_pages` lives, away from every set; only the kernel reads through it.
    let mapped = unsafe { bytes_of(extent) };
    for (from, to) in mapped.chunks(PIPE_BUF).zip(bytes.chunks_mut(PIPE_BUF)) {
        through(&pipe, from, to)?;
    }
    Ok(())
}

/// Copies bytes into the device and makes them durable.
pub(crate) fn write(source: &Device<'_>, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
    let Some(range) = check(source, offset, bytes.len())? else { return Ok(()) };
    store(source, range, bytes.chunks(PIPE_BUF))
}

/// Makes the bytes of `range` 0, durably.
pub(crate) fn zero(source: &Device<'_>, range: Span) -> Result<(), McsafeError> {
    static ZEROS: [u8; PIPE_BUF] = [0; PIPE_BUF];
    let length_bytes = usize::try_from(range.length_bytes()).map_err(|_| McsafeError::Failed(Errno::NOMEM))?;
    let Some(range) = check(source, range.start(), length_bytes)? else { return Ok(()) };
    let whole = core::iter::repeat_n(&ZEROS[..], length_bytes / PIPE_BUF);
    store(source, range, whole.chain(ZEROS.get(..length_bytes % PIPE_BUF).filter(|rest| !rest.is_empty())))
}

/// Copies `chunks`, each as long as the pipe takes and the last one maybe shorter, over the bytes of `range`.
fn store<'b>(source: &Device<'_>, range: Span, chunks: impl Iterator<Item = &'b [u8]>) -> Result<(), McsafeError> {
    let pipe = pipe()?;
    let (_pages, extent) = Pages::map(source, range).map_err(McsafeError::Failed)?;
    // SAFETY: mapped as long as `_pages` lives, away from every set; only the kernel writes through it.
    let mapped = unsafe { bytes_of(extent) };
    let (mut result, mut copied) = (Ok(()), 0_usize);
    for (from, to) in chunks.zip(mapped.chunks_mut(PIPE_BUF)) {
        result = through(&pipe, from, to);
        if result.is_err() {
            break;
        }
        copied = copied.saturating_add(from.len());
    }
    // Not what could not be copied: writing back a damaged page raises the signal that the copy did not.
    if let Some(good) = extent.slice(0, copied) {
        // SAFETY: the range is mapped.
        unsafe { Linux.write_back(good) };
    }
    Linux.fence();
    result
}
