//! Every interleaving of readers and writers of the striped lock, over a model of the kernel's sleeping;
//! and threads that do not ask, which must be found.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

#[allow(dead_code, reason = "the lock uses all of it")]
#[path = "../src/striped_lock/stripes.rs"]
mod stripes;

use stripes::{STRIPES, Stripe, Stripes};
use sync::{AtomicU32, Ordering};

/// What the lock is made of, as loom knows it.
mod sync {
    use core::cell::Cell;

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::Ordering;
    use loom::sync::{Condvar, Mutex};

    /// Who looks again in vain is no interleaving of its own.
    pub(crate) const SPINS: u32 = 0;

    std::thread_local! {
        /// Whether all threads have one stripe.
        pub(crate) static CROWDED: Cell<bool> = const { Cell::new(false) };
    }

    loom::thread_local! {
        static STRIPE: Cell<usize> = Cell::new(0);
    }

    /// A word, and those who sleep on it.
    pub(crate) struct AtomicU32 {
        word: loom::sync::atomic::AtomicU32,
        kernel: Mutex<()>,
        sleepers: Condvar,
    }

    impl AtomicU32 {
        pub(crate) fn new() -> Self {
            let word = loom::sync::atomic::AtomicU32::new(0);
            Self { word, kernel: Mutex::new(()), sleepers: Condvar::new() }
        }
    }

    impl core::ops::Deref for AtomicU32 {
        type Target = loom::sync::atomic::AtomicU32;

        fn deref(&self) -> &Self::Target {
            &self.word
        }
    }

    /// As futex(2): whoever changes the word and wakes afterwards is not missed.
    pub(crate) fn sleep(word: &AtomicU32, value: u32) {
        let kernel = word.kernel.lock().unwrap();
        if word.load(Ordering::SeqCst) == value {
            drop(word.sleepers.wait(kernel).unwrap());
        }
    }

    pub(crate) fn wake(word: &AtomicU32) {
        let _kernel = word.kernel.lock().unwrap();
        word.sleepers.notify_all();
    }

    /// The stripe of the thread is that of the top bits of its product.
    pub(crate) fn thread_pointer() -> usize {
        STRIPE.with(Cell::get)
    }

    /// Puts the calling thread into another stripe than the one with another number has.
    pub(crate) fn enter_stripe(number: usize) {
        if !CROWDED.get() {
            STRIPE.with(|stripe| stripe.set(number));
        }
    }
}

/// A value behind the lock, which loom watches.
struct Locked {
    lock: Stripes,
    value: UnsafeCell<u32>,
}

// SAFETY: the value is touched by who has the lock; loom fails where that is not enough.
#[allow(unsafe_code, reason = "what the lock is for")]
unsafe impl Sync for Locked {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "what the lock is for")]
unsafe impl Send for Locked {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Read,
    TryRead,
    Write,
    TryWrite,
    /// Writes without asking.
    Trespass,
}

impl Locked {
    fn new() -> Self {
        let lock = Stripes { state: AtomicU32::new(), stripes: core::array::from_fn(|_| Stripe(AtomicU32::new())) };
        Self { lock, value: UnsafeCell::new(0) }
    }

    /// Returns how often it has added 1.
    fn act(&self, role: Role) -> u32 {
        let index = Stripes::index();
        match role {
            Role::Read | Role::TryRead => {
                let entered = self.lock.enter(index);
                if !entered && role == Role::TryRead {
                    self.lock.leave(index);
                    return 0;
                }
                if !entered {
                    self.lock.lock_shared_contended(index);
                }
                self.value.with(drop_copy);
                self.lock.leave(index);
                0
            }
            Role::Write | Role::TryWrite => {
                if role == Role::Write {
                    self.lock.lock_exclusive();
                } else if !self.lock.try_lock_exclusive() {
                    return 0;
                }
                self.add();
                self.lock.unlock_exclusive();
                1
            }
            Role::Trespass => {
                self.add();
                1
            }
        }
    }

    fn add(&self) {
        // SAFETY: the caller has the lock, or loom fails.
        #[allow(unsafe_code, reason = "what the lock is for")]
        self.value.with_mut(|value| unsafe { *value += 1 });
    }
}

fn drop_copy(value: *const u32) {
    // SAFETY: the caller has the lock, or loom fails.
    #[allow(unsafe_code, reason = "what the lock is for")]
    let _copy = unsafe { *value };
}

/// Threads that each do what is listed for them, one after the other.
fn race(threads: &'static [&'static [Role]], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let locked = Arc::new(Locked::new());
        let others: Vec<_> = threads[1..]
            .iter()
            .zip(1..)
            .map(|(roles, number)| {
                let locked = Arc::clone(&locked);
                thread::spawn(move || {
                    sync::enter_stripe(number);
                    roles.iter().map(|role| locked.act(*role)).sum::<u32>()
                })
            })
            .collect();
        sync::enter_stripe(0);
        let mut added: u32 = threads[0].iter().map(|role| locked.act(*role)).sum();
        for other in others {
            added += other.join().unwrap();
        }
        assert_eq!(locked.lock.state.load(Ordering::SeqCst) >> STRIPES, 0, "nobody is there, nor waits");
        assert!(locked.lock.try_lock_exclusive(), "everybody has left");
        // SAFETY: nobody else is there.
        #[allow(unsafe_code, reason = "what the lock is for")]
        locked.value.with(|value| assert_eq!(unsafe { *value }, added));
    });
}

use Role::{Read, Trespass, TryRead, TryWrite, Write};

#[test]
fn writers_are_alone_and_nobody_sleeps_for_ever() {
    race(&[&[Write], &[Write], &[Write]], 3);
    race(&[&[Read, Read], &[Write, Write]], 3);
    race(&[&[Read], &[Write], &[Read]], 2);
    race(&[&[Read], &[Write], &[Write]], 2);
}

#[test]
fn who_only_tries_disturbs_nobody() {
    race(&[&[TryWrite, TryRead], &[Write], &[Read]], 2);
    race(&[&[TryWrite], &[TryWrite], &[TryRead]], 3);
}

#[test]
fn readers_of_one_stripe_do_the_same() {
    sync::CROWDED.set(true);
    race(&[&[Read], &[Write], &[Read]], 2);
    race(&[&[Read, Write], &[Write, Read]], 2);
    sync::CROWDED.set(false);
}

#[test]
fn who_does_not_ask_is_found() {
    for other in [Read, Write] {
        let found = catch_unwind(AssertUnwindSafe(|| match other {
            Read => race(&[&[Trespass], &[Read]], 2),
            _ => race(&[&[Trespass], &[Write]], 2),
        }));
        assert!(found.is_err(), "beside {other:?}");
    }
}
