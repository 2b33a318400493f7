//! Attributes and links of a sysfs tree below an open directory: fixed buffers, no current directory, no allocation.

use core::ffi::CStr;
use core::fmt;

use pmemset_core::Errno;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, Dev, Mode, OFlags};
use rustix::io;

use crate::fd::Fd;
use crate::text::{self, Garbage};

/// The longest path below an open directory that is followed, with its NUL.
pub(crate) const PATH_MAX_BYTES: usize = 512;
/// The longest attribute with a single value.
const VALUE_MAX_BYTES: usize = 256;

/// Room for a path.
pub(crate) type PathBytes = [u8; PATH_MAX_BYTES];

macro_rules! attributes {
    ($($attribute:ident $name:literal)*) => {
        /// What was asked for: an attribute or link of sysfs, or what is made from several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Attribute {
            $(#[doc = concat!("`", $name, "`.")] $attribute,)*
        }

        impl Attribute {
            /// Returns its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => $name,)*
                }
            }
        }
    };
}

attributes! {
    Align "align"
    BadBlocks "badblocks"
    BlockDevice "dev/block"
    CharacterDevice "dev/char"
    Class "device"
    Commands "commands"
    DeepFlush "deep_flush"
    DeviceNumber "dev"
    DevType "devtype"
    DirtyShutdown "dirty_shutdown"
    Disk "disk"
    Driver "driver"
    Id "id"
    Mapping "mapping"
    Mapping1 "mapping1"
    Mappings "mappings"
    Namespace "namespace"
    NumaNode "numa_node"
    Partition "partition"
    PersistenceDomain "persistence_domain"
    Pieces "pieces"
    Provider "provider"
    ReadOnly "read_only"
    Region "region"
    Resource "resource"
    Size "size"
    Start "start"
    Subsystem "subsystem"
    Table "table"
    TargetNode "target_node"
    Uuid "uuid"
}

/// Why sysfs has no answer. Not knowing is never taken for "none" or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdError {
    /// The attribute or link is absent, or may not be read.
    Unreadable {
        /// Which one.
        attribute: Attribute,
        /// The kernel's reason.
        cause: Errno,
    },
    /// The attribute or link does not hold what its document says.
    Garbage {
        /// Which one.
        attribute: Attribute,
    },
    /// The attribute or path is longer, or the list has more entries, than there is room for.
    TooLong {
        /// Which one.
        attribute: Attribute,
    },
}

impl NdError {
    /// Returns the kernel's reason, or the number that comes closest.
    #[must_use]
    #[inline(never)]
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
            Self::Unreadable { attribute, cause } => write!(f, "sysfs: {} cannot be read: {cause}", attribute.name()),
            Self::Garbage { attribute } => write!(f, "sysfs: {} does not hold what it should", attribute.name()),
            Self::TooLong { attribute } => write!(f, "sysfs: {} is too long", attribute.name()),
        }
    }
}

impl core::error::Error for NdError {}

/// Returns the kernel's error number as the core knows it.
pub(crate) const fn errno(error: io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Joins `parts` into one path in `buffer`; `None` where they do not fit or one holds a zero.
#[must_use]
pub fn join<'b>(buffer: &'b mut [u8], parts: &[&[u8]]) -> Option<&'b CStr> {
    let mut at = 0_usize;
    for byte in parts.iter().copied().flatten().chain(&[0]) {
        *buffer.get_mut(at)? = *byte;
        at = at.saturating_add(1);
    }
    let path = CStr::from_bytes_until_nul(buffer).ok()?;
    (path.count_bytes().saturating_add(1) == at).then_some(path)
}

/// A number, or two with a colon between, for use in a path.
#[derive(Debug)]
pub struct Decimal {
    digits: [u8; 24],
    start: usize,
}

impl Decimal {
    /// Writes `number`.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let mut text = Self { digits: [0; 24], start: 24 };
        text.put(number);
        text
    }

    /// Writes `MAJOR:MINOR`.
    pub(crate) fn device(number: Dev) -> Self {
        let mut text = Self::new(fs::minor(number));
        text.push(b':');
        text.put(fs::major(number));
        text
    }

    fn put(&mut self, mut number: u32) {
        loop {
            self.push(b"0123456789".get((number % 10) as usize).copied().unwrap_or(b'0'));
            number /= 10;
            if number == 0 {
                break;
            }
        }
    }

    /// Two 32-bit numbers and a colon are at most 21 bytes long: there is room.
    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.digits.get_mut(self.start) {
            *place = byte;
        }
    }

    /// Returns the text.
    #[must_use]
    #[inline(never)]
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

/// Opens the directory `path` below `at`, for looking things up in only.
pub(crate) fn open_directory(at: BorrowedFd<'_>, attribute: Attribute, path: &[&[u8]]) -> Result<Fd, NdError> {
    open(at, attribute, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens the attribute `path` below `at`.
#[inline(never)]
pub(crate) fn open(at: BorrowedFd<'_>, attribute: Attribute, path: &[&[u8]], flags: OFlags) -> Result<Fd, NdError> {
    let mut buffer: PathBytes = [0; PATH_MAX_BYTES];
    let path = join(&mut buffer, path).ok_or(NdError::TooLong { attribute })?;
    Fd::open(at, path, flags | OFlags::CLOEXEC, Mode::empty())
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

/// The text of an attribute.
pub(crate) struct Value {
    bytes: [u8; VALUE_MAX_BYTES],
    length_bytes: usize,
}

impl Value {
    /// Returns no text.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; VALUE_MAX_BYTES], length_bytes: 0 }
    }

    /// Reads the attribute `path` below `at`.
    #[inline(never)]
    pub(crate) fn read(&mut self, at: BorrowedFd<'_>, attribute: Attribute, path: &[&[u8]]) -> Result<(), NdError> {
        let file = open(at, attribute, path, OFlags::RDONLY)?;
        let read = fill(file.as_fd(), &mut self.bytes);
        self.length_bytes = read.map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })?;
        whole(&self.bytes, attribute, self.length_bytes).map(|_| ())
    }

    /// Returns the text, newline and all.
    #[inline(never)]
    pub(crate) fn text(&self) -> &[u8] {
        self.bytes.get(..self.length_bytes).unwrap_or_default()
    }
}

/// Reads the attribute `path` below `at` and parses it.
pub(crate) fn read<T>(
    at: BorrowedFd<'_>,
    attribute: Attribute,
    path: &[&[u8]],
    parse: impl FnOnce(&[u8]) -> Result<T, Garbage>,
) -> Result<T, NdError> {
    let mut value = Value::new();
    value.read(at, attribute, path)?;
    parse(value.text()).map_err(|Garbage| NdError::Garbage { attribute })
}

/// Reads the attribute `path` below `at`, which is a number.
#[inline(never)]
pub(crate) fn number(at: BorrowedFd<'_>, attribute: Attribute, path: &[&[u8]]) -> Result<u64, NdError> {
    read(at, attribute, path, text::number)
}

/// Returns the first `length_bytes` bytes; a buffer that is full may lack the rest.
fn whole(buffer: &[u8], attribute: Attribute, length_bytes: usize) -> Result<&[u8], NdError> {
    buffer.get(..length_bytes).filter(|_| length_bytes < buffer.len()).ok_or(NdError::TooLong { attribute })
}

/// Reads the target of the link `path` below `at` into `buffer`.
#[inline(never)]
pub(crate) fn link<'b>(
    at: BorrowedFd<'_>,
    attribute: Attribute,
    path: &[&[u8]],
    buffer: &'b mut PathBytes,
) -> Result<&'b [u8], NdError> {
    let mut name: PathBytes = [0; PATH_MAX_BYTES];
    let path = join(&mut name, path).ok_or(NdError::TooLong { attribute })?;
    let length_bytes = fs::readlinkat_raw(at, path, &mut buffer[..])
        .map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })?;
    whole(buffer, attribute, length_bytes)
}

/// A sysfs tree: `/sys`, or a directory that looks like it.
#[derive(Debug)]
pub struct Sysfs {
    root: Fd,
}

impl Sysfs {
    /// Opens `/sys`.
    ///
    /// # Errors
    ///
    /// The kernel's reason; a container may have no `/sys`.
    pub fn system() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Fd::open(CWD, c"/sys", flags, Mode::empty()).map_err(errno)?;
        Ok(Self { root })
    }

    /// Takes the directory `root` for `/sys`.
    #[must_use]
    pub const fn at(root: OwnedFd) -> Self {
        Self { root: Fd::new(root) }
    }

    /// Returns the directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
