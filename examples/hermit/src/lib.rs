#![no_std]
#![cfg(target_arch = "x86_64")]
//! Sets in a Hermit application: the kernel's allocators of pages and frames, and page tables that are walked here.
//!
//! Hermit's own paging module is private, so this port changes the tables with the crate that the kernel uses itself:
//! [`bare::paging`]. An application fills [`Hermit`] with the kernel's functions, one line each, and has a platform and
//! a [`Kernel`] for the sources of [`bare`]; README.md says how it is linked.

use bare::paging::{Cache, Paging, Tables};
use bare::{Kernel, KernelSpace, LARGE_BYTES, PAGE_BYTES};
use free_list::{AllocError, PageLayout, PageRange};
use pmemset_core::arch::Cpu;
use pmemset_core::error::ReserveError;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Errno, Extent, Platform, Span};

/// The functions of Hermit's kernel that the port calls; [`Tables::frame`] is `FrameAlloc.allocate_frame()`.
///
/// # Safety
///
/// Pages are given away once until they are given back, and nothing is mapped there.
pub unsafe trait Hermit: Tables + Copy {
    /// Takes pages of virtual memory: `PageAlloc::allocate(layout)`.
    ///
    /// # Errors
    ///
    /// There are none.
    fn allocate(&self, layout: PageLayout) -> Result<PageRange, AllocError>;

    /// Takes exactly these: `PageAlloc::allocate_at(range)`.
    ///
    /// # Errors
    ///
    /// Some of them are taken.
    fn allocate_at(&self, range: PageRange) -> Result<(), AllocError>;

    /// Gives pages back: `PageAlloc::deallocate(range)`.
    ///
    /// # Safety
    ///
    /// They are taken, and nothing is mapped there.
    unsafe fn deallocate(&self, range: PageRange);

    /// Returns whether some of this physical memory is the kernel's: what the loader has told it of.
    fn is_in_use(&self, range: Span) -> bool;
}

/// Tables longer than this are none.
const TABLE_BYTES_MAX: usize = 1 << 20;
/// Where a BIOS leaves the root pointer, and on which boundary (ACPI 6.5, section 5.2.5.1).
const BIOS: (u64, usize, usize) = (0xe_0000, 0x2_0000, 16);

/// Hermit as the platform of sets, and as the kernel of their sources.
#[derive(Debug)]
pub struct Port<H> {
    kernel: H,
    cpu: Cpu,
    paging: Paging<H>,
}

impl<H: Hermit> Port<H> {
    /// Returns the port to a kernel, on the processor that this runs on.
    pub fn new(kernel: H) -> Self {
        Self { kernel, cpu: Cpu::detect(), paging: Paging::new(kernel) }
    }

    /// Maps physical memory for good, and returns its address.
    fn map_for_good(&self, physical: u64, length_bytes: usize, cache: Cache) -> Result<usize, Errno> {
        let inside = physical % PAGE_BYTES as u64;
        let start = physical - inside;
        let inside = usize::try_from(inside).map_err(|_| Errno::OVERFLOW)?;
        let whole = inside.checked_add(length_bytes).and_then(|end| end.checked_next_multiple_of(PAGE_BYTES));
        let window = self.reserve(whole.ok_or(Errno::OVERFLOW)?, PAGE_BYTES).map_err(|_| Errno::NOMEM)?;
        // SAFETY: just reserved.
        unsafe { self.paging.map(window, start, cache) }.inspect_err(|_| {
            // SAFETY: reserved above, and nothing is mapped there.
            let _ = unsafe { self.release(window) };
        })?;
        Ok(window.start() + inside)
    }
}

fn range(window: Extent) -> Result<PageRange, Errno> {
    PageRange::new(window.start(), window.end()).map_err(|_| Errno::INVAL)
}

// SAFETY: the kernel's allocator gives no page away twice.
unsafe impl<H: Hermit> Platform for Port<H> {
    type Lock = SpinRwLock;
    type Space = KernelSpace;

    fn space(&self) -> KernelSpace {
        KernelSpace
    }

    fn page_size_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    fn alignment_for(&self, length_bytes: usize) -> usize {
        if length_bytes >= LARGE_BYTES { LARGE_BYTES } else { PAGE_BYTES }
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let layout = PageLayout::from_size_align(length_bytes, alignment_bytes).map_err(|_| ReserveError::CannotFit)?;
        let found = self.kernel.allocate(layout).map_err(|_| ReserveError::CannotFit)?;
        Extent::new(found.start(), length_bytes).ok_or(ReserveError::CannotFit)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.kernel.allocate_at(range(window)?).map_err(|_| ReserveError::Occupied)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let range = range(window)?;
        // SAFETY: the caller has reserved all of it, and nothing is mapped there.
        unsafe { self.kernel.deallocate(range) };
        Ok(())
    }
}

// SAFETY: `Paging` changes the entries of the window and no others. Registers and tables get pages that are never given
// back. (Translations are forgotten on one processor: see README.md.)
unsafe impl<H: Hermit> Kernel for Port<H> {
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
        let is_short = (1..=TABLE_BYTES_MAX).contains(&length_bytes);
        let start = is_short.then(|| self.map_for_good(physical, length_bytes, Cache::Memory))?.ok()?;
        // SAFETY: mapped for good; nobody changes the firmware's tables.
        Some(unsafe { core::slice::from_raw_parts(start as *const u8, length_bytes) })
    }

    fn acpi_root(&self) -> Option<u64> {
        let (start, length_bytes, boundary) = BIOS;
        let mut places = self.bytes(start, length_bytes)?.chunks(boundary);
        places.position(|place| place.starts_with(b"RSD PTR ")).map(|index| start + (index * boundary) as u64)
    }

    fn is_in_use(&self, range: Span) -> bool {
        self.kernel.is_in_use(range)
    }

    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { self.paging.map(window, physical, Cache::Memory) }
    }

    unsafe fn unmap(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { self.paging.unmap(window) };
        Ok(())
    }

    fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno> {
        self.map_for_good(physical, length_bytes, Cache::Device)
    }
}
