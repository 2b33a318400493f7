//! Every interleaving of calls, handles, removals and maps over the pins that the set has; and protocols that must fail.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use loom::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use loom::thread;

/// What the files below ask for beside atomics.
mod arch {
    pub(crate) fn prefetch<T>(_: &T) {}
}

mod atomic {
    pub(crate) use loom::hint;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
}

#[path = "../src/set/glance.rs"]
mod glance;
#[allow(dead_code, reason = "the set uses all of it")]
#[path = "../src/set/pins.rs"]
mod pins;
#[path = "../src/set/sequence.rs"]
mod sequence;

use pins::{Pin, Pinned, Pins};
use sequence::Sequence;

const UNMAPPED: u32 = 0;
const DATA: u32 = 7;

/// Two places, side by side, for a segment each.
const PLACES: usize = 2;

/// The books of a set: which segments there are, which of them begin a part, and which slot they have. Changed with the
/// lock, read with it or without.
struct Books {
    mapped: [AtomicBool; PLACES],
    head: [AtomicBool; PLACES],
    slot: [AtomicU32; PLACES],
}

impl Books {
    fn mapped(&self, place: usize) -> bool {
        self.mapped[place].load(Ordering::Relaxed)
    }

    fn head(&self, place: usize) -> bool {
        self.head[place].load(Ordering::Relaxed)
    }

    fn slot(&self, place: usize) -> u32 {
        self.slot[place].load(Ordering::Relaxed)
    }

    fn enter(&self, place: usize, mapped: bool, head: bool) {
        self.mapped[place].store(mapped, Ordering::Relaxed);
        self.head[place].store(head, Ordering::Relaxed);
    }

    /// Returns the first place of the part that has `place`, and the one behind its last; no answer in books that
    /// change.
    fn part(&self, place: usize) -> Option<(usize, usize)> {
        let first = (0..=place).rev().find(|&at| self.head(at))?;
        let end = (place + 1..PLACES).find(|&at| !self.mapped(at) || self.head(at)).unwrap_or(PLACES);
        self.mapped(place).then_some((first, end))
    }

    /// Takes a segment out; a part that loses its head goes on with its next segment.
    fn take_out(&self, place: usize) {
        if place + 1 < PLACES && self.mapped(place + 1) {
            self.head[place + 1].store(true, Ordering::Relaxed);
        }
        self.enter(place, false, false);
    }
}

/// A set with the protocol of `set/part.rs`, `set/place.rs` and `set/remove.rs`. Whoever touches the memory of a segment
/// unordered with its unmapping is found by loom.
struct World {
    lock: RwLock<()>,
    sequence: Sequence,
    books: Books,
    pins: Pins<[Pin; PLACES]>,
    memory: [UnsafeCell<u32>; PLACES],
    flaw: Flaw,
}

// SAFETY: the cells are what the protocol is to keep apart; loom checks each access.
unsafe impl Sync for World {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A removal looks at the uses, and does not keep others out.
    CountOnly,
    /// A removal counts the uses before it has the lock.
    CountEarly,
    /// Of a range, the first segment alone is pinned.
    PinFirst,
    /// A removal does not look at handles to the whole part.
    ForgetParts,
    /// A part that has lost a segment is taken for what it was.
    SameGeneration,
    /// The books change unannounced.
    Unannounced,
}

/// Bytes that are pinned: the slot, and the places; by the first segment's slot, or each.
enum Use {
    Segment(u32, usize),
    Part(u32, usize, usize),
    Range(usize, usize),
}

impl World {
    /// Returns a set in which both places are mapped: one part, or two; with 0, place 0 alone.
    fn new(parts: usize, flaw: Flaw) -> Self {
        let pin = || Pin::new(AtomicU32::new(0), AtomicU32::new(0));
        Self {
            lock: RwLock::new(()),
            sequence: Sequence::new(AtomicUsize::new(0)),
            books: Books {
                mapped: [AtomicBool::new(true), AtomicBool::new(parts != 0)],
                head: [AtomicBool::new(true), AtomicBool::new(parts == 2)],
                slot: [AtomicU32::new(0), AtomicU32::new(1)],
            },
            pins: Pins::new([pin(), pin()]),
            memory: [UnsafeCell::new(DATA), UnsafeCell::new(DATA)],
            flaw,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().unwrap()
    }

    fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.lock.write().unwrap()
    }

    fn change(&self, change: impl FnOnce(&Books)) {
        if self.flaw == Flaw::Unannounced {
            return change(&self.books);
        }
        self.sequence.change(|| change(&self.books));
    }

    fn load(&self, place: usize) {
        // SAFETY: the segment is pinned; loom checks it.
        self.memory[place].with(|memory| assert_eq!(unsafe { *memory }, DATA));
    }

    fn store(&self, place: usize, value: u32) {
        // SAFETY: nobody uses the segment; loom checks it.
        self.memory[place].with_mut(|memory| unsafe { *memory = value });
    }

    /// `Set::hold_range`: one segment without the lock, if that can be; several with it.
    fn hold(&self, first: usize, last: usize) -> Option<Use> {
        let find = || (first == last && self.books.mapped(first)).then(|| (self.books.slot(first), ()));
        if let Some((slot, ())) = glance::find_and_pin(&self.sequence, &self.pins, Pinned::Segment, find) {
            return Some(Use::Segment(slot, first));
        }
        let _books = self.read();
        if !(first..=last).all(|place| self.books.mapped(place)) {
            return None;
        }
        let end = if self.flaw == Flaw::PinFirst { first } else { last };
        assert!((first..=end).all(|place| self.pins.pin(self.books.slot(place), Pinned::Segment)));
        Some(Use::Range(first, last))
    }

    /// `Set::part_at`: a handle to the whole part that has `place`.
    fn part_at(&self, place: usize) -> Option<Use> {
        let find = || {
            let (first, end) = self.books.part(place)?;
            Some((self.books.slot(first), (first, end)))
        };
        let found = glance::find_and_pin(&self.sequence, &self.pins, Pinned::Part, find);
        let locked = || {
            let _books = self.read();
            let (slot, places) = find()?;
            assert!(self.pins.pin(slot, Pinned::Part));
            Some((slot, places))
        };
        let (slot, (first, end)) = found.or_else(locked)?;
        Some(Use::Part(slot, first, end))
    }

    /// Uses what is pinned, and lets go of it.
    fn use_up(&self, used: Use) {
        match used {
            Use::Segment(slot, place) => {
                self.load(place);
                self.pins.unpin(slot, Pinned::Segment);
            }
            Use::Part(slot, first, end) => {
                (first..end).for_each(|place| self.load(place));
                self.pins.unpin(slot, Pinned::Part);
            }
            Use::Range(first, last) => {
                (first..=last).for_each(|place| self.load(place));
                // They are looked up again, as `unpin_each` does.
                let _books = self.read();
                let last = if self.flaw == Flaw::PinFirst { first } else { last };
                (first..=last).for_each(|place| self.pins.unpin(self.books.slot(place), Pinned::Segment));
            }
        }
    }

    /// A call on a range, or a handle to it.
    fn call(&self, first: usize, last: usize) {
        if let Some(used) = self.hold(first, last) {
            self.use_up(used);
        }
    }

    /// A handle to the whole part that has `place`.
    fn whole(&self, place: usize) {
        if let Some(used) = self.part_at(place) {
            self.use_up(used);
        }
    }

    /// Takes a closed segment out; what is left of a part that begins before it goes on.
    fn take_out(&self, place: usize, front: Option<u32>) {
        self.store(place, UNMAPPED);
        self.change(|books| books.take_out(place));
        if let Some(front) = front {
            self.pins.open(front, Pinned::Part, self.flaw != Flaw::SameGeneration);
        }
    }

    fn close(&self, slot: u32, what: Pinned, own: u32) -> bool {
        match self.flaw {
            Flaw::ForgetParts if what == Pinned::Part => true,
            Flaw::CountOnly | Flaw::CountEarly => self.pins.word(slot, what) <= own,
            _ => self.pins.close(slot, what, own),
        }
    }

    /// `Set::remove_range` over one segment; returns whether it was removed.
    fn remove_range(&self, place: usize) -> bool {
        let closed = |slot, head| {
            self.close(head, Pinned::Part, 0)
                && (self.close(slot, Pinned::Segment, 0) || {
                    self.pins.open(head, Pinned::Part, false);
                    false
                })
        };
        let early = self.flaw == Flaw::CountEarly && closed(self.books.slot(place), self.books.slot(place));
        let _books = self.write();
        let Some((first, _)) = self.books.part(place) else { return false };
        let (slot, head) = (self.books.slot(place), self.books.slot(first));
        if !early && !closed(slot, head) {
            return false;
        }
        self.take_out(place, (first < place).then_some(head));
        true
    }

    /// `Set::remove` of the part that begins at place 0, by a handle of one's own; after the first segment the platform
    /// fails if `fails`.
    fn remove_part(&self, fails: bool) {
        let Some(Use::Part(own, ..)) = self.part_at(0) else { return };
        let books = self.write();
        let (first, end) = self.books.part(0).expect("a pinned part stays");
        let slots: Vec<u32> = (first..end).map(|place| self.books.slot(place)).collect();
        let closed = self.close(own, Pinned::Part, 1) && slots.iter().all(|&slot| self.close(slot, Pinned::Segment, 0));
        if !closed {
            slots.iter().for_each(|&slot| self.pins.open(slot, Pinned::Segment, false));
            self.pins.open(own, Pinned::Part, false);
            drop(books);
            self.pins.unpin(own, Pinned::Part);
            return;
        }
        for place in first..end {
            if fails && place > first {
                // The handle is one to what is left now.
                let slot = self.books.slot(place);
                self.pins.open(slot, Pinned::Segment, false);
                assert!(self.pins.pin(slot, Pinned::Part));
                drop(books);
                return self.use_up(Use::Part(slot, place, end));
            }
            self.take_out(place, None);
        }
    }

    /// Maps anew, into the slot of what has been removed, at the end of the part before it.
    fn map(&self, place: usize) {
        let _books = self.write();
        if !self.books.mapped(place) {
            self.store(place, DATA);
            self.change(|books| {
                books.enter(place, true, place == 0 || !books.mapped(place - 1));
                self.pins.begin(books.slot(place), 0);
            });
        }
    }

    /// Removes the segment at place 0, and maps at place 1 into its slot.
    fn move_up(&self) {
        let _books = self.write();
        let slot = self.books.slot(0);
        if !self.close(slot, Pinned::Part, 0) {
            return;
        }
        if !self.close(slot, Pinned::Segment, 0) {
            return self.pins.open(slot, Pinned::Part, false);
        }
        self.take_out(0, None);
        self.store(1, DATA);
        self.change(|books| {
            books.slot[1].store(slot, Ordering::Relaxed);
            books.enter(1, true, true);
            self.pins.begin(slot, 0);
        });
    }

    fn nobody_is_left(&self) {
        for place in (0..PLACES).filter(|&place| self.books.mapped(place)) {
            for what in [Pinned::Segment, Pinned::Part] {
                assert!(self.pins.close(self.books.slot(place), what, 0), "{what:?} of {place}");
            }
        }
    }
}

/// Runs `threads` and this thread's `last` in every order that matters, on a set of so many parts.
fn explore(parts: usize, flaw: Flaw, threads: &'static [fn(&World)], last: fn(&World)) {
    let mut model = loom::model::Builder::new();
    // More would take minutes.
    model.preemption_bound = Some(2);
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
    explore(1, Flaw::None, &[|world| world.whole(0)], |world| world.remove_part(false));
    explore(1, Flaw::None, &[|world| world.call(1, 1)], |world| world.remove_part(false));
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
fn a_slot_that_is_another_ones_now_is_not_pinned() {
    explore(0, Flaw::None, &[|world| world.call(0, 0)], World::move_up);
    explore(0, Flaw::None, &[|world| world.whole(0)], World::move_up);
}

#[test]
fn a_handle_to_a_part_has_no_byte_that_has_gone() {
    explore(1, Flaw::None, &[|world| world.whole(0), |world| world.map(1)], |world| {
        world.remove_range(1);
    });
}

#[test]
fn wrong_protocols_are_caught() {
    let run = |flaw| match flaw {
        Flaw::ForgetParts => explore(1, flaw, &[|world| world.whole(1)], |world| {
            world.remove_range(1);
        }),
        Flaw::SameGeneration => explore(1, flaw, &[|world| world.whole(0)], |world| {
            world.remove_range(1);
        }),
        Flaw::Unannounced => explore(0, flaw, &[|world| world.whole(0)], World::move_up),
        Flaw::PinFirst => explore(1, flaw, &[|world| world.call(0, 1)], |world| {
            world.remove_range(1);
        }),
        _ => explore(1, flaw, &[|world| world.call(1, 1)], |world| {
            world.remove_range(1);
        }),
    };
    run(Flaw::None);
    let flaws =
        [Flaw::CountOnly, Flaw::CountEarly, Flaw::PinFirst, Flaw::ForgetParts, Flaw::SameGeneration, Flaw::Unannounced];
    let missed: Vec<_> =
        flaws.into_iter().filter(|&flaw| catch_unwind(AssertUnwindSafe(|| run(flaw))).is_ok()).collect();
    assert!(missed.is_empty(), "{missed:?}");
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
