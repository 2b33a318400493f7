//! The address space of a Linux process: reserved with inaccessible placeholders, mapped over, and released.
#![allow(unsafe_code, reason = "reserving and mapping memory is what this file is for")]

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use pmemset_core::arch::Cpu;
use pmemset_core::error::{MapFailure, ReserveError};
use pmemset_core::{Errno, Extent, Platform};
use rustix::fd::BorrowedFd;
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

use crate::auxv;
use crate::errno::errno;
use crate::return_buffer;
use crate::striped_lock::StripedRwLock;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// The platform for Linux: parts are mapped into the address space of this process.
///
/// It has no state: every value is the same platform, and a set that uses it can be a `static`.
///
/// # Forks and signal handlers
///
/// The locks of sets and sources belong to one process. A child that is forked (`fork(2)`) while another thread is in a
/// call of the set may find a lock that is never released, and hangs at its first call. Fork before there are other
/// threads, or call `exec` at once. A signal handler must not call a set: it hangs if the interrupted call holds the
/// lock.
///
/// ```
/// use pmemset_linux::{Config, Granularity, Linux, Set, FileSource, static_set};
///
/// static_set! {
///     /// What all threads of the program share.
///     static SET: Set<Linux, &'static FileSource>[64] = (Linux::new(), Config::new(Granularity::Page));
/// }
/// assert_eq!(SET.segment_count(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linux;

impl Linux {
    /// Returns the platform.
    ///
    /// ```
    /// use pmemset_linux::{Linux, Platform};
    ///
    /// println!("pages of {} bytes, {}", Linux::new().page_size_bytes(), Linux::new().cpu().method());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// The address space of this process, reserved with inaccessible placeholders that the kernel maps over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process;

// SAFETY: a reservation is a mapping of the process, which the kernel gives to nobody else until it is unmapped; every
// platform with the space `Process` makes them so.
unsafe impl Platform for Linux {
    type Lock = StripedRwLock;
    type Space = Process;

    #[inline]
    fn space(&self) -> Process {
        Process
    }

    #[inline]
    fn page_size_bytes(&self) -> usize {
        auxv::page_size_bytes()
    }

    #[inline]
    fn cpu(&self) -> &Cpu {
        auxv::cpu()
    }

    /// Returns 2 MiB, or 1 GiB from 2 GiB on: what the page tables of x86-64, aarch64 and riscv64 map in one entry.
    fn alignment_for(&self, length_bytes: usize) -> usize {
        if length_bytes < 2 * GIB { 2 * MIB } else { GIB }
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let mask = alignment_bytes.wrapping_sub(1);
        let slack = alignment_bytes.saturating_sub(self.page_size_bytes());
        let total = length_bytes.checked_add(slack).ok_or(Errno::NOMEM)?;
        let whole = place(0, total, MapFlags::empty())?;
        let start = whole.start().checked_add(mask).ok_or(Errno::NOMEM)? & !mask;
        let wanted = Extent::new(start, length_bytes).ok_or(Errno::NOMEM)?;
        // SAFETY: reserved a moment ago, and nobody else knows of it.
        unsafe { cut_off(whole, whole.ending_at(start)) }?;
        let rest = whole.starting_at(start).ok_or(Errno::NOMEM)?;
        // SAFETY: what is left of it.
        unsafe { cut_off(rest, rest.starting_at(wanted.end())) }?;
        if ALL_IS_LOCKED.load(Ordering::Relaxed) {
            // SAFETY: the same.
            unsafe { unlock(wanted) };
        }
        Ok(wanted)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let got = place(window.start(), window.length_bytes(), MapFlags::FIXED_NOREPLACE)?;
        if got == window {
            if ALL_IS_LOCKED.load(Ordering::Relaxed) {
                // SAFETY: reserved a moment ago, and nobody else knows of it.
                unsafe { unlock(window) };
            }
            return Ok(());
        }
        // Kernels before 4.17 take the address for a wish.
        // SAFETY: the kernel has placed it a moment ago, and nobody else knows of it.
        let _ = unsafe { unmap(got) };
        Err(ReserveError::Occupied)
    }

    /// `munmap(2)` takes out placeholders and mappings alike.
    #[inline]
    fn release_unmaps(&self) -> bool {
        true
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller holds the reservation, and nobody uses what is mapped in it.
        unsafe { unmap(window) }
    }
}

fn pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

/// Maps a new placeholder. `flags` must not contain `FIXED`.
fn place(address: usize, length_bytes: usize, flags: MapFlags) -> Result<Extent, Errno> {
    let flags = flags | MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: without `FIXED` the kernel places the mapping where nothing is.
    let start = unsafe { mm::mmap_anonymous(pointer(address), length_bytes, ProtFlags::empty(), flags) };
    return_buffer::fill();
    Extent::new(start.map_err(errno)?.expose_provenance(), length_bytes).ok_or(Errno::NOMEM)
}

unsafe fn unmap(window: Extent) -> Result<(), Errno> {
    // SAFETY: the caller owns the window, and nobody uses it.
    let unmapped = unsafe { mm::munmap(pointer(window.start()), window.length_bytes()) };
    return_buffer::fill();
    unmapped.map_err(errno)
}

/// Unmaps a surplus of `held`; all of it if that fails.
///
/// # Safety
///
/// The caller owns `held`, and nobody uses it.
#[inline(never)]
unsafe fn cut_off(held: Extent, surplus: Option<Extent>) -> Result<(), Errno> {
    let Some(surplus) = surplus else { return Ok(()) };
    // SAFETY: the caller's promise.
    unsafe { unmap(surplus) }.inspect_err(|_| {
        // SAFETY: the same.
        let _ = unsafe { unmap(held) };
    })
}

/// Maps one file over windows of reservations.
///
/// When the kernel refuses to map over a placeholder, the placeholder may be gone already, and whatever another thread
/// maps in that moment may lie in the hole. So what refuses every mapping (a file system that was shut down, a device
/// that has gone, a seal, a limit) is found out elsewhere: the first mapping is tried outside every reservation, and so
/// is each one after a refusal, until one has succeeded.
#[derive(Debug)]
pub struct Mapper {
    /// The unit in which the kernel maps the file, in bytes.
    unit_bytes: usize,
    /// The last mapping was not refused.
    proven: AtomicBool,
}

impl Mapper {
    /// Returns one that has mapped nothing yet, of a file that the kernel maps in units of `unit_bytes`.
    #[must_use]
    pub const fn new(unit_bytes: usize) -> Self {
        Self { unit_bytes, proven: AtomicBool::new(false) }
    }

    /// Maps the bytes of `fd` from `offset` on over `window`, shared, readable and writable; one system call, and three
    /// where it is tried elsewhere first.
    ///
    /// `sync` asks for `MAP_SYNC`. See `mmap(2)`.
    ///
    /// # Errors
    ///
    /// The kernel's reason. `WindowLost` where it is not certain that the placeholder is in the window again: it is put
    /// back only where nothing is (`MAP_FIXED_NOREPLACE`).
    ///
    /// # Safety
    ///
    /// The caller holds the reservation that `window` lies in, and nothing that is in use is mapped in `window`. The
    /// kernel maps `fd` in the units that [`new`](Self::new) was given, and `window` consists of whole ones.
    #[inline]
    pub unsafe fn map(&self, window: Extent, fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<(), MapFailure> {
        // SAFETY: the caller's promise.
        let mapped = unsafe { self.map_before_call(window, fd, offset, sync) };
        return_buffer::fill();
        mapped
    }

    /// As [`map`](Self::map), for a caller whose next step is another system call: nothing returns before that.
    ///
    /// # Errors
    ///
    /// The same.
    ///
    /// # Safety
    ///
    /// The same.
    #[inline]
    pub(crate) unsafe fn map_before_call(
        &self,
        window: Extent,
        fd: BorrowedFd<'_>,
        offset: u64,
        sync: bool,
    ) -> Result<(), MapFailure> {
        let proven = self.proven.load(Ordering::Relaxed);
        if !proven {
            // SAFETY: the caller holds the window.
            unsafe { self.try_elsewhere(window, fd, offset, sync) }?;
        }
        // SAFETY: the caller's promise.
        let mapped = unsafe { map_file(window, fd, offset, sync) };
        if mapped.is_ok() != proven {
            self.proven.store(!proven, Ordering::Relaxed);
        }
        mapped
    }

    /// Tries to map as much of `fd` as `window` has, outside every reservation; touches neither `window` nor the file.
    ///
    /// # Errors
    ///
    /// The kernel's reason, where it would refuse the window as well.
    ///
    /// # Safety
    ///
    /// The caller holds the window, and its placeholder is in it.
    #[cold]
    #[inline(never)]
    unsafe fn try_elsewhere(&self, window: Extent, fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<(), Errno> {
        match try_to_map(window.length_bytes(), fd, offset, sync) {
            // So much address space besides the window is not to be had, nor needed.
            Err(Errno::NOMEM) => try_to_map(self.unit_bytes, fd, offset, sync),
            // The placeholder is locked memory (`MCL_FUTURE`) and takes the limit that is meant for the mapping.
            Err(Errno::AGAIN) => {
                ALL_IS_LOCKED.store(true, Ordering::Relaxed);
                // SAFETY: the caller holds the window, and nothing is in there.
                unsafe { unlock(window) };
                try_to_map(window.length_bytes(), fd, offset, sync)
            }
            other => other,
        }
    }
}

fn kind(sync: bool) -> MapFlags {
    if sync { MapFlags::SHARED_VALIDATE | MapFlags::SYNC } else { MapFlags::SHARED }
}

/// Maps over `window`, or says what is there now.
#[inline]
unsafe fn map_file(window: Extent, fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<(), MapFailure> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    let (start, flags) = (pointer(window.start()), kind(sync) | MapFlags::FIXED);
    // SAFETY: the caller holds the window, so that replacing what is mapped there harms nobody.
    let mapped = unsafe { mm::mmap(start, window.length_bytes(), prot, flags, fd, offset) };
    mapped.map(drop).map_err(|cause| refused(window, errno(cause)))
}

/// Puts the placeholder back into `window` where nothing is, after the kernel has refused to map there.
///
/// Where something is, it may be the placeholder, untouched, or memory that another thread has mapped in the meantime:
/// nobody can distinguish them.
#[cold]
#[inline(never)]
fn refused(window: Extent, cause: Errno) -> MapFailure {
    match place(window.start(), window.length_bytes(), MapFlags::FIXED_NOREPLACE) {
        Ok(got) if got == window => return MapFailure::Refused(cause),
        // Kernels before 4.17 take the address for a wish.
        // SAFETY: the kernel has placed it a moment ago, and nobody else knows of it.
        Ok(elsewhere) => drop(unsafe { unmap(elsewhere) }),
        Err(_) => {}
    }
    MapFailure::WindowLost(cause)
}

/// Set once it has turned out that the process locks all that is mapped: placeholders are unlocked from then on.
static ALL_IS_LOCKED: AtomicBool = AtomicBool::new(false);

/// Unlocks a placeholder; where that fails, it only takes more of a limit than it need.
#[cold]
#[inline(never)]
unsafe fn unlock(window: Extent) {
    // SAFETY: the caller holds the window, in which no memory is.
    let _ = unsafe { mm::munlock(pointer(window.start()), window.length_bytes()) };
}

/// Replaces whatever is mapped in `window` by an inaccessible placeholder, atomically; one system call.
///
/// # Errors
///
/// The kernel's reason; what was mapped there still is.
///
/// # Safety
///
/// The caller holds the reservation that `window` lies in, and nobody uses what is mapped in `window`.
#[inline]
pub unsafe fn put_placeholder(window: Extent) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    match unsafe { cover(window) } {
        Ok(()) if !ALL_IS_LOCKED.load(Ordering::Relaxed) => return Ok(()),
        // Both would be locked for a moment, which is more than the limit.
        Err(Errno::AGAIN) => {
            // SAFETY: nobody uses what is mapped there.
            unsafe { unlock(window) };
            // SAFETY: the caller's promise.
            unsafe { cover(window) }?;
        }
        Ok(()) => {}
        Err(cause) => return Err(cause),
    }
    // SAFETY: the caller holds the window, and only the placeholder is there.
    unsafe { unlock(window) };
    Ok(())
}

#[inline(never)]
unsafe fn cover(window: Extent) -> Result<(), Errno> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: the caller holds the window, so that replacing what is mapped there harms nobody.
    let placed =
        unsafe { mm::mmap_anonymous(pointer(window.start()), window.length_bytes(), ProtFlags::empty(), flags) };
    return_buffer::fill();
    placed.map(drop).map_err(errno)
}

/// Unmaps what a failed call has mapped in `window`; where not even the placeholder can be put there, the addresses
/// stay taken and inaccessible.
///
/// # Safety
///
/// As for [`put_placeholder`].
#[cold]
pub(crate) unsafe fn take_back(window: Extent) {
    // SAFETY: the caller holds the window, and nobody uses what is mapped there.
    if unsafe { put_placeholder(window) }.is_err() {
        // SAFETY: the same.
        let _ = unsafe { mm::mprotect(pointer(window.start()), window.length_bytes(), MprotectFlags::empty()) };
    }
}

/// Synchronises the pages of `range` with the file behind them (`msync(2)`, `MS_SYNC`); interrupted calls are repeated.
#[inline]
pub(crate) fn sync_pages(range: Extent) -> Result<(), Errno> {
    loop {
        // SAFETY: `MS_SYNC` alone changes no mapping; an address without one is an error.
        let result = unsafe { mm::msync(pointer(range.start()), range.length_bytes(), mm::MsyncFlags::SYNC) };
        return_buffer::fill();
        match result {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(errno),
        }
    }
}

/// Maps `length_bytes` of `fd` outside every reservation, and unmaps them; two system calls when it works.
///
/// Works on an empty file too: nothing is touched.
pub(crate) fn try_to_map(length_bytes: usize, fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<(), Errno> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: without `FIXED` the kernel places the mapping where nothing is.
    let mapped = unsafe { mm::mmap(ptr::null_mut(), length_bytes, prot, kind(sync), fd, offset) };
    let start = mapped.map_err(errno)?;
    // SAFETY: mapped a moment ago, and nobody else knows of it.
    unsafe { mm::munmap(start, length_bytes) }.map_err(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_fit_from_2_mib_and_1_gib_on() {
        let table =
            [(4096, 2 * MIB), (2 * MIB, 2 * MIB), (2 * GIB - 4096, 2 * MIB), (2 * GIB, GIB), (usize::MAX & !4095, GIB)];
        for (length, alignment) in table {
            assert_eq!(Linux.alignment_for(length), alignment, "{length:#x}");
        }
    }

    #[test]
    fn lengths_that_wrap_are_refused() {
        assert_eq!(Linux.reserve(usize::MAX & !4095, 2 * MIB), Err(ReserveError::Failed(Errno::NOMEM)));
        assert_eq!(Linux.reserve(1 << 62, 4096), Err(ReserveError::Failed(Errno::NOMEM)));
    }
}
