//! A path to a file or to a device, opened as the right one.
#![allow(unsafe_code, reason = "a source of either kind implements an unsafe trait")]

use core::ffi::CStr;

use pmemset_core::error::{ClearError, DeviceError, MapFailure, McsafeError};
use pmemset_core::support::errors;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, Health, LiveRecordRef, Source, Span, forward_source,
};
use pmemset_linux::internal::{errno, file_source, open_any};
use pmemset_linux::nd::{Attribute, NdError};
use pmemset_linux::{FileSource, OpenError, OpenOptions, Process};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::FileType;
use rustix::path::Arg;

use crate::dax_error::DaxError;
use crate::open::{DaxOptions, refusal};
use crate::source::DaxSource;

/// A file or a device DAX.
///
/// A set has one type of handle. With this type it can have files and devices, without an allocator.
///
/// ```
/// use pmemset_devdax::{AnySource, Config, FileSource, Granularity, Linux, MapConfig, Set};
///
/// let file: AnySource = FileSource::temporary(std::env::temp_dir())?.into();
/// let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4); // devices could be in it, too
/// set.map(&file, &MapConfig::new().length(8192))?.write(0, b"remember me")?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum AnySource {
    /// A file.
    File(FileSource),
    /// A device DAX.
    Dax(DaxSource),
}

impl AsFd for AnySource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(source) => source.as_fd(),
            Self::Dax(source) => source.as_fd(),
        }
    }
}

impl From<FileSource> for AnySource {
    fn from(source: FileSource) -> Self {
        Self::File(source)
    }
}

impl From<DaxSource> for AnySource {
    fn from(source: DaxSource) -> Self {
        Self::Dax(source)
    }
}

impl AnySource {
    /// Opens `path` as a device DAX if it is one, else as a file with `options`. A device ignores `options`.
    ///
    /// # Errors
    ///
    /// See [`AnyError`].
    ///
    /// # Example
    ///
    /// ```
    /// use pmemset_devdax::{AnySource, OpenOptions};
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-any-{}", std::process::id()));
    /// match AnySource::open(&path, OpenOptions::new().create_if_needed())? {
    ///     AnySource::Dax(device) => println!("a device: {}", device.durability()),
    ///     AnySource::File(file) => println!("a file of {} bytes", file.facts()?.length_bytes),
    /// }
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn open(path: impl Arg, options: OpenOptions) -> Result<Self, AnyError> {
        let opened = path.into_with_c_str(|path| Ok(Self::open_path(path, options)));
        opened.map_err(|cause| AnyError::File(OpenError::InvalidPath(errno(cause))))?
    }

    #[inline(never)]
    fn open_path(path: &CStr, options: OpenOptions) -> Result<Self, AnyError> {
        match open_any(path, options) {
            Ok((fd, stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice => {
                DaxSource::from_opened(fd, stat.st_rdev, DaxOptions::new()).map(Self::Dax).map_err(
                    |error| match error {
                        // Nothing says that it is a device DAX.
                        DaxError::NotDeviceDax { .. }
                        | DaxError::Open(_)
                        | DaxError::Attribute(NdError::Unreadable {
                            attribute: Attribute::CharacterDevice | Attribute::Subsystem,
                            ..
                        }) => AnyError::File(OpenError::InvalidFileType { kind: FileType::CharacterDevice }),
                        error => AnyError::Dax(error),
                    },
                )
            }
            Ok((fd, stat)) => file_source(fd, &stat, options).map(Self::File).map_err(AnyError::File),
            // What a device without the right driver answers.
            Err(OpenError::Open(cause @ (Errno::NXIO | Errno::NODEV))) => match refusal(path, cause) {
                reason @ (DaxError::SystemRam | DaxError::NoDriver) => Err(AnyError::Dax(reason)),
                DaxError::NotDeviceDax { kind: kind @ FileType::Socket } => {
                    Err(AnyError::File(OpenError::InvalidFileType { kind }))
                }
                _ => Err(AnyError::File(OpenError::Open(cause))),
            },
            Err(error) => Err(AnyError::File(error)),
        }
    }
}

errors! {
    /// Why neither a file nor a device could be opened.
    ///
    /// ```
    /// use pmemset_devdax::{AnyError, AnySource, OpenError, OpenOptions, code};
    ///
    /// let folder = AnySource::open(std::env::temp_dir(), OpenOptions::new()).unwrap_err();
    /// assert!(matches!(folder, AnyError::File(OpenError::InvalidFileType { .. })));
    /// assert_eq!(code::name(folder.code()), Some("PMEM2_E_INVALID_FILE_TYPE"));
    /// ```
    pub enum AnyError {
        /// The path is not a device DAX.
        File(error: OpenError) = error.code() => "{error}";
        /// The path is a device DAX.
        Dax(error: DaxError) = error.code() => "{error}";
    }
}

impl From<OpenError> for AnyError {
    fn from(error: OpenError) -> Self {
        Self::File(error)
    }
}

impl From<DaxError> for AnyError {
    fn from(error: DaxError) -> Self {
        Self::Dax(error)
    }
}

macro_rules! each {
    ($self:ident, $source:ident => $call:expr) => {
        match $self {
            AnySource::File($source) => $call,
            AnySource::Dax($source) => $call,
        }
    };
}

// SAFETY: every call goes to the source inside, which keeps the promises.
unsafe impl Source for AnySource {
    type Space = Process;

    forward_source!(self { Self::File(source) => source, Self::Dax(source) => source } except alignment_bytes, map, deep_flush, health);

    #[inline(never)]
    fn alignment_bytes(&self) -> usize {
        each!(self, source => source.alignment_bytes())
    }

    #[inline(never)]
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        // SAFETY: the caller's promise is passed on as it is.
        each!(self, source => unsafe { source.map(window, offset) })
    }

    #[inline(never)]
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        each!(self, source => source.deep_flush(range, offset))
    }

    #[inline]
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

/// That of the source inside. Without a choice between two, the compiler sees which of it a program does not use.
impl Health for AnySource {
    #[inline]
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        each!(self, source => source.shutdown())
    }

    #[inline]
    fn bad_block_policy(&self) -> BadBlockPolicy {
        each!(self, source => source.bad_block_policy())
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        each!(self, source => source.device(id))
    }

    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        each!(self, source => source.bad_blocks(range, blocks))
    }

    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        each!(self, source => source.clear_bad_block(block))
    }

    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        each!(self, source => source.read_mcsafe(offset, bytes))
    }

    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        each!(self, source => source.write_mcsafe(offset, bytes))
    }
}
