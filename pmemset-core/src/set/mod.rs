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
use crate::error::RemoveError;
use crate::event::{Answer, Event};
use crate::pins::Pins;
use crate::{Coalescing, Extent, Granularity, Platform, Source};
use books::{Books, Farewell, Gone};

/// A set of parts with one granularity (`pmemset`).
///
/// `P` is the platform, `S` the kind of handle to a source (`&'static FileSource`, `Arc<dyn Source>`, …), `N` the
/// number of segments there is room for, 1 to 65,536. A set is `Sync`: map, look up and remove from many threads.
///
/// # Dropping
///
/// A set that is dropped unmaps its parts and gives back its address space; what the platform will not unmap stays, with
/// its address space. It does not make stores durable, it reports nothing, and it leaves shutdown records dirty, also
/// after a persist: [`remove`](Self::remove) the parts first, or all of them with
/// [`remove_range(0, usize::MAX)`](Self::remove_range).
///
/// # Handles to sources
///
/// A handle is cloned while the books are locked, so `S::clone` must not call the set. Handles are dropped under no lock:
/// the `Drop` of a source may call the set.
///
/// # Forks and signals
///
/// The locks of a set are those of one process. A child that is forked while another thread is in a call of the set may
/// find a lock taken for ever, and hangs at its first call: fork before there are other threads, or let the child only
/// `exec`. A signal handler that calls the set hangs likewise when it has interrupted a call.
///
/// # Cost
///
/// 88 to 96 bytes for each of the `N` segments and less than 2 KiB besides; all operations on the books take
/// O(log N). Looking up takes the read lock; mapping and removing hold the write lock while the source maps or unmaps.
pub struct Set<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    platform: P,
    config: Config<'a, P, S, N>,
    pins: Pins<N>,
    books: RwLock<P::Lock, Books<S, N>>,
}

/// The books, locked for changes.
type Writing<'s, P, S, const N: usize> = RwLockWriteGuard<'s, <P as Platform>::Lock, Books<S, N>>;

impl<'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Set<'a, P, S, N> {
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

    /// Unlocks the books and tells what has been removed, of `range` if it was one, `flushed` before; the slots become
    /// free one by one.
    fn tell_removed<'s>(
        &'s self,
        books: Writing<'s, P, S, N>,
        farewell: Farewell,
        mut range: Option<Extent>,
        flushed: bool,
    ) {
        let mut telling = Telling::new(self, books, farewell);
        while let Some(gone) = &telling.gone {
            if let Some(range) = range.take() {
                self.tell(&Event::RemoveRange { range });
            }
            if let Some(part) = gone.part {
                self.tell(&Event::PartRemove { part });
            }
            if let Some(gone) = telling.gone.take() {
                self.unmapped(&gone.source, flushed);
            }
            telling.next();
        }
    }
}

/// Removed segments that are told of one by one, under no lock.
///
/// When it is dropped, as by an observer that panics, the slots of those left become free without a word, and the
/// shutdown records of their sources stay dirty.
struct Telling<'s, 'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> {
    set: &'s Set<'a, P, S, N>,
    farewell: Farewell,
    /// The one whose turn it is.
    gone: Option<Gone<S>>,
}

impl<'s, 'a, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Telling<'s, 'a, P, S, N> {
    fn new(set: &'s Set<'a, P, S, N>, mut books: Writing<'s, P, S, N>, mut farewell: Farewell) -> Self {
        let gone = books.tell(&mut farewell);
        Self { set, farewell, gone }
    }

    fn next(&mut self) {
        if !self.farewell.is_empty() {
            self.gone = self.set.books.write().tell(&mut self.farewell);
        }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Drop for Telling<'_, '_, P, S, N> {
    fn drop(&mut self) {
        while let Some(gone) = self.gone.take() {
            checks::dropped(&gone.source);
            drop(gone);
            self.next();
        }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Drop for Set<'_, P, S, N> {
    fn drop(&mut self) {
        let mut rest = Extent::between(0, usize::MAX);
        while let Some(range) = rest {
            let mut farewell = Farewell::new();
            let mut books = self.books.write();
            let result = self.unmap_range(&mut books, range, None, &mut farewell);
            drop(Telling::new(self, books, farewell));
            rest = match result {
                // It stays mapped, and its address space is not given back either; what lies above it goes.
                Err(RemoveError::Unmap { segment, .. }) => range.from(segment.end()),
                _ => None,
            };
        }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> fmt::Debug for Set<'_, P, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("config", &self.config).field("capacity", &N).finish_non_exhaustive()
    }
}
