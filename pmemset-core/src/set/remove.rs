//! Removing parts, and ranges of addresses, from the set.

use core::fmt;

use super::books::{Books, Located, Retired, Segment, SegmentEntry};
use super::calls::called;
use super::handle::{Held, Hold, SetRef};
use super::health::deep_flushed;
use super::part::granularity_of;
use super::persist::{Failed, deep_flush_segment};
use super::writing::Turn;
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
            let turn = self.turn();
            // Another thread may have made a whole part longer meanwhile.
            let now = part.current_extent();
            match now.starting_at(rest.end()) {
                None => return self.take_out(turn, part, now, true),
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
        let turn = self.turn();
        let now = part.current_extent();
        self.take_out(turn, part, now, false)
    }

    /// Unmaps what `part` pins, which is `range` now, if nobody else does, and notifies; it has been `flushed` or not.
    ///
    /// The handle pins what is left afterwards.
    fn take_out<'b, R: SetRef<Set = Self>>(
        &'b self,
        turn: Turn<'b, P>,
        part: &mut Part<R>,
        range: Extent,
        flushed: bool,
    ) -> Result<(), RemoveError> {
        let (closed, first) = self.close_unused(&turn, range, part.held())?;
        let mut retired = Retired::new();
        let (books, result) = self.unmap_range(turn, range, first, &mut retired);
        let told = if part.is_whole() { None } else { Some(range) };
        let gone = removed_by(result, told);
        let left = match result {
            Ok(()) => None,
            Err(_) => books.find_from(range.start()).map(|(left, ..)| left).filter(|left| left.extent.overlaps(range)),
        };
        let (mut held, mut rest) = (Held::Nothing, None);
        if let Some(left) = left {
            rest = range.starting_at(left.extent.start());
            held = match part.held() {
                Held::Part(_) => Held::Part(left.slot),
                Held::Segment(_) => Held::Segment(left.slot),
                other => other,
            };
        }
        self.open(&books, rest, held, closed);
        part.shrink(held, rest.unwrap_or(range));
        self.notify_removed(books, retired, gone, flushed);
        result
    }

    /// Opens what has been closed: the segments that `range` touches, which have no uses but those of a handle that has
    /// `held` them, and the part in front of them. The caller has the books locked for changes.
    fn open(&self, books: &Books<'_, P, S>, range: Option<Extent>, held: Held, closed: Closed) {
        if let Some(front) = closed.front {
            self.pins.set(front, Pinned::Part, 0);
        }
        let mut rest = range;
        while let Some(left) = rest
            && let Some((SegmentEntry { slot, extent }, ..)) = books.find_from(left.start())
            && extent.overlaps(left)
        {
            self.pins.set(slot, Pinned::Segment, u32::from(matches!(held, Held::Segment(_) | Held::Range)));
            self.pins.set(slot, Pinned::Part, u32::from(held == Held::Part(slot)));
            rest = left.starting_at(extent.end());
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
        loop {
            self.deep_flush_segments(range)?;
            let turn = self.turn();
            let (closed, first) = self.close_unused(&turn, range, Held::Nothing)?;
            if !closed.fresh {
                return self.take_out_range(turn, range, (closed, first), true);
            }
            // What another thread has mapped into the range meanwhile is flushed too.
            self.open(&self.books.write(), Some(range), Held::Nothing, closed);
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
        let turn = self.turn();
        let closed = self.close_unused(&turn, range, Held::Nothing)?;
        self.take_out_range(turn, range, closed, false)
    }

    fn take_out_range<'b>(
        &'b self,
        turn: Turn<'b, P>,
        range: Extent,
        (closed, first): (Closed, Option<Located>),
        flushed: bool,
    ) -> Result<(), RemoveError> {
        let mut retired = Retired::new();
        let (books, result) = self.unmap_range(turn, range, first, &mut retired);
        self.open(&books, result.is_err().then_some(range), Held::Nothing, closed);
        self.notify_removed(books, retired, removed_by(result, Some(range)), flushed);
        result
    }

    /// Closes the segments that `range` touches, and their parts: nobody pins them until they are opened again. Returns
    /// where the first one is, too.
    ///
    /// Refuses, with nothing closed, if anybody uses them but a handle that has `held` the range.
    fn close_unused(
        &self,
        _turn: &Turn<'_, P>,
        range: Extent,
        held: Held,
    ) -> Result<(Closed, Option<Located>), RemoveError> {
        let (parts, segments) = match held {
            Held::Part(_) => (1, 0),
            Held::Segment(_) | Held::Range => (0, 1),
            Held::Nothing => (0, 0),
        };
        let books = self.look();
        let (mut rest, mut closed, mut lowest) = (Some(range), Closed::default(), None);
        let refused = loop {
            let Some(left) = rest else { return Ok((closed, lowest)) };
            let Some(found) = books.find_from(left.start()) else { return Ok((closed, lowest)) };
            let (SegmentEntry { slot, extent }, part, _) = found;
            if !extent.overlaps(left) {
                return Ok((closed, lowest));
            }
            lowest = lowest.or(Some(found));
            let Some(part) = part else {
                debug_assert!(false, "a segment of the table is in a part");
                break (RemoveError::InUse { segment: extent }, extent, None);
            };
            let pinned = RemoveError::Pinned { part: part.extent };
            let first = part.head == slot;
            // A part that begins in the range has been closed with its first segment.
            if left == range && !first {
                if !self.pins.close(part.head, Pinned::Part, 0) {
                    break (pinned, extent, None);
                }
                closed.front = Some(part.head);
            }
            // The one behind a segment that goes may be the first of its part then: all are closed as that.
            if !self.pins.close(slot, Pinned::Part, if first { parts } else { 0 }) {
                break (pinned, extent, None);
            }
            if !self.pins.close(slot, Pinned::Segment, segments) {
                break (RemoveError::InUse { segment: extent }, extent, Some(slot));
            }
            closed.fresh |= books.is_fresh(slot);
            rest = left.starting_at(extent.end());
        };
        drop(books);
        let books = self.books.write();
        let (error, extent, half) = refused;
        if let Some(slot) = half {
            self.pins.set(slot, Pinned::Part, u32::from(held == Held::Part(slot)));
        }
        self.open(&books, range.ending_at(extent.start()), held, closed);
        Err(error)
    }

    /// Deep-flushes every segment that has a byte in the range, as a whole, lowest first.
    fn deep_flush_segments(&self, range: Extent) -> Result<(), RemoveError> {
        let mut rest = Some(range);
        while let Some(left) = rest
            && let Some((segment, hold)) = self.hold_first(left)?
        {
            let held = Part::new(self, hold);
            self.deep_flush_whole(&segment, held.granularity())?;
            if let Held::Segment(slot) = held.held() {
                self.books.read().flushed(slot);
            }
            rest = left.starting_at(segment.extent.end());
        }
        Ok(())
    }

    /// Pins the lowest segment that `range` touches, so that it cannot go.
    fn hold_first(&self, range: Extent) -> Result<Option<(Segment<S>, Hold)>, RemoveError> {
        match self.hold_first_now(range) {
            Err(RemoveError::InUse { .. }) => {}
            result => return result,
        }
        // It is being removed: once more, when nobody removes.
        let _turn = self.turn();
        self.hold_first_now(range)
    }

    fn hold_first_now(&self, range: Extent) -> Result<Option<(Segment<S>, Hold)>, RemoveError> {
        let books = self.books.read();
        let found = books.find_from(range.start()).filter(|(found, ..)| found.extent.overlaps(range));
        let Some((SegmentEntry { slot, extent }, ..)) = found else { return Ok(None) };
        let Some(segment) = books.segment_in(slot, extent.start()) else {
            debug_assert!(false, "a segment of the table has a source");
            return Err(RemoveError::DeepFlush { segment: extent, cause: Errno::FAULT });
        };
        if !self.pins.pin(slot, Pinned::Segment) {
            return Err(RemoveError::InUse { segment: extent });
        }
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

/// A range that has been closed.
#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    /// The slot of the first segment of the range's first part, where that lies in front of the range.
    front: Option<u32>,
    /// A segment in the range has not been deep-flushed since it was mapped.
    fresh: bool,
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
