//! The address space of a Linux process: reserved with inaccessible placeholders, mapped over, given back whole.
#![allow(unsafe_code, reason = "reserving and mapping memory is what this file is for")]

use core::ffi::c_void;
use core::ptr;

use pmemset_core::arch::Cpu;
use pmemset_core::{Errno, Extent, Platform};
use rustix::fd::BorrowedFd;
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

use crate::auxv;
use crate::lock::StripedRwLock;
use crate::return_buffer;

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// A Linux process as the place where parts live.
///
/// Has no state of its own: every value is the same platform, and a set that uses it can be a `static`.
///
/// # Forks and signal handlers
///
/// The locks of sets and sources belong to one process. A child forked (`fork(2)`) while another thread is in a call of
/// the set may find a lock taken for ever: it hangs at its first call. Fork before there are other threads, or `exec` at
/// once. A signal handler must not call a set: it hangs when the call that it has interrupted holds the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linux;

impl Linux {
    /// Returns the platform.
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

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        let mask = alignment_bytes.wrapping_sub(1);
        let slack = alignment_bytes.saturating_sub(self.page_size_bytes());
        let total = length_bytes.checked_add(slack).ok_or(Errno::NOMEM)?;
        let whole = place(0, total, MapFlags::empty())?;
        let start = whole.start().checked_add(mask).ok_or(Errno::NOMEM)? & !mask;
        let wanted = Extent::new(start, length_bytes).ok_or(Errno::NOMEM)?;
        // SAFETY: reserved a moment ago, and nobody else knows of it.
        unsafe { cut_off(whole, whole.before(start)) }?;
        let rest = whole.from(start).ok_or(Errno::NOMEM)?;
        // SAFETY: what is left of it.
        unsafe { cut_off(rest, rest.from(wanted.end())) }?;
        Ok(wanted)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
        let got = place(window.start(), window.length_bytes(), MapFlags::FIXED_NOREPLACE)?;
        if got == window {
            return Ok(());
        }
        // Kernels before 4.17 take the address for a wish.
        // SAFETY: the kernel has placed it a moment ago, and nobody else knows of it.
        let _ = unsafe { unmap(got) };
        Err(Errno::EXIST)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller holds the reservation, and nothing is mapped in it.
        unsafe { unmap(window) }
    }
}

/// Returns the kernel's error number as the core knows it.
pub(crate) const fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

fn pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

/// Maps a new placeholder. `flags` must not contain `FIXED`.
fn place(address: usize, length_bytes: usize, flags: MapFlags) -> Result<Extent, Errno> {
    let flags = flags | MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: without `FIXED` the kernel places the mapping where nothing is.
    let start = unsafe { mm::mmap_anonymous(pointer(address), length_bytes, ProtFlags::empty(), flags) };
    Extent::new(start.map_err(errno)?.expose_provenance(), length_bytes).ok_or(Errno::NOMEM)
}

unsafe fn unmap(window: Extent) -> Result<(), Errno> {
    // SAFETY: the caller owns the window, and nobody uses it.
    unsafe { mm::munmap(pointer(window.start()), window.length_bytes()) }.map_err(errno)
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

/// Maps the bytes of `fd` from `offset` on over `window`, shared, readable and writable; one system call.
///
/// `sync` asks for `MAP_SYNC`: ask only when it is known to work, because a refusal can leave a hole where the
/// placeholder was. See `mmap(2)`.
///
/// # Errors
///
/// The kernel's reason; the placeholder has been put back then.
///
/// # Safety
///
/// The caller holds the reservation that `window` lies in, and nothing that is in use is mapped in `window`.
#[inline]
pub unsafe fn map_file(window: Extent, fd: BorrowedFd<'_>, offset: u64, sync: bool) -> Result<(), Errno> {
    let kind = if sync { MapFlags::SHARED_VALIDATE | MapFlags::SYNC } else { MapFlags::SHARED };
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    let start = pointer(window.start());
    // SAFETY: the caller holds the window, so that replacing what is mapped there harms nobody.
    let mapped = unsafe { mm::mmap(start, window.length_bytes(), prot, kind | MapFlags::FIXED, fd, offset) };
    return_buffer::fill();
    match mapped {
        Ok(_) => Ok(()),
        Err(cause) => {
            // SAFETY: as above; the kernel may have unmapped the placeholder before it gave up.
            let _ = unsafe { put_placeholder(window) };
            Err(errno(cause))
        }
    }
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
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: the caller holds the window, so that replacing what is mapped there harms nobody.
    let placed =
        unsafe { mm::mmap_anonymous(pointer(window.start()), window.length_bytes(), ProtFlags::empty(), flags) };
    return_buffer::fill();
    placed.map(|_| ()).map_err(errno)
}

/// Unmaps what a failed call has mapped in `window`; where not even the placeholder can be put there, the addresses stay
/// taken and inaccessible.
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

/// Tries `MAP_SYNC` on the first page of `fd`, away from every reservation; two system calls when it works.
///
/// Works on an empty file too: nothing is touched.
pub(crate) fn try_map_sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let page = auxv::page_size_bytes();
    let flags = MapFlags::SHARED_VALIDATE | MapFlags::SYNC;
    // SAFETY: without `FIXED` the kernel places the mapping where nothing is.
    let mapped = unsafe { mm::mmap(ptr::null_mut(), page, ProtFlags::READ | ProtFlags::WRITE, flags, fd, 0) };
    let start = mapped.map_err(errno)?;
    // SAFETY: mapped a moment ago, and nobody else knows of it.
    unsafe { mm::munmap(start, page) }.map_err(errno)
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
        assert_eq!(Linux.reserve(usize::MAX & !4095, 2 * MIB), Err(Errno::NOMEM));
        assert_eq!(Linux.reserve(1 << 62, 4096), Err(Errno::NOMEM));
    }
}
