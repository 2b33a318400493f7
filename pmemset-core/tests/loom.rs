//! Every interleaving of calls, handles, removals and maps over the pins that the set has; and protocols that must fail.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use loom::cell::UnsafeCell;
use loom::sync::atomic;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, RwLock};
use loom::thread;

/// What `pins.rs` asks for beside atomics.
mod arch {
    pub(crate) fn prefetch<T>(_: &T) {}
}

#[allow(dead_code, reason = "the set uses all of it")]
#[path = "../src/set/pins.rs"]
mod pins;

use pins::{Pin, Pinned, Pins};

const UNMAPPED: u32 = 0;
const DATA: u32 = 7;

/// Two places, side by side, for a segment each; a segment's slot is the number of its place.
const PLACES: usize = 2;

/// The books of a set: which segments there are, and which of them begin a part.
struct Books {
    mapped: [bool; PLACES],
    head: [bool; PLACES],
}

impl Books {
    /// Returns the slot of the first segment of the part that has `place`.
    fn head_of(&self, place: usize) -> usize {
        (0..=place).rev().find(|&at| self.head[at]).unwrap()
    }

    /// Returns whether nothing follows `place` in its part.
    fn ends(&self, place: usize) -> bool {
        place + 1 == PLACES || !self.mapped[place + 1] || self.head[place + 1]
    }

    /// Takes a segment out; a part that loses its head goes on with its next segment.
    fn take_out(&mut self, place: usize) {
        if !self.ends(place) {
            self.head[place + 1] = true;
        }
        (self.mapped[place], self.head[place]) = (false, false);
    }
}

/// A set with the protocol of `set/part.rs`, `set/map.rs` and `set/remove.rs`. Whoever touches the memory of a segment
/// unordered with its unmapping is found by loom.
struct World {
    books: RwLock<Books>,
    pins: Pins<[Pin; PLACES]>,
    memory: [UnsafeCell<u32>; PLACES],
    flaw: Flaw,
}

// SAFETY: the cells are what the protocol is to keep apart; loom checks each access.
unsafe impl Sync for World {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Segments are pinned after the books are unlocked.
    PinLate,
    /// The pins are counted before the books are locked.
    CountEarly,
    /// Of a range, the first segment alone is pinned.
    PinFirst,
    /// A removal does not look at handles to the whole part.
    ForgetParts,
}

fn slot(place: usize) -> u32 {
    u32::try_from(place).unwrap()
}

impl World {
    /// Returns a set in which both places are mapped: one part, or two.
    fn new(parts: usize, flaw: Flaw) -> Self {
        let pin = || Pin::new(AtomicU32::new(0), AtomicU32::new(0));
        Self {
            books: RwLock::new(Books { mapped: [true; PLACES], head: [true, parts == 2] }),
            pins: Pins::new([pin(), pin()]),
            memory: [UnsafeCell::new(DATA), UnsafeCell::new(DATA)],
            flaw,
        }
    }

    fn load(&self, place: usize) {
        // SAFETY: the segment is pinned; loom checks it.
        self.memory[place].with(|memory| assert_eq!(unsafe { *memory }, DATA));
    }

    fn store(&self, place: usize, value: u32) {
        // SAFETY: nobody uses the segment; loom checks it.
        self.memory[place].with_mut(|memory| unsafe { *memory = value });
    }

    /// `Set::hold`: pins the segments of a range under one read lock; all of them have to be mapped.
    fn hold(&self, first: usize, last: usize) -> bool {
        let books = self.books.read().unwrap();
        if !(first..=last).all(|place| books.mapped[place]) {
            return false;
        }
        if self.flaw == Flaw::PinLate {
            drop(books);
        }
        let last = if self.flaw == Flaw::PinFirst { first } else { last };
        assert!((first..=last).all(|place| self.pins.pin(slot(place), Pinned::Segment)));
        true
    }

    fn let_go(&self, first: usize, last: usize) {
        // A handle to several segments looks them up again, as `unpin_each` does.
        let books = (first != last).then(|| self.books.read().unwrap());
        let last = if self.flaw == Flaw::PinFirst { first } else { last };
        (first..=last).for_each(|place| self.pins.unpin(slot(place), Pinned::Segment));
        drop(books);
    }

    /// A call on a range, or a handle to it.
    fn call(&self, first: usize, last: usize) {
        if self.hold(first, last) {
            (first..=last).for_each(|place| self.load(place));
            self.let_go(first, last);
        }
    }

    /// `Set::part_at`: a handle to the whole part that has `place`.
    fn part_at(&self, place: usize) -> Option<usize> {
        let books = self.books.read().unwrap();
        if !books.mapped[place] {
            return None;
        }
        let head = books.head_of(place);
        assert!(self.pins.pin(slot(head), Pinned::Part));
        Some(head)
    }

    /// A handle to the whole part that has `place`, used where it has a byte.
    fn whole(&self, place: usize) {
        if let Some(head) = self.part_at(place) {
            self.load(place);
            self.pins.unpin(slot(head), Pinned::Part);
        }
    }

    /// `Set::remove_range` over one segment; returns whether it was removed.
    fn remove_range(&self, place: usize) -> bool {
        let early = (self.flaw == Flaw::CountEarly).then(|| self.pins.count(slot(place), Pinned::Segment));
        let mut books = self.books.write().unwrap();
        if !books.mapped[place] {
            return false;
        }
        let parts = self.pins.count(slot(books.head_of(place)), Pinned::Part);
        let ranges = early.unwrap_or_else(|| self.pins.count(slot(place), Pinned::Segment));
        if (parts > 0 && self.flaw != Flaw::ForgetParts) || ranges > 0 {
            return false;
        }
        self.store(place, UNMAPPED);
        books.take_out(place);
        true
    }

    /// `Set::remove` of the part that begins at place 0, by a handle of one's own; after the first segment the platform
    /// fails if `fails`.
    fn remove_part(&self, fails: bool) {
        let Some(own) = self.part_at(0) else { return };
        let mut books = self.books.write().unwrap();
        assert!(books.mapped[own] && books.head[own], "a pinned part stays");
        let last = (own..PLACES).find(|&place| books.ends(place)).unwrap();
        let in_use = (own..=last).any(|place| self.pins.count(slot(place), Pinned::Segment) > 0);
        if in_use || self.pins.count(slot(own), Pinned::Part) > 1 {
            drop(books);
            self.pins.unpin(slot(own), Pinned::Part);
            return;
        }
        for place in own..=last {
            if fails && place > own {
                self.pins.set(slot(own), Pinned::Part, 0);
                self.pins.set(slot(place), Pinned::Part, 1);
                drop(books);
                self.load(place);
                self.pins.unpin(slot(place), Pinned::Part);
                return;
            }
            self.store(place, UNMAPPED);
            books.take_out(place);
        }
        self.pins.unpin(slot(own), Pinned::Part);
    }

    /// Maps anew into the slot of what has been removed, at the end of the part before it.
    fn map(&self, place: usize) {
        let mut books = self.books.write().unwrap();
        if !books.mapped[place] {
            self.store(place, DATA);
            books.mapped[place] = true;
            books.head[place] = place == 0 || !books.mapped[place - 1];
        }
    }

    fn nobody_is_left(&self) {
        for place in 0..PLACES {
            let counts = [Pinned::Segment, Pinned::Part].map(|what| self.pins.count(slot(place), what));
            assert_eq!(counts, [0, 0], "slot {place}");
        }
    }
}

/// Runs `threads` and this thread's `last` in every order that matters, on a set of so many parts.
fn explore(parts: usize, flaw: Flaw, threads: &'static [fn(&World)], last: fn(&World)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World::new(parts, flaw));
        let threads: Vec<_> = threads
            .iter()
            .map(|run| {
                let world = Arc::clone(&world);
                thread::spawn(move || run(&world))
            })
            .collect();
        last(&world);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.nobody_is_left();
    });
}

#[test]
fn a_segment_in_use_is_not_removed() {
    explore(1, Flaw::None, &[|world| world.call(0, 0), |world| world.call(0, 1)], |world| {
        world.remove_range(0);
    });
    explore(1, Flaw::None, &[|world| world.map(0), |world| world.call(0, 0)], |world| {
        world.call(0, 0);
        world.remove_range(0);
    });
}

#[test]
fn calls_on_other_bytes_never_make_a_removal_fail() {
    explore(1, Flaw::None, &[|world| world.call(1, 1), |world| world.call(1, 1)], |world| {
        assert!(world.remove_range(0), "nobody uses it");
    });
}

#[test]
fn a_call_goes_on_over_a_border_that_is_split() {
    explore(
        1,
        Flaw::None,
        &[
            |world| world.call(0, 1),
            |world| {
                world.remove_range(1);
            },
        ],
        |world| {
            world.remove_range(0);
            world.map(0);
        },
    );
}

#[test]
fn a_whole_part_stays_while_there_is_a_handle() {
    explore(1, Flaw::None, &[|world| world.whole(1), |world| world.whole(0)], |world| {
        world.remove_range(0);
    });
    explore(2, Flaw::None, &[|world| world.whole(1), |world| world.map(0)], |world| {
        assert!(world.remove_range(0), "another part");
    });
}

#[test]
fn the_last_handle_removes_its_part() {
    explore(1, Flaw::None, &[|world| world.whole(0), |world| world.call(1, 1)], |world| world.remove_part(false));
}

#[test]
fn a_handle_moves_to_what_is_left() {
    explore(
        1,
        Flaw::None,
        &[
            |world| world.call(1, 1),
            |world| {
                world.remove_range(1);
            },
        ],
        |world| world.remove_part(true),
    );
}

#[test]
fn wrong_protocols_are_caught() {
    let run = |flaw| match flaw {
        Flaw::ForgetParts => explore(1, flaw, &[|world| world.whole(1)], |world| {
            world.remove_range(1);
        }),
        _ => explore(1, flaw, &[|world| world.call(0, 1)], |world| {
            world.remove_range(1);
        }),
    };
    run(Flaw::None);
    for flaw in [Flaw::PinLate, Flaw::CountEarly, Flaw::PinFirst, Flaw::ForgetParts] {
        assert!(catch_unwind(AssertUnwindSafe(|| run(flaw))).is_err(), "{flaw:?}");
    }
}

/// The counter of `pins.rs` with one ordering as it should not be, to see that loom would tell.
#[test]
fn an_unordered_unpin_is_caught() {
    fn protocol(unpin: Ordering) {
        loom::model(move || {
            let shared = Arc::new((RwLock::new(()), AtomicU32::new(1), World::new(1, Flaw::None)));
            let reader = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                reader.2.load(1);
                reader.1.fetch_sub(1, unpin);
            });
            let books = shared.0.write().unwrap();
            if shared.1.load(Ordering::Acquire) == 0 {
                shared.2.store(1, UNMAPPED);
            }
            drop(books);
            thread.join().unwrap();
        });
    }
    protocol(Ordering::Release);
    assert!(catch_unwind(|| protocol(Ordering::Relaxed)).is_err());
}
