//! What Linux can be asked, and asked for, beside a set: an extension of sets whose parts are in a Linux process.

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

/// What Linux tells of the mappings of a set, and does with them on request.
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
    /// The facts of one segment after the other.
    type Facts<'s>: Iterator<Item = SegmentFacts>
    where
        Self: 's;

    /// Returns what the kernel really did with the segments that `range` touches, each as far as the range has it: by
    /// which pages they are mapped, on which node they are, what keeps huge pages away. For people, and for programs
    /// that start; each segment is pinned while it is asked about.
    ///
    /// No byte is touched to find out. Nothing takes special rights, but for where the nodes and regions below device
    /// mapper are. What cannot be told says why ([`Untold`](crate::Untold)), and a missing `/proc` or `/sys` is a reason.
    ///
    /// # Cost
    ///
    /// Reads the list of mappings once, up to the range (some 0.1 s for 60,000 mappings), and for each segment asks the
    /// kernel to walk through its page tables. A file on fs-dax is asked for its extents.
    fn facts(&self, range: Extent) -> Self::Facts<'_>;

    /// Faults the pages that `range` touches in at once, writable (`madvise(2)`, `MADV_POPULATE_WRITE`, Linux 5.14), so
    /// that no store faults later.
    ///
    /// The bytes stay what they are. Where the page cache or tmpfs is mapped, the pages are dirty then: holes of the file
    /// get storage, the times of the file change, and pages are written back as if they had been stored to. Pages that
    /// memory is short of may be written back and leave again; on DAX they stay.
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
    /// See [`PopulateError`]: an error where a touch would raise `SIGBUS`. Some of the pages may have been faulted in.
    fn populate(&self, range: Extent) -> Result<(), PopulateError>;

    /// Binds the pages that `range` touches to the node `number` (`mbind(2)`, `MPOL_BIND`), and moves there what is in
    /// memory already. Of use for tmpfs alone: DAX memory cannot be moved, and is refused.
    ///
    /// The binding belongs to the file's bytes: it holds for all who map them, and stays when the part is removed.
    ///
    /// ```no_run
    /// # use pmemset_linux::{Config, FileSource, Granularity, Linux, LinuxSet, MapConfig, BindError, Set};
    /// # let file = FileSource::temporary(std::env::temp_dir())?;
    /// # let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    /// let part = set.map(&file, &MapConfig::new().length(1 << 20))?;
    /// match set.bind(part.extent(), 0) {
    ///     Err(BindError::NoEffect { memory, .. }) => println!("{memory} is where it is"),
    ///     bound => bound?,
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
