//! Looking up without the lock, and what removals and changes do for those who do so.

use super::Set;
use super::books::{Books, View};
use super::glance::find_and_pin;
use crate::atomic::Ordering;
use crate::set::event::Observer;
use crate::set::pins::Pinned;
use crate::{Extent, Granularity, Platform, Source};

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Whether anybody looks without the lock. Where sets have room for few segments at most nobody does: small programs
    /// have few threads, and the code for it is not built.
    pub(super) const WITHOUT_LOCK: bool = P::SEGMENTS_MAX > 64;

    /// Lets no more uses of a slot in, if there are not more than the `own` ones of the caller, who holds the write lock.
    #[inline]
    pub(super) fn close_pin(&self, slot: u32, what: Pinned, own: u32) -> bool {
        if Self::WITHOUT_LOCK { self.pins.close(slot, what, own) } else { self.pins.count(slot, what) <= own }
    }

    /// Changes what is looked at without the lock.
    #[inline]
    pub(super) fn change<T>(&self, books: &mut Books<'_, P, S>, change: impl FnOnce(&mut Books<'_, P, S>) -> T) -> T {
        if !Self::WITHOUT_LOCK {
            return change(books);
        }
        self.index.sequence.change(|| {
            let result = change(books);
            let granularity = books.granularity.map_or(0, |granularity| granularity as usize);
            self.index.granularity.store(granularity, Ordering::Relaxed);
            self.index.tree.follow(books.tree());
            result
        })
    }

    /// Finds a slot with its extent and pins it: without the lock, if the books stay as they are for so long.
    #[inline]
    pub(super) fn find_and_pin(
        &self,
        what: Pinned,
        find: impl Fn(&View<'_, 'm, P, S>) -> Option<(u32, Extent)>,
    ) -> Option<(u32, Extent, Granularity)> {
        if !Self::WITHOUT_LOCK {
            return None;
        }
        let find = || {
            let (slot, extent) = find(&View::without_lock(&self.index.tree))?;
            Some((slot, (extent, self.index.granularity.load(Ordering::Relaxed))))
        };
        let (slot, (extent, granularity)) = find_and_pin(&self.index.sequence, &self.pins, what, find)?;
        let granularity = match granularity {
            0 => Granularity::Byte,
            1 => Granularity::CacheLine,
            _ => Granularity::Page,
        };
        Some((slot, extent, granularity))
    }
}
