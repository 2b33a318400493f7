//! Locks for platforms without threads that sleep: one spins, one masks interrupts.
#![allow(unsafe_code, reason = "the lock traits are unsafe")]

#[cfg(feature = "spin")]
pub use spinning::SpinRwLock;

#[cfg(feature = "critical-section")]
pub use masked::CriticalSectionRwLock;

/// The holders of a lock while a writer is the only one; otherwise they are its readers.
const WRITER: u32 = u32::MAX;

/// Returns the holders with one reader more, if a reader may come in: as many as can be counted.
fn one_reader_more(holders: u32) -> Option<u32> {
    holders.checked_add(1).filter(|more| *more != WRITER)
}

/// Returns the holders with a writer, if one may come in.
fn writer_alone(holders: u32) -> Option<u32> {
    (holders == 0).then_some(WRITER)
}

#[cfg(feature = "spin")]
mod spinning {
    use core::fmt;

    use lock_api::{GuardSend, RawRwLock};

    use super::{WRITER, one_reader_more, writer_alone};
    use crate::atomic::{AtomicU32, Ordering};

    /// A reader-writer lock that spins: for kernels with several processors, whose handlers do not use the set.
    ///
    /// A handler that interrupts the lock's holder on the same processor and wants the lock too would wait for ever:
    /// there, mask interrupts around every call of the set, or take `CriticalSectionRwLock`. Readers go before writers,
    /// so a writer waits until no reader is left.
    ///
    /// It cannot panic, so a program with it can be linked without a panic: a reader too many waits like one that finds a
    /// writer. (Own code because the lock of the crate `spin` panics there.)
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
}

#[cfg(feature = "critical-section")]
mod masked {
    use core::cell::Cell;
    use core::fmt;

    use critical_section::RestoreState;
    use lock_api::{GuardNoSend, RawRwLock};

    use super::{one_reader_more, writer_alone};

    /// How deep the current holder of the critical section is in it, and what to restore when it leaves.
    ///
    /// One for all locks: two of them may be released in any order, and only the last one ends the section.
    struct Depth {
        count: Cell<u32>,
        restore: Cell<Option<RestoreState>>,
    }

    // SAFETY: touched by the holder of the critical section only.
    unsafe impl Sync for Depth {}

    static DEPTH: Depth = Depth { count: Cell::new(0), restore: Cell::new(None) };

    /// Masks first: from here on nothing else runs that could want the lock.
    fn enter() {
        // SAFETY: every state is given back, here or by the `leave` that undoes the first `enter`.
        let state = unsafe { critical_section::acquire() };
        let count = DEPTH.count.get();
        DEPTH.count.set(count.saturating_add(1));
        if count == 0 {
            DEPTH.restore.set(Some(state));
        } else {
            // SAFETY: nested in the section of the first `enter`, which goes on.
            unsafe { critical_section::release(state) };
        }
    }

    fn leave() {
        let count = DEPTH.count.get().saturating_sub(1);
        DEPTH.count.set(count);
        if count == 0
            && let Some(state) = DEPTH.restore.take()
        {
            // SAFETY: the state of the first `enter`, whose section ends here.
            unsafe { critical_section::release(state) };
        }
    }

    /// A reader-writer lock that masks interrupts (or whatever the program's `critical-section` implementation does)
    /// for as long as it is held: for one processor, whose handlers use the set too.
    ///
    /// A call from a handler works: while the lock is held no handler runs. One from inside the section itself (a
    /// fault handler, a non-maskable interrupt) must use the `try` form; it is told that it would block.
    pub struct CriticalSectionRwLock {
        /// Readers, or `WRITER`; changed inside the critical section only.
        holders: Cell<u32>,
    }

    // SAFETY: the cell is touched inside the critical section only.
    unsafe impl Sync for CriticalSectionRwLock {}

    impl CriticalSectionRwLock {
        /// Enters the critical section and takes the lock if `free` says so of its holders; else leaves it again.
        fn take(&self, free: impl Fn(u32) -> Option<u32>) -> bool {
            enter();
            match free(self.holders.get()) {
                Some(holders) => {
                    self.holders.set(holders);
                    true
                }
                None => {
                    leave();
                    false
                }
            }
        }
    }

    // SAFETY: holders change inside the critical section only, which is held as long as there are any; a writer is one
    // alone.
    unsafe impl RawRwLock for CriticalSectionRwLock {
        #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
        const INIT: Self = Self { holders: Cell::new(0) };

        type GuardMarker = GuardNoSend;

        fn lock_shared(&self) {
            while !self.take(one_reader_more) {
                core::hint::spin_loop();
            }
        }

        fn try_lock_shared(&self) -> bool {
            self.take(one_reader_more)
        }

        unsafe fn unlock_shared(&self) {
            self.holders.set(self.holders.get().saturating_sub(1));
            leave();
        }

        fn lock_exclusive(&self) {
            while !self.take(writer_alone) {
                core::hint::spin_loop();
            }
        }

        fn try_lock_exclusive(&self) -> bool {
            self.take(writer_alone)
        }

        unsafe fn unlock_exclusive(&self) {
            self.holders.set(0);
            leave();
        }

        fn is_locked(&self) -> bool {
            enter();
            let locked = self.holders.get() != 0;
            leave();
            locked
        }
    }

    impl fmt::Debug for CriticalSectionRwLock {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("CriticalSectionRwLock").finish_non_exhaustive()
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        type Lock<T> = lock_api::RwLock<CriticalSectionRwLock, T>;

        #[test]
        fn section_ends_with_the_last_of_two_locks_in_any_order() {
            let (a, b): (Lock<()>, Lock<()>) = (Lock::new(()), Lock::new(()));
            let (first, second) = (a.write(), b.write());
            drop(first);
            assert_eq!(DEPTH.count.get(), 1, "the second lock is held");
            let other = std::thread::spawn(|| critical_section::with(|_| ()));
            assert!(!other.is_finished());
            drop(second);
            other.join().unwrap();
        }
    }
}

#[cfg(all(test, feature = "spin", feature = "critical-section"))]
mod tests {
    use lock_api::{RawRwLock, RwLock};

    use super::{CriticalSectionRwLock, SpinRwLock};

    fn one_writer_or_many_readers<L: RawRwLock>() {
        let lock: RwLock<L, u32> = RwLock::new(1);
        let (first, second) = (lock.read(), lock.read());
        assert!(lock.try_write().is_none());
        drop(first);
        assert!(lock.try_write().is_none() && lock.is_locked());
        drop(second);
        assert!(!lock.is_locked());
        let mut writer = lock.write();
        assert!(lock.try_read().is_none() && lock.try_write().is_none() && lock.is_locked());
        *writer = 2;
        drop(writer);
        assert_eq!(*lock.read(), 2);
    }

    fn threads_count_right<L: RawRwLock + Send + Sync>() {
        let lock: RwLock<L, u32> = RwLock::const_new(L::INIT, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        *lock.write() += 1;
                        let _ = *lock.read();
                    }
                });
            }
        });
        assert_eq!(*lock.read(), 4000);
    }

    #[test]
    fn the_one_that_spins_keeps_writers_alone() {
        one_writer_or_many_readers::<SpinRwLock>();
        threads_count_right::<SpinRwLock>();
    }

    #[test]
    fn the_one_that_masks_keeps_writers_alone() {
        one_writer_or_many_readers::<CriticalSectionRwLock>();
        threads_count_right::<CriticalSectionRwLock>();
    }
}
