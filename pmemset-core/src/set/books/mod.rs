//! The books of a set: which segment is where, which segments are one part, how much address space is behind them.

mod index;
mod parts;
mod retired;
mod slot;

use crate::arch::prefetch;
use crate::atomic::{AtomicBool, Ordering};
#[cfg(feature = "alloc")]
use crate::table;
use crate::table::{Array, Table, Watched};
use crate::{Coalescing, Extent, Granularity, Platform, Span};
pub(super) use index::Index;
pub(crate) use retired::{Retired, RetiredSegment};
pub use slot::Slab;
#[cfg(feature = "alloc")]
pub(super) use slot::unused_pin;
pub(crate) use slot::{Cursor, PartEntry, Position, Segment, SegmentEntry};
use slot::{Link, Slot, Tag, linked};

/// Returns books on the heap with room for `capacity` segments, and what is looked into without their lock.
#[cfg(feature = "alloc")]
pub(super) fn on_heap<'m, P: Platform, S>(capacity: usize) -> (Books<'m, P, S>, Index<'m, P>) {
    let (table, watching) = table::on_heap(capacity);
    let index = if P::UNLOCKED_CALLS { Index::over(watching, capacity) } else { Index::NONE };
    (Books::over(table, Array::on_heap(capacity, Slot::free), capacity), index)
}

/// The part that coalescing extends.
#[derive(Clone, Copy, Debug)]
struct Previous {
    /// Where it starts.
    head: usize,
    /// The slot of its last segment, where that is known: mapping one behind the other need not look for it.
    last: Option<u16>,
}

/// Everything that the lock of a set guards.
#[derive(Debug)]
pub(crate) struct Books<'m, P: Platform, S> {
    table: Table<Watched<'m, Tag, P>, 1>,
    slots: Array<'m, Slot<S>>,
    /// The first free slot of those used before.
    freed: Link,
    /// How many slots have ever been used.
    touched: usize,
    /// Slots in use: segments in the table, and removed ones still to be told.
    used: usize,
    /// How often a segment has come or gone.
    changes: u64,
    previous: Option<Previous>,
    pub(crate) granularity: Option<Granularity>,
    pub(crate) coalescing: Coalescing,
}

impl<'m, P: Platform, S> Books<'m, P, S> {
    pub(super) const fn over(table: Watched<'m, Tag, P>, slots: Array<'m, Slot<S>>, room: usize) -> Self {
        Self {
            table: Table::over(table, room),
            slots,
            freed: 0,
            touched: 0,
            used: 0,
            changes: 0,
            previous: None,
            granularity: None,
            coalescing: Coalescing::None,
        }
    }
}

impl<P: Platform, S: Clone> Books<'_, P, S> {
    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.slots.len()
    }

    pub(crate) fn segments(&self) -> usize {
        self.table.len()
    }

    fn slot(&self, index: u32) -> Option<&Slot<S>> {
        self.slots.get(index as usize)
    }

    #[inline]
    fn end_of(&self, start: usize, tag: Tag) -> usize {
        match tag.end(start, P::UNLOCKED_CALLS) {
            Some(end) => end,
            None => self.slot(tag.slot()).map_or(0, |slot| slot.end),
        }
    }

    /// Returns the segment that has `address`, or else the next one above it.
    pub(crate) fn segment_from(&self, address: usize) -> Option<Segment<S>> {
        let entry = self.entry_from(address)?;
        self.segment_in(entry.slot, entry.extent.start())
    }

    /// Returns the segment that has `address`, or else the next one above it, without its source.
    #[inline(never)]
    pub(crate) fn entry_from(&self, address: usize) -> Option<SegmentEntry> {
        Some(self.find_from(address)?.entry)
    }

    /// Returns the segment that has `address`, without its source; `hint` gets its slot early.
    #[inline]
    pub(crate) fn entry_at(&self, address: usize, hint: impl FnOnce(u32)) -> Option<SegmentEntry> {
        let (start, tag) = self.table.at_or_before(address)?;
        hint(tag.slot());
        let end = self.end_of(start, tag);
        if address >= end {
            return None;
        }
        Some(SegmentEntry { slot: tag.slot(), extent: Extent::between(start, end)? })
    }

    /// Returns the segment that has `address`.
    pub(crate) fn segment_at(&self, address: usize) -> Option<Segment<S>> {
        let entry = self.entry_at(address, |_| {})?;
        self.segment_in(entry.slot, entry.extent.start())
    }

    /// Notes whether the segment of a slot, which is pinned, is still to be deep-flushed. Takes the read lock only.
    pub(crate) fn set_fresh(&self, slot: u32, fresh: bool) {
        if let Some(slot) = self.slot(slot) {
            slot.fresh.store(fresh, Ordering::Relaxed);
        }
    }

    /// Returns whether nobody has deep-flushed the segment of a slot since it was mapped, or is about to.
    pub(crate) fn is_fresh(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|slot| slot.fresh.load(Ordering::Relaxed))
    }

    /// Returns whether no segment touches `extent`.
    pub(crate) fn is_free(&self, extent: Extent) -> bool {
        self.overlapped(extent).is_none()
    }

    /// Returns the start of the lowest segment that touches `extent`.
    pub(crate) fn overlapped(&self, extent: Extent) -> Option<usize> {
        let (found, next) = self.table.around(extent.start());
        if let Some((start, tag)) = found
            && extent.start() < self.end_of(start, tag)
        {
            return Some(start);
        }
        let (start, _) = next?;
        (start < extent.end()).then_some(start)
    }

    /// Returns the segment of a slot, which begins at `start`.
    pub(crate) fn segment_in(&self, slot: u32, start: usize) -> Option<Segment<S>> {
        let slot = self.slot(slot)?;
        Some(Segment {
            extent: Extent::between(start, slot.end)?,
            offset: slot.offset,
            source: slot.source.clone()?,
            spare_bytes: slot.spare,
        })
    }

    /// Returns the lowest segment that maps a byte of `range` of a source of which `is` says so.
    pub(crate) fn mapping_of(&self, range: Span, is: impl Fn(&S) -> bool) -> Option<Extent> {
        let mut at = 0;
        while let Some(entry) = self.entry_from(at) {
            let slot = self.slot(entry.slot)?;
            let bytes = Span::new(slot.offset, entry.extent.length_bytes() as u64);
            if bytes.is_some_and(|bytes| bytes.overlaps(range)) && slot.source.as_ref().is_some_and(&is) {
                return Some(entry.extent);
            }
            at = entry.extent.end();
        }
        None
    }

    /// Returns what the segment at a place maps: its first byte in the source, and the source; and how many bytes are
    /// reserved behind it.
    pub(crate) fn mapping_at(&self, place: &Position) -> Option<(u64, &S, usize)> {
        let slot = self.slot(place.found.value.slot())?;
        Some((slot.offset, slot.source.as_ref()?, slot.spare))
    }

    /// Loses the source of the segment at `start`, which cannot be, for tests of what happens then.
    #[cfg(test)]
    pub(crate) fn corrupt(&mut self, start: usize) -> Option<S> {
        let (_, tag) = self.table.at_or_before(start).filter(|(found, _)| *found == start)?;
        self.slots.get_mut(tag.slot() as usize)?.source.take()
    }

    /// Loses all free slots, which cannot be, for tests of what happens then.
    #[cfg(test)]
    pub(crate) fn corrupt_slots(&mut self) {
        (self.freed, self.touched) = (0, self.slots.len());
    }

    /// Forgets that bytes behind the part that ends at `end` are the set's.
    pub(crate) fn forget_spare_before(&mut self, end: usize) {
        let known = self.previous.and_then(|previous| previous.last).map(u32::from);
        let last = match known.filter(|last| self.slot(*last).is_some_and(|slot| slot.end == end)) {
            Some(last) => Some(last),
            None => self.entry_from(end.wrapping_sub(1)).filter(|last| last.extent.end() == end).map(|last| last.slot),
        };
        if let Some(slot) = last.and_then(|last| self.slots.get_mut(last as usize)) {
            slot.spare = 0;
        }
    }

    /// Takes the index of a free slot.
    fn take_slot(&mut self) -> Option<usize> {
        match self.freed.checked_sub(1) {
            Some(index) => {
                self.freed = self.slots.get(index)?.spare;
                // The next call will read its link.
                linked(&self.slots, self.freed).into_iter().for_each(prefetch);
                Some(index)
            }
            None => {
                let index = self.touched;
                self.touched = index.wrapping_add(usize::from(index < self.slots.len()));
                (index < self.slots.len()).then_some(index)
            }
        }
    }

    /// Inserts a segment; `joins` is where the part starts that it continues. Returns its slot, and the addresses of
    /// its part.
    ///
    /// The bytes reserved behind that part are the segment's from now on. `None`, and nothing inserted, where the books
    /// are full; the caller has looked before.
    pub(crate) fn insert(&mut self, segment: Segment<S>, joins: Option<usize>) -> Option<(u32, Extent)> {
        if self.is_full() {
            return None;
        }
        let index = self.take_slot()?;
        let slot = u32::try_from(index).ok()?;
        let (start, extent) = (segment.extent.start(), segment.extent);
        self.table.insert(start, Tag::new(slot, joins.is_none(), extent, P::UNLOCKED_CALLS)).ok()?;
        if let Some(place) = self.slots.get_mut(index) {
            *place = Slot {
                end: segment.extent.end(),
                offset: segment.offset,
                spare: segment.spare_bytes,
                fresh: AtomicBool::new(true),
                source: Some(segment.source),
            };
        }
        self.used = self.used.saturating_add(1);
        self.changes = self.changes.wrapping_add(1);
        let head = joins.unwrap_or(start);
        let is_previous = self.previous.is_some_and(|previous| previous.head == head);
        if joins.is_some() {
            self.forget_spare_before(start);
        }
        if joins.is_none() || is_previous {
            self.previous = Some(Previous { head, last: u16::try_from(slot).ok() });
        }
        Some((slot, Extent::between(head, extent.end())?))
    }
}
