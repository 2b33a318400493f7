//! What a kernel does for the sources of this library.
#![allow(unsafe_code, reason = "the trait is a kernel's promise about its page tables")]

use pmemset_core::{Errno, Extent, Span};

use crate::nfit::{Nfit, NfitError};
use crate::{PAGE_BYTES, acpi, nfit};

/// A kernel, as far as its page tables and its memory are concerned.
///
/// # Safety
///
/// [`map`](Self::map) and [`unmap`](Self::unmap) change exactly the window, on every processor, before they return.
/// [`map_registers`](Self::map_registers) returns addresses at which nothing but these registers is, for good.
/// [`bytes`](Self::bytes) returns memory that nobody changes.
pub unsafe trait Kernel: Sync {
    /// Returns `length_bytes` of memory from the physical address `physical` on, to be read: a table of the firmware's.
    /// `None` where there is no memory.
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]>;

    /// Returns the physical address of ACPI's root pointer, which a boot loader or the firmware tells.
    fn acpi_root(&self) -> Option<u64>;

    /// Returns whether some of a range of physical addresses is memory that this kernel uses for something else: its
    /// ordinary memory, its own code. Tables and devices that lie must not have it overwritten.
    fn is_in_use(&self, range: Span) -> bool;

    /// Maps `window`, which the caller has reserved and in which nothing is mapped, to the memory from `physical` on, a
    /// multiple of [`PAGE_BYTES`], cached as memory (write back), to be read and written.
    ///
    /// # Errors
    ///
    /// The kernel's reason; nothing of the window is mapped then.
    ///
    /// # Safety
    ///
    /// As above; nobody uses the window before this returns.
    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno>;

    /// Unmaps `window`, which `map` has mapped; its addresses stay reserved.
    ///
    /// # Errors
    ///
    /// The kernel's reason; the window is still mapped then.
    ///
    /// # Safety
    ///
    /// Nobody uses the window any more.
    unsafe fn unmap(&self, window: Extent) -> Result<(), Errno>;

    /// Maps registers of a device, not cached, and returns their address. They stay mapped.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno>;

    /// Returns the only address that the memory at `physical` can be mapped at, where that is so: in firmware, which
    /// has all memory mapped and gives away no addresses, say. `map` is asked for that address only.
    fn fixed_address(&self, physical: u64) -> Option<usize> {
        let _ = physical;
        None
    }

    /// Returns the NVDIMM firmware interface table, if there is one.
    ///
    /// # Errors
    ///
    /// See [`NfitError`].
    fn nfit(&self) -> Option<Result<Nfit, NfitError>>
    where
        Self: Sized,
    {
        acpi::find(self, self.acpi_root()?, *b"NFIT").map(nfit::parse)
    }
}

// SAFETY: every call goes to the kernel behind the reference.
unsafe impl<K: Kernel + ?Sized> Kernel for &K {
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
        (**self).bytes(physical, length_bytes)
    }
    fn acpi_root(&self) -> Option<u64> {
        (**self).acpi_root()
    }
    fn is_in_use(&self, range: Span) -> bool {
        (**self).is_in_use(range)
    }
    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { (**self).map(window, physical) }
    }
    unsafe fn unmap(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { (**self).unmap(window) }
    }
    fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno> {
        (**self).map_registers(physical, length_bytes)
    }
    fn fixed_address(&self, physical: u64) -> Option<usize> {
        (**self).fixed_address(physical)
    }
}

/// The physical addresses that processors have, at most.
const PHYSICAL_END: u64 = 1 << 52;

/// Returns a range of physical addresses that somebody else names, if it can be what he says: not empty, not beyond
/// what processors have, nothing that the kernel uses.
///
/// # Errors
///
/// `EINVAL`: there can be no such range. `EFAULT`: it is the kernel's own.
pub(crate) fn foreign<K: Kernel>(kernel: &K, start: u64, length_bytes: u64) -> Result<Span, Errno> {
    let range = Span::new(start, length_bytes).filter(|range| range.end() <= PHYSICAL_END).ok_or(Errno::INVAL)?;
    if kernel.is_in_use(range) { Err(Errno::FAULT) } else { Ok(range) }
}

/// As [`foreign`], for memory to be mapped: on whole pages.
pub(crate) fn foreign_memory<K: Kernel>(kernel: &K, start: u64, length_bytes: u64) -> Result<Span, Errno> {
    let range = foreign(kernel, start, length_bytes)?;
    if range.is_aligned(PAGE_BYTES as u64) { Ok(range) } else { Err(Errno::INVAL) }
}

/// Maps the bytes from `offset` on of a source that is `memory`.
///
/// # Safety
///
/// See [`Kernel::map`].
pub(crate) unsafe fn map<K: Kernel>(kernel: &K, memory: Span, window: Extent, offset: u64) -> Result<(), Errno> {
    let start = memory.start().checked_add(offset).ok_or(Errno::OVERFLOW)?;
    let wanted = Span::new(start, window.length_bytes() as u64).ok_or(Errno::OVERFLOW)?;
    if !memory.covers(wanted) {
        return Err(Errno::NXIO);
    }
    if kernel.fixed_address(start).is_some_and(|address| address != window.start()) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller's promise is passed on as it is.
    unsafe { kernel.map(window, start) }
}

/// Maps registers that a table or a device names.
pub(crate) fn registers<K: Kernel>(kernel: &K, physical: u64, length_bytes: u32) -> Result<usize, Errno> {
    foreign(kernel, physical, length_bytes.into())?;
    kernel.map_registers(physical, usize::try_from(length_bytes).map_err(|_| Errno::OVERFLOW)?)
}
