//! Which segments are one part: parts by address, in order, and the one that coalescing extends.

use super::slot::{Cursor, PartEntry, Position, SegmentEntry, Tag};
use super::{Books, Previous};
use crate::table::Found;
use crate::{Extent, Platform};

impl<P: Platform, S: Clone> Books<'_, P, S> {
    /// Returns the part that has the segment at `start`; `next` is the entry behind it.
    #[inline]
    pub(super) fn part_of(&self, start: usize, tag: Tag, next: Option<(usize, Tag)>) -> Option<PartEntry> {
        if tag.is_head() && next.is_none_or(|(_, next)| next.is_head()) {
            return Some(PartEntry { head: tag.slot(), extent: Extent::between(start, self.end_of(start, tag))? });
        }
        self.part_around(start)
    }

    /// As [`part_of`](Self::part_of), where the part has more segments.
    #[inline(never)]
    pub(super) fn part_around(&self, start: usize) -> Option<PartEntry> {
        let (head_start, head) = self.table.last_at_or_before_with(start, 0, 1)?;
        let last = match self.table.first_after_with(Some(start), 0, 1) {
            Some((beyond, _)) => self.table.at_or_before(beyond.wrapping_sub(1))?,
            None => self.table.last()?,
        };
        Some(PartEntry { head: head.slot(), extent: Extent::between(head_start, self.end_of(last.0, last.1))? })
    }

    /// Returns the part that has `address`.
    pub(crate) fn part_at(&self, address: usize) -> Option<PartEntry> {
        self.part_at_hinting(address, |_| {})
    }

    /// Returns the part that has `address`; `hint` gets the slot whose pins are likely to be wanted.
    #[inline]
    pub(crate) fn part_at_hinting(&self, address: usize, hint: impl FnOnce(u32)) -> Option<PartEntry> {
        let (found, next) = self.table.around(address);
        let (start, tag) = found?;
        hint(tag.slot());
        if address < self.end_of(start, tag) { self.part_of(start, tag, next) } else { None }
    }

    /// Returns the segment that has `address`, or else the next one above it, and where it is in the books. Looks it up
    /// only if the cursor is elsewhere, or the books have changed.
    #[inline(never)]
    pub(crate) fn locate<'c>(&self, cursor: &'c mut Cursor, address: usize) -> Option<&'c Position> {
        if cursor.changes != self.changes || cursor.address != address {
            *cursor = Cursor { address, changes: self.changes, place: self.find_from(address) };
        }
        cursor.place.as_ref()
    }

    /// Returns the segment that has `address`, or else the next one above it, and where it is in the books.
    #[inline]
    pub(super) fn find_from(&self, address: usize) -> Option<Position> {
        let mut at = address;
        loop {
            let found = self.table.find_at_or_before(at);
            if let Some(found) = found.filter(|found| address < self.end_of(found.key, found.value)) {
                let (start, tag) = (found.key, found.value);
                let extent = Extent::between(start, self.end_of(start, tag))?;
                return Some(Position { entry: SegmentEntry { slot: tag.slot(), extent }, found });
            }
            at = self.table.after(at)?.0;
        }
    }

    /// Returns the slot of the first segment of the part that has the segment at `place`.
    pub(crate) fn head_of(&self, place: &Position) -> Option<u32> {
        let found = &place.found;
        if found.value.is_head() {
            return Some(found.value.slot());
        }
        self.head_before(found).map(|(_, head)| head.slot())
    }

    #[inline(never)]
    fn head_before(&self, found: &Found<Tag>) -> Option<(usize, Tag)> {
        self.table.last_before_with(found, 0, 1)
    }

    /// Returns whether the part of the segment at `place` has more segments behind it.
    pub(crate) fn continues(&self, place: &Position) -> bool {
        place.found.next.is_some_and(|(_, next)| !next.is_head())
    }

    /// Returns the part that begins with the segment at `place`, if `range`, which touches that, touches all others of
    /// it, too.
    pub(crate) fn whole_from(&self, place: &Position, range: Extent) -> Option<Extent> {
        let (start, tag) = (place.found.key, place.found.value);
        if !tag.is_head() {
            return None;
        }
        match place.found.next.filter(|(_, next)| !next.is_head()) {
            None => Extent::between(start, self.end_of(start, tag)),
            Some((next, _)) if next >= range.end() => None,
            Some(_) => {
                let part = self.part_around(start)?.extent;
                let last = self.entry_from(part.end().wrapping_sub(1))?;
                (last.extent.start() < range.end()).then_some(part)
            }
        }
    }

    /// Returns the lowest part that begins at `address` or above it.
    pub(crate) fn part_beginning_from(&self, address: usize) -> Option<PartEntry> {
        let (mut head, mut more) = (None, false);
        self.table.walk(address, |start, tag| match head {
            None => {
                head = (tag.is_head() && start >= address).then_some((start, tag));
                true
            }
            Some(_) => {
                more = !tag.is_head();
                false
            }
        });
        let (start, tag) = head?;
        if more {
            return self.part_around(start);
        }
        Some(PartEntry { head: tag.slot(), extent: Extent::between(start, self.end_of(start, tag))? })
    }

    /// Fills `found` with the lowest parts that begin at `address` or above it; `None` behind the last one.
    pub(crate) fn extents(&self, address: usize, found: &mut [Option<Extent>]) {
        let mut places = found.iter_mut();
        let mut open: Option<Extent> = None;
        self.table.walk(address, |start, tag| {
            if tag.is_head() {
                if open.is_some() {
                    let Some(place) = places.next() else { return false };
                    *place = open;
                }
                open = if start < address { None } else { Extent::between(start, self.end_of(start, tag)) };
            } else if let Some(part) = open {
                open = Extent::between(part.start(), self.end_of(start, tag));
            }
            true
        });
        // The walk has ended at a part that there was no place for, or behind the last one.
        for place in places {
            *place = open.take();
        }
    }

    /// Returns the part with the lowest addresses.
    pub(crate) fn first_part(&self) -> Option<PartEntry> {
        let (start, tag) = self.table.first()?;
        self.part_of(start, tag, self.table.after(start))
    }

    /// Returns the part that coalescing extends, and how many bytes are reserved behind it.
    pub(crate) fn previous(&self) -> Option<(Extent, usize)> {
        let Previous { head, last } = self.previous?;
        let Some(last) = last else { return self.end_of_part(head) };
        let last = self.slot(last.into())?;
        Some((Extent::between(head, last.end)?, last.spare))
    }

    /// Returns the part that has `address`, and how many bytes are reserved behind it.
    pub(crate) fn end_of_part(&self, address: usize) -> Option<(Extent, usize)> {
        let part = self.part_at(address)?.extent;
        let last = self.entry_from(part.end().wrapping_sub(1))?;
        Some((part, self.slot(last.slot)?.spare))
    }

    /// Returns where the part starts that takes over as previous: the next lower one, else the next higher.
    pub(super) fn neighbour_of(&self, found: &Found<Tag>) -> Option<usize> {
        self.head_before(found).or_else(|| self.table.first_after_with(Some(found.key), 0, 1)).map(|(start, _)| start)
    }
}
