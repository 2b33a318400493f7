//! Every interleaving of look-ups, uses and removals, over the pins that the set has; and protocols that must fail.

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
#[path = "../src/pins.rs"]
mod pins;

use pins::Pins;

const UNMAPPED: u32 = 0;
const DATA: u32 = 7;

/// The books of a set of one part of two segments; `head` is the slot of its first segment that is left.
struct Books {
    head: Option<u32>,
}

/// A set with the protocol of `set/part.rs` and `set/remove.rs`. Whoever touches the memory of a segment unordered with
/// its unmapping is found by loom.
struct World {
    books: RwLock<Books>,
    pins: Pins<2>,
    memory: [UnsafeCell<u32>; 2],
}

// SAFETY: the cells are what the protocol is to keep apart; loom checks each access.
unsafe impl Sync for World {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The part is pinned after the books are unlocked.
    PinLate,
    /// The pins are counted before the books are locked.
    CountEarly,
}

impl World {
    fn new() -> Self {
        Self {
            books: RwLock::new(Books { head: Some(0) }),
            pins: Pins::new([AtomicU32::new(0), AtomicU32::new(0)]),
            memory: [UnsafeCell::new(DATA), UnsafeCell::new(DATA)],
        }
    }

    /// `Set::part_at`: finds and pins under one read lock.
    fn look_up(&self, flaw: Flaw) -> Option<u32> {
        let books = self.books.read().unwrap();
        let head = books.head?;
        if flaw == Flaw::PinLate {
            drop(books);
            assert!(self.pins.pin(head));
            return Some(head);
        }
        assert!(self.pins.pin(head));
        Some(head)
    }

    /// Uses a pinned part: its last segment is there whatever its head is.
    fn load(&self) {
        // SAFETY: the part is pinned; loom checks it.
        self.memory[1].with(|memory| assert_eq!(unsafe { *memory }, DATA));
    }

    fn unmap(&self, segment: usize) {
        // SAFETY: nobody uses the part; loom checks it.
        self.memory[segment].with_mut(|memory| unsafe { *memory = UNMAPPED });
    }

    fn read(&self, flaw: Flaw) {
        let Some(head) = self.look_up(flaw) else { return };
        self.load();
        self.pins.unpin(head);
    }

    /// `Set::remove_range` over both segments.
    fn remove_range(&self, flaw: Flaw) -> bool {
        let early = (flaw == Flaw::CountEarly).then(|| self.pins.count(0));
        let mut books = self.books.write().unwrap();
        let Some(head) = books.head else { return false };
        if early.unwrap_or_else(|| self.pins.count(head)) > 0 {
            return false;
        }
        self.unmap(0);
        self.unmap(1);
        books.head = None;
        true
    }

    /// `Set::remove` by the owner of the pin `own`; after the first segment the platform fails if `fails`.
    fn remove(&self, own: u32, fails: bool) {
        let mut books = self.books.write().unwrap();
        assert_eq!(books.head, Some(own), "a pinned part stays");
        if self.pins.count(own) > 1 {
            drop(books);
            self.pins.unpin(own);
            return;
        }
        self.unmap(0);
        if fails {
            books.head = Some(1);
            self.pins.hand_over(own, 1);
            drop(books);
            self.load();
            self.pins.unpin(1);
            return;
        }
        self.unmap(1);
        books.head = None;
        self.pins.unpin(own);
    }

    /// Maps anew into the slots of what has been removed.
    fn map(&self) {
        let mut books = self.books.write().unwrap();
        if books.head.is_none() {
            // SAFETY: nobody uses what is not mapped; loom checks it.
            self.memory.iter().for_each(|segment| segment.with_mut(|memory| unsafe { *memory = DATA }));
            books.head = Some(0);
        }
    }

    fn nobody_is_left(&self) {
        assert_eq!((self.pins.count(0), self.pins.count(1)), (0, 0));
    }
}

/// Runs `threads` and this thread's `last` in every order that matters.
fn explore(threads: &'static [fn(&World)], last: fn(&World)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(World::new());
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

/// Returns whether loom finds fault with readers and a remover that have this flaw.
fn is_caught(run: fn()) -> bool {
    catch_unwind(AssertUnwindSafe(run)).is_err()
}

#[test]
fn a_part_in_use_is_not_removed() {
    explore(&[|world| world.read(Flaw::None), |world| world.read(Flaw::None)], |world| {
        world.remove_range(Flaw::None);
    });
}

#[test]
fn a_slot_is_used_again() {
    explore(&[|world| world.read(Flaw::None), World::map], |world| {
        world.remove_range(Flaw::None);
    });
}

#[test]
fn the_last_handle_removes_its_part() {
    explore(&[|world| world.read(Flaw::None)], |world| {
        let own = world.look_up(Flaw::None).expect("nobody else removes it");
        world.remove(own, false);
    });
}

#[test]
fn a_handle_moves_to_what_is_left() {
    explore(
        &[
            |world| world.read(Flaw::None),
            |world| {
                world.remove_range(Flaw::None);
            },
        ],
        |world| {
            if let Some(own) = world.look_up(Flaw::None) {
                world.remove(own, true);
            }
        },
    );
}

#[test]
fn wrong_protocols_are_caught() {
    assert!(is_caught(|| explore(&[|world| world.read(Flaw::PinLate)], |world| {
        world.remove_range(Flaw::None);
    })));
    assert!(is_caught(|| explore(&[|world| world.read(Flaw::None)], |world| {
        world.remove_range(Flaw::CountEarly);
    })));
}

/// The counter of `pins.rs` with one ordering as it should not be, to see that loom would tell.
#[test]
fn an_unordered_unpin_is_caught() {
    fn protocol(unpin: Ordering) {
        loom::model(move || {
            let shared = Arc::new((RwLock::new(()), AtomicU32::new(1), World::new()));
            let reader = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                reader.2.load();
                reader.1.fetch_sub(1, unpin);
            });
            let books = shared.0.write().unwrap();
            if shared.1.load(Ordering::Acquire) == 0 {
                shared.2.unmap(1);
            }
            drop(books);
            thread.join().unwrap();
        });
    }
    protocol(Ordering::Release);
    assert!(is_caught(|| protocol(Ordering::Relaxed)));
}
