//! How those that look without the lock find out that the books have changed meanwhile (a sequence lock).

use super::limits::LOOKS;
use crate::atomic::{AtomicUsize, Ordering, fence, hint};

/// The number of steps that the books have taken: two a change, so odd while there is one.
///
/// Readers load atomics that belong to the books between [`begin`](Self::begin) and [`unchanged`](Self::unchanged); if
/// that says `true`, what they loaded belongs together, as it was after all changes that `begin` has seen.
///
/// The counter comes round after half as many changes as a word has values. With 32 bits a reader would have to be held
/// up between the two for a multiple of 2^31 changes exactly to be misled: for half an hour of nothing but changes.
#[derive(Debug)]
pub(crate) struct Sequence(AtomicUsize);

impl Sequence {
    /// Returns the sequence of books that have not changed, from a counter that is 0.
    pub(crate) const fn new(steps: AtomicUsize) -> Self {
        Self(steps)
    }

    /// Waits for the end of a change, for a short while; returns what [`unchanged`](Self::unchanged) wants.
    ///
    /// `Acquire`, with the `Release` at the end of a change: what that has stored is seen by the loads that follow.
    #[inline]
    pub(crate) fn begin(&self) -> Option<usize> {
        let steps = self.0.load(Ordering::Acquire);
        if steps.is_multiple_of(2) { Some(steps) } else { self.begin_late() }
    }

    /// As [`begin`](Self::begin), during a change.
    #[cold]
    #[inline(never)]
    fn begin_late(&self) -> Option<usize> {
        (1..LOOKS).find_map(|_| {
            hint::spin_loop();
            let steps = self.0.load(Ordering::Acquire);
            steps.is_multiple_of(2).then_some(steps)
        })
    }

    /// Returns whether nothing has changed between `begin` and the loads before this.
    ///
    /// If one of them has seen a store of a later change, which comes after that change's fence, the fence here makes
    /// the load see that the change has begun. The same goes for a `Release` store that comes after a change.
    #[inline]
    pub(crate) fn unchanged(&self, begun: usize) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == begun
    }

    /// Returns how many changes have begun since, at least.
    #[inline]
    pub(crate) fn changes_since(&self, begun: usize) -> usize {
        self.0.load(Ordering::Relaxed).wrapping_sub(begun).wrapping_add(1) / 2
    }

    /// Begins a change; returns what [`end_change`](Self::end_change) wants. The caller has the books locked for
    /// changes; what readers look at it stores to atomics.
    #[inline]
    pub(crate) fn begin_change(&self) -> usize {
        let steps = self.0.load(Ordering::Relaxed);
        self.0.store(steps.wrapping_add(1), Ordering::Relaxed);
        // The stores of the change do not come before that one.
        fence(Ordering::Release);
        steps
    }

    /// Ends a change: who sees that sees all of it.
    #[inline]
    pub(crate) fn end_change(&self, begun: usize) {
        self.0.store(begun.wrapping_add(2), Ordering::Release);
    }
}
