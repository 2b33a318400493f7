//! Handles to bytes of a set, and finding a part or a range.

use core::fmt;

use super::books::{Books, PartEntry};
use super::handle::{Held, Hold, Operations, SetRef};
use super::{Set, health};
use crate::error::LookupError;
use crate::health::ShutdownVerdict;
use crate::set::event::Observer;
use crate::set::pins::Pinned;
use crate::{Extent, Granularity, Platform, Source};

/// A handle to bytes of a set: while it lives they stay mapped.
///
/// [`Set::map`] and [`Set::pin`] return a handle to a range. It pins the segments that have a byte of the range, and no
/// others. [`Set::part_at`] returns a handle to a whole part (`pmemset_part_map`). Meanwhile the part may grow by
/// coalescing, but it cannot shrink or be removed. `R` is the reference to the set: `&Set`, or `Arc<Set>` (see
/// `Set::map_owned`, feature `alloc`).
///
/// ```
#[doc = include_str!("example.md")]
/// let part = set.map(source, &MapConfig::new().length(4096))?;
/// part.write(0, b"kept")?;
/// let address = part.extent().start();
/// assert!(set.remove_range(address, 4096).is_err()); // in use by `part`
/// drop(part);
/// set.remove_range(address, 4096)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias("pmemset_part_map", "pmemset_part_map_drop"))]
pub struct Part<R: SetRef> {
    set: R,
    held: Held,
    extent: Extent,
    granularity: Granularity,
}

impl<R: SetRef> Part<R> {
    #[inline]
    pub(super) const fn new(set: R, (held, extent, granularity): Hold) -> Self {
        Self { set, held, extent, granularity }
    }

    /// Returns the addresses as they were when the handle was made; all of them are still mapped.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// assert_eq!(part.extent().length_bytes(), 64 << 10);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Returns the addresses as they are now (`pmemset_descriptor_part_map`): more than [`extent`](Self::extent) if the
    /// handle is to a whole part that has grown.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source.clone(), &MapConfig::new().length(4096))?.extent().start();
    /// let part = set.part_at(address)?;
    /// set.map(source, &MapConfig::new().offset(4096).length(4096).after(address))?;
    /// assert_eq!((part.extent().length_bytes(), part.current_extent().length_bytes()), (4096, 8192));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias("pmemset_descriptor_part_map", "pmemset_part_descriptor"))]
    #[must_use]
    pub fn current_extent(&self) -> Extent {
        if self.is_whole() { self.part_extent() } else { self.extent }
    }

    /// Returns the addresses, as they are now, of the whole part that has the first byte.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?.extent();
    /// let header = set.pin(part.slice(0, 512).ok_or("too short")?)?;
    /// assert_eq!((header.extent().length_bytes(), header.part_extent()), (512, part));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn part_extent(&self) -> Extent {
        self.owner().part_extent(self.extent.start()).unwrap_or(self.extent)
    }

    /// Returns whether the handle is to a whole part, which may grow.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let mapped = set.map(source, &MapConfig::new())?; // a handle to what was mapped
    /// let whole = set.part_at(mapped.extent().start())?; // a handle to the part, which may grow
    /// assert!(!mapped.is_whole() && whole.is_whole());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.held, Held::Part(_))
    }

    /// Returns how stores become durable, which is the same in all parts of the set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// if part.granularity() == Granularity::Page {
    ///     println!("each persist is a system call: collect stores");
    /// }
    /// # assert_eq!(part.granularity(), Granularity::CacheLine);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Returns the handle's reference to its set, or its share of it.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.set().drain(); // as `set.drain()`, where only the handle is at hand
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub const fn set(&self) -> &R {
        &self.set
    }

    /// Returns the set itself.
    #[inline]
    pub(super) fn owner(&self) -> &R::Set {
        self.set.set()
    }

    /// Returns the shutdown state of the first byte's source, as it was judged when the first of its present mappings
    /// was made; `None` for a source without a record.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// match part.shutdown_verdict() {
    ///     Some(verdict) => println!("{verdict}"),
    ///     None => println!("no record was attached to the source: see `Checked`"),
    /// }
    /// # assert!(part.shutdown_verdict().is_none());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shutdown_verdict(&self) -> Option<ShutdownVerdict> {
        let segment = self.owner().segment_from(self.extent.start())?;
        health::shutdown_of(&segment.source)?.verdict()
    }

    /// Returns a handle to the part with the next higher addresses (`pmemset_next_part_map`); this handle stays.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// assert!(part.next_part()?.is_none());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LookupError::TooManyHandles`].
    #[doc(alias = "pmemset_next_part_map")]
    pub fn next_part(&self) -> Result<Option<Self>, LookupError>
    where
        R: Clone,
    {
        let hold = self.owner().hold_part_from(self.part_extent().end())?;
        Ok(hold.map(|hold| Self::new(self.set.clone(), hold)))
    }

    #[inline]
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// Makes the handle one to `extent`, of which `held` is pinned: what is left of what it was one to.
    pub(super) const fn shrink(&mut self, held: Held, extent: Extent) {
        (self.held, self.extent) = (held, extent);
    }
}

impl<R: SetRef> Drop for Part<R> {
    #[inline]
    fn drop(&mut self) {
        self.set.set().unpin(self.held, self.extent);
    }
}

impl<R: SetRef> fmt::Debug for Part<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("extent", &self.extent).field("held", &self.held).finish_non_exhaustive()
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Returns a handle to the part that has `address` (`pmemset_part_map_by_address`).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// let part = set.part_at(address + 100)?;
    /// assert!(part.is_whole());
    /// assert!(set.part_at(0).is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LookupError::NotMapped`]: no part has it.
    /// - [`LookupError::TooManyHandles`].
    #[doc(alias = "pmemset_part_map_by_address")]
    #[inline]
    pub fn part_at(&self, address: usize) -> Result<Part<&Self>, LookupError> {
        Ok(Part::new(self, self.hold_part_at(address)?))
    }

    /// As [`part_at`](Self::part_at); the handle owns a share of the set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use std::sync::Arc;
    ///
    /// let set = Arc::new(set);
    /// let address = set.map_owned(source, &MapConfig::new())?.extent().start();
    /// let part = set.part_at_owned(address)?;
    /// drop(set); // the handle keeps the set alive
    /// part.write(0, b"kept")?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "alloc")]
    pub fn part_at_owned(
        self: &alloc::sync::Arc<Self>,
        address: usize,
    ) -> Result<Part<alloc::sync::Arc<Self>>, LookupError> {
        Ok(Part::new(alloc::sync::Arc::clone(self), self.hold_part_at(address)?))
    }

    /// Returns a handle to the bytes of `range`. Segments that have one of these bytes stay mapped; others may be
    /// removed.
    ///
    /// Takes one look-up, or one for each segment of the range. Dropping a handle to several segments takes the read
    /// lock.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let window = set.map(source, &MapConfig::new())?.extent();
    /// let header = set.pin(window.slice(0, 4096).ok_or("too short")?)?; // keeps its segment, no more
    /// header.write(0, b"header")?;
    /// assert!(header.write(4096, b"behind").is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LookupError::NotMapped`]: the first address of the range that no part has.
    /// - [`LookupError::TooManyHandles`].
    #[inline]
    pub fn pin(&self, range: Extent) -> Result<Part<&Self>, LookupError> {
        let (held, _, granularity) = self.hold_range(range)?;
        Ok(Part::new(self, (held, range, granularity)))
    }

    /// As [`pin`](Self::pin); the handle owns a share of the set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use std::sync::Arc;
    ///
    /// let set = Arc::new(set);
    /// let mapped = set.map_owned(source, &MapConfig::new())?.extent();
    /// let header = set.pin_owned(mapped.slice(0, 512).ok_or("too short")?)?;
    /// std::thread::spawn(move || header.write(0, b"by another thread")).join().unwrap()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "alloc")]
    pub fn pin_owned(
        self: &alloc::sync::Arc<Self>,
        range: Extent,
    ) -> Result<Part<alloc::sync::Arc<Self>>, LookupError> {
        let (held, _, granularity) = self.hold_range(range)?;
        Ok(Part::new(alloc::sync::Arc::clone(self), (held, range, granularity)))
    }

    /// As [`pin`](Self::pin); where that is one segment, the handle is to all of it.
    pub(super) fn pin_around(&self, range: Extent) -> Result<Part<&Self>, LookupError> {
        Ok(Part::new(self, self.hold_range(range)?))
    }

    /// Returns a handle to the part with the lowest addresses (`pmemset_first_part_map`); `None` in an empty set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert!(set.first_part()?.is_none());
    /// set.map(source, &MapConfig::new())?;
    /// assert!(set.first_part()?.is_some());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LookupError::TooManyHandles`].
    #[doc(alias = "pmemset_first_part_map")]
    pub fn first_part(&self) -> Result<Option<Part<&Self>>, LookupError> {
        Ok(self.hold_part(Books::first_part)?.map(|hold| Part::new(self, hold)))
    }

    #[inline]
    fn hold_part_at(&self, address: usize) -> Result<Hold, LookupError> {
        match self.index.pin_part_at(address, &self.pins) {
            Some((slot, extent, granularity)) => Ok((Held::Part(slot), extent, granularity)),
            None => self.hold_part_at_locked(address),
        }
    }

    /// As [`hold_part_at`](Self::hold_part_at), where it could not be done without the lock.
    #[inline(never)]
    fn hold_part_at_locked(&self, address: usize) -> Result<Hold, LookupError> {
        let hint = |slot| self.pins.prefetch(slot);
        self.hold_part(|books| books.part_at_hinting(address, hint))?.ok_or(LookupError::NotMapped { address })
    }

    /// Pins the part that `find` finds; both happen under one read lock, so the part cannot go in between.
    #[inline]
    pub(super) fn hold_part(
        &self,
        find: impl Fn(&Books<'m, P, S>) -> Option<PartEntry>,
    ) -> Result<Option<Hold>, LookupError> {
        let books = self.books.read();
        let Some(part) = find(&books) else { return Ok(None) };
        if !self.pins.pin(part.head, Pinned::Part) {
            drop(books);
            return self.hold_part_at_rest(find);
        }
        Ok(Some((Held::Part(part.head), part.extent, granularity_of(&books))))
    }

    /// As [`hold_part`](Self::hold_part), once more, while nobody removes: a removal may have closed the part.
    #[cold]
    #[inline(never)]
    fn hold_part_at_rest(
        &self,
        find: impl FnOnce(&Books<'m, P, S>) -> Option<PartEntry>,
    ) -> Result<Option<Hold>, LookupError> {
        if !P::UNLOCKED_CALLS {
            return Err(LookupError::TooManyHandles);
        }
        let _turn = self.turn.read();
        let books = self.books.read();
        let Some(part) = find(&books) else { return Ok(None) };
        if !self.pins.pin(part.head, Pinned::Part) {
            return Err(LookupError::TooManyHandles);
        }
        Ok(Some((Held::Part(part.head), part.extent, granularity_of(&books))))
    }

    /// Pins the segments that `range` touches; returns the one that there is, or `range`.
    #[inline]
    fn hold_range(&self, range: Extent) -> Result<Hold, LookupError> {
        match self.index.pin_segment_of(range, &self.pins) {
            Some((slot, extent, granularity)) => Ok((Held::Segment(slot), extent, granularity)),
            None => self.hold_range_locked(range),
        }
    }

    /// As [`hold_range`](Self::hold_range), under one read lock.
    #[inline(never)]
    fn hold_range_locked(&self, range: Extent) -> Result<Hold, LookupError> {
        let books = self.books.read();
        let Some(first) = books.entry_at(range.start(), |slot| self.pins.prefetch(slot)) else {
            return Err(LookupError::NotMapped { address: range.start() });
        };
        if range.end() > first.extent.end() || !self.pins.pin(first.slot, Pinned::Segment) {
            drop(books);
            return self.hold_each(range);
        }
        Ok((Held::Segment(first.slot), first.extent, granularity_of(&books)))
    }

    /// As [`hold_range`](Self::hold_range), for any number of segments; once more, while nobody removes, if a removal
    /// may have closed one.
    #[cold]
    #[inline(never)]
    fn hold_each(&self, range: Extent) -> Result<Hold, LookupError> {
        match self.pin_each(range) {
            Err(LookupError::TooManyHandles) if P::UNLOCKED_CALLS => {
                let _turn = self.turn.read();
                self.pin_each(range)
            }
            result => result,
        }
    }

    pub(super) fn pin_each(&self, range: Extent) -> Result<Hold, LookupError> {
        let books = self.books.read();
        let mut at = range.start();
        let refused = loop {
            let Some(segment) = books.entry_at(at, |_| {}) else { break LookupError::NotMapped { address: at } };
            if !self.pins.pin(segment.slot, Pinned::Segment) {
                break LookupError::TooManyHandles;
            }
            if range.end() <= segment.extent.end() {
                let whole = (Held::Segment(segment.slot), segment.extent);
                let (held, extent) = if at == range.start() { whole } else { (Held::Range, range) };
                return Ok((held, extent, granularity_of(&books)));
            }
            at = segment.extent.end();
        };
        if let Some(pinned) = range.ending_at(at) {
            self.unpin_each(&books, pinned);
        }
        Err(refused)
    }

    /// Unpins the segments that `range` touches: they are where they were, because they were pinned.
    #[cold]
    #[inline(never)]
    pub(super) fn unpin_each(&self, books: &Books<'m, P, S>, range: Extent) {
        let mut rest = Some(range);
        while let Some(left) = rest {
            let Some(segment) = books.entry_at(left.start(), |_| {}) else {
                debug_assert!(false, "a pinned segment stays");
                return;
            };
            self.pins.unpin(segment.slot, Pinned::Segment);
            rest = left.starting_at(segment.extent.end());
        }
    }
}

/// Returns the granularity of a set that has a part.
#[inline]
pub(super) fn granularity_of<P: Platform, S: Clone>(books: &Books<'_, P, S>) -> Granularity {
    books.granularity.unwrap_or(Granularity::Page)
}
