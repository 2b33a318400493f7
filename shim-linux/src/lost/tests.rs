//! Losses are told to everybody whom they concern, and synchronisations wait for each other as they must.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::vec::Vec;

use super::losses::{AT_ONCE, ROOM};
use super::*;

const ONE: Opened = opened(7, 1);
const OTHER: Opened = opened(7, 2);

/// Returns the file `inode` of `device`, opened before anything was lost.
const fn opened(device: u64, inode: u64) -> Opened {
    Opened { file: File { device, inode }, since: 0 }
}

fn losses() -> Losses {
    Losses { state: Mutex::new(State::EMPTY), ended: Condvar::new() }
}

fn synchronise(losses: &Losses, opened: &Opened, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let place = losses.begin(&opened.file);
    losses.end(opened, place, call())
}

/// Returns what a synchronisation is told that goes well by itself.
fn check(losses: &Losses, opened: Opened) -> Result<(), Errno> {
    synchronise(losses, &opened, || Ok(()))
}

/// Loses bytes of a file that was opened just now.
fn lose(losses: &Losses, opened: Opened, cause: Errno) {
    let opened = Opened { since: losses.count(), ..opened };
    assert_eq!(synchronise(losses, &opened, || Err(cause)), Err(cause));
}

#[test]
fn sources_that_were_open_then_are_told_and_no_others() {
    let losses = losses();
    lose(&losses, ONE, Errno::NOSPC);
    let anew = Opened { since: losses.count(), ..ONE };
    assert_eq!(check(&losses, ONE), Err(Errno::NOSPC));
    assert_eq!((check(&losses, OTHER), check(&losses, opened(8, 1))), (Ok(()), Ok(())));
    assert_eq!(check(&losses, anew), Ok(()));
    for inode in 2..=ROOM as u64 {
        lose(&losses, opened(7, inode), Errno::IO);
        assert_eq!((check(&losses, ONE), check(&losses, opened(8, 1))), (Err(Errno::NOSPC), Ok(())));
    }
    // What is no longer remembered may have been anybody's.
    lose(&losses, opened(7, 1 + ROOM as u64), Errno::IO);
    assert_eq!((check(&losses, ONE), check(&losses, opened(8, 1))), (Err(Errno::IO), Err(Errno::IO)));
    assert_eq!(check(&losses, anew), Ok(()), "all that was lost since then is remembered");
    assert_eq!(check(&losses, Opened { since: losses.count(), ..OTHER }), Ok(()));
}

/// Waits until a thread sleeps, or `done` says that something is wrong.
fn asleep(losses: &Losses, done: impl Fn() -> bool) {
    while !losses.state.lock().awaited && !done() {
        thread::yield_now();
    }
}

#[test]
fn a_call_that_went_well_waits_for_what_others_of_the_file_are_told() {
    for (told, answer) in [(Err(Errno::IO), Err(Errno::IO)), (Ok(()), Ok(()))] {
        let losses = losses();
        let (first, unrelated) = (losses.begin(&ONE.file), losses.begin(&OTHER.file));
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let well = scope.spawn(|| {
                let result = check(&losses, ONE);
                ended.store(true, Ordering::SeqCst);
                result
            });
            asleep(&losses, || ended.load(Ordering::SeqCst));
            assert!(!ended.load(Ordering::SeqCst), "it says that all is well before the other one was told");
            // One that begins now is not waited for, but by the other one, which has not ended yet.
            let later = losses.begin(&ONE.file);
            let other = scope.spawn(|| losses.end(&ONE, first, told));
            assert_eq!(well.join().unwrap(), answer);
            assert_eq!(losses.end(&ONE, later, Ok(())), answer);
            assert_eq!(other.join().unwrap(), told);
        });
        losses.end(&OTHER, unrelated, Ok(())).unwrap();
    }
}

#[test]
fn one_more_than_there_is_room_for_waits_for_a_place() {
    let losses = losses();
    let places: Vec<usize> = (0..AT_ONCE).map(|_| losses.begin(&ONE.file)).collect();
    let calls = AtomicU32::new(0);
    thread::scope(|scope| {
        let one_more = scope.spawn(|| {
            synchronise(&losses, &OTHER, || {
                calls.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        });
        asleep(&losses, || calls.load(Ordering::SeqCst) > 0);
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        losses.end(&ONE, places[0], Err(Errno::IO)).unwrap_err();
        assert_eq!(one_more.join().unwrap(), Ok(()));
    });
    for place in &places[1..] {
        losses.end(&ONE, *place, Err(Errno::IO)).unwrap_err();
    }
}

#[test]
fn many_threads_end() {
    let (losses, ended) = (losses(), AtomicU32::new(0));
    thread::scope(|scope| {
        for thread in 0..2 * AT_ONCE as u64 {
            let (losses, ended) = (&losses, &ended);
            scope.spawn(move || {
                for _ in 0..200 {
                    let yields = || {
                        thread::yield_now();
                        Ok(())
                    };
                    synchronise(losses, &opened(7, thread % 3), yields).unwrap();
                }
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(ended.into_inner(), 2 * AT_ONCE as u32);
}
