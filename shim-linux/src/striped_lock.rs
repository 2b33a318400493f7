//! A reader-writer lock whose readers on different processors do not meet in one cache line, and whose waiters sleep.
#![allow(unsafe_code, reason = "the lock traits are unsafe, and the thread pointer is a register")]

use core::fmt;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use lock_api::{GuardNoSend, RawMutex as _, RawRwLock};
use rustix::thread::futex;
use rustix_futex_sync::RawMutex;

use crate::auxv;

/// The binary logarithm of the number of stripes: enough that two threads seldom share one.
const STRIPES_LOG: u32 = 4;
const STRIPES: usize = 1 << STRIPES_LOG;
/// The bit of [`StripedRwLock::state`] that says that there is a writer.
const WRITING: u32 = 1 << STRIPES;
/// So many readers of one stripe never let go: the next one waits for ever instead of wrapping the count.
const READERS_MAX: u32 = 1 << 30;

/// The number of readers that hold the lock through this stripe.
#[repr(align(64))]
struct Stripe(AtomicU32);

/// A reader-writer lock for data that are read far more often than changed.
///
/// A reader counts itself in the stripe of its thread, which has its own cache line. A writer announces itself and
/// waits until no stripe counts a reader. Waiters sleep in `futex(2)`. Writers go before readers, so a thread must not
/// take the lock a second time while it holds it. Never panics. Takes 1,088 bytes.
///
/// A guard must be dropped with the same thread pointer that it was made with: do not hold it across a switch of
/// user-space threads that changes the pointer (`arch_prctl(2)`, `ARCH_SET_FS`).
pub struct StripedRwLock {
    writer: RawMutex,
    /// Bit `i`: readers have used stripe `i`, and so a writer looks at it. [`WRITING`] is set by the holder of
    /// `writer`; a reader that sees it goes back.
    state: AtomicU32,
    stripes: [Stripe; STRIPES],
}

impl fmt::Debug for StripedRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedRwLock").finish_non_exhaustive()
    }
}

impl StripedRwLock {
    /// Returns the number of the calling thread's stripe: always the same one.
    #[inline]
    fn index() -> u32 {
        // The multiplication spreads the stack size, which thread pointers are apart, over the top bits.
        let spread = (thread_pointer() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        #[allow(clippy::cast_possible_truncation, reason = "the top bits alone")]
        let index = (spread >> (64 - STRIPES_LOG)) as u32;
        index
    }

    #[inline]
    fn stripe(&self, index: u32) -> &AtomicU32 {
        let [first, ..] = &self.stripes;
        &self.stripes.get(index as usize).unwrap_or(first).0
    }

    /// Counts a reader; returns whether it has the lock. If not, it must leave.
    ///
    /// Sequentially consistent, like the writer's two steps: a reader that has counted itself, and then finds its
    /// stripe in use and no writer in one look at the state, comes before the writer's next change of the state. That
    /// change shows the writer which stripes are in use, and so the count.
    #[inline]
    fn enter(&self, index: u32) -> bool {
        let stripe = 1 << index;
        self.stripe(index).fetch_add(1, Ordering::SeqCst) < READERS_MAX
            && (self.state.load(Ordering::SeqCst) & (WRITING | stripe) == stripe || self.enter_first(stripe))
    }

    /// Says that a stripe is in use; returns whether there was no writer then.
    #[cold]
    fn enter_first(&self, stripe: u32) -> bool {
        self.state.fetch_or(stripe, Ordering::SeqCst) & WRITING == 0
    }

    /// Undoes the count of a reader, and wakes the writer that waits for the last one.
    #[inline]
    fn leave(&self, index: u32) {
        let stripe = self.stripe(index);
        if stripe.fetch_sub(1, Ordering::SeqCst) == 1 && self.state.load(Ordering::SeqCst) & WRITING != 0 {
            wake(stripe);
        }
    }

    #[cold]
    fn lock_shared_contended(&self, index: u32) {
        self.leave(index);
        // No writer has the lock while this thread has the writers' mutex.
        self.writer.lock();
        let stripe = self.stripe(index);
        loop {
            let readers = stripe.load(Ordering::Relaxed);
            if readers < READERS_MAX {
                break;
            }
            sleep(stripe, readers);
        }
        stripe.fetch_add(1, Ordering::SeqCst);
        // SAFETY: locked above.
        unsafe { self.writer.unlock() };
    }

    /// Says that there is a writer; returns 0 if no stripe counts a reader.
    #[inline]
    fn announce(&self) -> u32 {
        let (mut used, mut readers) = (self.state.fetch_or(WRITING, Ordering::SeqCst), 0);
        while used != 0 {
            readers |= self.stripe(used.trailing_zeros()).load(Ordering::SeqCst);
            used &= used.wrapping_sub(1);
        }
        readers
    }

    /// Waits until the stripe counts no reader.
    #[cold]
    fn wait_for_readers(stripe: &AtomicU32) {
        let mut spins = 100_u32;
        loop {
            let readers = stripe.load(Ordering::SeqCst);
            if readers == 0 {
                return;
            }
            match spins.checked_sub(1) {
                Some(fewer) => {
                    spins = fewer;
                    spin_loop();
                }
                None => sleep(stripe, readers),
            }
        }
    }
}

// SAFETY: a writer holds the mutex, has set `WRITING`, and has seen every stripe in use at 0 since; a reader has
// counted itself and seen its stripe in use and `WRITING` unset since, or counted itself while it held the mutex.
unsafe impl RawRwLock for StripedRwLock {
    type GuardMarker = GuardNoSend;

    const INIT: Self = Self {
        writer: RawMutex::INIT,
        state: AtomicU32::new(0),
        stripes: [const { Stripe(AtomicU32::new(0)) }; STRIPES],
    };

    #[inline]
    fn lock_shared(&self) {
        let index = Self::index();
        if !self.enter(index) {
            self.lock_shared_contended(index);
        }
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        let index = Self::index();
        let entered = self.enter(index);
        if !entered {
            self.leave(index);
        }
        entered
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.leave(Self::index());
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.writer.lock();
        if self.announce() != 0 {
            self.stripes.iter().for_each(|stripe| Self::wait_for_readers(&stripe.0));
        }
    }

    fn try_lock_exclusive(&self) -> bool {
        if !self.writer.try_lock() {
            return false;
        }
        if self.announce() == 0 {
            return true;
        }
        // SAFETY: this thread has taken the mutex; it leaves the lock as a writer that has changed nothing.
        unsafe { self.unlock_exclusive() };
        false
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.state.fetch_and(!WRITING, Ordering::Release);
        // SAFETY: whoever has the lock as a writer has taken the mutex.
        unsafe { self.writer.unlock() };
    }
}

#[cold]
fn sleep(word: &AtomicU32, state: u32) {
    // Whatever the answer, the caller looks again.
    let _ = futex::wait(word, futex::Flags::PRIVATE, state, None);
}

#[cold]
fn wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::PRIVATE, 1);
}

/// Returns a number that differs between threads and never changes within one; it is never used as an address.
///
/// 0 for all where user space may not read the register: `FSGSBASE` needs Linux 5.9 and says so in `AT_HWCAP2`.
#[inline]
fn thread_pointer() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        const HWCAP2_FSGSBASE: usize = 1 << 1;
        let value: usize;
        if auxv::hwcap2() & HWCAP2_FSGSBASE != 0 {
            // SAFETY: the kernel says that user space may use the instruction; it only reads a register.
            unsafe { core::arch::asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
        } else {
            value = 0;
        }
        value
    }
    #[cfg(target_arch = "aarch64")]
    {
        let value: usize;
        // SAFETY: user space may always read the register.
        unsafe { core::arch::asm!("mrs {}, tpidr_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(target_arch = "riscv64")]
    {
        let value: usize;
        // SAFETY: reads a general register that the ABI reserves for this.
        unsafe { core::arch::asm!("mv {}, tp", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    0
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;
    use std::sync::Barrier;
    use std::thread;
    use std::vec::Vec;

    use super::*;

    type Lock<T> = lock_api::RwLock<StripedRwLock, T>;

    #[test]
    fn readers_share_and_writers_do_not() {
        let lock = Lock::new(());
        let (one, two) = (lock.read(), lock.read());
        assert!(lock.try_write().is_none());
        drop(one);
        assert!(lock.try_write().is_none());
        drop(two);
        let writer = lock.try_write().unwrap();
        assert!(lock.try_read().is_none() && lock.try_write().is_none());
        drop(writer);
        drop(lock.write());
        drop(lock.try_read().unwrap());
        // Every count is back at 0, marks and all.
        assert!(lock.try_write().is_some());
    }

    #[test]
    fn a_writer_waits_for_the_readers_that_were_there_before() {
        let lock = Lock::new(0);
        thread::scope(|scope| {
            let reader = lock.read();
            scope.spawn(|| *lock.write() = 1);
            // SAFETY: the lock is only looked at.
            let raw = unsafe { lock.raw() };
            // SAFETY: a word that lives as long as the lock; nobody writes it while this thread reads.
            let now = || unsafe { lock.data_ptr().read_volatile() };
            while raw.state.load(Ordering::SeqCst) & WRITING == 0 && now() == 0 {
                thread::yield_now();
            }
            for _ in 0..1_000 {
                assert_eq!(now(), 0);
                thread::yield_now();
            }
            assert_eq!(*reader, 0);
        });
        assert_eq!(*lock.read(), 1);
    }

    #[test]
    fn a_refused_writer_lets_the_readers_in_again() {
        let lock = Lock::new(());
        let reader = lock.read();
        assert!(lock.try_write().is_none());
        thread::scope(|scope| {
            // From other threads: other stripes.
            let readers: Vec<_> = (0..32).map(|_| scope.spawn(|| lock.try_read().is_some())).collect();
            assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
        });
        drop(reader);
    }

    #[test]
    fn writers_exclude_each_other_and_all_readers() {
        const ROUNDS: usize = 2_000;
        const THREADS: usize = 8;
        let lock = Lock::new([0_usize; 16]);
        let writes = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (lock, writes) = (&lock, &writes);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        if (round + thread) % 4 == 0 {
                            let mut values = lock.write();
                            // Readers would see some of these changed and others not.
                            for value in values.iter_mut() {
                                *value += 1;
                            }
                            writes.fetch_add(1, Ordering::Relaxed);
                        } else {
                            let values = lock.read();
                            assert!(values.iter().all(|value| *value == values[0]));
                        }
                    }
                });
            }
        });
        assert_eq!(lock.into_inner()[0], writes.into_inner());
    }

    #[test]
    fn a_first_reader_finds_the_writer_that_is_there() {
        let lock = Lock::new(());
        let writer = lock.write();
        let tries = || thread::scope(|scope| scope.spawn(|| lock.try_read().is_some()).join().unwrap());
        assert!(!tries());
        drop(writer);
        assert!(tries());
    }

    #[test]
    fn a_first_reader_that_only_tries_has_the_lock() {
        let lock = Lock::new(());
        let reader = lock.try_read().unwrap();
        assert!(lock.try_write().is_none());
        drop(reader);
        drop(lock.try_write().unwrap());
    }

    #[test]
    fn a_thread_keeps_its_stripe_and_threads_spread_over_many() {
        let index = || StripedRwLock::index();
        let everybody = Barrier::new(32);
        let mut stripes: Vec<u32> = thread::scope(|scope| {
            let threads: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| {
                        // Threads have stacks of their own while they are alive.
                        everybody.wait();
                        let mine = index();
                        assert!((0..100).all(|_| index() == mine));
                        everybody.wait();
                        mine
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        stripes.sort_unstable();
        stripes.dedup();
        let can_tell_threads_apart = !cfg!(target_arch = "x86_64") || auxv::hwcap2() & 2 != 0;
        assert!(if can_tell_threads_apart { stripes.len() >= 3 } else { stripes.len() == 1 }, "{stripes:?}");
    }
}
