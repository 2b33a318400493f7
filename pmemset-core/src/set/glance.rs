//! Finding something in the books and pinning it without their lock.

use super::limits::TRIES;
use super::pins::{GENERATIONS, Pin, Pinned, Pins};
use super::sequence::Sequence;

/// What a look has found.
enum Glance<T> {
    Found((u32, T)),
    /// The books have changed meanwhile.
    Changed,
    /// Nothing, or what a removal has closed, or what cannot be told without the lock.
    Unsure,
}

/// Pins the slot that `find` finds in books that may change meanwhile; returns it, and what else was found.
///
/// What is found was so at one moment during the call, and the slot has been pinned since. `None` where the lock has to
/// be taken to know.
#[inline]
pub(crate) fn find_and_pin<A: AsRef<[Pin]>, T>(
    sequence: &Sequence,
    pins: &Pins<A>,
    what: Pinned,
    find: impl Fn() -> Option<(u32, T)>,
) -> Option<(u32, T)> {
    for _ in 0..TRIES {
        match glance(sequence, pins, what, &find) {
            Glance::Found(found) => return Some(found),
            Glance::Changed => {}
            Glance::Unsure => break,
        }
    }
    None
}

#[inline]
fn glance<A: AsRef<[Pin]>, T>(
    sequence: &Sequence,
    pins: &Pins<A>,
    what: Pinned,
    find: impl Fn() -> Option<(u32, T)>,
) -> Glance<T> {
    let Some(begun) = sequence.begin() else { return Glance::Unsure };
    let Some((slot, found)) = find() else {
        return if sequence.unchanged(begun) { Glance::Unsure } else { Glance::Changed };
    };
    // The word is read while the slot is that of what was found. Whatever happens to that afterwards, the word is
    // closed before, and has another generation when it is opened again.
    let seen = pins.word(slot, what);
    if !sequence.unchanged(begun) {
        return Glance::Changed;
    }
    if !pins.pin_as(slot, what, seen) {
        return Glance::Unsure;
    }
    if sequence.changes_since(begun) >= GENERATIONS / 2 {
        // So late that the generation may have come round.
        pins.unpin(slot, what);
        return Glance::Unsure;
    }
    Glance::Found((slot, found))
}
