//! Removing parts, and ranges of addresses, from the set.

use core::fmt;

use super::books::{Books, Cursor, Retired, Segment, SegmentEntry};
use super::calls::called;
use super::handle::{Held, Hold, SetRef};
use super::health::deep_flushed;
use super::part::granularity_of;
use super::persist::{Failed, deep_flush_segment};
use super::turn::{Turn, in_turn};
use super::{Part, Set};
use crate::error::RemoveError;
use crate::set::event::Observer;
use crate::set::pins::Pinned;
use crate::{Errno, Extent, Granularity, Platform, Source};

/// A handle that is returned because not everything that it pins was removed.
///
/// ```
#[doc = include_str!("example.md")]
/// use pmemset_core::error::RemoveError;
///
/// let part = set.map(source, &MapConfig::new())?;
/// let reader = set.part_at(part.extent().start())?; // another thread's, say
/// let refused = set.try_remove(part).unwrap_err();
/// assert!(matches!(refused.error, RemoveError::Pinned { .. } | RemoveError::InUse { .. }));
/// refused.part.write(0, b"still mapped")?;
/// # drop(reader);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Refused<R: SetRef> {
    /// The handle; after [`RemoveError::Unmap`], to the rest.
    pub part: Part<R>,
    /// The reason.
    pub error: RemoveError,
}

impl<R: SetRef> fmt::Debug for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("part", &self.part).field("error", &self.error).finish()
    }
}

impl<R: SetRef> fmt::Display for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<R: SetRef> core::error::Error for Refused<R> {}

impl<R: SetRef> From<Refused<R>> for RemoveError {
    fn from(refused: Refused<R>) -> Self {
        refused.error
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Removes what a handle pins, and the handle: a whole part (`pmemset_remove_part_map`), or the segments of a
    /// range.
    ///
    /// Bytes that were stored before the call are deep-flushed first. At the end it reports
    /// [`PartRemove`](crate::Event::PartRemove) if a whole part was removed. Before that it reports
    /// [`RemoveRange`](crate::Event::RemoveRange) if the handle was to a range, or if only the first segments could be
    /// unmapped.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// set.remove(part)?;
    /// assert_eq!(set.segment_count(), 0);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RemoveError::OtherSet`], [`RemoveError::DeepFlush`], [`RemoveError::FailedBefore`], [`RemoveError::Pinned`],
    /// [`RemoveError::InUse`] (nothing has changed but that the handle is gone), or [`RemoveError::Unmap`].
    /// [`try_remove`](Self::try_remove) gives the handle back.
    #[doc(alias = "pmemset_remove_part_map")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn remove<R: SetRef<Set = Self>>(&self, mut part: Part<R>) -> Result<(), RemoveError> {
        called!();
        self.remove_pinned(&mut part)
    }

    /// As [`remove`](Self::remove).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// let other = set.part_at(part.extent().start())?;
    /// let refused = set.try_remove(part).unwrap_err();
    /// println!("{}", refused.error); // in use
    /// drop(other);
    /// set.remove(refused.part)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same; the handle comes back with the reason.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn try_remove<R: SetRef<Set = Self>>(&self, mut part: Part<R>) -> Result<(), Refused<R>> {
        called!();
        self.remove_pinned(&mut part).map_err(|error| Refused { part, error })
    }

    fn remove_pinned<R: SetRef<Set = Self>>(&self, part: &mut Part<R>) -> Result<(), RemoveError> {
        if !core::ptr::eq(part.owner(), self) {
            return Err(RemoveError::OtherSet);
        }
        let mut rest = part.extent();
        loop {
            self.deep_flush_pinned(part, rest)?;
            // Another thread may have made a whole part longer meanwhile.
            match in_turn!(self, turn => self.take_out(turn, part, Some(rest)))? {
                None => return Ok(()),
                Some(more) => rest = more,
            }
        }
    }

    /// Removes what a handle pins, and the handle, without a flush: bytes that are not durable yet may be lost.
    ///
    /// Otherwise like [`remove`](Self::remove). It works also after a synchronisation or a deep flush of the source has
    /// failed. The sources' shutdown records stay dirty.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, b"not wanted", CopyFlags::NOFLUSH)?;
    /// set.discard(part)?; // unmapped without a flush
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RemoveError::OtherSet`], [`RemoveError::Pinned`], [`RemoveError::InUse`] (nothing has changed but that the
    /// handle is gone), or [`RemoveError::Unmap`]. [`try_discard`](Self::try_discard) gives the handle back.
    pub fn discard<R: SetRef<Set = Self>>(&self, mut part: Part<R>) -> Result<(), RemoveError> {
        self.discard_pinned(&mut part)
    }

    /// As [`discard`](Self::discard).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// let reader = set.part_at(part.extent().start())?;
    /// let refused = set.try_discard(part).unwrap_err();
    /// drop(reader);
    /// set.discard(refused.part)?;
    /// assert_eq!(set.segment_count(), 0);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same; the handle comes back with the reason.
    pub fn try_discard<R: SetRef<Set = Self>>(&self, mut part: Part<R>) -> Result<(), Refused<R>> {
        self.discard_pinned(&mut part).map_err(|error| Refused { part, error })
    }

    fn discard_pinned<R: SetRef<Set = Self>>(&self, part: &mut Part<R>) -> Result<(), RemoveError> {
        if !core::ptr::eq(part.owner(), self) {
            return Err(RemoveError::OtherSet);
        }
        in_turn!(self, turn => self.take_out(turn, part, None)).map(drop)
    }

    /// Unmaps what `part` pins, if nobody else does, and notifies; of that, all below the end of `flushed` has been
    /// flushed, or nothing need be. Returns the rest, and nothing has changed, if there is more.
    ///
    /// The handle pins what is left afterwards.
    fn take_out<R: SetRef<Set = Self>, T: Turn<'m, P, S>>(
        &self,
        mut turn: T,
        part: &mut Part<R>,
        flushed: Option<Extent>,
    ) -> Result<Option<Extent>, RemoveError> {
        let range = now(turn.read(), part);
        if let Some(more) = flushed.and_then(|flushed| range.starting_at(flushed.end())) {
            return Ok(Some(more));
        }
        let own = match part.held() {
            Held::Part(_) => Uses { parts: 1, segments: 0 },
            Held::Segment(_) | Held::Range | Held::Nothing => Uses { parts: 0, segments: 1 },
        };
        let mut cursor = Cursor::new();
        let closed = self.close_unused(&mut turn, range, &mut cursor, own)?;
        let mine = part.held();
        if !T::UNLOCKS {
            // Lowered now: once the books are unlocked, the slots may be those of other segments.
            self.set_uses(turn.read(), range, mine, 0);
        }
        // The handle has no uses any more: a source that panics must not have it lower those of others.
        part.shrink(Held::Nothing, range);
        let mut retired = Retired::new();
        let result = self.unmap_range(&mut turn, range, &mut cursor, &mut retired);
        let told = if matches!(mine, Held::Part(_)) { None } else { Some(range) };
        let gone = removed_by(result, told);
        let books = turn.write();
        let left = match result {
            Ok(()) => None,
            Err(_) => books.entry_from(range.start()).filter(|left| left.extent.overlaps(range)),
        };
        let (mut held, mut rest) = (Held::Nothing, range);
        let changed = !retired.is_empty();
        if T::UNLOCKS {
            self.open_front(closed, changed);
        }
        if let Some(left) = left {
            rest = range.starting_at(left.extent.start()).unwrap_or(range);
            held = match mine {
                Held::Part(_) => Held::Part(left.slot),
                Held::Segment(_) => Held::Segment(left.slot),
                other => other,
            };
            if T::UNLOCKS {
                self.open(books, rest, own, changed);
            } else {
                self.set_uses(books, rest, held, 1);
            }
        }
        part.shrink(held, rest);
        self.notify_removed(turn, retired, gone, flushed.is_some());
        result.map(|()| None)
    }

    /// Sets the pins of the only handle to `range`. The caller has the books locked for changes.
    fn set_uses(&self, books: &Books<'_, P, S>, range: Extent, held: Held, count: u32) {
        match held {
            Held::Part(slot) => return self.pins.set(slot, Pinned::Part, count),
            Held::Segment(slot) => return self.pins.set(slot, Pinned::Segment, count),
            Held::Nothing => return,
            Held::Range => {}
        }
        let mut rest = Some(range);
        while let Some(left) = rest
            && let Some(segment) = books.entry_from(left.start())
            && segment.extent.overlaps(left)
        {
            self.pins.set(segment.slot, Pinned::Segment, count);
            rest = left.starting_at(segment.extent.end());
        }
    }

    /// Removes every segment that has a byte in the range, each as a whole (`pmemset_remove_range`).
    ///
    /// Parts shrink, split in two, or go. A length of 0 removes nothing; so does a range in which nothing is mapped.
    /// Bytes that were stored before the call are deep-flushed first. If something was removed, it reports
    /// [`RemoveRange`](crate::Event::RemoveRange), and [`PartRemove`](crate::Event::PartRemove) for each part that was
    /// removed as a whole. Until then all removed segments but the first still count against the capacity.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.remove_range(address, 64 << 10)?;
    /// assert_eq!(set.segment_count(), 0);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`RemoveError::OutOfRange`], [`RemoveError::DeepFlush`], [`RemoveError::FailedBefore`],
    ///   [`RemoveError::Pinned`], [`RemoveError::InUse`]: nothing has changed.
    /// - [`RemoveError::Unmap`]: segments below the one named are removed, the rest is not. `RemoveRange` then has the
    ///   addresses that were removed, not the range as it was given.
    #[doc(alias = "pmemset_remove_range")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn remove_range(&self, address: usize, length_bytes: usize) -> Result<(), RemoveError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        let mut cursor = Cursor::new();
        loop {
            self.deep_flush_segments(range, &mut cursor)?;
            // What another thread has mapped into the range meanwhile is flushed too.
            if in_turn!(self, turn => self.take_out_range(turn, range, &mut cursor, true))? {
                return Ok(());
            }
        }
    }

    /// Removes every segment that has a byte in the range, each as a whole, without a flush: bytes that are not durable
    /// yet may be lost.
    ///
    /// Otherwise like [`remove_range`](Self::remove_range). It works also after a synchronisation or a deep flush of a
    /// source has failed. The sources' shutdown records stay dirty.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.discard_range(address, 64 << 10)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`RemoveError::OutOfRange`], [`RemoveError::Pinned`], [`RemoveError::InUse`]: nothing has changed.
    /// - [`RemoveError::Unmap`]: segments below the one named are removed, the rest is not.
    pub fn discard_range(&self, address: usize, length_bytes: usize) -> Result<(), RemoveError> {
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        in_turn!(self, turn => self.take_out_range(turn, range, &mut Cursor::new(), false)).map(drop)
    }

    /// Unmaps a range if nobody uses it, and notifies. Returns `false`, and nothing has changed, if it is to be
    /// `flushed` before, and is not.
    fn take_out_range<T: Turn<'m, P, S>>(
        &self,
        mut turn: T,
        range: Extent,
        cursor: &mut Cursor,
        flushed: bool,
    ) -> Result<bool, RemoveError> {
        let closed = self.close_unused(&mut turn, range, cursor, Uses::default())?;
        let mut retired = Retired::new();
        let go_on = !(flushed && closed.fresh);
        let result = if go_on { self.unmap_range(&mut turn, range, cursor, &mut retired) } else { Ok(()) };
        if T::UNLOCKS {
            let books = turn.write();
            let changed = !retired.is_empty();
            self.open_front(closed, changed);
            if !go_on || result.is_err() {
                self.open(books, range, Uses::default(), changed);
            }
        }
        if go_on {
            self.notify_removed(turn, retired, removed_by(result, Some(range)), flushed);
        }
        result.map(|()| go_on)
    }

    /// Refuses a range of which anything is in use but by the caller's `own` uses. Where the books do not stay locked,
    /// it closes the segments, and their parts: nobody pins them until they are [opened](Self::open), or gone.
    #[inline]
    fn close_unused<T: Turn<'m, P, S>>(
        &self,
        turn: &mut T,
        range: Extent,
        cursor: &mut Cursor,
        own: Uses,
    ) -> Result<Closed, RemoveError> {
        if T::UNLOCKS {
            self.close_each(turn, range, cursor, own)
        } else {
            let fresh = self.check_unused(turn.read(), range, cursor, own)?;
            Ok(Closed { front: None, fresh })
        }
    }

    /// Closes the segments that `range` touches, and their parts. Refuses, and nothing is closed, if anybody uses them
    /// but for the caller's `own` uses.
    fn close_each(
        &self,
        turn: &mut impl Turn<'m, P, S>,
        range: Extent,
        cursor: &mut Cursor,
        own: Uses,
    ) -> Result<Closed, RemoveError> {
        let mut closed = Closed::default();
        let mut rest = Some(range);
        let (at, error) = loop {
            let books = turn.read();
            let Some(left) = rest else { return Ok(closed) };
            let Some(place) = books.locate(cursor, left.start()) else { return Ok(closed) };
            let (SegmentEntry { slot, extent }, is_head) = (place.entry, place.is_head());
            if !extent.overlaps(left) {
                return Ok(closed);
            }
            let at = extent.start();
            let pinned = || RemoveError::Pinned { part: books.part_at(at).map_or(extent, |part| part.extent) };
            // A part that begins in the range is closed with its first segment.
            let front = if left == range && !is_head { books.head_of(place) } else { None };
            let parts = if is_head { own.parts } else { 0 };
            // Most refusals are found here, where there is nothing to open again.
            let pins = |slot, what| self.pins.count(slot, what);
            if front.is_some_and(|front| pins(front, Pinned::Part) > 0) || pins(slot, Pinned::Part) > parts {
                break (at, pinned());
            }
            if pins(slot, Pinned::Segment) > own.segments || left == range && !is_head && front.is_none() {
                debug_assert!(is_head || front.is_some() || left != range, "a segment of the table is in a part");
                break (at, RemoveError::InUse { segment: extent });
            }
            if let Some(front) = front {
                if !self.pins.close(front, Pinned::Part, 0) {
                    break (at, pinned());
                }
                closed.front = Some(front);
            }
            // What is behind a segment that goes may be the first of its part then: each is closed as that.
            if !self.pins.close(slot, Pinned::Part, parts) {
                break (at, pinned());
            }
            if !self.pins.close(slot, Pinned::Segment, own.segments) {
                turn.write();
                self.pins.open(slot, Pinned::Part, parts, false);
                break (at, RemoveError::InUse { segment: extent });
            }
            closed.fresh |= books.is_fresh(slot);
            rest = left.starting_at(extent.end());
        };
        let below = range.ending_at(at);
        if closed.front.is_some() || below.is_some() {
            let books = turn.write();
            self.open_front(closed, false);
            if let Some(below) = below {
                self.open(books, below, own, false);
            }
        }
        Err(error)
    }

    /// Opens the part in front of a range that was closed; the books have `changed` since, or have not. The caller has
    /// the books locked for changes.
    fn open_front(&self, closed: Closed, changed: bool) {
        if let Some(front) = closed.front {
            self.pins.open(front, Pinned::Part, 0, changed);
        }
    }

    /// Opens the segments that `range` touches, which were closed, to all but the caller's `own` uses. The caller has
    /// the books locked for changes; since the segments were closed they have `changed`, or have not.
    fn open(&self, books: &Books<'_, P, S>, range: Extent, own: Uses, changed: bool) {
        let (mut rest, mut parts) = (Some(range), own.parts);
        while let Some(left) = rest
            && let Some(SegmentEntry { slot, extent }) = books.entry_from(left.start())
            && extent.overlaps(left)
        {
            // A handle to a whole part is counted at its first segment, and its range begins there.
            self.pins.open(slot, Pinned::Part, core::mem::take(&mut parts), changed);
            self.pins.open(slot, Pinned::Segment, own.segments, changed);
            rest = left.starting_at(extent.end());
        }
    }

    /// Refuses a range of which anything is in use; `own` uses are the caller's. Returns whether a segment in it is
    /// still to be deep-flushed.
    fn check_unused(
        &self,
        books: &Books<'_, P, S>,
        range: Extent,
        cursor: &mut Cursor,
        own: Uses,
    ) -> Result<bool, RemoveError> {
        let (mut rest, mut fresh) = (Some(range), false);
        while let Some(left) = rest
            && let Some(place) = books.locate(cursor, left.start())
            && let SegmentEntry { slot, extent } = place.entry
            && extent.overlaps(left)
        {
            let Some(head) = books.head_of(place) else {
                debug_assert!(false, "a segment of the table is in a part");
                return Err(RemoveError::InUse { segment: extent });
            };
            if self.pins.count(head, Pinned::Part) > own.parts {
                let part = books.part_at(extent.start()).map_or(extent, |part| part.extent);
                return Err(RemoveError::Pinned { part });
            }
            if self.pins.count(slot, Pinned::Segment) > own.segments {
                return Err(RemoveError::InUse { segment: extent });
            }
            fresh |= books.is_fresh(slot);
            rest = left.starting_at(extent.end());
        }
        Ok(fresh)
    }

    /// Deep-flushes every segment that has a byte in the range, as a whole, lowest first.
    fn deep_flush_segments(&self, range: Extent, cursor: &mut Cursor) -> Result<(), RemoveError> {
        let mut rest = Some(range);
        while let Some(left) = rest
            && let Some((segment, hold)) = self.hold_first(left, cursor)?
        {
            let held = Part::new(self, hold);
            if let Err(failed) = self.deep_flush_whole(&segment, held.granularity()) {
                if let Held::Segment(slot) = held.held() {
                    self.books.read().set_fresh(slot, true);
                }
                return Err(failed);
            }
            rest = left.starting_at(segment.extent.end());
        }
        Ok(())
    }

    /// Pins the lowest segment that `range` touches, so that it cannot go before the caller has deep-flushed it.
    fn hold_first(&self, range: Extent, cursor: &mut Cursor) -> Result<Option<(Segment<S>, Hold)>, RemoveError> {
        match self.hold_first_now(range, cursor) {
            Err(RemoveError::InUse { .. }) if P::UNLOCKED_CALLS => {
                // It is being removed: once more, when nobody does.
                let _turn = self.turn.read();
                self.hold_first_now(range, cursor)
            }
            result => result,
        }
    }

    fn hold_first_now(&self, range: Extent, cursor: &mut Cursor) -> Result<Option<(Segment<S>, Hold)>, RemoveError> {
        let books = self.books.read();
        let found = books.locate(cursor, range.start()).map(|place| place.entry);
        let found = found.filter(|found| found.extent.overlaps(range));
        let Some(SegmentEntry { slot, extent }) = found else { return Ok(None) };
        // A pin waits for what was read before, so its cache line is asked for with the segment's, not after that.
        self.pins.prefetch(slot);
        let Some(segment) = books.segment_in(slot, extent.start()) else {
            debug_assert!(false, "a segment of the table has a source");
            return Err(RemoveError::DeepFlush { segment: extent, cause: Errno::FAULT });
        };
        if !self.pins.pin(slot, Pinned::Segment) {
            return Err(RemoveError::InUse { segment: extent });
        }
        books.set_fresh(slot, false);
        Ok(Some((segment, (Held::Segment(slot), extent, granularity_of(&books)))))
    }

    /// Deep-flushes the segments that `range` touches, which `pinned` pins.
    fn deep_flush_pinned<R: SetRef>(&self, pinned: &Part<R>, range: Extent) -> Result<(), RemoveError> {
        let mut rest = Some(range);
        while let Some(left) = rest {
            let segment = self.books.read().segment_at(left.start());
            let Some(segment) = segment else {
                debug_assert!(false, "a pinned segment stays");
                return Err(RemoveError::DeepFlush { segment: left, cause: Errno::FAULT });
            };
            self.deep_flush_whole(&segment, pinned.granularity())?;
            rest = left.starting_at(segment.extent.end());
        }
        Ok(())
    }

    fn deep_flush_whole(&self, segment: &Segment<S>, granularity: Granularity) -> Result<(), RemoveError> {
        let flushed = deep_flush_segment(&self.platform, segment, segment.extent, granularity);
        let answer = flushed.map_err(|failed| match failed {
            Failed::Now(cause) => RemoveError::DeepFlush { segment: segment.extent, cause },
            Failed::Before(cause) => RemoveError::FailedBefore { segment: segment.extent, cause },
        })?;
        deep_flushed(&segment.source, answer);
        Ok(())
    }
}

/// A range that nobody else uses.
#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    /// The slot of the first segment of the range's first part, if that lies in front of the range.
    front: Option<u32>,
    /// A segment in the range is still to be deep-flushed.
    fresh: bool,
}

/// How many uses of a part as a whole, and of each of its segments, are the caller's own.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    parts: u32,
    segments: u32,
}

/// Returns what a handle is one to now: a whole part may have grown.
fn now<P: Platform, S: Clone, R: SetRef>(books: &Books<'_, P, S>, part: &Part<R>) -> Extent {
    let whole = if part.is_whole() { books.part_at(part.extent().start()) } else { None };
    whole.map_or(part.extent(), |whole| whole.extent)
}

/// Returns the range to tell of after a removal, all of which is `whole` where it was one of a range.
fn removed_by(result: Result<(), RemoveError>, whole: Option<Extent>) -> Option<Extent> {
    match result {
        Ok(()) => whole,
        Err(RemoveError::Unmap { removed, .. }) => removed,
        Err(_) => None,
    }
}

/// Returns the range; `None` where it is empty.
fn range_of(address: usize, length_bytes: usize) -> Result<Option<Extent>, RemoveError> {
    match Extent::new(address, length_bytes) {
        None if length_bytes > 0 => Err(RemoveError::OutOfRange { address, length_bytes }),
        range => Ok(range),
    }
}
