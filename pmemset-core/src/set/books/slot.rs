//! What the books consist of: what they keep for a segment, and the memory for it.

use crate::Extent;
use crate::atomic::{AtomicBool, AtomicU32};
use crate::set::pins::Pin;
use crate::table::{Found, Watch, WatchedSlab, Weigh};

/// What the table keeps for a segment: its slot, whether it is the first of its part, and its length, so that looking
/// up a part need not wait for the slot's cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    slot: u32,
    /// In bytes, or, with the bit [`Tag::LARGE`], in units of 4 KiB; 0 where it does not fit, and the slot says where
    /// the segment ends.
    length: u32,
}

impl Tag {
    const HEAD: u32 = 1 << 31;
    /// The length is in units of 1 << `UNIT_LOG` bytes.
    const LARGE: u32 = 1 << 31;
    const UNIT_LOG: u32 = 12;

    /// Returns a tag; with `units`, of long segments too, which are worth the code only where somebody looks without
    /// the lock of the books, and so not at the slot.
    #[inline]
    pub(super) fn new(slot: u32, head: bool, extent: Extent, units: bool) -> Self {
        let length_bytes = extent.length_bytes();
        let length = match u32::try_from(length_bytes) {
            Ok(length) if !units || length & Self::LARGE == 0 => length,
            _ if units => Self::large(length_bytes),
            _ => 0,
        };
        let tag = Self { slot, length };
        if head { tag.as_head() } else { tag }
    }

    /// Returns a length in units, 0 where it does not fit.
    fn large(length_bytes: usize) -> u32 {
        let count = length_bytes >> Self::UNIT_LOG;
        match u32::try_from(count) {
            Ok(short) if short & Self::LARGE == 0 && count << Self::UNIT_LOG == length_bytes => short | Self::LARGE,
            _ => 0,
        }
    }

    /// Returns where the segment ends that begins at `start`; `None` where the slot has to say it.
    #[inline]
    pub(super) const fn end(self, start: usize, units: bool) -> Option<usize> {
        let length = match self.length {
            0 => return None,
            count if units && count & Self::LARGE != 0 => ((count & !Self::LARGE) as usize) << Self::UNIT_LOG,
            length => length as usize,
        };
        Some(start.wrapping_add(length))
    }

    pub(super) const fn as_head(self) -> Self {
        Self { slot: self.slot | Self::HEAD, ..self }
    }

    pub(super) const fn slot(self) -> u32 {
        self.slot & !Self::HEAD
    }

    pub(super) const fn is_head(self) -> bool {
        self.slot & Self::HEAD != 0
    }
}

impl Watch for Tag {
    #[inline]
    fn halves(self) -> [u32; 2] {
        [self.slot, self.length]
    }

    #[inline]
    fn of([slot, length]: [u32; 2]) -> Self {
        Self { slot, length }
    }
}

impl Weigh<1> for Tag {
    const BY_KEY: bool = false;

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

/// A segment, and where it is in the books; good until they change.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) entry: SegmentEntry,
    pub(super) found: Found<Tag>,
}

impl Position {
    /// Returns whether the segment is the first of its part.
    pub(crate) const fn is_head(&self) -> bool {
        self.found.value.is_head()
    }
}

/// What was last found in the books, so that nobody looks for it again as long as they have not changed.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The address that was looked for.
    pub(super) address: usize,
    /// How often the books had changed then.
    pub(super) changes: u64,
    pub(super) place: Option<Position>,
}

impl Cursor {
    pub(crate) const fn new() -> Self {
        // Books that have changed so often do not exist.
        Self { address: 0, changes: u64::MAX, place: None }
    }
}

/// A segment's slot.
#[derive(Debug)]
pub(crate) struct Slot<S> {
    pub(super) end: usize,
    pub(super) offset: u64,
    /// [`Segment::spare_bytes`]. Where no segment is: the next slot of the same chain, its index plus 1, or 0.
    pub(super) spare: usize,
    /// It has not been deep-flushed since it was mapped; stored to under the read lock too.
    pub(super) fresh: AtomicBool,
    pub(super) source: Option<S>,
}

impl<S> Slot<S> {
    pub(in crate::set) const fn free() -> Self {
        Self { end: 0, offset: 0, spare: 0, fresh: AtomicBool::new(false), source: None }
    }
}

/// A slot, its index plus 1; 0 is none.
pub(super) type Link = usize;

/// Returns the slot of a link.
pub(super) fn linked<S>(slots: &[Slot<S>], link: Link) -> Option<&Slot<S>> {
    slots.get(link.wrapping_sub(1))
}

pub(super) fn linked_mut<S>(slots: &mut [Slot<S>], link: Link) -> Option<&mut Slot<S>> {
    slots.get_mut(link.wrapping_sub(1))
}

/// Memory for the tables of a set with room for `N` segments, 1 to 65,536: [`Set::new`](crate::Set::new) borrows it.
///
/// All bytes are zero while it is not in use (where `None` of a source handle is zero bytes, as it is of a reference
/// and of an `Arc`), so that a static one takes no room in a program file; [`static_set!`](crate::static_set) makes
/// one. A slab is for one set at a time. Takes 84 bytes a segment where a source handle is one word, 92 where it is
/// two.
///
/// ```
/// use pmemset_core::sim::SimSource;
/// use pmemset_core::Slab;
///
/// let slab = Slab::<&SimSource, 64>::new(); // 64 segments, none of which is used yet
/// assert!(size_of_val(&slab) <= 64 * 92 + 64);
/// ```
#[derive(Debug)]
pub struct Slab<S, const N: usize> {
    pub(in crate::set) table: WatchedSlab<Tag, N>,
    pub(in crate::set) slots: [Slot<S>; N],
    pub(in crate::set) pins: [Pin; N],
}

impl<S, const N: usize> Slab<S, N> {
    /// Returns memory that is not in use.
    #[must_use]
    pub const fn new() -> Self {
        Self { table: WatchedSlab::new(), slots: [const { Slot::free() }; N], pins: [const { unused_pin() }; N] }
    }
}

impl<S, const N: usize> Default for Slab<S, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the pin of a segment that nobody uses.
pub(in crate::set) const fn unused_pin() -> Pin {
    Pin::new(AtomicU32::new(0), AtomicU32::new(0))
}
