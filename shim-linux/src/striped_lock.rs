//! A reader-writer lock whose readers on different processors do not meet in one cache line, and whose waiters sleep.
#![allow(unsafe_code, reason = "the lock traits are unsafe")]

mod stripes;
mod sync;
#[cfg(test)]
mod tests;

use core::fmt;

use lock_api::{GuardNoSend, RawRwLock};

use stripes::{STRIPES, Stripe, Stripes};
use sync::AtomicU32;

/// A reader-writer lock for data that are read far more often than changed.
///
/// A reader counts itself in the stripe of its thread, which has its own cache line. A writer announces itself and
/// waits until no stripe counts a reader. Waiters sleep in `futex(2)`. Writers go before readers, so a thread must not
/// take the lock a second time while it holds it. Never panics. Takes 1,088 bytes.
///
/// A guard must be dropped with the same thread pointer that it was made with: do not hold it across a switch of
/// user-space threads that changes the pointer (`arch_prctl(2)`, `ARCH_SET_FS`).
pub struct StripedRwLock(Stripes);

impl fmt::Debug for StripedRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedRwLock").finish_non_exhaustive()
    }
}

// SAFETY: a writer has set `LOCKED` and `WRITING`, and has seen every stripe in use at 0 since; a reader has counted
// itself and seen its stripe in use and `WRITING` unset since, or counted itself while it had `LOCKED` without it.
unsafe impl RawRwLock for StripedRwLock {
    type GuardMarker = GuardNoSend;

    const INIT: Self =
        Self(Stripes { state: AtomicU32::new(0), stripes: [const { Stripe(AtomicU32::new(0)) }; STRIPES] });

    #[inline]
    fn lock_shared(&self) {
        let index = Stripes::index();
        if !self.0.enter(index) {
            self.0.lock_shared_contended(index);
        }
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        let index = Stripes::index();
        let entered = self.0.enter(index);
        if !entered {
            self.0.leave(index);
        }
        entered
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.0.leave(Stripes::index());
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.0.lock_exclusive();
    }

    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock_exclusive()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.0.unlock_exclusive();
    }
}
