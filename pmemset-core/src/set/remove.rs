//! Removing parts, and ranges of addresses, from the set.

use core::fmt;

use super::books::{Books, Cursor, Retired, Segment, SegmentEntry};
use super::calls::called;
use super::handle::{Held, Hold, SetRef};
use super::health::deep_flushed;
use super::part::granularity_of;
use super::persist::{Failed, deep_flush_segment};
use super::{Part, Set, Writing};
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
            let books = self.books.write();
            // Another thread may have made a whole part longer meanwhile.
            let now = now(&books, part);
            match now.starting_at(rest.end()) {
                None => return self.take_out(books, part, now, true),
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
        let books = self.books.write();
        let now = now(&books, part);
        self.take_out(books, part, now, false)
    }

    /// Unmaps what `part` pins, which is `range` now, if nobody else does, and notifies; it has been `flushed` or not.
    ///
    /// The handle pins what is left afterwards.
    fn take_out<'b, R: SetRef<Set = Self>>(
        &'b self,
        mut books: Writing<'b, 'm, P, S>,
        part: &mut Part<R>,
        range: Extent,
        flushed: bool,
    ) -> Result<(), RemoveError> {
        let own = match part.held() {
            Held::Part(_) => Uses { parts: 1, segments: 0 },
            Held::Segment(_) | Held::Range | Held::Nothing => Uses { parts: 0, segments: 1 },
        };
        let mut cursor = Cursor::new();
        self.check_unused(&books, range, &mut cursor, own)?;
        // Lowered now: once the books are unlocked, the slots may be those of other segments.
        self.set_uses(&books, range, part.held(), 0);
        let mut retired = Retired::new();
        let result = self.unmap_range(&mut books, range, &mut cursor, &mut retired);
        let told = if part.is_whole() { None } else { Some(range) };
        let gone = removed_by(result, told);
        let left = match result {
            Ok(()) => None,
            Err(_) => books.entry_from(range.start()).filter(|left| left.extent.overlaps(range)),
        };
        let (mut held, mut rest) = (Held::Nothing, range);
        if let Some(left) = left {
            rest = range.starting_at(left.extent.start()).unwrap_or(range);
            held = match part.held() {
                Held::Part(_) => Held::Part(left.slot),
                Held::Segment(_) => Held::Segment(left.slot),
                other => other,
            };
            self.set_uses(&books, rest, held, 1);
        }
        part.shrink(held, rest);
        self.notify_removed(books, retired, gone, flushed);
        result
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
            let books = self.books.write();
            // What another thread has mapped into the range meanwhile is flushed too.
            if !self.check_unused(&books, range, &mut cursor, Uses::default())? {
                return self.take_out_range(books, range, &mut cursor, true);
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
        let books = self.books.write();
        let mut cursor = Cursor::new();
        self.check_unused(&books, range, &mut cursor, Uses::default())?;
        self.take_out_range(books, range, &mut cursor, false)
    }

    fn take_out_range<'b>(
        &'b self,
        mut books: Writing<'b, 'm, P, S>,
        range: Extent,
        cursor: &mut Cursor,
        flushed: bool,
    ) -> Result<(), RemoveError> {
        let mut retired = Retired::new();
        let result = self.unmap_range(&mut books, range, cursor, &mut retired);
        self.notify_removed(books, retired, removed_by(result, Some(range)), flushed);
        result
    }

    /// Refuses a range of which anything is in use; `own` uses are the caller's. Returns whether a segment in it is still
    /// to be deep-flushed.
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
        let books = self.books.read();
        let found = books.locate(cursor, range.start()).map(|place| place.entry);
        let found = found.filter(|found| found.extent.overlaps(range));
        let Some(SegmentEntry { slot, extent }) = found else { return Ok(None) };
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
