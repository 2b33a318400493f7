//! Attributes and links of a sysfs tree below an open directory: fixed buffers, no current directory, no allocation.

use core::ffi::CStr;
use core::fmt;

use pmemset_core::Errno;
use pmemset_core::error::BadBlocksError;
use pmemset_core::support::errors;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, CWD, Dev, Mode, OFlags};
use rustix::io;

use crate::errno::errno;
use crate::fd::{Fd, until_nul};

use super::parse::{self, Garbage};

/// The longest path below an open directory that is followed, with its NUL.
pub const PATH_MAX_BYTES: usize = 512;
/// The longest attribute with a single value.
const VALUE_MAX_BYTES: usize = 256;

/// Room for a path.
pub(crate) type PathBytes = [u8; PATH_MAX_BYTES];

macro_rules! attributes {
    ($($attribute:ident $name:literal)*) => {
        /// What was asked for: an attribute or link of sysfs, or what is made from several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

        impl fmt::Display for Attribute {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
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
    Distance "distance"
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
    TransparentHugePage "transparent_hugepage"
    Uuid "uuid"
}

errors! {
    /// Why a value could not be read from sysfs.
    pub enum NdError {
        /// The attribute or link is absent, or may not be read.
        Unreadable {
            /// Which one.
            attribute: Attribute,
            /// The kernel's reason.
            cause: Errno,
        } = cause.code() => "cannot read {attribute} in sysfs: {cause}";
        /// The attribute or link does not have the documented format.
        Garbage {
            /// Which one.
            attribute: Attribute,
        } = Errno::INVAL.code() => "{attribute} in sysfs does not hold what the kernel documents";
        /// The attribute or path is too long, or the list has too many entries.
        TooLong {
            /// Which one.
            attribute: Attribute,
        } = Errno::RANGE.code() => "{attribute} in sysfs is longer than there is room for";
    }
}

impl NdError {
    /// Returns the kernel's reason, or the closest error number.
    #[must_use]
    #[inline(never)]
    pub const fn errno(&self) -> Errno {
        Errno::from_raw(self.code().wrapping_neg())
    }
}

/// The reason why bad blocks cannot be listed then.
impl From<NdError> for BadBlocksError {
    #[inline(never)]
    fn from(error: NdError) -> Self {
        use Attribute::{
            BlockDevice, CharacterDevice, Disk, Mapping1, Partition, Pieces, Region, Resource, Size, Start, Table,
        };
        let (NdError::Unreadable { attribute, .. } | NdError::Garbage { attribute } | NdError::TooLong { attribute }) =
            error;
        match (attribute, error.errno()) {
            (BlockDevice | CharacterDevice | Region, Errno::NOENT) => Self::NoRegion,
            (Disk | Mapping1 | Partition | Pieces | Resource | Size | Start | Table, cause) => Self::NoBounds(cause),
            (_, Errno::OPNOTSUPP) => Self::Unsupported,
            (_, cause) => Self::Failed(cause),
        }
    }
}

/// A path that is put together from pieces.
#[derive(Debug)]
pub struct PathText {
    /// Ends with a zero at least.
    bytes: PathBytes,
    length_bytes: usize,
}

impl PathText {
    /// Returns the empty path.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; PATH_MAX_BYTES], length_bytes: 0 }
    }

    /// Appends `text`.
    #[inline(never)]
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        text.iter().for_each(|byte| self.push(*byte));
        self
    }

    /// Appends `number` in decimal.
    #[inline(never)]
    pub fn number(&mut self, number: u32) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push(b"0123456789".get((number % 10) as usize).copied().unwrap_or(b'0'));
        self
    }

    /// Appends `MAJOR:MINOR`.
    pub(crate) fn device(&mut self, number: Dev) -> &mut Self {
        self.number(fs::major(number)).text(b":").number(fs::minor(number))
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length_bytes) {
            *place = byte;
        }
        self.length_bytes = self.length_bytes.wrapping_add(1);
    }

    /// Returns the path; `None` where it does not fit, or a zero is in it.
    #[must_use]
    #[inline(never)]
    pub fn as_c_str(&self) -> Option<&CStr> {
        until_nul(&self.bytes).filter(|path| path.count_bytes() == self.length_bytes)
    }

    /// Returns the path; errors name it `attribute`.
    pub(crate) fn of(&self, attribute: Attribute) -> Result<&CStr, NdError> {
        self.as_c_str().ok_or(NdError::TooLong { attribute })
    }
}

impl Default for PathText {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens the directory `path` below `at`, for looking things up in only.
pub(crate) fn open_directory(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr) -> Result<Fd, NdError> {
    open(at, attribute, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens the attribute `path` below `at`.
#[inline(never)]
pub(crate) fn open(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr, flags: OFlags) -> Result<Fd, NdError> {
    // `NONBLOCK`: what turns out to be a pipe is not waited for.
    Fd::open(at, path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
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
    pub(crate) fn read(&mut self, at: BorrowedFd<'_>, attribute: Attribute, path: &CStr) -> Result<(), NdError> {
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

/// Reads the attribute `path` below `at` and parses it; errors name it `attribute`.
///
/// # Errors
///
/// See [`NdError`].
pub fn read<T>(
    at: BorrowedFd<'_>,
    attribute: Attribute,
    path: &CStr,
    parse: impl FnOnce(&[u8]) -> Result<T, Garbage>,
) -> Result<T, NdError> {
    let mut value = Value::new();
    value.read(at, attribute, path)?;
    parse(value.text()).map_err(|Garbage| NdError::Garbage { attribute })
}

/// A parser of what comes down to a number: a flag to 0 or 1.
pub(crate) type Parse = fn(&[u8]) -> Result<u64, Garbage>;

/// Reads the attribute `path` below `at` and parses it; one function for all that are numbers.
///
/// # Errors
///
/// See [`NdError`].
#[inline(never)]
pub fn parsed(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr, parse: Parse) -> Result<u64, NdError> {
    read(at, attribute, path, parse)
}

/// Reads the attribute `path` below `at`, which is a number.
///
/// # Errors
///
/// See [`NdError`].
pub fn number(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr) -> Result<u64, NdError> {
    parsed(at, attribute, path, parse::number)
}

/// Returns the first answer of `ask` that is not "absent"; `paths` holds one path at least.
///
/// # Errors
///
/// See [`NdError`]; the last one where all are absent.
pub fn first<T>(paths: &[&CStr], ask: impl Fn(&CStr) -> Result<T, NdError>) -> Result<T, NdError> {
    let mut last = NdError::Unreadable { attribute: Attribute::Resource, cause: Errno::NOENT };
    for path in paths {
        match ask(path) {
            Err(error @ NdError::Unreadable { cause: Errno::NOENT | Errno::NOTDIR, .. }) => last = error,
            answer => return answer,
        }
    }
    Err(last)
}

/// Reads the alignment of a device DAX from where kernels have it: the device itself since 5.10, its region before.
///
/// # Errors
///
/// See [`NdError`].
pub fn dax_alignment(dir: BorrowedFd<'_>) -> Result<u64, NdError> {
    first_number(dir, Attribute::Align, &[c"align", c"../dax_region/align", c"device/dax_region/align"])
}

/// Reads a number from the first of the `paths` that is there.
///
/// # Errors
///
/// See [`NdError`].
#[inline(never)]
pub fn first_number(dir: BorrowedFd<'_>, attribute: Attribute, paths: &[&CStr]) -> Result<u64, NdError> {
    first(paths, |path| number(dir, attribute, path))
}

/// Reads the attribute `path` below `at`, which is a flag.
pub(crate) fn flag(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr) -> Result<bool, NdError> {
    parsed(at, attribute, path, |text| parse::flag(text).map(u64::from)).map(|flag| flag != 0)
}

/// Returns whether the attribute `path` below `at` is `text` and nothing else.
#[inline(never)]
pub(crate) fn is(at: BorrowedFd<'_>, attribute: Attribute, path: &CStr, text: &[u8]) -> Result<bool, NdError> {
    read(at, attribute, path, |found| Ok(parse::trim(found) == text))
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
    path: &CStr,
    buffer: &'b mut PathBytes,
) -> Result<&'b [u8], NdError> {
    let length_bytes = fs::readlinkat_raw(at, path, &mut buffer[..])
        .map_err(|cause| NdError::Unreadable { attribute, cause: errno(cause) })?;
    whole(buffer, attribute, length_bytes)
}

/// Reads the link `path` below `at` into `buffer`, and returns the last component of its target.
///
/// # Errors
///
/// See [`NdError`].
#[inline(never)]
pub fn link_name<'b>(
    at: BorrowedFd<'_>,
    attribute: Attribute,
    path: &CStr,
    buffer: &'b mut PathBytes,
) -> Result<&'b [u8], NdError> {
    let link = link(at, attribute, path, buffer)?;
    parse::base_name(link).map_err(|Garbage| NdError::Garbage { attribute })
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
