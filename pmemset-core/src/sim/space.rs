//! Simulated address space: ordinary memory whose pages are free, taken by others, reserved, or mapped.
#![allow(unsafe_code, reason = "the addresses of parts are real ones, and somebody must own the memory behind them")]

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Errno, Extent};

/// Alignment of the first address.
const BASE_ALIGNMENT_BYTES: usize = 1 << 16;

static ZEROES: [u8; 1024] = [0; 1024];

/// Memory from the heap, all 0 when it is got.
#[derive(Debug)]
struct Allocation {
    start: NonNull<u8>,
    layout: Layout,
}

impl Allocation {
    fn new(layout: Layout) -> Self {
        // SAFETY: the size is not 0.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { panic!("out of memory") };
        Self { start, layout }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and nothing refers to it any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

std::thread_local! {
    /// What the last machine of this thread had, all 0 again: an exploration starts machines by the thousands.
    static SPARE: Cell<Option<Allocation>> = const { Cell::new(None) };
}

/// Memory for the whole address space; every byte that no source is mapped over is 0.
#[derive(Debug)]
pub(super) struct Memory {
    allocation: Option<Allocation>,
    extent: Extent,
    /// The end of what was ever written to.
    touched: AtomicUsize,
}

// SAFETY: the allocation belongs to this value, whose methods lend it out by address only.
unsafe impl Send for Memory {}
// SAFETY: as above; who may store where is the business of the set that reserved the addresses.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new(length_bytes: usize) -> Self {
        let layout = Layout::from_size_align(length_bytes + BASE_ALIGNMENT_BYTES, 16).expect("a small address space");
        let spare = SPARE.try_with(Cell::take).unwrap_or_default().filter(|spare| spare.layout == layout);
        let allocation = spare.unwrap_or_else(|| Allocation::new(layout));
        let start = allocation.start.as_ptr().expose_provenance().next_multiple_of(BASE_ALIGNMENT_BYTES);
        let extent = Extent::new(start, length_bytes).expect("allocated memory does not wrap");
        Self { allocation: Some(allocation), extent, touched: AtomicUsize::new(start) }
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    fn pointer(&self, range: Extent) -> *mut u8 {
        assert!(self.extent.covers(range), "{range} is outside of the simulated address space");
        core::ptr::with_exposed_provenance_mut(range.start())
    }

    /// Copies what is stored at `range`.
    pub(super) fn read(&self, range: Extent) -> Vec<u8> {
        let mut bytes = [0].repeat(range.length_bytes());
        // SAFETY: the range lies in the allocation, `bytes` is as long, and nobody stores while a call is made.
        unsafe { core::ptr::copy_nonoverlapping(self.pointer(range), bytes.as_mut_ptr(), bytes.len()) }
        bytes
    }

    /// Returns whether `bytes` are what is stored from `range` on.
    pub(super) fn equals(&self, range: Extent, bytes: &[u8]) -> bool {
        // SAFETY: the range lies in the allocation and is initialised, and nobody stores while a call is made.
        let stored = unsafe { core::slice::from_raw_parts(self.pointer(range), range.length_bytes()) };
        stored == bytes
    }

    pub(super) fn write(&self, range: Extent, bytes: &[u8]) {
        assert_eq!(range.length_bytes(), bytes.len());
        self.touched.fetch_max(range.end(), Ordering::Relaxed);
        // SAFETY: the range lies in the allocation and `bytes` is as long; nobody has a reference into a placeholder.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer(range), bytes.len()) }
    }

    pub(super) fn clear(&self, range: Extent) {
        // SAFETY: the range lies in the allocation; nobody has a reference into what has been unmapped.
        unsafe { core::ptr::write_bytes(self.pointer(range), 0, range.length_bytes()) }
    }

    pub(super) fn is_clear(&self, range: Extent) -> bool {
        // SAFETY: the range lies in the allocation and is initialised; nobody may store to a placeholder.
        let stored = unsafe { core::slice::from_raw_parts(self.pointer(range), range.length_bytes()) };
        stored.chunks(ZEROES.len()).all(|chunk| *chunk == ZEROES[..chunk.len()])
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Programs store only where a source was mapped, and so its bytes were written.
        if let Some(touched) = Extent::between(self.extent.start(), *self.touched.get_mut()) {
            self.clear(touched);
        }
        let allocation = self.allocation.take();
        let _ = SPARE.try_with(|spare| spare.set(allocation));
    }
}

/// What is at a page of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Page {
    /// Nothing.
    Free,
    /// Somebody else's memory.
    Occupied,
    /// A reservation: inaccessible.
    Reserved,
    /// A mapping of a source, in a reservation.
    Mapped,
}

/// The state of every page.
#[derive(Debug)]
pub(super) struct Space {
    extent: Extent,
    page_bytes: usize,
    pages: Vec<Page>,
}

impl Space {
    pub(super) fn new(extent: Extent, page_bytes: usize) -> Self {
        Self { extent, page_bytes, pages: [Page::Free].repeat(extent.length_bytes() / page_bytes) }
    }

    fn range(&self, window: Extent) -> core::ops::Range<usize> {
        assert!(window.is_aligned(self.page_bytes), "{window} is not on page boundaries");
        assert!(self.extent.covers(window), "{window} is outside of the simulated address space");
        let first = (window.start() - self.extent.start()) / self.page_bytes;
        first..first + window.length_bytes() / self.page_bytes
    }

    pub(super) fn all(&self, window: Extent, state: Page) -> bool {
        self.pages[self.range(window)].iter().all(|page| *page == state)
    }

    pub(super) fn set(&mut self, window: Extent, state: Page) {
        let range = self.range(window);
        self.pages[range].fill(state);
    }

    /// Reserves the lowest free window.
    pub(super) fn reserve(&mut self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        assert!(length_bytes != 0 && length_bytes.is_multiple_of(self.page_bytes), "{length_bytes} are no whole pages");
        assert!(alignment_bytes.is_power_of_two() && alignment_bytes >= self.page_bytes, "alignment {alignment_bytes}");
        let mut start = self.extent.start().checked_next_multiple_of(alignment_bytes).ok_or(Errno::NOMEM)?;
        while let Some(window) = Extent::new(start, length_bytes).filter(|window| self.extent.covers(*window)) {
            let range = self.range(window);
            let Some(taken) = self.pages[range.clone()].iter().rposition(|page| *page != Page::Free) else {
                self.set(window, Page::Reserved);
                return Ok(window);
            };
            let behind = self.extent.start() + (range.start + taken + 1) * self.page_bytes;
            start = behind.checked_next_multiple_of(alignment_bytes).ok_or(Errno::NOMEM)?;
        }
        Err(Errno::NOMEM)
    }

    /// Reserves exactly `window`.
    pub(super) fn reserve_at(&mut self, window: Extent) -> Result<(), Errno> {
        assert!(window.is_aligned(self.page_bytes), "{window} is not on page boundaries");
        if !self.extent.covers(window) || !self.all(window, Page::Free) {
            return Err(Errno::EXIST);
        }
        self.set(window, Page::Reserved);
        Ok(())
    }

    /// Returns the runs of pages that are not free, in address order.
    pub(super) fn runs(&self) -> Vec<(Extent, Page)> {
        let mut runs: Vec<(Extent, Page)> = Vec::new();
        for (index, page) in self.pages.iter().enumerate().filter(|(_, page)| **page != Page::Free) {
            let start = self.extent.start() + index * self.page_bytes;
            let end = start + self.page_bytes;
            match runs.last_mut() {
                Some((run, state)) if run.end() == start && state == page => {
                    *run = Extent::between(run.start(), end).expect("longer than before");
                }
                _ => runs.push((Extent::between(start, end).expect("one page"), *page)),
            }
        }
        runs
    }
}
