//! Every interleaving of threads that synchronise one file, over a kernel that tells once what it has lost; and
//! protocols that must fail.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering as LoomOrdering};
use loom::thread;
use pmemset_core::Errno;

#[allow(dead_code, reason = "the sources use all of it")]
#[path = "../src/lost/losses.rs"]
mod losses;

use losses::{File, Losses, Opened, State};

/// What the protocol of the sources is made of, as loom knows it.
mod sync {
    pub(crate) use loom::sync::MutexGuard;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(pub(crate) loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    #[derive(Debug)]
    pub(crate) struct Condvar(pub(crate) loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap()
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

fn losses() -> Losses {
    Losses {
        state: sync::Mutex(loom::sync::Mutex::new(State::EMPTY)),
        ended: sync::Condvar(loom::sync::Condvar::new()),
    }
}

#[derive(Clone, Copy, Debug)]
enum Flaw {
    None,
    /// Nobody sees who is under way.
    Unseen,
    /// Who has waited looks as if the file had been opened now.
    Once,
}

/// The protocol of the sources, or a worse one.
fn synchronise(losses: &Losses, flaw: Flaw, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    match flaw {
        Flaw::None => {
            let place = losses.begin(&FILE.file);
            losses.end(&FILE, place, call())
        }
        Flaw::Unseen => {
            let result = call();
            let place = losses.begin(&FILE.file);
            losses.end(&FILE, place, result)
        }
        Flaw::Once => {
            let place = losses.begin(&FILE.file);
            let result = call();
            losses.end(&Opened { since: losses.count(), ..FILE }, place, result)
        }
    }
}

const FILE: Opened = Opened { file: File { device: 7, inode: 1 }, since: 0 };
const OTHER: Opened = Opened { file: File { device: 7, inode: 2 }, since: 0 };

/// An open file that has lost bytes, and tells the first that asks.
struct Kernel {
    untold: AtomicBool,
}

impl Kernel {
    /// `fsync(2)`, relaxed, as where the kernel finds without a lock that there is nothing to tell.
    fn sync(&self) -> Result<(), Errno> {
        if self.untold.swap(false, LoomOrdering::Relaxed) { Err(Errno::IO) } else { Ok(()) }
    }
}

/// `threads` threads of which each has stored bytes that are lost already; none may hear that they are durable.
fn race(threads: usize, flaw: Flaw) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (losses, kernel) = (Arc::new(losses()), Arc::new(Kernel { untold: AtomicBool::new(true) }));
        let ask = move |losses: &Losses, kernel: &Kernel| {
            let answer = synchronise(losses, flaw, || kernel.sync());
            assert_eq!(answer, Err(Errno::IO), "lost bytes are called durable");
        };
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let (losses, kernel) = (Arc::clone(&losses), Arc::clone(&kernel));
                thread::spawn(move || ask(&losses, &kernel))
            })
            .collect();
        ask(&losses, &kernel);
        for other in others {
            other.join().unwrap();
        }
        let place = losses.begin(&OTHER.file);
        assert_eq!(losses.end(&OTHER, place, Ok(())), Ok(()), "another file, which nothing was lost of");
    });
}

#[test]
fn nobody_calls_durable_what_another_thread_is_told_is_lost() {
    race(2, Flaw::None);
    race(3, Flaw::None);
}

#[test]
fn a_call_that_waits_for_nobody_is_found() {
    for flaw in [Flaw::Unseen, Flaw::Once] {
        let found = catch_unwind(AssertUnwindSafe(|| race(2, flaw)));
        assert!(found.is_err(), "{flaw:?} passes");
    }
}
