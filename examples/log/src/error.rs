//! Why a call of a log was refused, or failed.

use core::fmt;

use pmemset_core::Errno;
use pmemset_core::error::{MapError, PersistError, RemoveError};

use crate::header::HeaderError;

/// Why a log takes nothing any more: its memory could not be made durable. What was acknowledged before is durable.
///
/// Open the source anew, and the log with it: all that was acknowledged is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What the set said.
    pub cause: PersistError,
}

impl Stop {
    /// Returns the platform's reason, if it was a synchronisation that failed.
    #[must_use]
    pub const fn errno(&self) -> Option<Errno> {
        match self.cause {
            PersistError::Sync { cause, .. } | PersistError::FailedBefore { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<PersistError> for Stop {
    fn from(cause: PersistError) -> Self {
        Self { cause }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log has stopped, and has lost nothing that it acknowledged: {}", self.cause)
    }
}

impl core::error::Error for Stop {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Why a log was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The source could not be mapped.
    Map(MapError),
    /// What was read or repaired could not be made durable.
    Failed(PersistError),
    /// What is not needed could not be unmapped.
    Remove(RemoveError),
    /// The source holds something else, or a log of another version.
    Header(HeaderError),
    /// The head of a log is zeros, and its segments are not: records may be there that were acknowledged. Nothing has
    /// changed. [`Options::start_over`](crate::Options::start_over) gives them up.
    HeadLost {
        /// Where in the source a segment was found.
        offset: u64,
    },
    /// The log's own state is damaged: both of its copies.
    DamagedState,
    /// A note is damaged: both of its copies.
    DamagedNote {
        /// Which one.
        index: usize,
    },
    /// A record that was acknowledged is damaged, or the segment that it is in, or would be in, is damaged or missing,
    /// or an older copy of itself. Those before it are good. [`OnDamage::CutThere`](crate::OnDamage::CutThere) goes on
    /// with them.
    Damaged {
        /// Its sequence number.
        sequence: u64,
    },
    /// The log has more segments than there is room for.
    TooManySegments {
        /// The room.
        room: usize,
    },
    /// Segments of this length do not fit: too short, too long, or not a multiple of the source's alignment.
    SegmentBytes {
        /// Their length.
        segment_bytes: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Remove(error) => error.fmt(f),
            Self::Header(error) => error.fmt(f),
            Self::HeadLost { offset } => {
                write!(f, "the head of the log is zeros, but a segment with its records is at byte {offset}; ")?;
                f.write_str("restore the first 8 KiB, or give the records up (Options::start_over)")
            }
            Self::DamagedState => f.write_str("the log's state is damaged, in both copies"),
            Self::DamagedNote { index } => write!(f, "note {index} is damaged, in both copies"),
            Self::Damaged { sequence } => {
                write!(f, "record {sequence}, which was acknowledged, is damaged or missing; those before it are good")
            }
            Self::TooManySegments { room } => write!(f, "the log has more segments than the {room} there is room for"),
            Self::SegmentBytes { segment_bytes } => write!(f, "segments of {segment_bytes} bytes do not fit"),
        }
    }
}

impl core::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Map(error) => Some(error),
            Self::Failed(error) => Some(error),
            Self::Remove(error) => Some(error),
            Self::Header(error) => Some(error),
            _ => None,
        }
    }
}

impl From<MapError> for OpenError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<PersistError> for OpenError {
    fn from(error: PersistError) -> Self {
        Self::Failed(error)
    }
}

impl From<Stop> for OpenError {
    fn from(stop: Stop) -> Self {
        Self::Failed(stop.cause)
    }
}

impl From<RemoveError> for OpenError {
    fn from(error: RemoveError) -> Self {
        Self::Remove(error)
    }
}

impl From<HeaderError> for OpenError {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// Why a record was not appended. But for `Stopped`, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// No segment can be had for it: the medium or the disk is full, say. Dropping the oldest records makes room.
    Full(MapError),
    /// No segment can be had for it: as many are in use as there is room for.
    TooManySegments {
        /// The room.
        room: usize,
    },
    /// The record is longer than [`LENGTH_MAX_BYTES`](crate::LENGTH_MAX_BYTES).
    TooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// The log has stopped. The record may be found when the log is opened again, or not.
    Stopped(Stop),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "no room for another segment: {error}"),
            Self::TooManySegments { room } => write!(f, "all {room} segments are in use"),
            Self::TooLong { length_bytes } => write!(f, "a record of {length_bytes} bytes is too long"),
            Self::Stopped(stop) => stop.fmt(f),
        }
    }
}

impl core::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full(error) => Some(error),
            Self::Stopped(stop) => Some(stop),
            _ => None,
        }
    }
}

impl From<Stop> for AppendError {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// Why a record was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The log has no such record: dropped, truncated, or not durable yet.
    NotThere {
        /// The sequence number.
        sequence: u64,
    },
    /// The buffer is too short.
    TooShort {
        /// The length of the record in bytes.
        length_bytes: usize,
    },
    /// The record is damaged, though it was good when the log was opened or written.
    Damaged {
        /// The sequence number.
        sequence: u64,
    },
    /// The memory cannot be read.
    Failed(PersistError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { sequence } => write!(f, "there is no record {sequence}"),
            Self::TooShort { length_bytes } => write!(f, "the record is {length_bytes} bytes long"),
            Self::Damaged { sequence } => write!(f, "record {sequence} is damaged"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PersistError> for ReadError {
    fn from(error: PersistError) -> Self {
        Self::Failed(error)
    }
}

/// Why records were not truncated or dropped, or a note was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// The records that are to stay are not there, or there is no such note. Nothing has changed.
    NotThere {
        /// The number in the way.
        sequence: u64,
    },
    /// A note is longer than [`NOTE_BYTES`](crate::NOTE_BYTES). Nothing has changed.
    TooLong {
        /// Its length.
        length_bytes: usize,
    },
    /// What the change rests on is damaged. Nothing has changed.
    Damaged {
        /// The sequence number.
        sequence: u64,
    },
    /// The change is made, durably; a segment that it has freed could not be unmapped, and is not used again before the
    /// log is opened anew.
    Remove(RemoveError),
    /// The log has stopped. The change is found when it is opened again, or not.
    Stopped(Stop),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { sequence } => write!(f, "there is no {sequence}"),
            Self::TooLong { length_bytes } => write!(f, "a note of {length_bytes} bytes is too long"),
            Self::Damaged { sequence } => write!(f, "record {sequence} is damaged"),
            Self::Remove(error) => write!(f, "changed, but: {error}"),
            Self::Stopped(stop) => stop.fmt(f),
        }
    }
}

impl core::error::Error for ChangeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Remove(error) => Some(error),
            Self::Stopped(stop) => Some(stop),
            _ => None,
        }
    }
}

impl From<Stop> for ChangeError {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

impl From<PersistError> for ChangeError {
    fn from(error: PersistError) -> Self {
        Self::Stopped(error.into())
    }
}

impl From<ReadError> for ChangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Failed(error) => Self::Stopped(error.into()),
            ReadError::Damaged { sequence } => Self::Damaged { sequence },
            ReadError::NotThere { sequence } => Self::NotThere { sequence },
            ReadError::TooShort { length_bytes } => Self::TooLong { length_bytes },
        }
    }
}
