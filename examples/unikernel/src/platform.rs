//! The platform: the window's addresses, its page tables, and the processor's cache instructions.

use firmware::space::Space;
use pmemset_core::arch::Cpu;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Errno, Extent, Platform};
use spin::Mutex;

use crate::paging::{self, Cache, PAGE_BYTES, Tables};

const RESERVATIONS_MAX: usize = 32;

const WINDOW: Extent = match Extent::new(paging::WINDOW_START, paging::WINDOW_BYTES) {
    Some(window) => window,
    None => panic!("the window is not empty"),
};

static SPACE: Mutex<Space<RESERVATIONS_MAX>> = Mutex::new(Space::new(WINDOW));
static TABLES: Mutex<Tables> = Mutex::new(Tables::new());

/// This machine.
#[derive(Debug)]
pub struct Machine {
    cpu: Cpu,
}

impl Machine {
    /// Returns the machine.
    pub fn new() -> Self {
        Self { cpu: Cpu::detect() }
    }

    /// Maps device registers and returns their address.
    pub fn map_device(physical: u64, length_bytes: usize) -> Result<usize, Errno> {
        let inside = physical as usize % PAGE_BYTES;
        let whole = (inside + length_bytes).next_multiple_of(PAGE_BYTES);
        let window = SPACE.lock().reserve(whole, PAGE_BYTES)?;
        map(window, physical - inside as u64, Cache::Device)?;
        Ok(window.start() + inside)
    }
}

/// Maps `window`, which the caller has reserved, to physical memory.
pub fn map(window: Extent, physical: u64, cache: Cache) -> Result<(), Errno> {
    TABLES.lock().map(window, physical, cache)
}

/// Unmaps `window`; nobody may use it any more.
pub fn unmap(window: Extent) {
    TABLES.lock().unmap(window);
}

// SAFETY: `Space` hands out no address twice, and maps nothing there by itself.
unsafe impl Platform for Machine {
    type Lock = SpinRwLock;

    fn page_size_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    fn alignment_for(&self, length_bytes: usize) -> usize {
        if length_bytes >= paging::LARGE_BYTES { paging::LARGE_BYTES } else { PAGE_BYTES }
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        SPACE.lock().reserve(length_bytes, alignment_bytes)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
        SPACE.lock().reserve_at(window)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        SPACE.lock().release(window)
    }
}
