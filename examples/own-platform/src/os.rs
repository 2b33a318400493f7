//! Stands in for an operating system: what a port calls, and the only file that goes when you copy the example.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::sync::OnceLock;

/// The system's page size in bytes.
pub const PAGE_BYTES: usize = 4096;
const PAGES: usize = 1024;

/// The pages of the system's one region of addresses, and which of them are taken.
struct Region {
    start: usize,
    taken: Mutex<[bool; PAGES]>,
}

fn region() -> &'static Region {
    static REGION: OnceLock<Region> = OnceLock::new();
    REGION.get_or_init(|| {
        let memory = vec![0_u8; (PAGES + 1) * PAGE_BYTES].leak();
        let start = memory.as_mut_ptr().expose_provenance().next_multiple_of(PAGE_BYTES);
        Region { start, taken: Mutex::new([false; PAGES]) }
    })
}

/// Changes the pages of a range from `from` to the opposite, if all of them are `from`.
fn mark(start: usize, length_bytes: usize, from: bool) -> bool {
    let region = region();
    let Some(first) = start.checked_sub(region.start).map(|bytes| bytes / PAGE_BYTES) else { return false };
    let Ok(mut taken) = region.taken.lock() else { return false };
    let pages = first.checked_add(length_bytes / PAGE_BYTES).and_then(|end| taken.get_mut(first..end));
    match pages {
        Some(pages) if pages.iter().all(|taken| *taken == from) => {
            pages.fill(!from);
            true
        }
        _ => false,
    }
}

/// Takes addresses out of the free ones: the lowest that fit.
#[must_use]
pub fn reserve(length_bytes: usize, alignment_bytes: usize) -> Option<usize> {
    let start = region().start;
    let mut starts = (start..start + PAGES * PAGE_BYTES).step_by(PAGE_BYTES);
    starts.find(|start| start.is_multiple_of(alignment_bytes) && mark(*start, length_bytes, false))
}

/// Takes exactly these addresses, if they are free.
#[must_use]
pub fn reserve_at(start: usize, length_bytes: usize) -> bool {
    mark(start, length_bytes, false)
}

/// Gives addresses back, all of which are taken.
#[must_use]
pub fn release(start: usize, length_bytes: usize) -> bool {
    mark(start, length_bytes, true)
}

/// What the disk writes at once in bytes: wider than any store, as flash and MRAM with error correction have it.
pub const BLOCK_BYTES: usize = 16;

/// A disk: blocks that are read and written, and cannot be mapped.
#[derive(Debug)]
pub struct Disk {
    bytes: Mutex<Vec<u8>>,
    broken: AtomicBool,
}

impl Disk {
    /// Returns a disk of `length_bytes` bytes, all 0.
    #[must_use]
    pub fn new(length_bytes: usize) -> Self {
        Self { bytes: Mutex::new(vec![0; length_bytes]), broken: AtomicBool::new(false) }
    }

    /// Takes nothing from now on (`true`), or works again (`false`): for tests, as disks break by themselves.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Returns its length in bytes.
    #[must_use]
    pub fn length_bytes(&self) -> usize {
        self.bytes.lock().map_or(0, |bytes| bytes.len())
    }

    /// Reads from byte `at` on; `false` if it ends before.
    #[must_use]
    pub fn read(&self, at: usize, into: &mut [u8]) -> bool {
        let Ok(bytes) = self.bytes.lock() else { return false };
        let found = at.checked_add(into.len()).and_then(|end| bytes.get(at..end));
        found.is_some_and(|found| {
            into.copy_from_slice(found);
            true
        })
    }

    /// Writes whole blocks from byte `at` on, durable on return; `false` if it ends before, for pieces of a block, or
    /// if the disk is broken.
    #[must_use]
    pub fn write(&self, at: usize, from: &[u8]) -> bool {
        let whole = at.is_multiple_of(BLOCK_BYTES) && from.len().is_multiple_of(BLOCK_BYTES);
        if !whole || self.broken.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(mut bytes) = self.bytes.lock() else { return false };
        let place = at.checked_add(from.len()).and_then(|end| bytes.get_mut(at..end));
        place.is_some_and(|place| {
            place.copy_from_slice(from);
            true
        })
    }
}
