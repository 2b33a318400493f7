//! The books of a set: which segment is where, which segments are one part, how much address space is behind them.

mod retired;

use portable_atomic::{AtomicBool, AtomicU32, Ordering};

use crate::arch::prefetch;
use crate::set::pins::Pin;
#[cfg(feature = "alloc")]
use crate::set::pins::Pins;
use crate::table::Array;
use crate::table::{self, Arrays, Found, Table, Weigh};
use crate::{Coalescing, Extent, Granularity, Platform};
pub(crate) use retired::{Farewell, Gone};

/// What the table keeps for a segment: its slot, whether it is the first of its part, and its length, so that looking
/// up a part need not wait for the slot's cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    slot: u32,
    /// In bytes; 0 where it does not fit, and the slot says where the segment ends.
    length: u32,
}

impl Tag {
    const HEAD: u32 = 1 << 31;

    fn new(slot: u32, head: bool, extent: Extent) -> Self {
        let tag = Self { slot, length: u32::try_from(extent.length_bytes()).unwrap_or(0) };
        if head { tag.as_head() } else { tag }
    }

    const fn as_head(self) -> Self {
        Self { slot: self.slot | Self::HEAD, ..self }
    }

    const fn slot(self) -> u32 {
        self.slot & !Self::HEAD
    }

    const fn is_head(self) -> bool {
        self.slot & Self::HEAD != 0
    }
}

impl Weigh<1> for Tag {
    const BLANK: Self = Self { slot: 0, length: 0 };

    fn weigh(&self, _key: usize) -> [usize; 1] {
        [usize::from(self.is_head())]
    }
}

/// One mapping, made by one map call.
#[derive(Clone, Debug)]
pub(crate) struct Segment<S> {
    pub(crate) extent: Extent,
    /// Its first byte in the source.
    pub(crate) offset: u64,
    pub(crate) source: S,
    /// Bytes reserved behind it, which are nobody else's: room for the part to grow. 0 but for a part's last segment.
    pub(crate) spare_bytes: usize,
}

impl<S> Segment<S> {
    /// Returns where in the source `piece` begins, which lies in the segment.
    pub(crate) const fn offset_of(&self, piece: Extent) -> u64 {
        self.offset.wrapping_add(piece.start().wrapping_sub(self.extent.start()) as u64)
    }
}

/// A segment as the books find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    /// Its slot, which carries its pins.
    pub(crate) slot: u32,
    pub(crate) extent: Extent,
}

/// A part as the books see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartEntry {
    /// The slot of its first segment, which carries the pins of the part.
    pub(crate) head: u32,
    pub(crate) extent: Extent,
}

/// Where a segment is in the books; good until they change.
#[derive(Debug)]
pub(crate) struct Place(Found<Tag>);

/// A segment's slot.
#[derive(Debug)]
pub(crate) struct Slot<S> {
    end: usize,
    offset: u64,
    /// [`Segment::spare_bytes`]. Where no segment is: the next slot of the same chain, its index plus 1, or 0.
    spare: usize,
    /// It has not been deep-flushed since it was mapped; stored to under the read lock too.
    fresh: AtomicBool,
    source: Option<S>,
}

impl<S> Slot<S> {
    const fn free() -> Self {
        Self { end: 0, offset: 0, spare: 0, fresh: AtomicBool::new(false), source: None }
    }
}

/// A slot, its index plus 1; 0 is none.
type Link = usize;

/// Returns the slot of a link.
fn linked<S>(slots: &[Slot<S>], link: Link) -> Option<&Slot<S>> {
    slots.get(link.wrapping_sub(1))
}

fn linked_mut<S>(slots: &mut [Slot<S>], link: Link) -> Option<&mut Slot<S>> {
    slots.get_mut(link.wrapping_sub(1))
}

/// Memory for the books of a set with room for `N` segments, 1 to 65,536: [`Set::new`](crate::Set::new) borrows it.
///
/// All bytes are zero while it is not in use (where `None` of a source handle is zero bytes, as it is of a reference
/// and of an `Arc`), so that a static one takes no room in a program file; [`static_set!`](crate::static_set) makes
/// one. A slab is for one set at a time. Takes 84 bytes a segment where a source handle is one word, 92 where it is
/// two.
#[derive(Debug)]
pub struct Slab<S, const N: usize> {
    pub(super) table: table::Slab<Tag, N>,
    pub(super) slots: [Slot<S>; N],
    pub(super) pins: [Pin; N],
}

impl<S, const N: usize> Slab<S, N> {
    /// Returns memory that is not in use.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: table::Slab::new::<1>(),
            slots: [const { Slot::free() }; N],
            pins: [const { Pin::new(AtomicU32::new(0), AtomicU32::new(0)) }; N],
        }
    }
}

impl<S, const N: usize> Default for Slab<S, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns memory on the heap for a set with room for `capacity` segments.
#[cfg(feature = "alloc")]
pub(crate) fn on_heap<'m, P: Platform, S>(capacity: usize) -> (Pins<Array<'m, Pin>>, Books<'m, P, S>) {
    let books = Books::over(Arrays::on_heap::<1>(capacity), Array::on_heap(capacity, Slot::free), capacity);
    let pin = || Pin::new(AtomicU32::new(0), AtomicU32::new(0));
    (Pins::new(Array::on_heap(capacity, pin)), books)
}

/// Everything that the lock of a set guards.
#[derive(Debug)]
pub(crate) struct Books<'m, P: Platform, S> {
    table: Table<Arrays<'m, Tag, P>, 1>,
    slots: Array<'m, Slot<S>>,
    /// The first free slot of those used before.
    freed: Link,
    /// How many slots have ever been used.
    touched: usize,
    /// Slots in use: segments in the table, and removed ones still to be told.
    used: usize,
    /// Where the part starts that coalescing extends.
    previous: Option<usize>,
    pub(crate) granularity: Option<Granularity>,
    pub(crate) coalescing: Coalescing,
}

impl<'m, P: Platform, S> Books<'m, P, S> {
    pub(super) const fn over(table: Arrays<'m, Tag, P>, slots: Array<'m, Slot<S>>, room: usize) -> Self {
        Self {
            table: Table::over(table, room),
            slots,
            freed: 0,
            touched: 0,
            used: 0,
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
        if tag.length == 0 {
            return self.slot(tag.slot()).map_or(0, |slot| slot.end);
        }
        start.wrapping_add(tag.length as usize)
    }

    /// Returns the segment that has `address`, or else the next one above it.
    pub(crate) fn segment_from(&self, address: usize) -> Option<Segment<S>> {
        let entry = self.entry_from(address)?;
        self.segment_in(entry.slot, entry.extent.start())
    }

    /// Returns the segment that has `address`, or else the next one above it, without its source.
    pub(crate) fn entry_from(&self, address: usize) -> Option<SegmentEntry> {
        let (found, next) = self.table.around(address);
        let (start, tag) = found.filter(|(start, tag)| address < self.end_of(*start, *tag)).or(next)?;
        Some(SegmentEntry { slot: tag.slot(), extent: Extent::between(start, self.end_of(start, tag))? })
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

    fn tag_at(&self, start: usize) -> Option<Tag> {
        self.table.at_or_before(start).filter(|(found, _)| *found == start).map(|(_, tag)| tag)
    }

    /// Notes that the segment at `start` has been deep-flushed. Takes the read lock only.
    pub(crate) fn flushed(&self, start: usize) {
        if let Some(slot) = self.tag_at(start).and_then(|tag| self.slot(tag.slot())) {
            slot.fresh.store(false, Ordering::Relaxed);
        }
    }

    /// Returns whether a segment that `range` touches has not been deep-flushed since it was mapped.
    pub(crate) fn has_fresh(&self, range: Extent) -> bool {
        let mut next = self.overlapped(range).and_then(|start| Some((start, self.tag_at(start)?)));
        while let Some((start, tag)) = next.filter(|(start, _)| *start < range.end()) {
            if self.slot(tag.slot()).is_some_and(|slot| slot.fresh.load(Ordering::Relaxed)) {
                return true;
            }
            next = self.table.after(start);
        }
        false
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

    /// Returns the part that has the segment at `start`; `next` is the entry behind it.
    #[inline]
    fn part_of(&self, start: usize, tag: Tag, next: Option<(usize, Tag)>) -> Option<PartEntry> {
        if tag.is_head() && next.is_none_or(|(_, next)| next.is_head()) {
            return Some(PartEntry { head: tag.slot(), extent: Extent::between(start, self.end_of(start, tag))? });
        }
        self.part_around(start)
    }

    /// As [`part_of`](Self::part_of), where the part has more segments.
    #[inline(never)]
    fn part_around(&self, start: usize) -> Option<PartEntry> {
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

    /// Returns the segment that has `address`, its part, and where it is in the books.
    pub(crate) fn find_at(&self, address: usize) -> Option<(SegmentEntry, PartEntry, Place)> {
        let found = self.table.find_at_or_before(address)?;
        let (start, tag) = (found.key, found.value);
        let extent = Extent::between(start, self.end_of(start, tag)).filter(|extent| extent.contains(address))?;
        let part = self.part_of(start, tag, found.next)?;
        Some((SegmentEntry { slot: tag.slot(), extent }, part, Place(found)))
    }

    /// Returns where the segment that has `address`, or else the next one above it, is in the books.
    pub(crate) fn find_from(&self, address: usize) -> Option<Place> {
        let (found, next) = self.table.around(address);
        let (start, _) = found.filter(|(start, tag)| address < self.end_of(*start, *tag)).or(next)?;
        self.table.find(start).map(Place)
    }

    /// Returns the segment at a place: its addresses, its first byte in the source, and the source.
    pub(crate) fn mapping_at(&self, place: &Place) -> Option<(Extent, u64, &S)> {
        let slot = self.slot(place.0.value.slot())?;
        Some((Extent::between(place.0.key, slot.end)?, slot.offset, slot.source.as_ref()?))
    }

    /// Loses the source of the segment at `start`, which cannot be, for tests of what happens then.
    #[cfg(test)]
    pub(crate) fn corrupt(&mut self, start: usize) -> Option<S> {
        let tag = self.tag_at(start)?;
        self.slots.get_mut(tag.slot() as usize)?.source.take()
    }

    /// Returns the part that has `address`, or else the next one above it.
    pub(crate) fn part_from(&self, address: usize) -> Option<PartEntry> {
        let (found, next) = self.table.around(address);
        if let Some((start, tag)) = found
            && address < self.end_of(start, tag)
        {
            return self.part_of(start, tag, next);
        }
        let (start, tag) = next?;
        self.part_of(start, tag, self.table.after(start))
    }

    /// Returns whether `range` touches the first and the last segment of the part at `part`.
    pub(crate) fn goes_whole(&self, part: Extent, range: Extent) -> bool {
        if range.covers(part) {
            return true;
        }
        let last = self.table.at_or_before(part.end().wrapping_sub(1)).map(|(start, _)| start);
        self.overlapped(range).is_some_and(|start| start <= part.start()) && last.is_some_and(|last| last < range.end())
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
    pub(crate) fn previous(&self) -> Option<(PartEntry, usize)> {
        self.end_of_part(self.previous?)
    }

    /// Returns the part that has `address`, and how many bytes are reserved behind it.
    pub(crate) fn end_of_part(&self, address: usize) -> Option<(PartEntry, usize)> {
        let part = self.part_at(address)?;
        let (_, last) = self.table.at_or_before(part.extent.end().wrapping_sub(1))?;
        Some((part, self.slot(last.slot())?.spare))
    }

    /// Forgets that bytes behind the part that ends at `end` are the set's.
    pub(crate) fn forget_spare_before(&mut self, end: usize) {
        let last = self.table.at_or_before(end.wrapping_sub(1));
        if let Some(slot) = last.and_then(|(_, last)| self.slots.get_mut(last.slot() as usize)) {
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

    /// Enters a segment; `joins` where it continues the part below it. Returns its slot, and the addresses of its part.
    ///
    /// The bytes reserved behind that part are the segment's from now on. `None`, and nothing entered, where the books
    /// are full; the caller has looked before.
    pub(crate) fn enter(&mut self, segment: Segment<S>, joins: bool) -> Option<(u32, Extent)> {
        if self.is_full() {
            return None;
        }
        let index = self.take_slot()?;
        let slot = u32::try_from(index).ok()?;
        let start = segment.extent.start();
        self.table.insert(start, Tag::new(slot, !joins, segment.extent), None).ok()?;
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
        if joins {
            let before = self.table.at_or_before(start.wrapping_sub(1))?;
            self.slots.get_mut(before.1.slot() as usize)?.spare = 0;
            return Some((slot, self.part_at(start)?.extent));
        }
        self.previous = Some(start);
        Some((slot, segment.extent))
    }

    /// Takes a segment out and puts it at the end of `farewell`; `part` is given at the first segment of a part that
    /// goes as a whole. A part that loses its head goes on with its next segment, unless the caller knows that the
    /// segment `ends` its part.
    ///
    /// Returns how many bytes are reserved behind it.
    pub(crate) fn strike(
        &mut self,
        place: &Place,
        ends: bool,
        part: Option<Extent>,
        farewell: &mut Farewell,
    ) -> Option<usize> {
        let found = &place.0;
        let (start, tag) = (found.key, found.value);
        let end = self.end_of(start, tag);
        let next = if ends { None } else { found.next.filter(|(_, next)| !next.is_head()) };
        self.table.remove(found, next.map(|(_, follower)| follower.as_head()));
        if self.previous == Some(start) {
            self.previous = next.map(|(next, _)| next).or_else(|| self.neighbour_of(start));
        }
        if self.table.len() == 0 {
            self.granularity = None;
        }
        self.bury(tag.slot(), part.unwrap_or(Extent::between(start, end)?), part.is_some(), farewell)
    }

    /// Returns where the part starts that takes over as previous: the next lower one, else the next higher.
    fn neighbour_of(&self, address: usize) -> Option<usize> {
        self.table
            .last_at_or_before_with(address, 0, 1)
            .or_else(|| self.table.first_after_with(Some(address), 0, 1))
            .map(|(start, _)| start)
    }
}
