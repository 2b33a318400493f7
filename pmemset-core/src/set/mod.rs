//! A set of parts: its tables, and the operations on them.

mod access;
mod books;
mod calls;
mod close;
mod config;
mod copy;
mod event;
mod give_back;
mod glance;
mod handle;
mod health;
mod limits;
mod map;
mod notices;
mod part;
mod parts;
mod persist;
mod persist_many;
mod pins;
mod place;
mod remove;
mod runs;
mod segments;
mod sequence;
mod shared;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[allow(clippy::duplicate_mod, reason = "the same tests, of sets whose books stay locked in calls")]
#[path = "tests/mod.rs"]
mod tests_locked;
mod turn;
#[cfg(feature = "zerocopy")]
mod typed;

use core::fmt;

use lock_api::RwLock;

pub use books::Slab;
pub use config::{Coalescing, Config, MapConfig};
pub use copy::CopyFlags;
pub use event::{Answer, Event, FromFn, Observer, from_fn};
pub use handle::SetRef;
pub use part::Part;
pub use parts::{Extents, Parts};
pub use remove::Refused;
pub use segments::{Segment, Segments};
pub use shared::SharedPart;

use crate::lock::CallLock;
use crate::table::Array;
use crate::{Granularity, Platform, Source};
use books::{Books, Index};
use pins::{Pin, Pins};

/// A set of parts with one granularity (`pmemset`).
///
/// `P` is the platform, `S` the type of handle to a source (`&'static FileSource`, `Arc<dyn Source<Space = …>>`, …),
/// `O` the observer. A set is `Sync`: many threads can map, look up and remove at the same time.
///
/// ```
#[doc = include_str!("example.md")]
/// let part = set.map(source, &MapConfig::new().length(4096))?;
/// part.write(0, b"remember me")?; // durable when it returns
/// set.remove(part)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Address spaces
///
/// A set takes only sources of its platform's address space; others could map over memory that is not the set's:
///
/// ```compile_fail,E0271
/// # use pmemset_core::{Platform, Set, Source};
/// fn mixed<P: Platform<Space = ()>, S: Source<Space = u8> + Clone>(set: Set<'_, P, S>) {}
/// ```
///
/// # Dropping
///
/// Dropping a set unmaps its parts and releases its address space. A segment that the platform does not unmap stays,
/// with its addresses. Dropping does not make stores durable, reports nothing, and leaves shutdown records dirty, also
/// after a persist: [`close`](Self::close) the set, or [`remove`](Self::remove) the parts first.
///
/// # Handles to sources
///
/// The set clones a handle while it holds its lock, and may drop such a clone so, too: neither may call the set. The
/// handle of a segment that has gone is dropped without the lock, so the `Drop` of a source, which its last handle
/// calls, may call the set.
///
/// # Forks and signals
///
/// The locks of a set belong to one process. A child that is forked while another thread is in a call of the set may
/// find a lock that is never released, and hangs at its first call. Fork before there are other threads, or let the
/// child only call `exec`. A signal handler that has interrupted a call of the set hangs in the same way if it calls
/// the set.
///
/// # Cost
///
/// The set itself is a value of some 400 bytes that can be moved (2.6 KB on Linux, with two of its locks). Its tables
/// take 84 to 92 bytes for each segment that there is room for; all operations on them take O(log capacity). Mapping
/// and removing happen one at a time. Where the platform's [calls are unlocked](Platform::UNLOCKED_CALLS), they take
/// the write lock only to change the tables, and who looks up takes no lock unless they do so at that moment, and waits
/// for a source only if that unmaps what is looked up. Elsewhere they hold the write lock all the time, and looking up
/// takes the read lock.
#[doc(alias = "pmemset")]
pub struct Set<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S> = ()> {
    platform: P,
    config: Config<O>,
    index: Index<'m, P>,
    pins: Pins<Array<'m, Pin>>,
    /// Not locked where the books are locked instead: see `turn.rs`.
    turn: RwLock<CallLock<P::Lock>, ()>,
    books: RwLock<CallLock<P::Lock>, Books<'m, P, S>>,
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Returns an empty set (`pmemset_new`) whose tables are in `slab`, which is a local variable, a field, or a static
    /// (see [`static_set!`](crate::static_set)).
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # let machine = Machine::new(Hardware::new());
    /// # let (platform, source) = (machine.platform(), machine.add_source(Medium::new(4096)));
    /// use pmemset_core::{Config, Granularity, MapConfig, Set, Slab};
    ///
    /// let mut slab = Slab::<_, 8>::new();
    /// let set = Set::new(platform, Config::new(Granularity::Page), &mut slab);
    /// assert_eq!(set.capacity(), 8);
    /// assert!(set.map(source, &MapConfig::new()).is_ok());
    /// ```
    #[doc(alias = "pmemset_new")]
    #[must_use]
    pub const fn new<const N: usize>(platform: P, config: Config<O>, slab: &'m mut Slab<S, N>) -> Self {
        const { assert!(N <= P::SEGMENTS_MAX, "the platform's SEGMENTS_MAX is smaller than the slab") };
        let Slab { table, slots, pins } = slab;
        let table = table.lend();
        let index = Index::over(table.watching(), N);
        let books = Books::over(table.watched(), Array::Lent(slots), N);
        let pins = Pins::new(Array::Lent(pins));
        Self::over(platform, config, index, pins, books)
    }

    /// Returns an empty set whose tables are on the heap, with room for `capacity` segments, at least 1 and at most
    /// [`Platform::SEGMENTS_MAX`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!((set.capacity(), set.segment_count()), (8, 0));
    /// let part = set.map(source, &MapConfig::new())?;
    /// assert_eq!(set.segment_count(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn with_capacity(platform: P, config: Config<O>, capacity: usize) -> Self {
        let capacity = capacity.min(P::SEGMENTS_MAX).max(1);
        let (books, index) = books::on_heap(capacity);
        let pins = Pins::new(Array::on_heap(capacity, books::unused_pin));
        Self::over(platform, config, index, pins, books)
    }

    const fn over(
        platform: P,
        config: Config<O>,
        index: Index<'m, P>,
        pins: Pins<Array<'m, Pin>>,
        books: Books<'m, P, S>,
    ) -> Self {
        let turn = RwLock::const_new(CallLock::INIT, ());
        let books = RwLock::const_new(CallLock::INIT, books);
        Self { platform, config, index, pins, turn, books }
    }

    /// Returns the platform.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::Platform;
    ///
    /// let part = set.map(source, &MapConfig::new())?;
    /// assert!(part.extent().is_aligned(set.platform().page_size_bytes()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// Returns the granularity of the parts in the set; `None` while there are none
    /// (`pmemset_get_store_granularity`).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(set.granularity(), None);
    /// let part = set.map(source, &MapConfig::new())?;
    /// assert_eq!(set.granularity(), Some(Granularity::CacheLine));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_get_store_granularity")]
    #[must_use]
    pub fn granularity(&self) -> Option<Granularity> {
        self.books.read().granularity
    }

    /// Sets where the next segments are placed (`pmemset_set_contiguous_part_coalescing`).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::Coalescing;
    ///
    /// set.set_coalescing(Coalescing::Full);
    /// set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// set.map(source, &MapConfig::new().offset(4096).length(4096))?;
    /// assert_eq!((set.parts().count(), set.segment_count()), (1, 2)); // one part of two segments
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_set_contiguous_part_coalescing")]
    pub fn set_coalescing(&self, coalescing: Coalescing) {
        self.books.write().coalescing = coalescing;
    }

    /// Returns the number of segments in the set; a part has one or more.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// set.map(source, &MapConfig::new())?;
    /// assert_eq!(set.segment_count(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.books.read().segments()
    }

    /// Returns the number of segments that there is room for.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// if set.segment_count() < set.capacity() {
    ///     set.map(source, &MapConfig::new())?;
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pins.len()
    }

    #[inline]
    fn has_observer(&self) -> bool {
        self.config.observer.listens()
    }

    #[inline]
    fn notify(&self, event: &Event<'_, S>) -> Answer {
        if self.has_observer() { self.config.observer.event(event) } else { Answer::Proceed }
    }
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug for Set<'_, P, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
