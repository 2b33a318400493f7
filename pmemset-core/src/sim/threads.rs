//! Threads of the work, one of which runs at any time: which one goes on is decided by a seed, at every step.
#![allow(unsafe_code, reason = "the trait of locks is unsafe")]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::sync::{Condvar, Mutex, PoisonError};

use lock_api::RawRwLock;

use super::random::Random;
use crate::lock::SpinRwLock;

/// Who runs.
#[derive(Debug)]
struct Turn {
    thread: usize,
    alive: Vec<bool>,
    random: Random,
}

impl Turn {
    /// Gives the turn to a thread that is alive; with `other` to another one, if there is one.
    fn pass(&mut self, other: bool) {
        let may = |thread: &usize| self.alive[*thread] && !(other && *thread == self.thread);
        let next: Vec<usize> = (0..self.alive.len()).filter(may).collect();
        if !next.is_empty() {
            self.thread = next[self.random.below(next.len())];
        }
    }
}

#[derive(Debug)]
struct Schedule {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Schedule {
    fn pass(&self, me: usize, other: bool) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.pass(other);
        self.changed.notify_all();
        let mine = |turn: &mut Turn| turn.thread != me;
        drop(self.changed.wait_while(turn, mine).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for the first turn.
    fn begin(&self, me: usize) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |turn: &mut Turn| turn.thread != me;
        drop(self.changed.wait_while(turn, mine).unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self, me: usize) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.alive[me] = false;
        turn.pass(true);
        self.changed.notify_all();
    }
}

std::thread_local! {
    /// The schedule of this thread, and its number in it.
    static SCHEDULED: RefCell<Option<(Arc<Schedule>, usize)>> = const { RefCell::new(None) };
}

/// Lets another thread of the schedule go on, if that is its will; with `other` in any case. Returns whether there is a
/// schedule.
pub(super) fn pass(other: bool) -> bool {
    let scheduled = SCHEDULED.with_borrow(Clone::clone);
    if let Some((schedule, me)) = &scheduled {
        schedule.pass(*me, other);
    }
    scheduled.is_some()
}

/// Ends a thread, also when it panics.
struct Ends(Arc<Schedule>, usize);

impl Drop for Ends {
    fn drop(&mut self) {
        SCHEDULED.set(None);
        self.0.end(self.1);
    }
}

/// Runs threads until all have ended, one at a time; `random` decides which goes on.
pub(super) fn run<const N: usize>(mut random: Random, threads: [&(dyn Fn() + Sync); N]) {
    let turn = Turn { thread: random.below(N), alive: [true].repeat(N), random };
    let schedule = Arc::new(Schedule { turn: Mutex::new(turn), changed: Condvar::new() });
    std::thread::scope(|scope| {
        for (me, thread) in threads.into_iter().enumerate() {
            let schedule = Arc::clone(&schedule);
            scope.spawn(move || {
                let ends = Ends(Arc::clone(&schedule), me);
                schedule.begin(me);
                SCHEDULED.set(Some((schedule, me)));
                thread();
                drop(ends);
            });
        }
    });
}

/// The lock of the simulated platform: spins, and lets the threads of a [schedule](super::Machine::threads) go on while
/// it waits.
#[derive(Debug)]
pub struct SimLock(SpinRwLock);

fn wait(try_lock: impl Fn() -> bool) {
    while !try_lock() {
        if !pass(true) {
            core::hint::spin_loop();
        }
    }
}

// SAFETY: the lock inside keeps the promises.
unsafe impl RawRwLock for SimLock {
    const INIT: Self = Self(SpinRwLock::INIT);

    type GuardMarker = <SpinRwLock as RawRwLock>::GuardMarker;

    #[inline]
    fn lock_shared(&self) {
        wait(|| self.0.try_lock_shared());
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.0.try_lock_shared()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.unlock_shared() }
    }

    #[inline]
    fn lock_exclusive(&self) {
        wait(|| self.0.try_lock_exclusive());
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock_exclusive()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.unlock_exclusive() }
    }
}
