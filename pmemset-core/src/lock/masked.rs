//! A lock that masks interrupts.

use core::cell::Cell;
use core::fmt;

use critical_section::RestoreState;

use super::holders::{one_reader_more, writer_alone};
use super::raw::RawLock;

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
/// fault handler, a non-maskable interrupt) must use the `try` form, which fails instead of blocking.
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

    const LETS_OTHERS_RUN: bool = false;

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

/// One test at a time takes locks that mask, whose depth is one for all.
#[cfg(test)]
pub(super) static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

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
        let _alone = ALONE.lock().unwrap();
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
        let _alone = ALONE.lock().unwrap();
        let lock: Lock<()> = Lock::new(());
        let entered = core::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            critical_section::with(|_| {
                drop(lock.write());
                let (one, two) = (lock.read(), lock.read());
                drop((one, two));
                scope.spawn(|| critical_section::with(|_| entered.store(true, core::sync::atomic::Ordering::SeqCst)));
                (0..1000).for_each(|_| std::thread::yield_now());
                assert!(!entered.load(core::sync::atomic::Ordering::SeqCst), "the section goes on");
            });
        });
        assert!(entered.into_inner());
    }

    #[test]
    fn section_ends_with_the_last_of_two_locks_in_any_order() {
        let _alone = ALONE.lock().unwrap();
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
