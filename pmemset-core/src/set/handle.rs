//! What handles need of their set, whatever its types are; borrowed and owned handles.

use super::Set;
use super::books::Segment;
use crate::error::LookupError;
use crate::set::event::{Answer, Event, Observer};
use crate::set::pins::Pinned;
use crate::{Extent, Granularity, Platform, Source};

/// How a handle refers to its set: by reference (`&Set`), or as a share of it (`Arc<Set>`).
///
/// Implemented for these two only: a type that could dereference to another set later would pin in one set and unpin in
/// the other.
#[allow(private_bounds, reason = "what handles do with their set is for sets alone")]
pub trait SetRef: Sealed {
    /// The set.
    type Set: Operations;

    /// Returns the set.
    fn set(&self) -> &Self::Set;
}

pub(crate) trait Sealed {}

impl<T> Sealed for &T {}

impl<T: Operations> SetRef for &T {
    type Set = T;

    #[inline]
    fn set(&self) -> &T {
        self
    }
}

#[cfg(feature = "alloc")]
impl<T> Sealed for alloc::sync::Arc<T> {}

#[cfg(feature = "alloc")]
impl<T: Operations> SetRef for alloc::sync::Arc<T> {
    type Set = T;

    #[inline]
    fn set(&self) -> &T {
        self
    }
}

/// What a handle has pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The part whose first segment has this slot.
    Part(u32),
    /// The segment of this slot.
    Segment(u32),
    /// Each segment that the handle's range touches.
    Range,
    /// Nothing any more: it has been removed.
    Nothing,
}

/// What has been pinned, and where, and the granularity of the set.
pub(crate) type Hold = (Held, Extent, Granularity);

/// A set without its types' names.
pub(crate) trait Operations {
    type Platform: Platform;
    type Source: Source + Clone;

    fn platform_of(&self) -> &Self::Platform;
    fn listens(&self) -> bool;
    fn notify(&self, event: &Event<'_, Self::Source>) -> Answer;
    fn unpin(&self, held: Held, extent: Extent);
    /// Pins the lowest part that begins at `address` or above it.
    fn hold_part_from(&self, address: usize) -> Result<Option<Hold>, LookupError>;
    fn part_extent(&self, address: usize) -> Option<Extent>;
    fn segment_from(&self, address: usize) -> Option<Segment<Self::Source>>;
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Operations for Set<'_, P, S, O> {
    type Platform = P;
    type Source = S;

    #[inline]
    fn platform_of(&self) -> &P {
        &self.platform
    }

    #[inline]
    fn listens(&self) -> bool {
        self.has_observer()
    }

    #[inline]
    fn notify(&self, event: &Event<'_, S>) -> Answer {
        Set::notify(self, event)
    }

    #[inline]
    fn unpin(&self, held: Held, extent: Extent) {
        match held {
            Held::Part(slot) => self.pins.unpin(slot, Pinned::Part),
            Held::Segment(slot) => self.pins.unpin(slot, Pinned::Segment),
            Held::Range => self.unpin_each(&self.books.read(), extent),
            Held::Nothing => {}
        }
    }

    fn hold_part_from(&self, address: usize) -> Result<Option<Hold>, LookupError> {
        self.hold_part(|books| books.part_beginning_from(address))
    }

    fn part_extent(&self, address: usize) -> Option<Extent> {
        self.books.read().part_at(address).map(|part| part.extent)
    }

    fn segment_from(&self, address: usize) -> Option<Segment<S>> {
        self.books.read().segment_from(address)
    }
}
