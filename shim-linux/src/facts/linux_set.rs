//! An extension of sets on Linux: facts about their mappings, faulting in, and binding to nodes.

use core::fmt;
use core::iter::FusedIterator;

use pmemset_core::error::LookupError;
use pmemset_core::{Extent, Observer, Platform, Segments, Set, Source};

use crate::address_space::Process;
use crate::auxv;

use super::answers::SegmentFacts;
use super::bind::{self, BindError};
use super::kernel::Kernel;
use super::populate::{self, PopulateError};

/// Facts about a set's mappings, and requests to the kernel about them.
///
/// ```
/// use pmemset_linux::{Config, FileSource, Granularity, Linux, LinuxSet, MapConfig, Set};
///
/// let file = FileSource::temporary(std::env::temp_dir())?;
/// let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
/// let part = set.map(&file, &MapConfig::new().length(4 << 20))?;
/// part.write(0, b"touched")?;
/// for facts in set.facts(part.extent()) {
///     println!("{}: {facts}", facts.extent); // pages of 4 KiB, 4 KiB of 4 MiB touched, node 0 (distance 10)
///     if let Some(hindrance) = facts.hindrance {
///         println!("no huge pages: {hindrance}");
///     }
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub trait LinuxSet {
    /// The iterator over the facts of each segment.
    type Facts<'s>: Iterator<Item = SegmentFacts>
    where
        Self: 's;

    /// Returns how the kernel has mapped the segments that `range` touches, each as far as it is in the range: the
    /// pages, the node, and why there are no huge pages. For people, and for programs at their start. Each segment is
    /// pinned while it is examined.
    ///
    /// Touches no byte. Needs no special rights, except for nodes and regions below device mapper. An answer that is
    /// not known has the reason ([`FactError`](crate::FactError)), for example that `/proc` or `/sys` is missing.
    ///
    /// # Cost
    ///
    /// Reads the list of mappings once, up to the range (some 0.1 s for 60,000 mappings), and for each segment asks the
    /// kernel to walk through its page tables. A file on fs-dax is asked for its extents.
    ///
    /// ```
    /// # use pmemset_linux::{Config, FileSource, Granularity, Linux, LinuxSet, MapConfig, Set};
    /// # let file = FileSource::temporary(std::env::temp_dir())?;
    /// # let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    /// let part = set.map(&file, &MapConfig::new().length(1 << 20))?;
    /// let facts = set.facts(part.extent()).next().ok_or("one segment")?;
    /// match facts.resident_bytes {
    ///     Ok(bytes) => println!("{bytes} of {} bytes are in the page tables", facts.extent.length_bytes()),
    ///     Err(reason) => println!("not known: {reason}"),
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    fn facts(&self, range: Extent) -> Self::Facts<'_>;

    /// Faults the pages that `range` touches in at once, writable (`madvise(2)`, `MADV_POPULATE_WRITE`, Linux 5.14), so
    /// that no store faults later.
    ///
    /// Changes no byte. Pages of the page cache and of tmpfs are dirty afterwards: holes of the file get storage, the
    /// times of the file change, and the pages are written back as if they had been stored to. When memory is short,
    /// the kernel may evict them again; on DAX they stay.
    ///
    /// ```
    /// # use pmemset_linux::{Config, FileSource, Granularity, Linux, LinuxSet, MapConfig, PopulateError, Set};
    /// # let file = FileSource::temporary(std::env::temp_dir())?;
    /// # let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    /// let part = set.map(&file, &MapConfig::new().length(1 << 20))?;
    /// match set.populate(part.extent()) {
    ///     Err(PopulateError::Unsupported) => println!("pages fault one by one here"),
    ///     done => done?,
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PopulateError`]. Where an access would raise `SIGBUS`, this returns an error. Some of the pages may have
    /// been faulted in.
    fn populate(&self, range: Extent) -> Result<(), PopulateError>;

    /// Binds the pages that `range` touches to the node `number` (`mbind(2)`, `MPOL_BIND`), and moves pages that are in
    /// memory already. It has an effect on tmpfs only: DAX memory cannot be moved, and is refused.
    ///
    /// The binding belongs to the bytes of the file: it holds for every mapping of them, and stays when the part is
    /// removed.
    ///
    /// ```
    /// # use pmemset_linux::{Config, FileSource, Granularity, Linux, LinuxSet, MapConfig, BindError, Set};
    /// # let file = FileSource::temporary(std::env::temp_dir())?;
    /// # let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    /// let part = set.map(&file, &MapConfig::new().length(1 << 20))?;
    /// match set.bind(part.extent(), 0) {
    ///     Ok(()) => println!("on node 0"),
    ///     Err(BindError::NoEffect { memory, .. }) => println!("{memory} cannot be moved"),
    ///     Err(error) => println!("{error}"), // a kernel without NUMA, say
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`BindError`]: also where the kernel would say nothing and do nothing.
    fn bind(&self, range: Extent, number: u32) -> Result<(), BindError>;
}

impl<'m, P, S, O> LinuxSet for Set<'m, P, S, O>
where
    P: Platform<Space = Process>,
    S: Source<Space = Process> + Clone,
    O: Observer<S>,
{
    type Facts<'s>
        = Facts<'s, 'm, P, S, O>
    where
        Self: 's;

    fn facts(&self, range: Extent) -> Facts<'_, 'm, P, S, O> {
        Facts { set: self, range, segments: self.segments(range), kernel: Kernel::open() }
    }

    fn populate(&self, range: Extent) -> Result<(), PopulateError> {
        let pages = pages(range)?;
        let _pinned = self.pin(pages)?;
        populate::populate(pages)
    }

    fn bind(&self, range: Extent, number: u32) -> Result<(), BindError> {
        let pages = pages(range)?;
        let _pinned = self.pin(pages)?;
        for facts in self.facts(pages) {
            facts.may_be_bound()?;
        }
        bind::bind(pages, number)
    }
}

/// Returns the whole pages that `range` touches.
fn pages(range: Extent) -> Result<Extent, LookupError> {
    range.align_outward(auxv::page_size_bytes()).ok_or(LookupError::NotMapped { address: range.start() })
}

/// The facts of the segments of a set, one by one: see [`LinuxSet::facts`].
#[must_use = "iterators do nothing until they are asked"]
pub struct Facts<'s, 'm, P, S, O>
where
    P: Platform<Space = Process>,
    S: Source<Space = Process> + Clone,
    O: Observer<S>,
{
    set: &'s Set<'m, P, S, O>,
    range: Extent,
    segments: Segments<'s, 'm, P, S, O>,
    kernel: Kernel,
}

impl<P, S, O> Iterator for Facts<'_, '_, P, S, O>
where
    P: Platform<Space = Process>,
    S: Source<Space = Process> + Clone,
    O: Observer<S>,
{
    type Item = SegmentFacts;

    fn next(&mut self) -> Option<SegmentFacts> {
        loop {
            let segment = self.segments.next()?;
            let piece = segment.extent.intersect(self.range)?;
            // One that has gone meanwhile is passed over.
            let Ok(_pinned) = self.set.pin(piece) else { continue };
            let before = piece.start().saturating_sub(segment.extent.start());
            return Some(self.kernel.facts(piece, segment.offset.saturating_add(before as u64)));
        }
    }
}

impl<P, S, O> FusedIterator for Facts<'_, '_, P, S, O>
where
    P: Platform<Space = Process>,
    S: Source<Space = Process> + Clone,
    O: Observer<S>,
{
}

impl<P, S, O> fmt::Debug for Facts<'_, '_, P, S, O>
where
    P: Platform<Space = Process>,
    S: Source<Space = Process> + Clone,
    O: Observer<S>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("range", &self.range).field("segments", &self.segments).finish_non_exhaustive()
    }
}
