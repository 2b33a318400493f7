//! The parts of a set in order: handles to them, or their addresses alone.

use core::fmt;
use core::iter::FusedIterator;

use super::Set;
use super::part::Part;
use crate::set::event::Observer;
use crate::{Extent, Platform, Source};

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Returns all parts in the order of their addresses.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// set.map(source, &MapConfig::new())?;
    /// let mapped_bytes: usize = set.parts().map(|part| part.extent().length_bytes()).sum();
    /// assert_eq!(mapped_bytes, 64 << 10);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn parts(&self) -> Parts<'_, 'm, P, S, O> {
        Parts { set: self, from: Some(0) }
    }

    /// Returns the addresses of all parts, in order.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// set.map(source, &MapConfig::new())?;
    /// for extent in set.extents() {
    ///     println!("{extent}");
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn extents(&self) -> Extents<'_, 'm, P, S, O> {
        Extents { set: self, found: [None; EXTENTS_AT_A_TIME], next: EXTENTS_AT_A_TIME, from: Some(0) }
    }
}

/// The parts of a set in the order of their addresses; each is pinned while its handle lives.
///
/// Looks up each part when its turn comes: the next one that begins above the part that it has returned last. A part
/// that has grown since it was returned is not returned again. Ends at a part that has 2^22 handles already.
/// [`Extents`] pins nothing.
///
/// ```
#[doc = include_str!("example.md")]
/// set.map(source, &MapConfig::new())?;
/// for part in &set {
///     part.persist(0, part.extent().length_bytes())?;
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use = "iterators do nothing until they are asked"]
pub struct Parts<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    set: &'s Set<'m, P, S, O>,
    from: Option<usize>,
}

impl<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Iterator for Parts<'s, 'm, P, S, O> {
    type Item = Part<&'s Set<'m, P, S, O>>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from?;
        let part = self.set.hold_part(|books| books.part_beginning_from(from)).ok().flatten();
        let part = part.map(|hold| Part::new(self.set, hold));
        self.from = part.as_ref().map(|part| part.extent().end());
        part
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> FusedIterator for Parts<'_, '_, P, S, O> {}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Clone for Parts<'_, '_, P, S, O> {
    fn clone(&self) -> Self {
        Self { set: self.set, from: self.from }
    }
}

impl<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> IntoIterator for &'s Set<'m, P, S, O> {
    type Item = Part<Self>;
    type IntoIter = Parts<'s, 'm, P, S, O>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts()
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug for Parts<'_, '_, P, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("from", &self.from).finish_non_exhaustive()
    }
}

/// How many parts are looked up at a time.
const EXTENTS_AT_A_TIME: usize = 32;

/// The addresses of the parts of a set, in order. Looks up many parts at a time, and pins nothing: a part that it
/// returns may have been removed already.
///
/// Otherwise like [`Parts`].
///
/// ```
#[doc = include_str!("example.md")]
/// let part = set.map(source, &MapConfig::new())?;
/// let extents = set.extents();
/// assert_eq!(extents.clone().count(), 1);
/// assert_eq!(extents.collect::<Vec<_>>(), [part.extent()]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use = "iterators do nothing until they are asked"]
pub struct Extents<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    set: &'s Set<'m, P, S, O>,
    found: [Option<Extent>; EXTENTS_AT_A_TIME],
    next: usize,
    from: Option<usize>,
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Iterator for Extents<'_, '_, P, S, O> {
    type Item = Extent;

    #[inline]
    fn next(&mut self) -> Option<Extent> {
        if self.next >= EXTENTS_AT_A_TIME {
            self.set.books.read().extents(self.from?, &mut self.found);
            self.next = 0;
        }
        let part = self.found.get(self.next).copied().flatten();
        self.next = self.next.wrapping_add(1);
        self.from = part.map(Extent::end);
        if part.is_none() {
            // Nothing comes behind the last one.
            self.next = EXTENTS_AT_A_TIME;
        }
        part
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> FusedIterator for Extents<'_, '_, P, S, O> {}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Clone for Extents<'_, '_, P, S, O> {
    fn clone(&self) -> Self {
        Self { set: self.set, found: self.found, next: self.next, from: self.from }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug for Extents<'_, '_, P, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extents").field("from", &self.from).finish_non_exhaustive()
    }
}
