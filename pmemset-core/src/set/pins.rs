//! Who uses which segment: two words per slot of the books, raised without a lock if nothing has changed, lowered under none.

use crate::arch::prefetch;
use crate::atomic::{AtomicU32, Ordering};

/// Uses that a slot may have. One word has room for twice as many, and what is above them says what has become of it.
pub(crate) const PINS_MAX: u32 = CLOSED / 2;
/// The bits of a word that count uses.
const USES: u32 = CLOSED - 1;
/// A removal is about to take the slot, or has taken it: no uses come in addition.
const CLOSED: u32 = 1 << 23;
/// The bits above count what the slot has been used for, modulo [`GENERATIONS`].
const GENERATION: u32 = CLOSED << 1;
/// Different generations. Each begins with a change of the books.
pub(crate) const GENERATIONS: usize = 1 << (GENERATION.leading_zeros() + 1);

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
    /// Returns a pin over two words that are 0.
    pub(crate) const fn new(segment: AtomicU32, part: AtomicU32) -> Self {
        Self { segment, part }
    }

    const fn word(&self, what: Pinned) -> &AtomicU32 {
        match what {
            Pinned::Segment => &self.segment,
            Pinned::Part => &self.part,
        }
    }
}

/// The pins of all slots.
///
/// Who has the lock of the books, for reading or writing, [`pin`](Self::pin)s. Who looks without it takes the
/// [`word`](Self::word) of the slot while the books do not change, and [`pin_as`](Self::pin_as) lets no use in if the word
/// is another one since, but for uses. So no use is ever counted for a moment of something that was not looked for, and
/// a removal, which [`close`](Self::close)s words under the lock for writing, meets none but real ones.
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
    fn place(&self, slot: u32, what: Pinned) -> Option<&AtomicU32> {
        self.of(slot).map(|pin| pin.word(what))
    }

    /// Asks for the words of a slot that is about to be pinned.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.of(slot).into_iter().for_each(prefetch);
    }

    /// Returns the word of a slot, closed if there is no such slot.
    #[inline]
    pub(crate) fn word(&self, slot: u32, what: Pinned) -> u32 {
        self.place(slot, what).map_or(CLOSED, |place| place.load(Ordering::Relaxed))
    }

    /// Adds a use, unless there are too many, or the slot is another one's than when its word was `seen`, or closed.
    ///
    /// A word that comes round to the same generation is taken for the same: less than [`GENERATIONS`] changes of the
    /// books may lie between.
    #[inline]
    pub(crate) fn pin_as(&self, slot: u32, what: Pinned, seen: u32) -> bool {
        let Some(place) = self.place(slot, what) else { return false };
        let mut word = seen;
        while word & CLOSED == 0 && (word ^ seen) < CLOSED && word & USES < PINS_MAX {
            match place.compare_exchange_weak(word, word.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Adds a use; `false` when there are too many. The caller holds the books' read or write lock.
    #[inline]
    pub(crate) fn pin(&self, slot: u32, what: Pinned) -> bool {
        let Some(place) = self.place(slot, what) else { return false };
        if place.fetch_add(1, Ordering::Acquire) & USES < PINS_MAX {
            return true;
        }
        place.fetch_sub(1, Ordering::Release);
        false
    }

    /// Takes a use away; what its owner did with the memory comes before whatever the next remover does.
    #[inline]
    pub(crate) fn unpin(&self, slot: u32, what: Pinned) {
        if let Some(place) = self.place(slot, what) {
            place.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns the number of uses. Under the books' write lock, where nobody looks without it, it can only fall.
    pub(crate) fn count(&self, slot: u32, what: Pinned) -> u32 {
        self.place(slot, what).map_or(0, |place| place.load(Ordering::Acquire) & USES)
    }

    /// Lets no more uses in, if there are not more than the `own` ones of the caller, who holds the write lock.
    pub(crate) fn close(&self, slot: u32, what: Pinned, own: u32) -> bool {
        let Some(place) = self.place(slot, what) else { return false };
        let mut word = place.load(Ordering::Relaxed);
        while word & USES <= own {
            match place.compare_exchange_weak(word, word | CLOSED, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Lets uses in again where they were not; those that looked before only if nothing `has_changed`. The caller holds
    /// the write lock.
    pub(crate) fn open(&self, slot: u32, what: Pinned, has_changed: bool) {
        if let Some(place) = self.place(slot, what) {
            let word = place.load(Ordering::Relaxed);
            if word & CLOSED != 0 {
                let generation = if has_changed { GENERATION } else { 0 };
                place.store((word & !CLOSED).wrapping_add(generation), Ordering::Release);
            }
        }
    }

    /// Begins with a new segment in a slot, which `uses` use, and nobody a part of. The caller holds the write lock.
    ///
    /// Whatever was in the words: the memory may be that of a set that was forgotten, handles and all.
    pub(crate) fn begin(&self, slot: u32, uses: u32) {
        let Some(pin) = self.of(slot) else { return };
        for (place, uses) in [(&pin.segment, uses), (&pin.part, 0)] {
            let generation = place.load(Ordering::Relaxed).wrapping_add(GENERATION) & !(GENERATION - 1);
            place.store(generation | uses, Ordering::Release);
        }
    }
}
