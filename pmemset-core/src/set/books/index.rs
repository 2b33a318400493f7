//! What of the books is looked into without their lock.

use super::Books;
use super::slot::Tag;
use crate::atomic::AtomicUsize;
use crate::set::glance::find_and_pin;
use crate::set::pins::{Pin, Pinned, Pins};
use crate::set::sequence::Sequence;
use crate::table::{Array, Glass, Seen, Watching};
use crate::{Extent, Granularity, Platform};

/// A segment or part that has been found and pinned: its slot, and the granularity of the set.
type Found = (u32, Extent, Granularity);

/// What looks into the table of the books, marked with the granularity of the set, as a number.
pub(in crate::set) type BooksGlass<'m, P> = Glass<Watching<'m, Tag, P>, 1>;

/// What it takes to look into the table of the books while somebody may be changing it.
#[derive(Debug)]
pub(in crate::set) struct Index<'m, P> {
    /// `None` where calls are not unlocked.
    parts: Option<(Sequence, BooksGlass<'m, P>)>,
}

impl<'m, P: Platform> Index<'m, P> {
    /// For books that nobody looks into without their lock.
    pub(in crate::set) const NONE: Self = Self { parts: None };

    /// Returns what looks into empty books with room for `room` segments, by the arrays of their table, which are lent;
    /// nothing where calls are not unlocked.
    #[cfg_attr(not(feature = "alloc"), allow(clippy::forget_non_drop, reason = "arrays on the heap are dropped"))]
    pub(in crate::set) const fn over(table: Watching<'m, Tag, P>, room: usize) -> Self {
        if P::UNLOCKED_CALLS {
            return Self { parts: Some((Sequence::new(AtomicUsize::new(0)), Glass::over(table, room))) };
        }
        // A constant function drops nothing.
        core::mem::forget(table);
        Self::NONE
    }

    /// Where there are none there is no code for them either.
    #[inline]
    const fn parts(&self) -> Option<&(Sequence, BooksGlass<'m, P>)> {
        if P::UNLOCKED_CALLS { self.parts.as_ref() } else { None }
    }

    /// Changes the table of the books, or what they say of it.
    #[inline]
    pub(in crate::set) fn change<S: Clone, T>(
        &self,
        books: &mut Books<'m, P, S>,
        change: impl FnOnce(&mut Books<'m, P, S>) -> T,
    ) -> T {
        let begun = self.parts().map(|(sequence, _)| sequence.begin_change());
        let result = change(books);
        if let (Some((sequence, glass)), Some(begun)) = (self.parts(), begun) {
            glass.follow(&books.table, books.granularity.map_or(0, |granularity| granularity as usize));
            sequence.end_change(begun);
        }
        result
    }

    /// Finds the part that has `address`, and pins it, without the lock; `None` where the lock has to be taken to know:
    /// if there is none, or it has several segments, or is being removed.
    #[inline]
    pub(in crate::set) fn pin_part_at(&self, address: usize, pins: &Pins<Array<'m, Pin>>) -> Option<Found> {
        let (sequence, glass) = self.parts()?;
        let find = || {
            let seen = glass.look(address)?;
            let extent = extent_of(&seen, address)?;
            let whole = seen.value.is_head() && glass.next(&seen).is_none_or(Tag::is_head);
            whole.then_some((seen.value.slot(), (extent, seen.mark())))
        };
        let (slot, (extent, mark)) = find_and_pin(sequence, pins, Pinned::Part, find)?;
        Some((slot, extent, granularity_of(mark)))
    }

    /// Finds the segment that has `range`, and pins it, without the lock; `None` where the lock has to be taken to
    /// know: if there is none, or it has not all of the range, or is being removed.
    #[inline]
    pub(in crate::set) fn pin_segment_of(&self, range: Extent, pins: &Pins<Array<'m, Pin>>) -> Option<Found> {
        let (sequence, glass) = self.parts()?;
        let find = || {
            let seen = glass.look(range.start())?;
            let extent = extent_of(&seen, range.start())?;
            (range.end() <= extent.end()).then_some((seen.value.slot(), (extent, seen.mark())))
        };
        let (slot, (extent, mark)) = find_and_pin(sequence, pins, Pinned::Segment, find)?;
        Some((slot, extent, granularity_of(mark)))
    }
}

/// Returns the addresses of the segment that was seen, if it has `address`, and its tag says how long it is.
#[inline]
fn extent_of(seen: &Seen<Tag>, address: usize) -> Option<Extent> {
    Extent::between(seen.key, seen.value.end(seen.key, true)?).filter(|extent| address < extent.end())
}

#[inline]
const fn granularity_of(mark: usize) -> Granularity {
    match mark {
        0 => Granularity::Byte,
        1 => Granularity::CacheLine,
        _ => Granularity::Page,
    }
}
