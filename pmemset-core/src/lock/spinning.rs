//! A lock that spins.

use core::fmt;

use lock_api::{GuardSend, RawRwLock};

use super::holders::{WRITER, one_reader_more, writer_alone};
use crate::atomic::{AtomicU32, Ordering};

/// A reader-writer lock that spins: for kernels with several processors, whose handlers do not use the set.
///
/// A handler that interrupts the holder of the lock on the same processor, and wants the lock too, would wait for ever.
/// If your handlers use the set, mask interrupts around every call of the set, or use `CriticalSectionRwLock`. Readers
/// go before writers, so a writer waits until there is no reader.
///
/// It cannot panic, so a program can be linked without a panic: when the count of readers is full, the next reader
/// waits. The crate `spin` panics there. If that does not matter, its `RwLock<()>` (with its feature `lock_api`) can be
/// a platform's lock too: see [`WithLock`](crate::WithLock).
pub struct SpinRwLock {
    /// Readers, or `WRITER`.
    holders: AtomicU32,
}

impl SpinRwLock {
    /// Takes the lock if `free` says so of its holders.
    fn take(&self, free: fn(u32) -> Option<u32>) -> bool {
        self.holders.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).is_ok()
    }

    fn wait(&self, free: fn(u32) -> Option<u32>) {
        while !self.take(free) {
            core::hint::spin_loop();
        }
    }
}

// SAFETY: holders change by compare-and-swap; a writer is one alone.
unsafe impl RawRwLock for SpinRwLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self { holders: AtomicU32::new(0) };

    type GuardMarker = GuardSend;

    fn lock_shared(&self) {
        self.wait(one_reader_more);
    }

    fn try_lock_shared(&self) -> bool {
        self.take(one_reader_more)
    }

    unsafe fn unlock_shared(&self) {
        self.holders.fetch_sub(1, Ordering::Release);
    }

    fn lock_exclusive(&self) {
        self.wait(writer_alone);
    }

    fn try_lock_exclusive(&self) -> bool {
        self.take(writer_alone)
    }

    unsafe fn unlock_exclusive(&self) {
        self.holders.store(0, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.holders.load(Ordering::Relaxed) != 0
    }

    fn is_locked_exclusive(&self) -> bool {
        self.holders.load(Ordering::Relaxed) == WRITER
    }
}

impl Default for SpinRwLock {
    fn default() -> Self {
        Self::INIT
    }
}

impl fmt::Debug for SpinRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinRwLock").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reader_that_can_be_counted_is_not_followed_by_a_panic() {
        let lock = SpinRwLock { holders: AtomicU32::new(WRITER - 2) };
        assert!(lock.try_lock_shared());
        assert!(!lock.try_lock_shared() && !lock.try_lock_exclusive() && !lock.is_locked_exclusive());
        // SAFETY: a reader has come in above.
        unsafe { lock.unlock_shared() };
        assert!(lock.try_lock_shared());
    }
}
