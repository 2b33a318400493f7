//! What a platform's lock is, and two for platforms without threads that sleep: one spins, one masks interrupts.
#![allow(unsafe_code, reason = "the lock traits are unsafe")]

#[cfg(feature = "spin-lock")]
pub use spinning::SpinRwLock;

#[cfg(feature = "critical-section")]
pub use masked::CriticalSectionRwLock;

/// A lock of a platform's: one writer, or any number of readers.
///
/// Every lock of `lock_api`'s kind is one. It is a trait of its own for those that must not be held longer than a call of
/// this crate, such as `CriticalSectionRwLock`: nobody else can make a guard of them.
///
/// # Safety
///
/// Between `lock_exclusive` or a `try_lock_exclusive` that said `true`, and `unlock_exclusive`, no other call takes the
/// lock; while readers have it, no writer does. What was written before an unlock is seen after the next lock.
pub unsafe trait RawLock {
    /// A lock that nobody holds.
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    const INIT: Self;

    /// Waits until no writer holds the lock, and takes it for reading.
    fn lock_shared(&self);

    /// Takes the lock for reading, if that can be had at once.
    fn try_lock_shared(&self) -> bool;

    /// Gives back what was taken for reading.
    ///
    /// # Safety
    ///
    /// The caller has taken it so, and not yet given it back.
    unsafe fn unlock_shared(&self);

    /// Waits until nobody holds the lock, and takes it for writing.
    fn lock_exclusive(&self);

    /// Takes the lock for writing, if that can be had at once.
    fn try_lock_exclusive(&self) -> bool;

    /// Gives back what was taken for writing.
    ///
    /// # Safety
    ///
    /// The caller has taken it so, and not yet given it back.
    unsafe fn unlock_exclusive(&self);
}

// SAFETY: `lock_api` asks for the same.
unsafe impl<L: lock_api::RawRwLock> RawLock for L {
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    const INIT: Self = L::INIT;

    #[inline]
    fn lock_shared(&self) {
        lock_api::RawRwLock::lock_shared(self);
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        lock_api::RawRwLock::try_lock_shared(self)
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise.
        unsafe { lock_api::RawRwLock::unlock_shared(self) };
    }

    #[inline]
    fn lock_exclusive(&self) {
        lock_api::RawRwLock::lock_exclusive(self);
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        lock_api::RawRwLock::try_lock_exclusive(self)
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise.
        unsafe { lock_api::RawRwLock::unlock_exclusive(self) };
    }
}

/// A platform's lock as one of `lock_api`'s, for guards that no call of this crate outlives.
pub(crate) struct CallLock<L>(L);

impl<L: RawLock> CallLock<L> {
    #[allow(clippy::declare_interior_mutable_const, reason = "as in `lock_api`")]
    pub(crate) const INIT: Self = Self(L::INIT);
}

// SAFETY: as the lock inside.
unsafe impl<L: RawLock> lock_api::RawRwLock for CallLock<L> {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self::INIT;

    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.0.lock_shared();
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.0.try_lock_shared()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unlock_shared() };
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.0.lock_exclusive();
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock_exclusive()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.unlock_exclusive() };
    }
}

/// The holders of a lock while a writer is the only one; otherwise they are its readers.
#[cfg(any(feature = "spin-lock", feature = "critical-section"))]
const WRITER: u32 = u32::MAX;

/// Returns the holders with one reader more, if a reader may come in: as many as can be counted.
#[cfg(any(feature = "spin-lock", feature = "critical-section"))]
fn one_reader_more(holders: u32) -> Option<u32> {
    holders.checked_add(1).filter(|more| *more != WRITER)
}

/// Returns the holders with a writer, if one may come in.
#[cfg(any(feature = "spin-lock", feature = "critical-section"))]
fn writer_alone(holders: u32) -> Option<u32> {
    (holders == 0).then_some(WRITER)
}

/// One test at a time takes locks that mask, whose depth is one for all.
#[cfg(all(test, feature = "critical-section"))]
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(feature = "spin-lock")]
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
    /// It cannot panic, so a program with it can be linked without a panic: a reader too many waits like one that finds
    /// a writer. The crate `spin` panics there; where that does not matter, its `RwLock<()>` (with its feature
    /// `lock_api`) is a platform's lock too, see [`WithLock`](crate::WithLock).
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
}

#[cfg(feature = "critical-section")]
mod masked {
    use core::cell::Cell;
    use core::fmt;

    use super::{RawLock, one_reader_more, writer_alone};
    use critical_section::RestoreState;

    /// How many locks are held, and what to restore when the last one is given back.
    ///
    /// One for all locks: two of them may be given back in any order, and only the last one ends the section.
    struct Depth {
        count: Cell<u32>,
        restore: Cell<Option<RestoreState>>,
    }

    // SAFETY: touched inside a critical section only.
    unsafe impl Sync for Depth {}

    static DEPTH: Depth = Depth { count: Cell::new(0), restore: Cell::new(None) };

    /// Enters a critical section; what is between here and its `leave` is inside, whoever has which lock.
    fn enter() -> RestoreState {
        // SAFETY: every state is given back by `leave`, here or when the last lock is given back.
        let state = unsafe { critical_section::acquire() };
        #[cfg(test)]
        tests::INSIDE.set(tests::INSIDE.get() + 1);
        state
    }

    fn leave(state: RestoreState) {
        #[cfg(test)]
        tests::INSIDE.set(tests::INSIDE.get() - 1);
        // SAFETY: the state comes from `enter`, and sections that were entered later have ended.
        unsafe { critical_section::release(state) };
    }

    /// A reader-writer lock that masks interrupts (or whatever the program's `critical-section` implementation does)
    /// for as long as it is held: for one processor, whose handlers use the set too.
    ///
    /// A call from a handler works: while the lock is held no handler runs. One from inside the section itself (a
    /// fault handler, a non-maskable interrupt) must use the `try` form; it is told that it would block.
    ///
    /// A set may be used inside `critical_section::with`: it takes and gives back its locks in one call. There is no guard
    /// that could leave the section it was made in, or end one that was entered later:
    ///
    /// ```compile_fail,E0277
    /// use pmemset_core::lock::CriticalSectionRwLock;
    ///
    /// let lock = lock_api::RwLock::<CriticalSectionRwLock, u32>::new(0);
    /// ```
    pub struct CriticalSectionRwLock {
        /// Readers, or `WRITER`; touched inside a critical section only.
        holders: Cell<u32>,
    }

    // SAFETY: the cell is touched inside a critical section only.
    unsafe impl Sync for CriticalSectionRwLock {}

    impl CriticalSectionRwLock {
        /// Returns the holders. The caller is between `enter` and `leave`: that another lock is held is not enough, for
        /// it may have been carried out of the section that it was taken in.
        fn holders(&self) -> &Cell<u32> {
            #[cfg(test)]
            tests::check_inside();
            &self.holders
        }

        /// Takes the lock if `free` says so of its holders, and stays in the critical section then.
        fn take(&self, free: impl Fn(u32) -> Option<u32>) -> bool {
            let state = enter();
            let Some(holders) = free(self.holders().get()) else {
                leave(state);
                return false;
            };
            self.holders().set(holders);
            let count = DEPTH.count.get();
            DEPTH.count.set(count.saturating_add(1));
            if count == 0 {
                DEPTH.restore.set(Some(state));
            } else {
                // Nested in the section of the lock that was taken first, which goes on.
                leave(state);
            }
            true
        }

        /// Gives the lock back to leave it with `holders`, and the critical section with the last lock.
        fn give_back(&self, holders: impl FnOnce(u32) -> u32) {
            let state = enter();
            self.holders().set(holders(self.holders().get()));
            let count = DEPTH.count.get().saturating_sub(1);
            DEPTH.count.set(count);
            let first = if count == 0 { DEPTH.restore.take() } else { None };
            leave(state);
            if let Some(first) = first {
                leave(first);
            }
        }
    }

    // SAFETY: holders change inside a critical section only; a writer is one alone.
    unsafe impl RawLock for CriticalSectionRwLock {
        #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
        const INIT: Self = Self { holders: Cell::new(0) };

        fn lock_shared(&self) {
            while !self.take(one_reader_more) {
                core::hint::spin_loop();
            }
        }

        fn try_lock_shared(&self) -> bool {
            self.take(one_reader_more)
        }

        unsafe fn unlock_shared(&self) {
            self.give_back(|holders| holders.saturating_sub(1));
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
            self.give_back(|_| 0);
        }
    }

    impl Default for CriticalSectionRwLock {
        fn default() -> Self {
            Self::INIT
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

        type Lock<T> = lock_api::RwLock<crate::lock::CallLock<CriticalSectionRwLock>, T>;

        std::thread_local! {
            /// Sections that this thread has entered through this file, and not left.
            pub(super) static INSIDE: Cell<u32> = const { Cell::new(0) };
        }

        pub(super) fn check_inside() {
            assert!(INSIDE.get() > 0, "a lock is touched outside of every section");
        }

        #[test]
        fn a_lock_carried_out_of_the_section_it_was_taken_in_keeps_others_out_and_ends_like_any_other() {
            let _alone = super::super::ALONE.lock().unwrap();
            let (carried, other): (Lock<u32>, Lock<u32>) = (Lock::new(0), Lock::new(0));
            let mut guard = critical_section::with(|_| carried.write());
            std::thread::scope(|scope| {
                let beside = || {
                    assert!(carried.try_read().is_none() && carried.try_write().is_none());
                    *other.write() += 1;
                    assert!(!other.is_locked());
                };
                scope.spawn(beside).join().unwrap();
                scope.spawn(beside).join().unwrap();
            });
            *guard += 1;
            drop(guard);
            assert_eq!((DEPTH.count.get(), DEPTH.restore.take().is_none()), (0, true));
            // The section is open again: for this thread, which had it, and for others.
            let counted = std::thread::spawn(move || critical_section::with(|_| *carried.write() + *other.read()));
            assert_eq!(counted.join().unwrap(), 3);
        }

        #[test]
        fn a_lock_taken_and_given_back_inside_a_section_leaves_it_alone() {
            let _alone = super::super::ALONE.lock().unwrap();
            let lock: Lock<()> = Lock::new(());
            let entered = core::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                critical_section::with(|_| {
                    drop(lock.write());
                    let (one, two) = (lock.read(), lock.read());
                    drop((one, two));
                    scope.spawn(|| {
                        critical_section::with(|_| entered.store(true, core::sync::atomic::Ordering::SeqCst))
                    });
                    (0..1000).for_each(|_| std::thread::yield_now());
                    assert!(!entered.load(core::sync::atomic::Ordering::SeqCst), "the section goes on");
                });
            });
            assert!(entered.into_inner());
        }

        #[test]
        fn section_ends_with_the_last_of_two_locks_in_any_order() {
            let _alone = super::super::ALONE.lock().unwrap();
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

#[cfg(all(test, feature = "spin-lock", feature = "critical-section"))]
mod tests {
    use lock_api::{RawRwLock, RwLock};

    use super::{CallLock, CriticalSectionRwLock, SpinRwLock};

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
        let _alone = super::ALONE.lock().unwrap();
        one_writer_or_many_readers::<CallLock<CriticalSectionRwLock>>();
        threads_count_right::<CallLock<CriticalSectionRwLock>>();
    }
}
