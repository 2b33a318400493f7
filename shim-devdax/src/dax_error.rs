//! Why a device cannot be a source.

use core::fmt;

use pmemset_core::Errno;
use pmemset_linux::nd::{Doubt, NdError};
use rustix::fs::FileType;

/// Why a device cannot be a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
// Parts side by side take less code where an error is passed on.
#[repr(u32)]
pub enum DaxError {
    /// There is no such file, or the path holds a NUL byte.
    InvalidPath(Errno),
    /// It is a file of another kind, or a character device of another subsystem than `dax`.
    NotDeviceDax {
        /// What it is.
        kind: FileType,
    },
    /// The descriptor is not open for reading.
    NotReadable,
    /// The descriptor is not open for writing: stores are what it is for.
    NotWritable,
    /// The device could not be opened or asked about.
    Open(Errno),
    /// The device is part of the system's ordinary memory.
    SystemRam,
    /// No driver has the device.
    NoDriver,
    /// An attribute of the device does not say what it should.
    Attribute(NdError),
    /// The device's alignment is not a power of two, or more than its length.
    InvalidAlignment {
        /// The alignment in the way, in bytes.
        alignment_bytes: u64,
    },
    /// Nothing says that the memory keeps its content, or something says that it does not.
    NotPersistent(Doubt),
}

impl DaxError {
    /// Returns libpmemset's number for this error, or libpmem2's where libpmemset passes that on.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::InvalidPath(_) => -200_003,
            Self::NotReadable => -100_004,
            Self::NotDeviceDax { .. } => -100_005,
            Self::NotWritable => -100_032,
            Self::InvalidAlignment { .. } => -200_035,
            Self::Open(cause) => cause.code(),
            Self::SystemRam | Self::NoDriver => Errno::NXIO.code(),
            Self::Attribute(error) => error.errno().code(),
            Self::NotPersistent(_) => Errno::OPNOTSUPP.code(),
        }
    }
}

impl fmt::Display for DaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPath(cause) => write!(f, "not a path to a device: {cause}"),
            Self::NotDeviceDax { kind: FileType::CharacterDevice } => {
                f.write_str("the character device is not a device DAX")
            }
            Self::NotDeviceDax { kind } => write!(f, "not a device DAX but a {kind:?}"),
            Self::NotReadable => f.write_str("the descriptor is not open for reading: open it for reading and writing"),
            Self::NotWritable => f.write_str("the descriptor is not open for writing: open it for reading and writing"),
            Self::Open(cause) => write!(f, "cannot open: {cause}"),
            Self::SystemRam => f.write_str(
                "the device is in system-ram mode, its memory is the system's: `daxctl reconfigure-device --mode=devdax`",
            ),
            Self::NoDriver => f.write_str("no driver has the device: `daxctl enable-device`"),
            Self::Attribute(error) => error.fmt(f),
            Self::InvalidAlignment { alignment_bytes } => {
                write!(f, "alignment {alignment_bytes} is not a power of two, or more than the whole device")
            }
            Self::NotPersistent(doubt) => write!(f, "not persistent memory: {doubt}"),
        }
    }
}

impl core::error::Error for DaxError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::InvalidPath(cause) | Self::Open(cause) => Some(cause),
            Self::Attribute(error) => Some(error),
            _ => None,
        }
    }
}
