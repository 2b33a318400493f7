//! The page tables of the window that parts live in; everything below it stays mapped one to one.

use bare::paging::Tables;
use x86_64::PhysAddr;
use x86_64::structures::paging::{PageTable, PhysFrame};

/// The window: the second entry of the root table, 512 GiB of addresses.
pub const WINDOW_START: usize = 1 << 39;
/// Length of the window in bytes.
pub const WINDOW_BYTES: usize = 1 << 39;

/// Tables that the window may need: one of the third level, the others are taken as mappings come.
const TABLES_MAX: usize = 24;

static mut POOL: [PageTable; TABLES_MAX] = [const { PageTable::new() }; TABLES_MAX];

/// Gives tables of the pool away; those that were needed once stay. There is one.
#[derive(Debug)]
pub struct Pool {
    used: usize,
}

impl Pool {
    /// Returns the pool, of which nothing is used.
    ///
    /// # Safety
    ///
    /// There is no other.
    pub const unsafe fn new() -> Self {
        Self { used: 0 }
    }
}

// SAFETY: memory below 4 GiB, where the tables are, is mapped one to one; the window's entries are changed by `Paging`
// alone, and there is one processor.
unsafe impl Tables for Pool {
    fn frame(&mut self) -> Option<PhysFrame> {
        if self.used >= TABLES_MAX {
            return None;
        }
        let table = (&raw mut POOL).cast::<PageTable>().wrapping_add(self.used).expose_provenance();
        self.used += 1;
        PhysFrame::from_start_address(PhysAddr::new(table as u64)).ok()
    }
}
