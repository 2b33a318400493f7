//! The segments of a set, one by one: their addresses, and their bytes in the source.

use core::fmt;
use core::iter::FusedIterator;

use super::Set;
use crate::set::event::Observer;
use crate::set::pins::Pinned;
use crate::{Extent, Platform, Source};

/// One mapping, made by one map call: see [`Set::segments`].
///
/// ```
#[doc = include_str!("example.md")]
/// let part = set.map(source.clone(), &MapConfig::new().offset(8192).length(4096))?;
/// let segment = set.segments(part.extent()).next().ok_or("no segment")?;
/// assert_eq!((segment.extent, segment.offset, segment.pins), (part.extent(), 8192, 1));
/// assert_eq!(segment.source, source);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment<S> {
    /// Its addresses.
    pub extent: Extent,
    /// The offset of its first byte in the source.
    pub offset: u64,
    /// A handle to the source.
    pub source: S,
    /// The number of handles to its bytes, and of calls that use them at that moment. A handle to a whole part counts
    /// for the part's first segment.
    pub pins: u32,
}

/// The segments of a set that a range touches, in the order of their addresses; pins nothing.
///
/// Looks up each segment when its turn comes, above the one that it has returned last. Each takes a look-up and a clone
/// of the handle to its source.
#[must_use = "iterators do nothing until they are asked"]
pub struct Segments<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    set: &'s Set<'m, P, S, O>,
    rest: Option<Extent>,
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Iterator for Segments<'_, '_, P, S, O> {
    type Item = Segment<S>;

    fn next(&mut self) -> Option<Segment<S>> {
        let rest = self.rest.take()?;
        let books = self.set.books.read();
        let entry = books.entry_from(rest.start()).filter(|entry| entry.extent.overlaps(rest))?;
        let found = books.segment_in(entry.slot, entry.extent.start())?;
        let pins = [Pinned::Segment, Pinned::Part].map(|what| self.set.pins.count(entry.slot, what));
        drop(books);
        self.rest = rest.starting_at(found.extent.end());
        Some(Segment {
            extent: found.extent,
            offset: found.offset,
            source: found.source,
            pins: pins[0].saturating_add(pins[1]),
        })
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> FusedIterator for Segments<'_, '_, P, S, O> {}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Clone for Segments<'_, '_, P, S, O> {
    fn clone(&self) -> Self {
        Self { set: self.set, rest: self.rest }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug for Segments<'_, '_, P, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Returns the segments that `range` touches, in the order of their addresses, each as a whole. Skips addresses
    /// that are not mapped.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::Coalescing;
    ///
    /// set.set_coalescing(Coalescing::Full);
    /// set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// set.map(source, &MapConfig::new().offset(8192).length(4096))?;
    /// let part = set.first_part()?.ok_or("no part")?;
    /// let offsets: Vec<u64> = set.segments(part.extent()).map(|segment| segment.offset).collect();
    /// assert_eq!(offsets, [0, 8192]);
    /// // `part` pins both, and is counted once.
    /// assert_eq!(set.segments(part.extent()).map(|segment| segment.pins).collect::<Vec<_>>(), [1, 0]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn segments(&self, range: Extent) -> Segments<'_, 'm, P, S, O> {
        Segments { set: self, rest: Some(range) }
    }
}
