//! Who uses which segment: two words per slot of the books. A use is added under the lock of the books, or without it
//! if the word has not changed but for uses; it is taken away under none. A removal that does not hold the lock while
//! it unmaps closes them before, so that none is added meanwhile.

use crate::arch::prefetch;
use crate::atomic::{AtomicU32, Ordering};

/// Uses that a slot may have. One word has room for twice as many, and what is above them says what has become of it.
pub(crate) const PINS_MAX: u32 = CLOSED / 2;
/// The bits of a word that count uses.
const USES: u32 = CLOSED - 1;
/// No uses are added: a removal is about to take the slot, or has taken it.
const CLOSED: u32 = 1 << 23;
/// The bits from here on count what the slot has been opened for, modulo [`GENERATIONS`].
const GENERATION: u32 = CLOSED << 1;
/// How many generations there are.
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

    const fn counter(&self, what: Pinned) -> &AtomicU32 {
        match what {
            Pinned::Segment => &self.segment,
            Pinned::Part => &self.part,
        }
    }
}

/// The pins of all slots.
///
/// Who has the lock of the books, for reading or changes, [`pin`](Self::pin)s. Who looks without it takes the
/// [`word`](Self::word) of the slot while the books do not change, and [`pin_as`](Self::pin_as) adds no use if the word
/// is another one since, but for uses. So no use is ever counted for a moment of something that was not looked for, and
/// a removal, which [`close`](Self::close)s words, meets none but real ones.
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

    /// Asks for the words of a slot that is about to be pinned.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.of(slot).into_iter().for_each(prefetch);
    }

    /// Returns the word of a slot; a closed one if there is no such slot.
    ///
    /// Relaxed: [`pin_as`](Self::pin_as) finds out whether it is still so.
    #[inline]
    pub(crate) fn word(&self, slot: u32, what: Pinned) -> u32 {
        self.counter(slot, what).map_or(CLOSED, |word| word.load(Ordering::Relaxed))
    }

    /// Adds a use, unless there are too many, or the slot is closed, or has been opened for something else since its
    /// word was `seen`.
    ///
    /// A word that comes round to the same generation is taken for the same: between the two there may be fewer than
    /// [`GENERATIONS`] changes of the books. `Acquire`: what a removal did before it opened the slot again comes before
    /// whatever is done with the use.
    #[inline]
    pub(crate) fn pin_as(&self, slot: u32, what: Pinned, seen: u32) -> bool {
        let Some(place) = self.counter(slot, what) else { return false };
        let mut word = seen;
        while word & CLOSED == 0 && (word ^ seen) < CLOSED && word & USES < PINS_MAX {
            match place.compare_exchange_weak(word, word.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Adds a use; `false` when there are too many, or the slot is closed. The caller holds the books' read or write
    /// lock.
    #[inline]
    pub(crate) fn pin(&self, slot: u32, what: Pinned) -> bool {
        let Some(place) = self.counter(slot, what) else { return false };
        if place.fetch_add(1, Ordering::Acquire) & (CLOSED | USES) < PINS_MAX {
            return true;
        }
        place.fetch_sub(1, Ordering::Release);
        false
    }

    /// Takes a use away; what its owner did with the memory comes before whatever the next remover does.
    #[inline]
    pub(crate) fn unpin(&self, slot: u32, what: Pinned) {
        if let Some(place) = self.counter(slot, what) {
            place.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns the number of uses. Where nobody looks without the lock, it can only fall under the books' write lock.
    /// Of a closed slot, 0, or those that are being refused.
    pub(crate) fn count(&self, slot: u32, what: Pinned) -> u32 {
        self.counter(slot, what).map_or(0, |word| word.load(Ordering::Acquire) & USES)
    }

    /// Lets no more uses in until [`open`](Self::open), and forgets those that there are, if these are the `own` ones
    /// of the caller; `false`, and nothing has changed, if not. The caller holds the books' read or write lock, and has
    /// the turn.
    pub(crate) fn close(&self, slot: u32, what: Pinned, own: u32) -> bool {
        let Some(place) = self.counter(slot, what) else { return true };
        let word = place.load(Ordering::Relaxed);
        // Where the word changes before it is closed, somebody has added a use.
        word & (CLOSED | USES) == own
            && place
                .compare_exchange(word, word.wrapping_sub(own) | CLOSED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Lets uses in again, of which there are `count`; those that have seen the slot before it was closed only if
    /// nothing has `changed` in the books since. The caller holds the books' write lock, and all uses that there are.
    ///
    /// Whatever was in the word: the memory may be that of a set that was forgotten, handles and all. `Release`: who
    /// sees the word sees that the books have changed (`sequence.rs`).
    pub(crate) fn open(&self, slot: u32, what: Pinned, count: u32, changed: bool) {
        if let Some(place) = self.counter(slot, what) {
            let word = place.load(Ordering::Relaxed).wrapping_add(if changed { GENERATION } else { 0 });
            place.store(word & !(CLOSED | USES) | count, Ordering::Release);
        }
    }

    /// Sets the number of uses, where nobody looks without the lock. The caller holds the books' write lock, and all
    /// uses that there are.
    pub(crate) fn set(&self, slot: u32, what: Pinned, count: u32) {
        if let Some(place) = self.counter(slot, what) {
            place.store(count, Ordering::Release);
        }
    }
}
