//! Every interleaving of calls, handles, removals and maps over the pins that the set has, with books that are unlocked
//! in calls and with such as are not; and protocols that must fail.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use loom::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use loom::thread;

/// What the files below ask for.
mod arch {
    pub(crate) fn prefetch<T>(_: &T) {}
}

mod atomic {
    pub(crate) use loom::hint;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
}

/// A second try adds nothing that the first one does not have.
mod limits {
    pub(crate) const TRIES: u32 = 1;
    pub(crate) const LOOKS: u32 = 1;
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

// What is said of a place: whether it is mapped, and begins a part, and its slot.
const MAPPED: u32 = 1 << 30;
const HEAD: u32 = 1 << 31;
const SLOT: u32 = MAPPED - 1;

/// Two places, side by side, for a segment each.
const PLACES: usize = 2;

/// The books of a set: which segments there are, and which of them begin a part.
struct Books {
    mapped: [bool; PLACES],
    head: [bool; PLACES],
    /// The slot of each segment: the number of its place, unless it has moved.
    slot: [u32; PLACES],
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

/// A set with the protocol of `set/turn.rs`, `set/part.rs`, `set/place.rs` and `set/remove.rs`. Whoever touches the
/// memory of a segment unordered with its unmapping is found by loom.
struct World {
    /// [`Platform::UNLOCKED_CALLS`](pmemset_core::Platform::UNLOCKED_CALLS).
    unlocked: bool,
    turn: RwLock<()>,
    books: RwLock<Books>,
    /// What is looked into without the lock: for each place what the books say of it.
    sequence: Sequence,
    glass: [AtomicU32; PLACES],
    pins: Pins<[Pin; PLACES]>,
    memory: [UnsafeCell<u32>; PLACES],
    flaw: Flaw,
}

// SAFETY: the cells are what the protocol is to keep apart; loom checks each access.
unsafe impl Sync for World {}

/// A `Turn`, of one kind or the other.
struct Turn<'w> {
    world: &'w World,
    reading: Option<RwLockReadGuard<'w, Books>>,
    writing: Option<RwLockWriteGuard<'w, Books>>,
    _alone: Option<RwLockWriteGuard<'w, ()>>,
}

impl Turn<'_> {
    fn read(&mut self) -> &Books {
        match &self.writing {
            Some(books) => books,
            None => self.reading.get_or_insert_with(|| self.world.books.read().unwrap()),
        }
    }

    fn write(&mut self) -> &mut Books {
        self.reading = None;
        self.writing.get_or_insert_with(|| self.world.books.write().unwrap())
    }

    fn unlock(&mut self) {
        if self.world.unlocked {
            (self.reading, self.writing) = (None, None);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Segments are pinned after the books are unlocked.
    PinLate,
    /// The pins are counted, and then closed whatever they are.
    CountFirst,
    /// Of a range, the first segment alone is pinned.
    PinFirst,
    /// A removal does not look at handles to the whole part.
    ForgetParts,
    /// A removal closes nothing before it unlocks the books to unmap.
    LeaveOpen,
    /// A removal does not close the part whose segment it unmaps.
    LeavePartOpen,
    /// A removal does not close segments as what they become when the one before has gone: the first of a part.
    LeaveNextOpen,
    /// What stays is not opened again.
    StayClosed,
    /// Who finds something closed does not look again when nobody removes.
    DoNotWait,
    /// Storage is given back without regard to who is mapping it.
    GiveBackMeanwhile,
    /// A segment is in the books before it is mapped.
    InsertEarly,
    /// The books change without a step of their sequence.
    Unannounced,
    /// A slot that has another segment, or whose part has shrunk, is opened as if nothing had changed.
    SameGeneration,
    /// Who looks without the lock pins, and then looks whether the books have changed.
    PinThenLook,
}

/// No more uses are let in.
#[derive(Debug)]
struct Full;

fn slot(place: usize) -> u32 {
    u32::try_from(place).unwrap()
}

impl World {
    /// Returns a set in which both places are mapped, one part or two; or the first alone, no parts.
    fn new(unlocked: bool, parts: usize, flaw: Flaw) -> Self {
        let pin = || Pin::new(AtomicU32::new(0), AtomicU32::new(0));
        Self {
            unlocked,
            turn: RwLock::new(()),
            books: RwLock::new(Books { mapped: [true, parts != 0], head: [true, parts == 2], slot: [0, 1] }),
            sequence: Sequence::new(AtomicUsize::new(0)),
            glass: [AtomicU32::new(MAPPED | HEAD), AtomicU32::new([0, MAPPED, MAPPED | HEAD][parts] | 1)],
            pins: Pins::new([pin(), pin()]),
            memory: [UnsafeCell::new(DATA), UnsafeCell::new(DATA)],
            flaw,
        }
    }

    /// `Index::change`.
    fn change(&self, books: &mut Books, change: impl FnOnce(&mut Books)) {
        let announced = self.unlocked && self.flaw != Flaw::Unannounced;
        let begun = announced.then(|| self.sequence.begin_change());
        change(books);
        for (place, cell) in self.glass.iter().enumerate().filter(|_| self.unlocked) {
            let flag = |is, flag| if is { flag } else { 0 };
            let flags = flag(books.mapped[place], MAPPED) | flag(books.head[place], HEAD);
            cell.store(flags | books.slot[place], Ordering::Relaxed);
        }
        begun.into_iter().for_each(|begun| self.sequence.end_change(begun));
    }

    fn open(&self, slot: u32, what: Pinned, count: u32, changed: bool) {
        self.pins.open(slot, what, count, changed && self.flaw != Flaw::SameGeneration);
    }

    /// `glance::find_and_pin`, and that with a flaw.
    fn find_and_pin<T>(&self, what: Pinned, find: impl Fn() -> Option<(u32, T)>) -> Option<(u32, T)> {
        if self.flaw != Flaw::PinThenLook {
            return glance::find_and_pin(&self.sequence, &self.pins, what, find);
        }
        let begun = self.sequence.begin()?;
        let (slot, found) = find()?;
        if !self.pins.pin(slot, what) {
            return None;
        }
        if self.sequence.unchanged(begun) {
            return Some((slot, found));
        }
        self.pins.unpin(slot, what);
        None
    }

    /// `Index::pin_segment_of`, or else under the lock: a call on one place; returns whether it was mapped.
    fn look(&self, place: usize) -> bool {
        let find = || {
            let cell = self.glass[place].load(Ordering::Relaxed);
            (cell & MAPPED != 0).then_some((cell & SLOT, ()))
        };
        let locked = || {
            self.settled(|| {
                let books = self.books.read().unwrap();
                let slot = books.slot[place];
                let pinned = !books.mapped[place] || self.pins.pin(slot, Pinned::Segment);
                if pinned { Ok(books.mapped[place].then_some((slot, ()))) } else { Err(Full) }
            })
        };
        let held = self.find_and_pin(Pinned::Segment, find).or_else(locked);
        if let Some((slot, ())) = held {
            self.load(place);
            self.pins.unpin(slot, Pinned::Segment);
        }
        held.is_some()
    }

    /// `Index::pin_part_at`, of parts with more segments too, or else under the lock: a handle to the whole part that
    /// has `place`, used in all its segments.
    fn look_whole(&self, place: usize) {
        let find = || {
            let cell = |place: usize| self.glass[place].load(Ordering::Relaxed);
            let first = (0..=place).rev().find(|&at| cell(at) & HEAD != 0)?;
            let end = (place + 1..PLACES).find(|&at| cell(at) & MAPPED == 0 || cell(at) & HEAD != 0).unwrap_or(PLACES);
            (cell(place) & MAPPED != 0).then_some((cell(first) & SLOT, first..end))
        };
        let Some((slot, places)) = self.find_and_pin(Pinned::Part, find) else { return self.whole(place) };
        places.for_each(|place| self.load(place));
        self.pins.unpin(slot, Pinned::Part);
    }

    /// Removes the segment at place 0, and maps one at place 1 into its slot; removes that, which nobody looks for.
    fn move_up(&self) {
        let mut turn = self.turn();
        if self.close_unused(&mut turn, 0..=0, 0).is_none() {
            return;
        }
        self.unmap(&mut turn, 0);
        turn.unlock();
        self.store(1, DATA);
        self.change(turn.write(), |books| {
            (books.mapped[1], books.head[1], books.slot[1]) = (true, true, 0);
            self.open(0, Pinned::Segment, 0, true);
            self.open(0, Pinned::Part, 0, true);
        });
        turn.unlock();
        turn.read();
        let closed = [Pinned::Part, Pinned::Segment].map(|what| self.pins.close(0, what, 0));
        assert_eq!(closed, [true; 2], "nobody uses it");
        self.unmap(&mut turn, 1);
    }

    fn load(&self, place: usize) {
        // SAFETY: the segment is pinned; loom checks it.
        self.memory[place].with(|memory| assert_eq!(unsafe { *memory }, DATA));
    }

    fn store(&self, place: usize, value: u32) {
        // SAFETY: nobody uses the segment; loom checks it.
        self.memory[place].with_mut(|memory| unsafe { *memory = value });
    }

    fn turn(&self) -> Turn<'_> {
        let alone = self.unlocked.then(|| self.turn.write().unwrap());
        let writing = (!self.unlocked).then(|| self.books.write().unwrap());
        Turn { world: self, reading: None, writing, _alone: alone }
    }

    /// `Set::hold_part`, `Set::hold_range`: once more, while nobody removes.
    fn settled<T>(&self, pin: impl Fn() -> Result<T, Full>) -> T {
        let again = |full| {
            if !self.unlocked {
                return Err(full);
            }
            let _turn = (self.flaw != Flaw::DoNotWait).then(|| self.turn.read().unwrap());
            pin()
        };
        pin().or_else(again).expect("so many handles there are not")
    }

    /// `Set::hold_range`: pins the segments of a range under one read lock; all of them have to be mapped.
    fn hold(&self, first: usize, last: usize) -> bool {
        self.settled(|| {
            let books = self.books.read().unwrap();
            if !(first..=last).all(|place| books.mapped[place]) {
                return Ok(false);
            }
            if self.flaw == Flaw::PinLate {
                drop(books);
            }
            let last = if self.flaw == Flaw::PinFirst { first } else { last };
            let refused = (first..=last).find(|&place| !self.pins.pin(slot(place), Pinned::Segment));
            let Some(refused) = refused else { return Ok(true) };
            (first..refused).for_each(|place| self.pins.unpin(slot(place), Pinned::Segment));
            Err(Full)
        })
    }

    fn let_go(&self, first: usize, last: usize) {
        // A handle to several segments looks them up again, as `unpin_each` does.
        let books = (first != last).then(|| self.books.read().unwrap());
        let last = if self.flaw == Flaw::PinFirst { first } else { last };
        (first..=last).for_each(|place| self.pins.unpin(slot(place), Pinned::Segment));
        drop(books);
    }

    /// A call on a range, or a handle to it; returns whether all of it was mapped.
    fn call(&self, first: usize, last: usize) -> bool {
        let held = self.hold(first, last);
        if held {
            (first..=last).for_each(|place| self.load(place));
            self.let_go(first, last);
        }
        held
    }

    /// `Set::part_at`: a handle to the whole part that has `place`; the place of its first segment, and of its last.
    fn part_at(&self, place: usize) -> Option<(usize, usize)> {
        self.settled(|| {
            let books = self.books.read().unwrap();
            if !books.mapped[place] {
                return Ok(None);
            }
            let head = books.head_of(place);
            let last = (place..PLACES).find(|&place| books.ends(place)).unwrap();
            if self.pins.pin(slot(head), Pinned::Part) { Ok(Some((head, last))) } else { Err(Full) }
        })
    }

    /// A handle to the whole part that has `place`, used in all its segments.
    fn whole(&self, place: usize) {
        if let Some((head, last)) = self.part_at(place) {
            (head..=last).for_each(|place| self.load(place));
            self.pins.unpin(slot(head), Pinned::Part);
        }
    }

    fn close(&self, place: usize, what: Pinned, own: u32) -> bool {
        let slot = slot(place);
        match (self.flaw, what) {
            (Flaw::LeaveOpen, _) | (Flaw::LeavePartOpen, Pinned::Part) => self.pins.count(slot, what) <= own,
            (Flaw::ForgetParts, Pinned::Part) => true,
            (Flaw::CountFirst, _) if self.pins.count(slot, what) <= own => {
                self.pins.set(slot, what, own);
                self.pins.close(slot, what, own)
            }
            _ if self.unlocked => self.pins.close(slot, what, own),
            _ => self.pins.count(slot, what) <= own,
        }
    }

    /// `Set::close_unused`: of places that are of one part, of which the caller has `own` handles; returns the place of
    /// its first segment.
    fn close_unused(&self, turn: &mut Turn<'_>, places: core::ops::RangeInclusive<usize>, own: u32) -> Option<usize> {
        let books = turn.read();
        if !books.mapped[*places.start()] {
            return None;
        }
        let head = books.head_of(*places.start());
        let mut closed = Vec::new();
        let mut close = |place, what, own| {
            let done = self.close(place, what, own);
            if done {
                closed.push((place, what, own));
            }
            done
        };
        let front = head == *places.start() || close(head, Pinned::Part, 0);
        let all = front
            && places.into_iter().all(|place| {
                let own = if place == head { own } else { 0 };
                let next = place != head && self.flaw == Flaw::LeaveNextOpen;
                (next || close(place, Pinned::Part, own)) && close(place, Pinned::Segment, 0)
            });
        if all {
            return Some(head);
        }
        if self.unlocked {
            turn.write();
            closed.into_iter().for_each(|(place, what, own)| self.open(slot(place), what, own, false));
        }
        None
    }

    /// `Set::unmap_range`, of one segment.
    fn unmap(&self, turn: &mut Turn<'_>, place: usize) {
        turn.unlock();
        self.store(place, UNMAPPED);
        self.change(turn.write(), |books| books.take_out(place));
    }

    /// `Set::remove_range` over one segment; returns whether it was removed.
    fn remove_range(&self, place: usize) -> bool {
        let mut turn = self.turn();
        let Some(head) = self.close_unused(&mut turn, place..=place, 0) else { return false };
        self.unmap(&mut turn, place);
        if self.unlocked && head != place && self.flaw != Flaw::StayClosed {
            turn.write();
            self.open(slot(head), Pinned::Part, 0, true);
        }
        true
    }

    /// `Set::remove` of the part that begins at place 0, by a handle of one's own; after the first segment the platform
    /// fails if `fails`.
    fn remove_part(&self, fails: bool) {
        let Some((own, _)) = self.part_at(0) else { return };
        let mut turn = self.turn();
        let books = turn.read();
        assert!(books.mapped[own] && books.head[own], "a pinned part stays");
        let last = (own..PLACES).find(|&place| books.ends(place)).unwrap();
        if self.close_unused(&mut turn, own..=last, 1).is_none() {
            drop(turn);
            self.pins.unpin(slot(own), Pinned::Part);
            return;
        }
        if !self.unlocked {
            self.pins.set(slot(own), Pinned::Part, 0);
        }
        for place in own..=last {
            if fails && place > own {
                // The handle is one to what is left now.
                turn.unlock();
                turn.write();
                self.open(slot(place), Pinned::Segment, 0, true);
                self.open(slot(place), Pinned::Part, 1, true);
                drop(turn);
                self.load(place);
                self.pins.unpin(slot(place), Pinned::Part);
                return;
            }
            self.unmap(&mut turn, place);
        }
    }

    /// Maps anew into the slot of what has been removed, at the end of the part before it.
    fn map(&self, place: usize) {
        let mut turn = self.turn();
        if turn.read().mapped[place] {
            return;
        }
        if self.flaw != Flaw::InsertEarly {
            turn.unlock();
            self.store(place, DATA);
        }
        self.change(turn.write(), |books| {
            books.mapped[place] = true;
            books.head[place] = place == 0 || !books.mapped[place - 1];
            self.open(slot(place), Pinned::Segment, 0, true);
            self.open(slot(place), Pinned::Part, 0, true);
        });
        if self.flaw == Flaw::InsertEarly {
            turn.unlock();
            self.store(place, DATA);
        }
    }

    /// `Set::give_back` of the storage of a place.
    fn give_back(&self, place: usize) {
        let meanwhile = self.flaw == Flaw::GiveBackMeanwhile;
        let _turn = (self.unlocked && !meanwhile).then(|| self.turn.read().unwrap());
        let books = self.books.read().unwrap();
        if books.mapped[place] {
            return;
        }
        if self.unlocked {
            drop(books);
            self.store(place, UNMAPPED);
        } else {
            self.store(place, UNMAPPED);
            drop(books);
        }
    }

    fn nobody_is_left(&self) {
        let books = self.books.read().unwrap();
        for place in (0..PLACES).filter(|&place| books.mapped[place]) {
            for what in [Pinned::Segment, Pinned::Part] {
                let slot = books.slot[place];
                assert_eq!(self.pins.count(slot, what), 0, "{what:?} of {place}");
                assert!(self.pins.pin(slot, what), "{what:?} of {place} is closed");
            }
        }
    }
}

/// Runs `threads` and this thread's `last` in every order that matters, on a set of so many parts, of both kinds.
fn explore(parts: usize, flaw: Flaw, threads: &'static [fn(&World)], last: fn(&World)) {
    for unlocked in [true, false] {
        explore_one(unlocked, parts, flaw, threads, last);
    }
}

fn explore_one(unlocked: bool, parts: usize, flaw: Flaw, threads: &'static [fn(&World)], last: fn(&World)) {
    explore_to(3, unlocked, parts, flaw, threads, last);
}

fn explore_to(
    preemptions: usize,
    unlocked: bool,
    parts: usize,
    flaw: Flaw,
    threads: &'static [fn(&World)],
    last: fn(&World),
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let world = Arc::new(World::new(unlocked, parts, flaw));
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

fn call<const FIRST: usize, const LAST: usize>(world: &World) {
    world.call(FIRST, LAST);
}

fn find<const PLACE: usize>(world: &World) {
    assert!(world.call(PLACE, PLACE), "it is mapped all the time");
}

fn remove<const PLACE: usize>(world: &World) {
    world.remove_range(PLACE);
}

#[test]
fn a_segment_in_use_is_not_removed() {
    explore(1, Flaw::None, &[call::<0, 0>, call::<0, 1>], remove::<0>);
    explore(1, Flaw::None, &[|world| world.map(0), call::<0, 0>], |world| {
        world.call(0, 0);
        world.remove_range(0);
    });
}

#[test]
fn calls_on_other_bytes_never_make_a_removal_fail() {
    explore(1, Flaw::None, &[call::<1, 1>, call::<1, 1>], |world| assert!(world.remove_range(0), "nobody uses it"));
}

#[test]
fn calls_on_other_bytes_find_them_whatever_is_removed() {
    explore(1, Flaw::None, &[find::<0>, find::<0>], remove::<1>);
}

#[test]
fn a_call_goes_on_over_a_border_that_is_split() {
    explore(1, Flaw::None, &[call::<0, 1>, remove::<1>], |world| {
        world.remove_range(0);
        world.map(0);
    });
}

#[test]
fn a_whole_part_stays_while_there_is_a_handle() {
    explore(1, Flaw::None, &[|world| world.whole(1), |world| world.whole(0)], remove::<0>);
    explore(1, Flaw::None, &[|world| world.whole(0), remove::<0>], remove::<1>);
    explore(2, Flaw::None, &[|world| world.whole(1), |world| world.map(0)], |world| {
        assert!(world.remove_range(0), "another part");
    });
}

#[test]
fn the_last_handle_removes_its_part() {
    explore(1, Flaw::None, &[|world| world.whole(0), call::<1, 1>], |world| world.remove_part(false));
    explore(1, Flaw::None, &[|world| world.whole(1)], |world| world.remove_part(false));
}

#[test]
fn a_handle_moves_to_what_is_left() {
    explore(1, Flaw::None, &[call::<1, 1>, remove::<1>], |world| world.remove_part(true));
    explore(1, Flaw::None, &[find::<1>], |world| world.remove_part(true));
}

#[test]
fn storage_that_is_being_mapped_is_not_given_back() {
    explore(1, Flaw::None, &[|world| world.map(0), |world| world.give_back(0)], remove::<0>);
}

/// As [`explore`], where calls are unlocked; more preemptions would take minutes.
fn explore_looks(parts: usize, threads: &'static [fn(&World)], last: fn(&World)) {
    explore_to(2, true, parts, Flaw::None, threads, last);
}

fn look<const PLACE: usize>(world: &World) {
    world.look(PLACE);
}

fn look_whole<const PLACE: usize>(world: &World) {
    world.look_whole(PLACE);
}

#[test]
fn what_is_looked_up_without_the_lock_stays() {
    explore_looks(1, &[look::<0>], remove::<0>);
    explore_looks(1, &[look::<0>], |world| {
        world.remove_range(0);
        world.map(0);
    });
    explore_looks(1, &[look::<0>, look::<0>], |world| world.remove_part(false));
}

#[test]
fn a_part_looked_up_without_the_lock_has_no_byte_that_has_gone() {
    explore_looks(1, &[look_whole::<0>], remove::<1>);
    explore_looks(1, &[look_whole::<1>], remove::<0>);
    explore_looks(1, &[look_whole::<0>, remove::<1>], |world| world.map(1));
    explore_looks(1, &[look_whole::<1>], |world| world.remove_part(true));
}

#[test]
fn a_slot_that_has_another_segment_is_not_pinned() {
    explore_looks(0, &[look::<0>], World::move_up);
    explore_looks(0, &[look_whole::<0>], World::move_up);
}

#[test]
fn a_look_without_the_lock_misses_nothing() {
    fn find(world: &World) {
        assert!(world.look(1), "it is mapped all the time");
    }
    explore_looks(2, &[find], |world| {
        world.remove_range(0);
        world.map(0);
    });
    explore_looks(1, &[find, look::<1>], remove::<0>);
}

#[test]
fn wrong_protocols_are_caught() {
    let run = |unlocked, flaw| match flaw {
        Flaw::ForgetParts | Flaw::LeavePartOpen => {
            explore_one(unlocked, 1, flaw, &[|world| world.whole(1)], remove::<1>);
        }
        Flaw::LeaveNextOpen => {
            explore_one(unlocked, 1, flaw, &[|world| world.whole(1)], |world| world.remove_part(false));
        }
        Flaw::StayClosed => explore_one(unlocked, 1, flaw, &[], remove::<1>),
        Flaw::PinLate | Flaw::InsertEarly => explore_one(unlocked, 1, flaw, &[call::<0, 0>], |world| {
            world.remove_range(0);
            world.map(0);
        }),
        Flaw::DoNotWait => explore_one(unlocked, 1, flaw, &[call::<0, 0>, call::<0, 0>], |world| {
            world.remove_range(0);
        }),
        Flaw::GiveBackMeanwhile => explore_one(unlocked, 1, flaw, &[|world| world.give_back(0)], |world| {
            world.remove_range(0);
            world.map(0);
        }),
        Flaw::Unannounced | Flaw::PinThenLook => explore_one(unlocked, 0, flaw, &[look::<0>], World::move_up),
        Flaw::SameGeneration => explore_one(unlocked, 1, flaw, &[look_whole::<0>], remove::<1>),
        _ => explore_one(unlocked, 1, flaw, &[call::<0, 1>], remove::<1>),
    };
    let both = [Flaw::PinLate, Flaw::PinFirst, Flaw::ForgetParts];
    let unlocked = [
        Flaw::CountFirst,
        Flaw::LeaveOpen,
        Flaw::LeavePartOpen,
        Flaw::LeaveNextOpen,
        Flaw::StayClosed,
        Flaw::DoNotWait,
        Flaw::GiveBackMeanwhile,
        Flaw::InsertEarly,
        Flaw::Unannounced,
        Flaw::SameGeneration,
        Flaw::PinThenLook,
    ];
    let flaws = both.iter().flat_map(|&flaw| [(true, flaw), (false, flaw)]);
    let flaws = flaws.chain(unlocked.iter().map(|&flaw| (true, flaw)));
    let missed: Vec<_> =
        flaws.filter(|&(unlocked, flaw)| catch_unwind(AssertUnwindSafe(|| run(unlocked, flaw))).is_ok()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// The counter of `pins.rs` with one ordering as it should not be, to see that loom would tell.
#[test]
fn an_unordered_unpin_is_caught() {
    fn protocol(unpin: Ordering) {
        loom::model(move || {
            let shared = Arc::new((RwLock::new(()), AtomicU32::new(1), World::new(false, 1, Flaw::None)));
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
