//! Attributes and links of a sysfs tree below an open directory: fixed buffers, no current directory, no allocation.

use core::fmt;

use heapless::CString;
use pmemset_core::Errno;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io;

use crate::text::Garbage;

/// The longest path below an open directory that is followed, with its NUL.
const PATH_MAX_BYTES: usize = 512;
/// The longest attribute with a single value.
const VALUE_MAX_BYTES: usize = 256;

pub(crate) type Path = CString<PATH_MAX_BYTES>;

/// Why sysfs has no answer. Not knowing is never taken for "none" or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdError {
    /// The attribute or link is absent, or may not be read.
    Unreadable {
        /// Its name.
        attribute: &'static str,
        /// The kernel's reason.
        cause: Errno,
    },
    /// The attribute or link does not hold what its document says.
    Garbage {
        /// Its name.
        attribute: &'static str,
    },
    /// The attribute or path is longer, or the list has more entries, than there is room for.
    TooLong {
        /// Its name.
        attribute: &'static str,
    },
}

impl NdError {
    /// Returns the kernel's reason, or the number that comes closest.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match *self {
            Self::Unreadable { cause, .. } => cause,
            Self::Garbage { .. } => Errno::INVAL,
            Self::TooLong { .. } => Errno::RANGE,
        }
    }
}

impl fmt::Display for NdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unreadable { attribute, cause } => write!(f, "sysfs: {attribute} cannot be read: {cause}"),
            Self::Garbage { attribute } => write!(f, "sysfs: {attribute} does not hold what it should"),
            Self::TooLong { attribute } => write!(f, "sysfs: {attribute} is too long"),
        }
    }
}

impl core::error::Error for NdError {}

/// Returns the kernel's error number as the core knows it.
pub(crate) const fn errno(error: io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Joins `parts` into one path.
pub(crate) fn path(attribute: &'static str, parts: &[&[u8]]) -> Result<Path, NdError> {
    let mut path = Path::new();
    for part in parts {
        path.extend_from_bytes(part).map_err(|_| NdError::TooLong { attribute })?;
    }
    Ok(path)
}

/// Writes a number, or two with a colon between, for use in a path.
pub(crate) fn decimal(value: fmt::Arguments<'_>) -> heapless::String<24> {
    let mut text = heapless::String::new();
    // Two 32-bit numbers and a colon are at most 21 bytes long: there is room.
    let _ = fmt::Write::write_fmt(&mut text, value);
    text
}

/// Opens the directory `path` below `at`, for looking things up in only.
pub(crate) fn open_directory(at: BorrowedFd<'_>, attribute: &'static str, path: &[&[u8]]) -> Result<OwnedFd, NdError> {
    let path = self::path(attribute, path)?;
    fs::openat(at, path.as_c_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })
}

/// Opens the attribute `path` below `at`.
pub(crate) fn open(
    at: BorrowedFd<'_>,
    attribute: &'static str,
    path: &[&[u8]],
    flags: OFlags,
) -> Result<OwnedFd, NdError> {
    let path = self::path(attribute, path)?;
    fs::openat(at, path.as_c_str(), flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })
}

/// Reads from `file` until `buffer` is full or nothing is left; returns the number of bytes.
pub(crate) fn fill(file: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match io::retry_on_intr(|| io::read(file, &mut *rest))? {
            0 => break,
            read => filled = filled.saturating_add(read),
        }
    }
    Ok(filled)
}

/// A whole attribute.
pub(crate) struct Value {
    bytes: [u8; VALUE_MAX_BYTES],
    length_bytes: usize,
}

impl Value {
    /// Reads the attribute `path` below `at`.
    pub(crate) fn read(at: BorrowedFd<'_>, attribute: &'static str, path: &[&[u8]]) -> Result<Self, NdError> {
        let file = open(at, attribute, path, OFlags::RDONLY)?;
        let mut bytes = [0; VALUE_MAX_BYTES];
        let length_bytes =
            fill(file.as_fd(), &mut bytes).map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })?;
        if length_bytes == bytes.len() { Err(NdError::TooLong { attribute }) } else { Ok(Self { bytes, length_bytes }) }
    }

    /// Returns the text, newline and all.
    pub(crate) fn text(&self) -> &[u8] {
        self.bytes.get(..self.length_bytes).unwrap_or_default()
    }
}

/// Reads the attribute `path` below `at` and parses it.
pub(crate) fn read<T>(
    at: BorrowedFd<'_>,
    attribute: &'static str,
    path: &[&[u8]],
    parse: impl FnOnce(&[u8]) -> Result<T, Garbage>,
) -> Result<T, NdError> {
    let value = Value::read(at, attribute, path)?;
    parse(value.text()).map_err(|Garbage| NdError::Garbage { attribute })
}

/// A sysfs tree: `/sys`, or a directory that looks like it.
#[derive(Debug)]
pub struct Sysfs {
    root: OwnedFd,
}

impl Sysfs {
    /// Opens `/sys`.
    ///
    /// # Errors
    ///
    /// The kernel's reason; a container may have no `/sys`.
    pub fn system() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::open(c"/sys", flags, Mode::empty()).map(Self::at).map_err(errno)
    }

    /// Takes the directory `root` for `/sys`.
    #[must_use]
    pub const fn at(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Returns the directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The target of a link.
pub(crate) struct Link {
    target: [u8; PATH_MAX_BYTES],
    length_bytes: usize,
}

impl Link {
    /// Reads the link `path` below `at`.
    pub(crate) fn read(at: BorrowedFd<'_>, attribute: &'static str, path: &[&[u8]]) -> Result<Self, NdError> {
        let path = self::path(attribute, path)?;
        let mut target = [0; PATH_MAX_BYTES];
        let length_bytes = fs::readlinkat_raw(at, path.as_c_str(), &mut target[..])
            .map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })?;
        if length_bytes == target.len() {
            Err(NdError::TooLong { attribute })
        } else {
            Ok(Self { target, length_bytes })
        }
    }

    /// Returns the target.
    pub(crate) fn target(&self) -> &[u8] {
        self.target.get(..self.length_bytes).unwrap_or_default()
    }
}
