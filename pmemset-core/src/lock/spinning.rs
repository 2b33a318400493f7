//! A lock that spins.

use core::fmt;

use lock_api::{GuardSend, RawRwLock};

use super::holders::{WAITING, WRITER, one_reader_more, writer_alone};
use crate::atomic::{AtomicU32, Ordering};

/// A reader-writer lock that spins: for kernels with several processors, whose handlers do not use the set.
///
/// A handler that interrupts the holder of the lock on the same processor, and wants the lock too, would wait for ever.
/// If your handlers use the set, mask interrupts around every call of the set, or use `CriticalSectionRwLock`. A writer
/// that waits goes before readers that come later, so who has the lock for reading must not take it again.
///
/// It cannot panic, so a program can be linked without a panic: when the count of readers is full, the next reader
/// waits. The crate `spin` panics there. If that does not matter, its `RwLock<()>` (with its feature `lock_api`) can be
/// a platform's lock too: see [`WithLock`](crate::WithLock).
pub struct SpinRwLock {
    /// Readers and `WAITING`, or `WRITER`.
    holders: AtomicU32,
}

impl SpinRwLock {
    /// Takes the lock if `free` says so of its holders.
    fn take(&self, free: fn(u32) -> Option<u32>) -> bool {
        self.holders.fetch_update(Ordering::Acquire, Ordering::Relaxed, free).is_ok()
    }

    /// Waits for the lock for writing. There once: a program that is small has many who write.
    #[inline(never)]
    fn wait_next(&self) {
        while !self.take_next() {
            core::hint::spin_loop();
        }
    }

    /// Takes the lock for writing, or keeps later readers out; who has done so comes again until it has the lock.
    fn take_next(&self) -> bool {
        self.take(writer_alone) || {
            self.holders.fetch_or(WAITING, Ordering::Relaxed);
            false
        }
    }
}

// SAFETY: holders change by compare-and-swap; a writer is one alone.
unsafe impl RawRwLock for SpinRwLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self { holders: AtomicU32::new(0) };

    type GuardMarker = GuardSend;

    fn lock_shared(&self) {
        while !self.take(one_reader_more) {
            core::hint::spin_loop();
        }
    }

    fn try_lock_shared(&self) -> bool {
        self.take(one_reader_more)
    }

    unsafe fn unlock_shared(&self) {
        self.holders.fetch_sub(1, Ordering::Release);
    }

    fn lock_exclusive(&self) {
        self.wait_next();
    }

    fn try_lock_exclusive(&self) -> bool {
        self.take(writer_alone)
    }

    unsafe fn unlock_exclusive(&self) {
        self.holders.store(0, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.holders.load(Ordering::Relaxed) & !WAITING != 0
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
        let lock = SpinRwLock { holders: AtomicU32::new(WAITING - 2) };
        assert!(lock.try_lock_shared());
        assert!(!lock.try_lock_shared() && !lock.try_lock_exclusive() && !lock.is_locked_exclusive());
        // SAFETY: a reader has come in above.
        unsafe { lock.unlock_shared() };
        assert!(lock.try_lock_shared());
    }

    #[test]
    fn a_writer_that_waits_goes_before_readers_that_come_later() {
        let lock = SpinRwLock::INIT;
        assert!(lock.try_lock_shared() && lock.try_lock_shared());
        assert!(!lock.try_lock_exclusive() && lock.try_lock_shared(), "one that does not wait is in nobody's way");
        for _ in 0..3 {
            assert!(!lock.take_next() && !lock.try_lock_shared() && lock.is_locked() && !lock.is_locked_exclusive());
            // SAFETY: three readers have come in above.
            unsafe { lock.unlock_shared() };
        }
        assert!(!lock.is_locked() && !lock.try_lock_shared());
        assert!(lock.take_next() && !lock.take_next(), "another one waits");
        // SAFETY: the writer has come in above.
        unsafe { lock.unlock_exclusive() };
        assert!(lock.take_next());
        // SAFETY: the other writer has come in above.
        unsafe { lock.unlock_exclusive() };
        assert!(lock.try_lock_shared(), "nobody waits any more");
    }
}
