//! Who uses which part: one counter per slot, raised under the books' read lock, lowered under none.

use crate::arch::prefetch;
use crate::atomic::{AtomicU32, Ordering};

/// Handles that one part may have at once.
pub(crate) const PINS_MAX: u32 = 1 << 30;

/// A counter per slot of the books; that of a part's first segment counts the part's handles.
///
/// Raising happens under the read lock of the books, so whoever holds the write lock sees counters that can only fall.
#[derive(Debug)]
pub(crate) struct Pins<const N: usize>([AtomicU32; N]);

impl<const N: usize> Pins<N> {
    /// Returns pins over counters that are 0.
    pub(crate) const fn new(counters: [AtomicU32; N]) -> Self {
        Self(counters)
    }

    fn of(&self, slot: u32) -> Option<&AtomicU32> {
        self.0.get(slot as usize)
    }

    /// Asks for the counter of a slot that is about to be pinned.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.of(slot).into_iter().for_each(prefetch);
    }

    /// Adds a handle; `false` when there are too many. The caller holds the books' read or write lock.
    pub(crate) fn pin(&self, slot: u32) -> bool {
        let Some(pins) = self.of(slot) else { return false };
        if pins.fetch_add(1, Ordering::Acquire) < PINS_MAX {
            return true;
        }
        pins.fetch_sub(1, Ordering::Release);
        false
    }

    /// Takes a handle away; what its owner did with the memory comes before whatever the next remover does.
    pub(crate) fn unpin(&self, slot: u32) {
        if let Some(pins) = self.of(slot) {
            pins.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns the number of handles. Under the books' write lock it can only fall.
    pub(crate) fn count(&self, slot: u32) -> u32 {
        self.of(slot).map_or(0, |pins| pins.load(Ordering::Acquire))
    }

    /// Moves the handles of a part to its new first segment. The caller holds the books' write lock and all handles.
    pub(crate) fn hand_over(&self, from: u32, to: u32) {
        if let (Some(from), Some(to)) = (self.of(from), self.of(to)) {
            to.store(from.load(Ordering::Acquire), Ordering::Release);
            from.store(0, Ordering::Release);
        }
    }
}
