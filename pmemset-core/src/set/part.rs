//! Handles to parts, and finding parts by address or in order.

use core::fmt;
use core::mem;

use super::Set;
use super::books::{Books, PartEntry};
use crate::error::LookupError;
use crate::{Extent, Granularity, Platform, Source};

/// A handle that pins a part: while it lives the part can grow by coalescing, and neither shrink nor go
/// (`pmemset_part_map`).
pub struct Part<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    set: &'s Set<'s, P, S, N>,
    head: u32,
    extent: Extent,
    granularity: Granularity,
}

impl<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Part<'s, P, S, N> {
    /// Returns the part's addresses as they were when the handle was made; all of them are still the part's.
    #[inline]
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Returns the part's addresses as they are now (`pmemset_descriptor_part_map`).
    #[must_use]
    pub fn descriptor(&self) -> Extent {
        let part = self.set.books.read().part_at(self.extent.start());
        part.map_or(self.extent, |part| part.extent)
    }

    /// Returns how stores to the part become durable: as to all parts of the set.
    #[inline]
    #[must_use]
    pub const fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Returns the set.
    #[must_use]
    pub const fn set(&self) -> &'s Set<'s, P, S, N> {
        self.set
    }

    /// Returns the part with the next higher addresses (`pmemset_next_part_map`); this handle stays.
    ///
    /// # Errors
    ///
    /// - [`LookupError::TooManyHandles`].
    pub fn next(&self) -> Result<Option<Self>, LookupError> {
        self.set.pin_with(|books| books.part_from(self.extent_now(books).end()))
    }

    fn extent_now(&self, books: &Books<S, N>) -> Extent {
        books.part_at(self.extent.start()).map_or(self.extent, |part| part.extent)
    }

    /// Returns the slot of the part's first segment.
    pub(super) const fn head(&self) -> u32 {
        self.head
    }

    pub(super) fn is_of(&self, set: &Set<'_, P, S, N>) -> bool {
        core::ptr::eq(core::ptr::from_ref(self.set).cast::<()>(), core::ptr::from_ref(set).cast::<()>())
    }

    /// Forgets the handle of a part that is gone; its pins start again at 0.
    pub(super) fn forget(self) {
        self.set.pins.unpin(self.head);
        mem::forget(self);
    }

    /// Returns the handle for what is left of its part; the pin has been handed over.
    pub(super) fn moved(self, left: PartEntry) -> Self {
        let (set, granularity) = (self.set, self.granularity);
        mem::forget(self);
        Self { set, head: left.head, extent: left.extent, granularity }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Drop for Part<'_, P, S, N> {
    #[inline]
    fn drop(&mut self) {
        self.set.pins.unpin(self.head);
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> fmt::Debug for Part<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("extent", &self.extent).finish_non_exhaustive()
    }
}

/// The parts of a set in the order of their addresses; each is pinned while its handle lives.
///
/// Sees the parts that begin above the one that it returned last, as they are when their turn comes; one that has grown
/// since it was returned does not come again.
pub struct Parts<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    set: &'s Set<'s, P, S, N>,
    from: Option<usize>,
}

impl<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Iterator for Parts<'s, P, S, N> {
    type Item = Part<'s, P, S, N>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from?;
        let beginning = |books: &Books<S, N>| match books.part_from(from)? {
            grown if grown.extent.start() < from => books.part_from(grown.extent.end()),
            part => Some(part),
        };
        let part = self.set.pin_with(beginning).ok().flatten();
        self.from = part.as_ref().map(|part| part.extent.end());
        part
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> fmt::Debug for Parts<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("from", &self.from).finish_non_exhaustive()
    }
}

impl<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Set<'a, P, S, N> {
    /// Returns a handle to the part that has `address` (`pmemset_part_map_by_address`).
    ///
    /// # Errors
    ///
    /// - [`LookupError::NotMapped`]: no part has it.
    /// - [`LookupError::TooManyHandles`].
    pub fn part_at<'s>(&'s self, address: usize) -> Result<Part<'s, P, S, N>, LookupError> {
        self.pin_with(|books| books.part_at_hinting(address, |slot| self.pins.prefetch(slot)))?
            .ok_or(LookupError::NotMapped { address })
    }

    /// Returns a handle to the part with the lowest addresses (`pmemset_first_part_map`); `None` in an empty set.
    ///
    /// # Errors
    ///
    /// - [`LookupError::TooManyHandles`].
    pub fn first_part<'s>(&'s self) -> Result<Option<Part<'s, P, S, N>>, LookupError> {
        self.pin_with(Books::first_part)
    }

    /// Returns all parts in the order of their addresses.
    pub fn parts<'s>(&'s self) -> Parts<'s, P, S, N> {
        Parts { set: self, from: Some(0) }
    }

    /// Pins the part that `find` finds; both happen under one read lock, so the part cannot go in between.
    #[inline]
    fn pin_with<'s>(
        &'s self,
        find: impl FnOnce(&Books<S, N>) -> Option<PartEntry>,
    ) -> Result<Option<Part<'s, P, S, N>>, LookupError> {
        let books = self.books.read();
        let Some(entry) = find(&books) else { return Ok(None) };
        if !self.pins.pin(entry.head) {
            return Err(LookupError::TooManyHandles);
        }
        // There is a part, so the set has a granularity.
        let granularity = books.granularity.unwrap_or(Granularity::Page);
        Ok(Some(Part { set: self, head: entry.head, extent: entry.extent, granularity }))
    }
}
