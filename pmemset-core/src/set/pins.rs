//! Who uses which segment: two counters per slot of the books, raised under the books' read lock, lowered under none.
//! A removal that does not hold the books' lock while it unmaps closes them before, so that none is raised meanwhile.

use crate::arch::prefetch;
use crate::atomic::{AtomicU32, Ordering};

/// Uses that one counter has room for.
pub(crate) const PINS_MAX: u32 = 1 << 30;
/// In a counter that is closed; large enough that it counts as full.
const CLOSED: u32 = 1 << 31;

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// Bytes of this segment: by a call that is running, or a handle to a range.
    Segment,
    /// The whole part that this segment is the first of, whatever it grows by.
    Part,
}

/// The uses of a segment.
#[derive(Debug)]
pub(crate) struct Pin {
    segment: AtomicU32,
    part: AtomicU32,
}

impl Pin {
    /// Returns a pin over two counters that are 0.
    pub(crate) const fn new(segment: AtomicU32, part: AtomicU32) -> Self {
        Self { segment, part }
    }

    const fn counter(&self, what: Pinned) -> &AtomicU32 {
        match what {
            Pinned::Segment => &self.segment,
            Pinned::Part => &self.part,
        }
    }
}

/// The pins of all slots.
///
/// Raising happens under the read lock of the books, so whoever holds the write lock sees counters that can only fall.
#[derive(Debug)]
pub(crate) struct Pins<A>(A);

impl<A: AsRef<[Pin]>> Pins<A> {
    /// Returns the pins of a set: as many as there are slots.
    pub(crate) const fn new(pins: A) -> Self {
        Self(pins)
    }

    /// Returns the number of slots.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().len()
    }

    #[inline]
    fn of(&self, slot: u32) -> Option<&Pin> {
        self.0.as_ref().get(slot as usize)
    }

    #[inline]
    fn counter(&self, slot: u32, what: Pinned) -> Option<&AtomicU32> {
        self.of(slot).map(|pin| pin.counter(what))
    }

    /// Asks for the counters of a slot that is about to be pinned.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.of(slot).into_iter().for_each(prefetch);
    }

    /// Adds a use; `false` when there are too many, or the counter is closed. The caller holds the books' read or write
    /// lock.
    #[inline]
    pub(crate) fn pin(&self, slot: u32, what: Pinned) -> bool {
        let Some(counter) = self.counter(slot, what) else { return false };
        if counter.fetch_add(1, Ordering::Acquire) < PINS_MAX {
            return true;
        }
        counter.fetch_sub(1, Ordering::Release);
        false
    }

    /// Takes a use away; what its owner did with the memory comes before whatever the next remover does.
    #[inline]
    pub(crate) fn unpin(&self, slot: u32, what: Pinned) {
        if let Some(counter) = self.counter(slot, what) {
            counter.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns the number of uses. Under the books' write lock it can only fall. Of a closed counter, 0, or those that
    /// are being refused.
    pub(crate) fn count(&self, slot: u32, what: Pinned) -> u32 {
        self.counter(slot, what).map_or(0, |counter| counter.load(Ordering::Acquire) & !CLOSED)
    }

    /// Lets no more uses in until [`set`](Self::set), and forgets those that there are, if these are the `own` ones of
    /// the caller; `false`, and nothing has changed, if not. The caller holds the books' read or write lock, and has
    /// the turn.
    pub(crate) fn close(&self, slot: u32, what: Pinned, own: u32) -> bool {
        self.counter(slot, what)
            .is_none_or(|counter| counter.compare_exchange(own, CLOSED, Ordering::Acquire, Ordering::Relaxed).is_ok())
    }

    /// Sets the number of uses. The caller holds the books' write lock, and all uses that there are.
    pub(crate) fn set(&self, slot: u32, what: Pinned, count: u32) {
        if let Some(counter) = self.counter(slot, what) {
            counter.store(count, Ordering::Release);
        }
    }
}
