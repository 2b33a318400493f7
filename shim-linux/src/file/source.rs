//! Files as sources of parts.
#![allow(unsafe_code, reason = "mapping over a reservation is an unsafe duty of a source")]

use core::fmt;

use pmemset_core::error::{ClearError, DeviceError, MapFailure, McsafeError, PrepareError};
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, FailedWriteBack, Granularity, GranularityLimit,
    Growth, Health, LiveRecordRef, Source, Span,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Dev, Stat};
use rustix::io;
use rustix::path::Arg;

use crate::address_space::{self, Mapper, Process, put_placeholder};
use crate::auxv;
use crate::errno::errno;
use crate::fd::Fd;
use crate::lost::{File, Opened};
use crate::nd::region::Region;
use crate::nd::sysfs::Sysfs;

use super::damage;
use super::grow::{self, Backing, Length};
use super::open::{self, FileSystem, OpenError, OpenOptions};
use super::probe::{GranularityReason, Probe};
use super::temporary;

/// A regular file as the source of parts (`pmemset_source`).
///
/// `F` is [`Fd`] if the source owns the descriptor, and [`BorrowedFd`] if the caller keeps it. The source does not keep
/// the path. One source can be in several sets, and several sources can have one file.
///
/// ```
/// use pmemset_linux::{Config, FileSource, Granularity, Linux, MapConfig, Set};
///
/// let file = FileSource::temporary(std::env::temp_dir())?;
/// let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
/// set.map(&file, &MapConfig::new().length(8192))?.write(0, b"remember me")?;
/// assert_eq!(file.facts()?.length_bytes, 8192); // it has grown
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Limits
///
/// - If somebody truncates the file under its mappings, accesses behind the new end raise `SIGBUS`.
/// - The kernel reports lost bytes once for each open file. If you synchronise the same open file yourself (`fsync(2)`
///   on the descriptor given to [`from_fd`](Self::from_fd), or one that shares it), check the result. Sources of one
///   file in this process share that report: a successful call waits for those on the same file that are running, in
///   case the kernel reports a failure to one of them.
/// - A growth is undone only if no other source of this process relies on it. Other processes are not seen.
///
/// # Cost
///
/// When the length is known and the bytes are allocated, mapping takes two system calls (`mmap`, and `fstat` to check
/// the length), and one `mmap` before if the set reserves the addresses. Removing takes two (`msync`, and `munmap`, or
/// `mmap` in a caller's reservation).
pub struct FileSource<F = Fd> {
    fd: F,
    length: Length,
    probe: Probe,
    mapper: Mapper,
    failed: FailedWriteBack,
    opened: Opened,
}

impl FileSource<Fd> {
    /// Opens the file `path` (`pmemset_source_from_file`, `pmemset_xsource_from_file`).
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenOptions};
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-open-{}", std::process::id()));
    /// let file = FileSource::open(&path, OpenOptions::new().create_if_needed())?;
    /// assert!(file.facts()?.may_grow);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Unless [`create_always`](OpenOptions::create_always) was given, the file has not changed.
    #[doc(alias("pmemset_source_from_file", "pmemset_xsource_from_file"))]
    pub fn open(path: impl Arg, options: OpenOptions) -> Result<Self, OpenError> {
        let (fd, stat) = open::open(path, options)?;
        Self::new(fd, &stat, options.may_grow())
    }

    /// Takes what [`open_any`](open::open_any) has opened with `options`; closes it where it is no regular file.
    pub(crate) fn from_opened(fd: Fd, stat: &Stat, options: OpenOptions) -> Result<Self, OpenError> {
        open::regular(stat)?;
        Self::new(fd, stat, options.may_grow())
    }

    /// Makes an unnamed file in the directory `directory` (`pmemset_source_from_temporary`).
    ///
    /// It is empty and grows. Its storage is freed with the source and its last mapping.
    ///
    /// ```
    /// let file = pmemset_linux::FileSource::temporary(std::env::temp_dir())?;
    /// assert_eq!(file.facts()?.length_bytes, 0);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`OpenError::InvalidPath`]: there is no such directory.
    /// - [`OpenError::CannotCreateTemporary`]: no file can be made there; nothing is left behind.
    #[doc(alias = "pmemset_source_from_temporary")]
    pub fn temporary(directory: impl Arg) -> Result<Self, OpenError> {
        let (fd, stat) = temporary::temporary(directory)?;
        Self::new(fd, &stat, true)
    }

    /// Makes an unnamed file in `directory` as [`temporary`](Self::temporary) does, where none has a name for a moment.
    #[cfg(feature = "std")]
    pub(crate) fn never_named(directory: impl Arg) -> Result<Self, OpenError> {
        let (fd, stat) = temporary::never_named(directory)?;
        Self::new(fd, &stat, true)
    }

    /// Takes ownership of a descriptor. The file grows only after [`growing`](Self::growing).
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// use pmemset_linux::FileSource;
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-owned-{}", std::process::id()));
    /// let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    /// let source = FileSource::from_owned_fd(file.into())?; // maps what there is, and never changes the length
    /// assert!(!source.facts()?.may_grow);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; the descriptor is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> Result<Self, OpenError> {
        let fd = Fd::new(fd);
        let stat = open::check(fd.as_fd())?;
        Self::new(fd, &stat, false)
    }
}

impl<'fd> FileSource<BorrowedFd<'fd>> {
    /// Uses the caller's descriptor (`pmemset_source_from_pmem2`).
    ///
    /// The file grows only after [`growing`](Self::growing).
    ///
    /// ```
    /// use std::fs::File;
    /// use std::os::fd::AsFd;
    ///
    /// use pmemset_linux::FileSource;
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-lent-{}", std::process::id()));
    /// let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    /// let source = FileSource::from_fd(file.as_fd())?.growing();
    /// assert!(source.facts()?.may_grow);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    #[doc(alias = "pmemset_source_from_pmem2")]
    pub fn from_fd(fd: BorrowedFd<'fd>) -> Result<Self, OpenError> {
        let stat = open::check(fd)?;
        Self::new(fd, &stat, false)
    }
}

impl<F: AsFd> FileSource<F> {
    fn new(fd: F, stat: &Stat, may_grow: bool) -> Result<Self, OpenError> {
        let device = stat.st_dev;
        let file_system = open::file_system(fd.as_fd())?;
        let probe = Probe::new(fd.as_fd(), device);
        let length = Length::new(stat, file_system, may_grow);
        let mapper = Mapper::new(auxv::page_size_bytes());
        Ok(Self {
            length,
            probe,
            mapper,
            failed: FailedWriteBack::new(),
            opened: Opened::new(File { device, inode: stat.st_ino }),
            fd,
        })
    }

    /// Synchronises pages, unless the kernel has reported to this source, or another one of the file, that some are
    /// lost.
    #[inline]
    fn sync_pages(&self, pages: Extent) -> Result<(), Errno> {
        self.opened.synchronise(|| address_space::sync_pages(pages))
    }

    /// Lets the file grow when more of it is mapped than it has, and allocates what is mapped.
    ///
    /// ```
    /// use pmemset_linux::{FileSource, rustix::fs};
    ///
    /// let memory = fs::memfd_create("records", fs::MemfdFlags::CLOEXEC)?;
    /// assert!(FileSource::from_owned_fd(memory)?.growing().facts()?.may_grow);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn growing(mut self) -> Self {
        self.length.allow_growth();
        self
    }

    /// Returns the facts about the file, for people to read; one system call.
    ///
    /// ```
    /// let file = pmemset_linux::FileSource::temporary(std::env::temp_dir())?;
    /// let facts = file.facts()?;
    /// println!("{}, {} of {} bytes allocated", facts.file_system, facts.allocated_bytes, facts.length_bytes);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The kernel's reason why the length cannot be read.
    pub fn facts(&self) -> Result<FileFacts, Errno> {
        let (length_bytes, allocated_bytes) = grow::size(self.fd.as_fd())?;
        Ok(FileFacts {
            device: self.opened.file.device,
            inode: self.opened.file.inode,
            length_bytes,
            allocated_bytes,
            may_grow: self.length.may_grow(),
            file_system: self.length.file_system(),
            backing: self.length.backing(),
            granularity: self.probe.reason,
            region: self.probe.region.as_ref().map(Region::id),
        })
    }
}

impl<F> FileSource<F> {
    /// Returns the descriptor.
    ///
    /// ```
    /// let file = pmemset_linux::FileSource::temporary(std::env::temp_dir())?;
    /// let descriptor = file.into_inner();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> F {
        self.fd
    }
}

/// The descriptor, for locks, seals, and punching holes into bytes that are not mapped.
///
/// Truncating the file, or punching holes where it is mapped, removes storage of its parts: stores there may raise
/// `SIGBUS`. A part that is mapped later gets storage again, if the file may grow.
impl<F: AsFd> AsFd for FileSource<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The facts about a file.
///
/// ```
/// use pmemset_linux::{Backing, FileSource};
///
/// let facts = FileSource::temporary(std::env::temp_dir())?.facts()?;
/// match facts.granularity {
///     Ok(reason) => println!("{}: {reason}", reason.granularity()),
///     Err(errno) => println!("cannot be mapped: {errno}"),
/// }
/// if facts.backing != Backing::Allocated {
///     println!("a store may raise SIGBUS when the file system is full");
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// The device number of its file system.
    pub device: Dev,
    /// Its number in the file system.
    pub inode: u64,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// How many bytes of storage it has; less than its length if it has holes.
    pub allocated_bytes: u64,
    /// Whether it grows when more of it is mapped than it has.
    pub may_grow: bool,
    /// The kind of its file system.
    pub file_system: FileSystem,
    /// Whether stores are sure to find storage.
    pub backing: Backing,
    /// The reason for its granularity; `Err` if it cannot be mapped.
    pub granularity: Result<GranularityReason, Errno>,
    /// The region of the nd bus that it lies on, if the kernel accepts `MAP_SYNC` for it.
    pub region: Option<u32>,
}

impl<F: AsFd> fmt::Debug for FileSource<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("file", &self.opened.file)
            .field("length", &self.length)
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}

// SAFETY: `map` has the kernel map a regular file of sufficient length over the window and nothing else, and both kinds
// of descriptor that a source can have refer to one file as long as it lives.
unsafe impl<F: AsFd + Send + Sync> Source for FileSource<F> {
    type Space = Process;

    #[inline]
    fn space(&self) -> Process {
        Process
    }

    fn length_bytes(&self) -> Result<u64, Errno> {
        let (length_bytes, _) = grow::size(self.fd.as_fd())?;
        self.length.is_now(length_bytes);
        Ok(length_bytes)
    }

    fn alignment_bytes(&self) -> usize {
        auxv::page_size_bytes()
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        self.probe.reason.map(GranularityReason::granularity)
    }

    fn granularity_limit(&self) -> GranularityLimit {
        self.probe.reason.map_or(GranularityLimit::Unspecified, GranularityReason::limit)
    }

    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        self.length.prepare(self.fd.as_fd(), range)
    }

    fn holds(&self, range: Span) -> bool {
        self.length.holds(range)
    }

    fn undo_growth(&self, growth: Growth) {
        self.length.undo(self.fd.as_fd(), growth);
    }

    /// Punches a hole, and synchronises the file (`fallocate(2)`, `fdatasync(2)`). A file that may not grow is left as
    /// it is.
    fn give_back(&self, range: Span) -> Result<(), Errno> {
        if !self.length.may_grow() {
            return Err(Errno::OPNOTSUPP);
        }
        self.length.give_back(self.fd.as_fd(), range)?;
        let synchronise = || io::retry_on_intr(|| fs::fdatasync(&self.fd)).map_err(errno);
        self.opened.synchronise(synchronise).inspect_err(|cause| self.failed.note(*cause))
    }

    /// Fails with `ENXIO` when the file ends before the last byte of the window, and with `EAGAIN` when it has lost
    /// storage since it was [prepared](Source::prepare).
    #[inline]
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        // The kernel's call for 32-bit processors counts in pages, and cuts off the rest.
        if offset & (auxv::page_size_bytes() as u64).wrapping_sub(1) != 0 {
            return Err(MapFailure::Refused(Errno::INVAL));
        }
        let end = offset.checked_add(window.length_bytes() as u64).ok_or(Errno::OVERFLOW)?;
        // SAFETY: the caller holds the reservation, and only its placeholder is mapped in the window. Files with units
        // larger than a page are refused when they are opened.
        unsafe { self.mapper.map_before_call(window, self.fd.as_fd(), offset, self.probe.maps_sync()) }?;
        let failure = match grow::size(self.fd.as_fd()) {
            Ok((length_bytes, _)) if length_bytes < end => MapFailure::Outdated(Errno::NXIO),
            Ok((_, storage_bytes)) if self.length.keeps_storage(storage_bytes) => return Ok(()),
            Ok(_) => MapFailure::Outdated(Errno::AGAIN),
            Err(cause) => MapFailure::Refused(cause),
        };
        self.length.is_now(0);
        // SAFETY: mapped a moment ago, and nobody knows of it yet.
        unsafe { address_space::take_back(window) };
        Err(failure)
    }

    #[inline]
    unsafe fn unmap(&self, window: Extent, _offset: u64) -> Result<(), Errno> {
        // SAFETY: the caller holds the reservation, and nobody uses the mapping any more.
        unsafe { put_placeholder(window) }
    }

    #[inline]
    fn goes_with_addresses(&self) -> bool {
        true
    }

    #[inline]
    fn sync(&self, range: Extent, _offset: u64) -> Result<(), Errno> {
        self.sync_pages(range)
    }

    /// Synchronises whole pages, and flushes the region behind a file that is mapped with `MAP_SYNC`; at page
    /// granularity there is nothing beyond [`sync`](Source::sync).
    ///
    /// A program that may not flush the region itself has had the file system do it: the flush of the block device that
    /// ends `msync` is the same one.
    fn deep_flush(&self, range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        if self.probe.maps_sync() {
            let pages = range.align_outward(auxv::page_size_bytes()).ok_or(Errno::OVERFLOW)?;
            self.sync_pages(pages)?;
        }
        match self.probe.region.as_ref().map_or(Ok(DeepFlush::Done), Region::deep_flush)? {
            DeepFlush::NotPermitted => Ok(DeepFlush::Done),
            answer => Ok(answer),
        }
    }

    #[inline]
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }

    #[inline]
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl<F: AsFd> Health for FileSource<F> {
    #[inline]
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }

    #[inline]
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    /// Asks the nd bus about the block device that the file system is on: partitions, and linear mappings too.
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let sysfs = Sysfs::system().map_err(DeviceError::Failed)?;
        sysfs.pieces(self.opened.file.device).map_err(|_| DeviceError::Unsupported)?.device(id)
    }

    /// In whole pages. Unknown for files on anything but the nd bus, and where extents have no place on one device.
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        damage::bad_blocks(self.fd.as_fd(), self.opened.file.device, range, blocks)
    }

    /// Overwrites the pages that cannot be read. The last page of a file that ends inside it cannot be cleared.
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        let fd = self.fd.as_fd();
        let sync = || {
            let synced = self.opened.synchronise(|| damage::sync(fd));
            synced.inspect_err(|cause| self.failed.note(*cause))
        };
        damage::clear(fd, block, |range, blocks| self.bad_blocks(range, blocks), sync)
    }

    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        damage::read(self.fd.as_fd(), offset, bytes)
    }

    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        damage::write(self.fd.as_fd(), offset, bytes)
    }
}
