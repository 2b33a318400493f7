//! A platform over a window of addresses that nothing else uses.
#![allow(unsafe_code, reason = "a platform is an unsafe duty")]

use lock_api::RwLock;
use pmemset_core::arch::Cpu;
use pmemset_core::error::ReserveError;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Errno, Extent, Platform};

use crate::space::Space;

/// Size of an ordinary page in bytes.
pub const PAGE_BYTES: usize = 4096;
/// Size of a large page in bytes.
pub const LARGE_BYTES: usize = 2 << 20;

/// A window of addresses as the platform of sets: it gives them away, and maps nothing there by itself. Room for `N`
/// reservations.
///
/// Where memory can only be at one address, as in firmware that has all of it mapped, the window is that memory.
/// The lock spins: for several processors whose interrupt handlers do not use the set. Others are had with
/// [`WithLock`](pmemset_core::WithLock).
#[derive(Debug)]
pub struct Addresses<const N: usize> {
    cpu: Cpu,
    space: RwLock<SpinRwLock, Space<N>>,
}

impl<const N: usize> Addresses<N> {
    /// Returns the platform over `window`, all of which is free, on the processor that this runs on.
    #[must_use]
    pub fn new(window: Extent) -> Self {
        Self { cpu: Cpu::detect(), space: RwLock::new(Space::new(window)) }
    }

    /// Reserves `length_bytes` bytes of whole pages for something that is no part: registers, say.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when there is no room.
    pub fn reserve_pages(&self, length_bytes: usize) -> Result<Extent, Errno> {
        self.space.write().reserve(length_bytes, PAGE_BYTES)
    }
}

/// The address space of a kernel, or of firmware: there is one, and its page tables are for every source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSpace;

// SAFETY: `Space` gives no address away twice, and nothing is mapped there.
unsafe impl<const N: usize> Platform for Addresses<N> {
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
        Ok(self.space.write().reserve(length_bytes, alignment_bytes)?)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        Ok(self.space.write().reserve_at(window)?)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        self.space.write().release(window)
    }
}
