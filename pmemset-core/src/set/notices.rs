//! The events of removed segments, emitted one by one under no lock.

use super::books::{Retired, RetiredSegment};
use super::event::{Event, Observer};
use super::turn::Turn;
use super::{Set, health};
use crate::{Extent, Platform, Source};

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Ends the turn and tells what has been removed, of `range` if it was one, `flushed` before; the slots become free
    /// one by one.
    pub(super) fn notify_removed(
        &self,
        turn: impl Turn<'m, P, S>,
        retired: Retired,
        mut range: Option<Extent>,
        flushed: bool,
    ) {
        let mut notices = Notices::new(self, turn, retired);
        while let Some(gone) = &notices.gone {
            if let Some(range) = range.take() {
                self.notify(&Event::RemoveRange { range });
            }
            if let Some(part) = gone.part {
                self.notify(&Event::PartRemove { part });
            }
            if let Some(gone) = notices.gone.take() {
                self.unmapped(&gone.source, flushed);
            }
            notices.next();
        }
    }
}

/// Removed segments that are told of one by one, under no lock.
///
/// When it is dropped, as by an observer that panics, the slots of those left become free without a word, and the
/// shutdown records of their sources stay dirty.
pub(super) struct Notices<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    set: &'s Set<'m, P, S, O>,
    retired: Retired,
    /// The one whose turn it is.
    gone: Option<RetiredSegment<S>>,
}

impl<'s, 'm, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Notices<'s, 'm, P, S, O> {
    pub(super) fn new(set: &'s Set<'m, P, S, O>, mut turn: impl Turn<'m, P, S>, mut retired: Retired) -> Self {
        let gone = turn.write().pop_retired(&mut retired);
        Self { set, retired, gone }
    }

    fn next(&mut self) {
        if !self.retired.is_empty() {
            self.gone = self.set.books.write().pop_retired(&mut self.retired);
        }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Drop for Notices<'_, '_, P, S, O> {
    fn drop(&mut self) {
        while let Some(gone) = self.gone.take() {
            health::dropped(&gone.source);
            drop(gone);
            self.next();
        }
    }
}
