//! Why stores could not be made durable.

use core::fmt;

use super::LookupError;
use crate::{Errno, Extent};

/// Why bytes of a set could not be stored, read or made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PersistError {
    /// The range, or the part where a part was asked, ends before `address`. Nothing was stored or flushed.
    NotMapped {
        /// The first address of the range that is not there.
        address: usize,
    },
    /// The range wraps around the end of the address space. Nothing was stored or flushed.
    OutOfRange {
        /// The first address, or the offset in the part.
        start: usize,
        /// The length in bytes.
        length_bytes: usize,
    },
    /// The part has 2^30 handles already. Nothing was stored or flushed.
    TooManyHandles,
    /// The source could not make pages durable, whose bytes may be lost. Where the call stored bytes, they are stored.
    /// From now on every segment of the source, in every set, answers [`FailedBefore`](Self::FailedBefore).
    Sync {
        /// The mapping that the pages are in.
        segment: Extent,
        /// The platform's reason.
        cause: Errno,
    },
    /// A synchronisation or a deep flush of the segment's source has failed before, here or in another set, so that it
    /// cannot be said which of its bytes are durable: [discard](crate::Set::discard) what is mapped of it, open the
    /// source anew, and check what is there. Where the call stored bytes, they are stored.
    FailedBefore {
        /// The mapping.
        segment: Extent,
        /// The platform's reason then.
        cause: Errno,
    },
}

impl PersistError {
    /// Returns libpmemset's number for this error; its functions have no such errors, and crash, abort or succeed.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotMapped { .. } => -200_012,
            Self::OutOfRange { .. } => -200_033,
            Self::TooManyHandles => Errno::BUSY.code(),
            Self::Sync { cause, .. } | Self::FailedBefore { cause, .. } => cause.code(),
        }
    }
}

impl From<LookupError> for PersistError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotMapped { address } => Self::NotMapped { address },
            LookupError::TooManyHandles => Self::TooManyHandles,
        }
    }
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotMapped { address } => write!(f, "{address:#x} is not mapped"),
            Self::OutOfRange { start, length_bytes } => {
                write!(f, "{length_bytes} bytes from {start:#x} wrap around the address space")
            }
            Self::TooManyHandles => f.write_str("the part has too many handles: drop some"),
            Self::Sync { segment, cause } => write!(f, "the bytes at {segment} could not be made durable: {cause}"),
            Self::FailedBefore { segment, cause } => {
                write!(
                    f,
                    "the source of {segment} has lost bytes before ({cause}): discard its parts, open it anew, "
                )?;
                f.write_str("and check what is there")
            }
        }
    }
}

impl core::error::Error for PersistError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Sync { cause, .. } | Self::FailedBefore { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Why a deep flush failed. What lies below the segment in the way is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DeepFlushError {
    /// As for persisting: the range is not there, or the source of a segment has failed before.
    Persist(PersistError),
    /// The source could not make the bytes durable, or not push them further; they may be lost. From now on every
    /// segment of the source, in every set, answers [`FailedBefore`](PersistError::FailedBefore).
    Failed {
        /// The mapping that they are in.
        segment: Extent,
        /// The platform's reason.
        cause: Errno,
    },
}

impl DeepFlushError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Failed { .. } | Self::Persist(PersistError::FailedBefore { .. }) => -200_018,
            Self::Persist(error) => error.code(),
        }
    }
}

impl From<PersistError> for DeepFlushError {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}

impl fmt::Display for DeepFlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Persist(error) => error.fmt(f),
            Self::Failed { segment, cause } => write!(f, "the deep flush of {segment} failed: {cause}"),
        }
    }
}

impl core::error::Error for DeepFlushError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Persist(error) => error.source(),
            Self::Failed { cause, .. } => Some(cause),
        }
    }
}

impl From<LookupError> for DeepFlushError {
    fn from(error: LookupError) -> Self {
        Self::Persist(error.into())
    }
}
