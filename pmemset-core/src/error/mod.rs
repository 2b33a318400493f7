//! One small error per operation; each knows libpmemset's code and keeps the platform's reason.

mod map;
mod persist;

use core::fmt;

pub use map::{MapError, MapFailure};
pub use persist::{DeepFlushError, PersistError};

pub use crate::health::{BadBlocksError, ClearError, DeviceError, McsafeError};
pub use crate::reservation::ReservationError;
use crate::{Errno, Extent};

/// Why the bytes of a source could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PrepareError {
    /// The length could not be asked for.
    Length(Errno),
    /// The source ends before the range and may not grow.
    TooSmall {
        /// Its length in bytes.
        length_bytes: u64,
    },
    /// The source may grow, and its medium refused.
    CannotGrow(Errno),
}

/// Why a shutdown record was not repaired. It is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RepairError {
    /// The source has no shutdown record.
    NoRecord,
    /// The source has mappings in this process, which its record must count.
    InUse {
        /// Their number.
        mapped: u32,
    },
    /// The device does not tell its shutdown state.
    Device(DeviceError),
    /// The observer could not keep the record.
    RecordNotKept,
}

impl RepairError {
    /// Returns libpmemset's number for the same reason in a map call.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NoRecord | Self::Device(DeviceError::Unsupported) => -200_028,
            Self::Device(DeviceError::IdTooLong) => -200_029,
            Self::Device(DeviceError::Failed(cause)) => cause.code(),
            Self::InUse { .. } => Errno::BUSY.code(),
            Self::RecordNotKept => Errno::IO.code(),
        }
    }
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoRecord => f.write_str("the source has no shutdown record"),
            Self::InUse { mapped } => write!(f, "the source has {mapped} mappings: remove them first"),
            Self::Device(cause) => write!(f, "the device does not tell its shutdown state: {cause}"),
            Self::RecordNotKept => f.write_str("the observer could not keep the shutdown record"),
        }
    }
}

impl core::error::Error for RepairError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Why a platform has not reserved address space. Nothing is reserved then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// No hole is long enough at this alignment, or the window asked for is not all inside.
    CannotFit,
    /// Something else is at the addresses asked for.
    Occupied,
    /// There are as many pieces as there is room for.
    Full {
        /// How many pieces there is room for.
        capacity: usize,
    },
    /// The platform's reason.
    Failed(Errno),
}

impl ReserveError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::CannotFit => -200_023,
            Self::Occupied => Errno::EXIST.code(),
            Self::Full { .. } => -200_005,
            Self::Failed(cause) => cause.code(),
        }
    }
}

/// `EEXIST` is [`Occupied`](ReserveError::Occupied).
impl From<Errno> for ReserveError {
    fn from(cause: Errno) -> Self {
        match cause {
            Errno::EXIST => Self::Occupied,
            cause => Self::Failed(cause),
        }
    }
}

/// The nearest number: `EEXIST`, `ENOMEM` where nothing fits, `ENOSPC` where there are too many pieces, or the platform's.
impl From<ReserveError> for Errno {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::CannotFit => Self::NOMEM,
            ReserveError::Occupied => Self::EXIST,
            ReserveError::Full { .. } => Self::NOSPC,
            ReserveError::Failed(cause) => cause,
        }
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotFit => f.write_str("there are not as many free addresses in one piece at this alignment"),
            Self::Occupied => f.write_str("something else is at these addresses"),
            Self::Full { capacity } => write!(f, "there is room for {capacity} pieces, and all are in use"),
            Self::Failed(_) => f.write_str("the platform has no such address space"),
        }
    }
}

impl core::error::Error for ReserveError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Why no part could be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// No part of the set has this address.
    NotMapped {
        /// The address.
        address: usize,
    },
    /// The part has 2^30 handles already.
    TooManyHandles,
}

impl LookupError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotMapped { .. } => -200_013,
            Self::TooManyHandles => Errno::BUSY.code(),
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotMapped { address } => write!(f, "no part of the set has the address {address:#x}"),
            Self::TooManyHandles => f.write_str("the part has too many handles: drop some"),
        }
    }
}

impl core::error::Error for LookupError {}

/// Why a part, or a range, could not be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveError {
    /// The part has other handles to it as a whole. Nothing has changed.
    Pinned {
        /// The part's addresses.
        part: Extent,
    },
    /// A call is running that uses bytes of this segment, or there is a handle to a range of them. Nothing has changed.
    InUse {
        /// The segment's addresses.
        segment: Extent,
    },
    /// The handle belongs to another set. Nothing has changed.
    OtherSet,
    /// The range wraps around the end of the address space. Nothing has changed.
    OutOfRange {
        /// The first address.
        address: usize,
        /// The length in bytes.
        length_bytes: usize,
    },
    /// The bytes could not be made durable first. Everything is still mapped; from now on every segment of the source
    /// answers [`FailedBefore`](Self::FailedBefore).
    DeepFlush {
        /// The mapping whose flush failed.
        segment: Extent,
        /// The platform's reason.
        cause: Errno,
    },
    /// A synchronisation or a deep flush of the segment's source has failed before, here or in another set, so that its
    /// bytes cannot be called durable. Everything is still mapped; [discarding](crate::Set::discard) gives it up.
    FailedBefore {
        /// The mapping.
        segment: Extent,
        /// The platform's reason then.
        cause: Errno,
    },
    /// The platform would not take out `segment`: it and all above it are still mapped and in the set, everything of
    /// the range below it is removed. [`RemoveRange`](crate::Event::RemoveRange) has told so.
    Unmap {
        /// The mapping that is still there.
        segment: Extent,
        /// The addresses from the first segment that is gone to the last; `None` where nothing has changed.
        removed: Option<Extent>,
        /// The platform's reason.
        cause: Errno,
    },
}

impl RemoveError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Pinned { .. } | Self::InUse { .. } => -200_022,
            Self::OtherSet => -200_016,
            Self::OutOfRange { .. } => -200_033,
            Self::DeepFlush { .. } | Self::FailedBefore { .. } => -200_018,
            Self::Unmap { cause, .. } => cause.code(),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pinned { part } => write!(f, "the part at {part} is in use by other handles: drop them first"),
            Self::InUse { segment } => {
                write!(f, "the segment at {segment} is in use by a call or by a handle to these bytes: try again")
            }
            Self::OtherSet => f.write_str("the handle belongs to another set"),
            Self::OutOfRange { address, length_bytes } => {
                write!(f, "{length_bytes} bytes from {address:#x} wrap around the address space")
            }
            Self::DeepFlush { segment, cause } => {
                write!(f, "the bytes at {segment} could not be made durable: {cause}")
            }
            Self::FailedBefore { segment, cause } => {
                write!(f, "the source of {segment} has lost bytes before ({cause}): discard what is mapped of it")
            }
            Self::Unmap { segment, removed, cause } => {
                write!(f, "the mapping at {segment} could not be taken out: {cause}")?;
                removed.map_or(Ok(()), |removed| write!(f, "; {removed} is removed"))
            }
        }
    }
}

impl core::error::Error for RemoveError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::DeepFlush { cause, .. } | Self::FailedBefore { cause, .. } | Self::Unmap { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
