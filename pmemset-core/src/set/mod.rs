//! A set of parts: its books, and the operations on them.

mod books;
mod checks;
mod lines;
mod map;
mod memory;
mod part;
mod persist;
mod place;
mod remove;
#[cfg(test)]
mod tests;

use core::fmt;

use lock_api::RawRwLock as _;
use lock_api::{RwLock, RwLockWriteGuard};

pub use map::Mapped;
pub use part::{Part, Parts};
pub use remove::Refused;

use crate::atomic::AtomicU32;
use crate::config::Config;
use crate::event::{Answer, Event};
use crate::pins::Pins;
use crate::{Coalescing, Extent, Granularity, Platform, Source};
use books::{Books, Farewell};

/// A set of parts with one granularity (`pmemset`).
///
/// `P` is the platform, `S` the kind of handle to a source (`&'static FileSource`, `Arc<dyn Source>`, …), `N` the
/// number of segments there is room for, 1 to 65,536. A set is `Sync`: map, look up and remove from many threads.
///
/// # Dropping
///
/// A set that is dropped unmaps its parts and gives back its address space. It does not make stores durable, and it
/// reports nothing: persist first, or [`remove`](Self::remove) the parts.
///
/// # Cost
///
/// 88 to 96 bytes for each of the `N` segments and less than 2 KiB besides; all operations on the books take
/// O(log N). Looking up takes the read lock; mapping and removing hold the write lock while the source maps or unmaps.
pub struct Set<'a, P: Platform, S: Source + Clone, const N: usize> {
    platform: P,
    config: Config<'a, P, S, N>,
    pins: Pins<N>,
    books: RwLock<P::Lock, Books<S, N>>,
}

/// The books, locked for changes.
type Writing<'s, P, S, const N: usize> = RwLockWriteGuard<'s, <P as Platform>::Lock, Books<S, N>>;

impl<'a, P: Platform, S: Source + Clone, const N: usize> Set<'a, P, S, N> {
    /// Returns an empty set (`pmemset_new`).
    pub const fn new(platform: P, config: Config<'a, P, S, N>) -> Self {
        Self {
            platform,
            config,
            pins: Pins::new([const { AtomicU32::new(0) }; N]),
            books: RwLock::const_new(P::Lock::INIT, Books::new()),
        }
    }

    /// Returns the platform.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// Returns the granularity of the parts in the set; `None` while there are none
    /// (`pmemset_get_store_granularity`).
    pub fn granularity(&self) -> Option<Granularity> {
        self.books.read().granularity
    }

    /// Decides where the next segments go (`pmemset_set_contiguous_part_coalescing`).
    pub fn set_coalescing(&self, coalescing: Coalescing) {
        self.books.write().coalescing = coalescing;
    }

    /// Returns the number of segments in the set; a part has one or more.
    pub fn segments(&self) -> usize {
        self.books.read().segments()
    }

    /// Returns the number of segments that there is room for.
    pub const fn capacity(&self) -> usize {
        N
    }

    const fn has_observer(&self) -> bool {
        self.config.observer.is_some()
    }

    #[inline]
    fn tell(&self, event: &Event<'_, S>) -> Answer {
        match self.config.observer {
            Some(observer) => observer.event(self, event),
            None => Answer::Proceed,
        }
    }

    /// Unlocks the books and tells what has been removed, of `range` if it was one; the slots become free one by one.
    fn tell_removed<'s>(&'s self, mut books: Writing<'s, P, S, N>, mut farewell: Farewell, mut range: Option<Extent>) {
        while let Some(gone) = books.tell(&mut farewell) {
            drop(books);
            if let Some(range) = range.take() {
                self.tell(&Event::RemoveRange { range });
            }
            if let Some(part) = gone.part {
                self.tell(&Event::PartRemove { part });
            }
            self.unmapped(&gone.source);
            if farewell.is_empty() {
                return;
            }
            books = self.books.write();
        }
    }
}

impl<P: Platform, S: Source + Clone, const N: usize> Drop for Set<'_, P, S, N> {
    fn drop(&mut self) {
        let everything = Extent::between(0, usize::MAX);
        if let Some(everything) = everything {
            let mut farewell = Farewell::new();
            // What cannot be unmapped stays mapped: its address space is not given back either.
            let mut books = self.books.write();
            let _ = self.unmap_range(&mut books, everything, None, &mut farewell);
            while let Some(gone) = books.tell(&mut farewell) {
                checks::dropped(&gone.source);
            }
        }
    }
}

impl<P: Platform, S: Source + Clone, const N: usize> fmt::Debug for Set<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("config", &self.config).field("capacity", &N).finish_non_exhaustive()
    }
}
