//! This kernel as the library sees it: its addresses, its page tables, and what memory is its own.

use bare::paging::{Cache, Paging};
use bare::{Addresses, Kernel, PAGE_BYTES};
use pmemset_core::{Errno, Extent, Span};
use spin::Once;

use crate::boot::StartInfo;
use crate::paging::{self, Pool};

/// The platform of this kernel's sets: the window, with room for 32 reservations.
pub type Machine = Addresses<32>;

const WINDOW: Extent = match Extent::new(paging::WINDOW_START, paging::WINDOW_BYTES) {
    Some(window) => window,
    None => panic!("the window is not empty"),
};

static MACHINE: Once<Machine> = Once::new();
// SAFETY: the only one.
static PAGING: Paging<Pool> = Paging::new(unsafe { Pool::new() });

/// Returns the platform.
pub fn machine() -> &'static Machine {
    MACHINE.call_once(|| Addresses::new(WINDOW))
}

/// This kernel: the first 4 GiB are mapped one to one, and the window is for parts and registers.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    info: StartInfo,
}

impl Own {
    /// Returns the kernel that was started with `info`.
    pub const fn new(info: StartInfo) -> Self {
        Self { info }
    }
}

// SAFETY: `Paging` changes the window's entries and no others; there is one processor. Registers get addresses that are
// never given back. Firmware tables are not changed.
unsafe impl Kernel for Own {
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(physical).ok()?;
        let end = start.checked_add(length_bytes)?;
        // SAFETY: memory below 4 GiB is mapped; firmware tables are there, and nobody changes them.
        let bytes = || unsafe { core::slice::from_raw_parts(start as *const u8, length_bytes) };
        (start != 0 && end <= 1 << 32).then(bytes)
    }

    fn acpi_root(&self) -> Option<u64> {
        Some(self.info.rsdp)
    }

    fn is_in_use(&self, range: Span) -> bool {
        self.info.is_in_use(range)
    }

    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { PAGING.map(window, physical, Cache::Memory) }
    }

    unsafe fn unmap(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { PAGING.unmap(window) };
        Ok(())
    }

    fn map_registers(&self, physical: u64, length_bytes: usize) -> Result<usize, Errno> {
        let inside = (physical % PAGE_BYTES as u64) as usize;
        let whole = inside.checked_add(length_bytes).and_then(|end| end.checked_next_multiple_of(PAGE_BYTES));
        let window = machine().reserve_pages(whole.ok_or(Errno::OVERFLOW)?)?;
        // SAFETY: just reserved, for good.
        unsafe { PAGING.map(window, physical - inside as u64, Cache::Device) }?;
        Ok(window.start() + inside)
    }
}
