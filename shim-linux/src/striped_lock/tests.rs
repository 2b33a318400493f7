use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;
use std::vec::Vec;

use super::stripes::WRITING;
use super::*;
use crate::auxv;

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
        while raw.0.state.load(Ordering::SeqCst) & WRITING == 0 && now() == 0 {
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
    let index = || Stripes::index();
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
