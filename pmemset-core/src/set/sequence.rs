//! How those that look without the lock find out that the books have changed meanwhile (a sequence lock).

use crate::atomic::{AtomicUsize, Ordering, fence, hint};

/// How often a reader looks whether a change has ended before it gives up: a change takes less than a microsecond.
const LOOKS: u32 = 32;

/// The number of steps that the books have taken: two a change, so odd while there is one.
///
/// Readers load atomics that belong to the books between [`begin`](Self::begin) and [`unchanged`](Self::unchanged); if
/// that says `true`, what they loaded belongs together, as it was after every change that `begin` has seen.
///
/// The counter comes round after half as many changes as a word has values. With 32 bits a reader would have to be held up
/// between the two for a multiple of 2^31 changes exactly, more than half an hour of nothing but changes, to be misled.
#[derive(Debug)]
pub(crate) struct Sequence(AtomicUsize);

impl Sequence {
    /// Returns the sequence of books that have not changed, from a counter that is 0.
    pub(crate) const fn new(steps: AtomicUsize) -> Self {
        Self(steps)
    }

    /// Waits for the end of a change, for a short while; returns what [`unchanged`](Self::unchanged) wants.
    #[inline]
    pub(crate) fn begin(&self) -> Option<usize> {
        for _ in 0..LOOKS {
            let steps = self.0.load(Ordering::Acquire);
            if steps.is_multiple_of(2) {
                return Some(steps);
            }
            hint::spin_loop();
        }
        None
    }

    /// Returns whether nothing has changed between `begin` and the loads before this.
    ///
    /// Where one of them has seen a store of a change, or one after it with `Release`, the fence makes this load see
    /// that the change has begun.
    #[inline]
    pub(crate) fn unchanged(&self, begun: usize) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == begun
    }

    /// Returns how many changes there have been since, at least.
    #[inline]
    pub(crate) fn changes_since(&self, begun: usize) -> usize {
        self.0.load(Ordering::Relaxed).wrapping_sub(begun) / 2
    }

    /// Carries out a change. The caller has the books locked for changes; what readers look at it stores to with atomics.
    #[inline]
    pub(crate) fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        let steps = self.0.load(Ordering::Relaxed);
        self.0.store(steps.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let result = change();
        self.0.store(steps.wrapping_add(2), Ordering::Release);
        result
    }
}
