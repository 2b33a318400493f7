//! Taking parts, and ranges of addresses, out of the set.

use core::fmt;

use super::books::{Books, Farewell, PartEntry, Place, Segment};
use super::checks::deep_flushed;
use super::part::Part;
use super::persist::Failed;
use super::{Set, Writing};
use crate::error::{LookupError, RemoveError};
use crate::{Errno, Extent, Granularity, Platform, Source};

/// A handle given back because its part could not be removed.
#[derive(Debug)]
pub struct Refused<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    /// The handle; after [`RemoveError::Unmap`], to what is left of the part.
    pub part: Part<'s, P, S, N>,
    /// Why.
    pub error: RemoveError,
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> fmt::Display for Refused<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Set<'a, P, S, N> {
    /// Removes a part as a whole, and its handle with it (`pmemset_remove_part_map`).
    ///
    /// What was stored before the call is deep-flushed first. Ends with the event
    /// [`PartRemove`](crate::Event::PartRemove), or with [`RemoveRange`](crate::Event::RemoveRange) where only the first
    /// segments of the part could be unmapped.
    ///
    /// # Errors
    ///
    /// The handle comes back with the reason: [`RemoveError::OtherSet`], [`RemoveError::DeepFlush`],
    /// [`RemoveError::FailedBefore`], [`RemoveError::Pinned`] (nothing has changed), or [`RemoveError::Unmap`].
    pub fn remove<'s>(&self, part: Part<'s, P, S, N>) -> Result<(), Refused<'s, P, S, N>> {
        if !part.is_of(self) {
            return Err(Refused { part, error: RemoveError::OtherSet });
        }
        let mut rest = part.extent();
        let (books, found) = loop {
            if let Err(error) = self.deep_flush_pinned(&part, rest) {
                return Err(Refused { part, error });
            }
            let books = self.books.write();
            let Some(found) = books.find_part(part.extent().start()) else {
                debug_assert!(false, "a pinned part stays");
                return Err(Refused { part, error: RemoveError::OtherSet });
            };
            // Another thread may have made the part longer meanwhile.
            match found.0.extent.from(rest.end()) {
                None => break (books, found),
                Some(more) => rest = more,
            }
        };
        self.take_out(books, part, found, true)
    }

    /// Gives up a part as a whole, and its handle with it: what was stored and not made durable before may be lost.
    ///
    /// As [`remove`](Self::remove), but without a flush, so it works where a synchronisation or a deep flush of the
    /// source has failed. The sources' shutdown records stay dirty.
    ///
    /// # Errors
    ///
    /// The handle comes back with the reason: [`RemoveError::OtherSet`], [`RemoveError::Pinned`] (nothing has changed),
    /// or [`RemoveError::Unmap`].
    pub fn discard<'s>(&self, part: Part<'s, P, S, N>) -> Result<(), Refused<'s, P, S, N>> {
        if !part.is_of(self) {
            return Err(Refused { part, error: RemoveError::OtherSet });
        }
        let books = self.books.write();
        match books.find_part(part.extent().start()) {
            Some(found) => self.take_out(books, part, found, false),
            // Not reached: a pinned part stays.
            None => Err(Refused { part, error: RemoveError::OtherSet }),
        }
    }

    /// Unmaps the part at `found`, which `part` is the only handle to, and tells of it; it has been `flushed` or not.
    fn take_out<'s, 'b>(
        &'b self,
        mut books: Writing<'b, P, S, N>,
        part: Part<'s, P, S, N>,
        (entry, place): (PartEntry, Place),
        flushed: bool,
    ) -> Result<(), Refused<'s, P, S, N>> {
        let mut farewell = Farewell::new();
        if self.pins.count(entry.head) > 1 {
            return Err(Refused { part, error: RemoveError::Pinned { part: entry.extent } });
        }
        let result = self.unmap_range(&mut books, entry.extent, Some(place), &mut farewell);
        let gone = removed_by(result, None);
        let outcome = match result {
            Ok(()) => {
                part.forget();
                Ok(())
            }
            Err(error) => Err(Refused { part: self.hand_over(&books, part, entry), error }),
        };
        self.tell_removed(books, farewell, gone, flushed);
        outcome
    }

    /// Moves the handle of a part that has lost its first segments to what is left of it.
    fn hand_over<'s>(&self, books: &Books<S, N>, part: Part<'s, P, S, N>, before: PartEntry) -> Part<'s, P, S, N> {
        match books.part_from(before.extent.start()) {
            Some(left) if left.head != before.head => {
                self.pins.hand_over(before.head, left.head);
                part.moved(left)
            }
            _ => part,
        }
    }

    /// Removes every segment that has a byte in the range, each as a whole (`pmemset_remove_range`).
    ///
    /// Parts shrink, split in two, or go. A length of 0 removes nothing; so does a range in which nothing is mapped.
    /// What was stored before the call is deep-flushed first. Ends, if something was removed, with the event
    /// [`RemoveRange`](crate::Event::RemoveRange) and a [`PartRemove`](crate::Event::PartRemove) for each part that went
    /// as a whole; until these are told, the removed segments but the first still count against the capacity.
    ///
    /// # Errors
    ///
    /// - [`RemoveError::RangeOutOfRange`], [`RemoveError::DeepFlush`], [`RemoveError::FailedBefore`],
    ///   [`RemoveError::Pinned`]: nothing has changed.
    /// - [`RemoveError::Unmap`]: what lies below the segment named is removed, the rest is not. `RemoveRange` tells of
    ///   what has gone then, not of the range as it was given.
    pub fn remove_range(&self, address: usize, length_bytes: usize) -> Result<(), RemoveError> {
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        let books = loop {
            self.deep_flush_segments(range)?;
            let books = self.books.write();
            self.check_unpinned(&books, range)?;
            // What another thread has mapped into the range meanwhile is flushed too.
            if !books.has_fresh(range) {
                break books;
            }
        };
        self.take_out_range(books, range, true)
    }

    /// Gives up every segment that has a byte in the range, each as a whole: what was stored and not made durable before
    /// may be lost.
    ///
    /// As [`remove_range`](Self::remove_range), but without a flush, so it works where a synchronisation or a deep flush
    /// of a source has failed. The sources' shutdown records stay dirty.
    ///
    /// # Errors
    ///
    /// - [`RemoveError::RangeOutOfRange`], [`RemoveError::Pinned`]: nothing has changed.
    /// - [`RemoveError::Unmap`]: what lies below the segment named is gone, the rest is not.
    pub fn discard_range(&self, address: usize, length_bytes: usize) -> Result<(), RemoveError> {
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        let books = self.books.write();
        self.check_unpinned(&books, range)?;
        self.take_out_range(books, range, false)
    }

    fn take_out_range<'b>(
        &'b self,
        mut books: Writing<'b, P, S, N>,
        range: Extent,
        flushed: bool,
    ) -> Result<(), RemoveError> {
        let mut farewell = Farewell::new();
        let result = self.unmap_range(&mut books, range, None, &mut farewell);
        self.tell_removed(books, farewell, removed_by(result, Some(range)), flushed);
        result
    }

    fn check_unpinned(&self, books: &Books<S, N>, range: Extent) -> Result<(), RemoveError> {
        let mut at = range.start();
        while let Some(part) = books.part_from(at) {
            if !part.extent.overlaps(range) {
                break;
            }
            if self.pins.count(part.head) > 0 {
                return Err(RemoveError::Pinned { part: part.extent });
            }
            at = part.extent.end();
        }
        Ok(())
    }

    /// Deep-flushes every segment that has a byte in the range, as a whole, lowest first.
    fn deep_flush_segments(&self, range: Extent) -> Result<(), RemoveError> {
        let mut at = range.start();
        loop {
            let segment = self.books.read().segment_from(at);
            let Some(segment) = segment.filter(|segment| segment.extent.overlaps(range)) else { return Ok(()) };
            at = segment.extent.end();
            let start = segment.extent.start();
            let part = match self.part_at(start) {
                Ok(part) => part,
                Err(LookupError::NotMapped { .. }) => continue,
                Err(LookupError::TooManyHandles) => return Err(RemoveError::Pinned { part: segment.extent }),
            };
            // Looked up again now that it cannot go.
            let segment = self.books.read().segment_from(start);
            let Some(segment) = segment.filter(|segment| segment.extent.start() == start) else { continue };
            self.deep_flush_whole(&segment, part.granularity())?;
            self.books.read().flushed(start);
        }
    }

    /// Deep-flushes the segments of a pinned part in `range`, which begins and ends with one.
    fn deep_flush_pinned(&self, pinned: &Part<'_, P, S, N>, range: Extent) -> Result<(), RemoveError> {
        let mut rest = Some(range);
        while let Some(left) = rest {
            let books = self.books.read();
            let segment = if left.start() == pinned.extent().start() {
                books.segment_in(pinned.head(), left.start())
            } else {
                books.segment_from(left.start())
            };
            drop(books);
            let Some(segment) = segment else {
                debug_assert!(false, "a pinned part stays");
                return Err(RemoveError::DeepFlush { segment: left, cause: Errno::FAULT });
            };
            self.deep_flush_whole(&segment, pinned.granularity())?;
            rest = left.from(segment.extent.end());
        }
        Ok(())
    }

    fn deep_flush_whole(&self, segment: &Segment<S>, granularity: Granularity) -> Result<(), RemoveError> {
        let flushed = self.deep_flush_segment(segment, segment.extent, granularity);
        let answer = flushed.map_err(|failed| match failed {
            Failed::Now(cause) => RemoveError::DeepFlush { segment: segment.extent, cause },
            Failed::Before(cause) => RemoveError::FailedBefore { segment: segment.extent, cause },
        })?;
        deep_flushed(&segment.source, answer);
        Ok(())
    }
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
        None if length_bytes > 0 => Err(RemoveError::RangeOutOfRange { address, length_bytes }),
        range => Ok(range),
    }
}
