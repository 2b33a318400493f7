//! Device DAX as a source: opened, checked, mapped in whole units of its alignment.
#![allow(unsafe_code, reason = "mapping over a reservation is an unsafe duty of a source")]

use core::fmt;

use pmemset_core::error::{ClearError, DeviceError, MapFailure, McsafeError};
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, FailedWriteBack, Granularity, GranularityLimit,
    Health, LiveRecordRef, Platform as _, Source, Span,
};
use pmemset_linux::internal::{Mapper, Region, Sysfs, put_placeholder};
use pmemset_linux::{Fd, Linux, Process};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Dev;
use rustix::path::Arg;

use crate::clear;
use crate::dax_error::DaxError;
use crate::device::{DaxDevice, Durability};
use crate::mcsafe;
use crate::open::{self, DaxOptions};

/// A device DAX as the source of parts.
///
/// `F` is [`Fd`] if the source owns the descriptor, and [`BorrowedFd`] if the caller keeps it. Stores become durable by
/// writing back cache lines, never by `msync(2)`, which the device refuses.
///
/// ```no_run
/// use pmemset_devdax::{Config, DaxOptions, DaxSource, Granularity, Linux, MapConfig, Set};
///
/// let device = DaxSource::open("/dev/dax0.0", DaxOptions::new())?;
/// let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 4);
/// set.map(&device, &MapConfig::new())?.write(0, b"remember me")?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Limits
///
/// - If the device loses its driver while it is mapped, accesses raise `SIGBUS`: see [`check`](Self::check).
/// - Mapping does not detect damaged memory: list the bad blocks first.
///
/// # Cost
///
/// Mapping takes four system calls (it reads the length each time, since the kernel maps beyond it without an error).
/// Removing takes one and those of a deep flush.
pub struct DaxSource<F = Fd> {
    fd: F,
    device: DaxDevice,
    durability: Durability,
    mapper: Mapper,
    failed: FailedWriteBack,
}

impl DaxSource<Fd> {
    /// Opens the device `path`.
    ///
    /// ```
    /// use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
    ///
    /// match DaxSource::open("/dev/dax0.0", DaxOptions::new()) {
    ///     Ok(device) => println!("{} bytes", device.facts().length_bytes()?),
    ///     Err(DaxError::InvalidPath(_)) => println!("no such device: `daxctl list` names those that there are"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # assert!(matches!(DaxSource::open("/no/such/device", DaxOptions::new()), Err(DaxError::InvalidPath(_))));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DaxError`].
    pub fn open(path: impl Arg, options: DaxOptions) -> Result<Self, DaxError> {
        Self::from_checked(open::open(path)?, options)
    }

    /// Takes ownership of a descriptor.
    ///
    /// ```
    /// use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
    ///
    /// let null = std::fs::File::options().read(true).open("/dev/null")?; // would be "/dev/dax0.0", and writable
    /// assert_eq!(DaxSource::from_owned_fd(null.into(), DaxOptions::new()).err(), Some(DaxError::NotWritable));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DaxError`]; the descriptor is closed then.
    pub fn from_owned_fd(fd: OwnedFd, options: DaxOptions) -> Result<Self, DaxError> {
        Self::from_checked(Fd::new(fd), options)
    }
}

impl<'fd> DaxSource<BorrowedFd<'fd>> {
    /// Uses the caller's descriptor.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
    ///
    /// let file = std::fs::File::open(std::env::temp_dir())?; // a device's descriptor in your program
    /// let error = DaxSource::from_fd(file.as_fd(), DaxOptions::new()).unwrap_err();
    /// assert!(matches!(error, DaxError::NotDeviceDax { .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DaxError`].
    pub fn from_fd(fd: BorrowedFd<'fd>, options: DaxOptions) -> Result<Self, DaxError> {
        Self::from_checked(fd, options)
    }
}

impl<F: AsFd> DaxSource<F> {
    fn from_checked(fd: F, options: DaxOptions) -> Result<Self, DaxError> {
        let number = open::check(fd.as_fd())?;
        Self::from_opened(fd, number, options)
    }

    /// Takes what was opened for reading and writing as the character device `number`.
    pub(crate) fn from_opened(fd: F, number: Dev, options: DaxOptions) -> Result<Self, DaxError> {
        let source = Self::new(fd, number, &open::sysfs()?)?;
        options.check(source.durability)?;
        Ok(source)
    }

    /// Makes a source of `fd`, which sysfs describes as the character device `number`.
    pub(crate) fn new(fd: F, number: Dev, sysfs: &Sysfs) -> Result<Self, DaxError> {
        let (device, durability) = open::judged(sysfs, number, Linux.cpu())?;
        let mapper = Mapper::new(device.alignment_bytes());
        Ok(Self { fd, device, durability, mapper, failed: FailedWriteBack::new() })
    }

    /// Returns the descriptor.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.fd
    }

    /// Returns the device's description in sysfs.
    ///
    /// ```no_run
    /// use pmemset_devdax::{DaxOptions, DaxSource};
    ///
    /// let device = DaxSource::open("/dev/dax0.0", DaxOptions::new())?;
    /// println!("{} bytes in units of {}", device.facts().length_bytes()?, device.facts().alignment_bytes());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn facts(&self) -> &DaxDevice {
        &self.device
    }

    /// Returns how stores become durable, or why that is not guaranteed.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Checks that the device still has its driver. When the system reports that devices are removed (`udev(7)`), call
    /// this before the next call of a set, and before removing the device's parts.
    ///
    /// Accesses to a removed device raise `SIGBUS`, and so do the instructions that write back its lines. No library
    /// can prevent that. After this call has found out, persisting, flushing and removing fail in all sets without
    /// touching the memory, as after a failed synchronisation; only [`discard`](pmemset_core::Set::discard) unmaps the
    /// parts. Open the device again when it has come back. Takes two system calls.
    ///
    /// ```no_run
    /// use pmemset_devdax::{DaxOptions, DaxSource};
    ///
    /// let device = DaxSource::open("/dev/dax0.0", DaxOptions::new())?;
    /// if let Err(reason) = device.check() {
    ///     eprintln!("the device has gone: {reason}");
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`DaxError::NoDriver`], [`DaxError::SystemRam`]: the driver was unbound, or the kernel uses the memory.
    /// - [`DaxError::Attribute`]: the device was removed.
    pub fn check(&self) -> Result<(), DaxError> {
        let found = self.device.mode().map_err(DaxError::Attribute).and_then(open::usable_in);
        found.inspect_err(|_| self.failed.note(Errno::NODEV))
    }

    fn is_aligned(&self, window: Extent, offset: u64) -> bool {
        let alignment = self.device.alignment_bytes();
        window.is_aligned(alignment) && offset & (alignment as u64).wrapping_sub(1) == 0
    }
}

impl<F: AsFd> AsFd for DaxSource<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F: AsFd> fmt::Debug for DaxSource<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaxSource")
            .field("device", &self.device)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

// SAFETY: `map` has the kernel map the device over the window and nothing else, wholly inside the device, whose length
// cannot change while its driver has it.
unsafe impl<F: AsFd + Send + Sync> Source for DaxSource<F> {
    type Space = Process;

    #[inline]
    fn space(&self) -> Process {
        Process
    }

    /// The whole units of the alignment: what lies behind the last one cannot be mapped.
    fn length_bytes(&self) -> Result<u64, Errno> {
        self.device.length_bytes().map_err(|error| error.errno())
    }

    fn alignment_bytes(&self) -> usize {
        self.device.alignment_bytes()
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.durability.granularity())
    }

    fn granularity_limit(&self) -> GranularityLimit {
        self.durability.limit()
    }

    /// Fails with `EINVAL` off the device's alignment, and with `ENXIO` beyond its end, where the kernel would not.
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        if !self.is_aligned(window, offset) {
            return Err(Errno::INVAL.into());
        }
        let end = offset.checked_add(window.length_bytes() as u64).ok_or(Errno::OVERFLOW)?;
        if end > self.length_bytes()? {
            return Err(Errno::NXIO.into());
        }
        // Without `MAP_SYNC`: the driver accepts it and does nothing about it.
        // SAFETY: the caller holds the reservation, and only its placeholder is mapped in the window.
        unsafe { self.mapper.map(window, self.as_fd(), offset, false) }
    }

    /// Fails with `EINVAL` off the device's alignment.
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        if !self.is_aligned(window, offset) {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller holds the reservation, and nobody uses the mapping any more.
        unsafe { put_placeholder(window) }
    }

    #[inline]
    fn goes_with_addresses(&self) -> bool {
        true
    }

    /// Refuses with `EOPNOTSUPP`: the device has no `msync(2)`, and its granularity is never that of pages.
    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    /// Flushes the device's region; one that is on no nd bus has nothing to flush.
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        self.device.nd_region().map_or(Ok(DeepFlush::NotNeeded), Region::deep_flush)
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

impl<F: AsFd + Send + Sync> Health for DaxSource<F> {
    #[inline]
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }

    #[inline]
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        self.device.nd_region().ok_or(DeviceError::Unsupported)?.device(id)
    }

    /// Lists what the region knows; `EACCES` without the right to read where device and region lie.
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        clear::list(&self.device, range, blocks)
    }

    /// Clears through the control node of the region's bus, which takes the right to open it.
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        clear::clear(&self.device, block, &|cleared| match mcsafe::zero(self, cleared) {
            Ok(()) => Ok(()),
            Err(McsafeError::Failed(cause)) => Err(ClearError::Failed(cause)),
            Err(_) => Err(ClearError::StillBad),
        })
    }

    /// Maps the pages needed and has the kernel copy, so that damaged memory is an error and no signal.
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        mcsafe::read(self, offset, bytes)
    }

    /// As [`read_mcsafe`](Self::read_mcsafe); the bytes are durable then. Damaged memory is refused, not overwritten.
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        mcsafe::write(self, offset, bytes)
    }
}
