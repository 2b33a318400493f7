//! The page tables of the window that parts live in; everything below it stays mapped one to one.

use core::arch::asm;

use bare::{LARGE_BYTES, PAGE_BYTES};
use pmemset_core::{Errno, Extent};

/// The window: the second entry of the root table, 512 GiB of addresses.
pub const WINDOW_START: usize = 1 << 39;
/// Length of the window in bytes.
pub const WINDOW_BYTES: usize = 1 << 39;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = 3 << 3;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Tables that the window may need: one of the third level, the others are taken as mappings come.
const TABLES_MAX: usize = 24;

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Table([u64; 512]);

unsafe extern "C" {
    static mut root_table: Table;
}

/// How a mapping is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As memory: write back.
    Memory,
    /// Not at all: device registers.
    Device,
}

/// The page tables of the window; tables that were needed once stay.
pub struct Tables {
    pool: [Table; TABLES_MAX],
    used: usize,
}

impl Tables {
    /// Returns tables that map nothing.
    pub const fn new() -> Self {
        Self { pool: [Table([0; 512]); TABLES_MAX], used: 0 }
    }

    /// Maps `window` to the physical memory from `physical` on; both on page boundaries.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `physical` is no page of this processor's.
    /// - `EEXIST`: something is mapped in the window.
    /// - `ENOMEM`: no table is left. What was mapped of the window is unmapped again.
    pub fn map(&mut self, window: Extent, physical: u64, cache: Cache) -> Result<(), Errno> {
        let flags = PRESENT | WRITABLE | if cache == Cache::Device { UNCACHED } else { 0 };
        let last = physical.checked_add((window.length_bytes() - 1) as u64);
        if last.is_none_or(|last| (physical | last) & !(ADDRESS | 0xfff) != 0) || physical & !ADDRESS != 0 {
            return Err(Errno::INVAL);
        }
        let mut at = window;
        loop {
            let target = physical + (at.start() - window.start()) as u64;
            let large = at.start().is_multiple_of(LARGE_BYTES)
                && target.is_multiple_of(LARGE_BYTES as u64)
                && at.length_bytes() >= LARGE_BYTES
                && cache == Cache::Memory;
            let level = if large { 2 } else { 1 };
            let placed = match self.entry(at.start(), level) {
                Ok(entry) if *entry & PRESENT != 0 => Err(Errno::EXIST),
                Ok(entry) => {
                    *entry = target | flags | if large { LARGE } else { 0 };
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = placed {
                window.ending_at(at.start()).into_iter().for_each(|done| self.unmap(done));
                return Err(error);
            }
            match at.starting_at(at.start() + if large { LARGE_BYTES } else { PAGE_BYTES }) {
                Some(rest) => at = rest,
                None => return Ok(()),
            }
        }
    }

    /// Unmaps every page that lies in `window`.
    pub fn unmap(&mut self, window: Extent) {
        let mut at = Some(window);
        while let Some(rest) = at {
            let large = matches!(self.entry(rest.start(), 2), Ok(entry) if *entry & LARGE != 0);
            if let Ok(entry) = self.entry(rest.start(), if large { 2 } else { 1 }) {
                *entry = 0;
            }
            // SAFETY: forgets a translation that is no longer there.
            unsafe { asm!("invlpg [{}]", in(reg) rest.start(), options(nostack, preserves_flags)) };
            at = rest.starting_at(rest.start() + if large { LARGE_BYTES } else { PAGE_BYTES });
        }
    }

    /// Returns the entry of `address` at `level` (1: pages, 2: large pages), making tables on the way.
    fn entry(&mut self, address: usize, level: u32) -> Result<&mut u64, Errno> {
        let root = &raw mut root_table;
        // SAFETY: the root table is there since boot, and only these tables change it, one caller at a time.
        let mut table: &mut Table = unsafe { &mut *root };
        for depth in [3, 2, 1] {
            let entry = &mut table.0[(address >> (12 + 9 * depth)) & 511];
            if depth + 1 == level {
                return Ok(entry);
            }
            if *entry & LARGE != 0 {
                return Err(Errno::EXIST);
            }
            if *entry & PRESENT == 0 {
                let fresh = self.pool.get(self.used).ok_or(Errno::NOMEM)?;
                *entry = (core::ptr::from_ref(fresh) as u64) | PRESENT | WRITABLE;
                self.used += 1;
            }
            // SAFETY: entries above the last level hold the address of a table of the pool, mapped one to one.
            table = unsafe { &mut *((*entry & ADDRESS) as *mut Table) };
        }
        Ok(&mut table.0[(address >> 12) & 511])
    }
}
