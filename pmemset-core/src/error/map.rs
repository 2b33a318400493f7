//! Why a source was not mapped.

use core::fmt;

use crate::health::BadBlocksError;
use crate::health::Verdict;
use crate::{Errno, Extent, Granularity, Span};

/// Why [`Source::map`](crate::Source::map) has failed, and what is in the window now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MapFailure {
    /// The placeholder is in the window, as before.
    Refused(Errno),
    /// The placeholder is in the window, and what [`prepare`](crate::Source::prepare) has seen to is so no longer: prepare
    /// again.
    Outdated(Errno),
    /// Nobody knows what is in the window: another thread's memory, perhaps. It must not be used or given back ever again.
    WindowLost(Errno),
}

impl MapFailure {
    /// Returns the platform's reason.
    #[must_use]
    pub const fn cause(self) -> Errno {
        match self {
            Self::Refused(cause) | Self::Outdated(cause) | Self::WindowLost(cause) => cause,
        }
    }
}

impl From<Errno> for MapFailure {
    fn from(cause: Errno) -> Self {
        Self::Refused(cause)
    }
}

/// Why [`Set::map`](crate::Set::map) refused or failed. The set, the source and the address space are what they were, but
/// for [`WindowLost`](Self::WindowLost).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// The offset is past `i64::MAX`.
    OffsetOutOfRange {
        /// The offset in the way.
        offset: u64,
    },
    /// The offset is not a multiple of the source's alignment (or the page size, if that is larger).
    OffsetUnaligned {
        /// The offset in the way.
        offset: u64,
        /// What it must be a multiple of, in bytes.
        alignment_bytes: usize,
    },
    /// The length is not a multiple of the source's alignment (or the page size, if that is larger).
    LengthUnaligned {
        /// The length in the way, in bytes.
        length_bytes: u64,
        /// What it must be a multiple of, in bytes.
        alignment_bytes: usize,
    },
    /// Offset and length together, or the rest of the source, do not fit the address space.
    LengthOutOfRange {
        /// The offset in bytes.
        offset: u64,
        /// The length in bytes.
        length_bytes: u64,
    },
    /// No length was given, and nothing of the source is left after the offset.
    LengthUnset,
    /// The source says that its mappings need an alignment that is not a power of two.
    InvalidAlignment {
        /// The alignment in the way, in bytes.
        alignment_bytes: usize,
    },
    /// The source's medium takes no stores as narrow as those that the platform makes.
    WriteGranule {
        /// The narrowest store that the medium takes, in bytes.
        granule_bytes: usize,
        /// The narrowest store of the platform's copies, in bytes.
        narrowest_store_bytes: usize,
    },
    /// The source ends too early and may not grow.
    SourceTooSmall {
        /// The length in bytes that the mapping needs.
        needed_bytes: u64,
        /// The length in bytes that the source has.
        length_bytes: u64,
    },
    /// The source may grow, and its medium refused.
    CannotGrow {
        /// The length in bytes that the mapping needs.
        needed_bytes: u64,
        /// The platform's reason.
        cause: Errno,
    },
    /// The source's granularity is coarser than the set's configuration requires.
    GranularityNotSupported {
        /// The coarsest that the set accepts.
        required: Granularity,
        /// What the source has.
        available: Granularity,
    },
    /// The parts in the set have another granularity.
    GranularityMismatch {
        /// The granularity of the parts in the set.
        set: Granularity,
        /// What the source has.
        source: Granularity,
    },
    /// [`MapConfig::after`](crate::MapConfig::after): no part has this address.
    NoPartAt {
        /// The address.
        address: usize,
    },
    /// [`Coalescing::Full`](crate::Coalescing::Full), or [`MapConfig::after`](crate::MapConfig::after): the addresses behind the part cannot be had.
    CannotCoalesce {
        /// The address behind the previous part.
        at: usize,
    },
    /// The caller's reservation has no hole that is long enough at the source's alignment.
    CannotFit {
        /// The length in bytes.
        length_bytes: usize,
        /// The alignment in bytes.
        alignment_bytes: usize,
    },
    /// The set has as many segments as it has room for.
    TableFull {
        /// The number of segments that fit.
        capacity: usize,
    },
    /// The caller's reservation has as many segments as it has room for.
    ReservationFull {
        /// The number of segments that fit.
        capacity: usize,
    },
    /// The platform gave no address space.
    AddressSpace {
        /// The platform's reason.
        cause: Errno,
    },
    /// The source could not be asked for its length or its granularity.
    Source {
        /// The platform's reason.
        cause: Errno,
    },
    /// The source belongs to another address space than the set's platform.
    OtherSpace,
    /// A synchronisation or a deep flush of the source has failed before, here or in another set, so that no byte of it
    /// can be made durable any more: open it anew, and check what is there.
    FailedBefore {
        /// The platform's reason then.
        cause: Errno,
    },
    /// The source could not be mapped.
    Map {
        /// Where it was to be mapped.
        window: Extent,
        /// The platform's reason.
        cause: Errno,
    },
    /// The source could not be mapped, and it is not known what is at these addresses now: something of another thread,
    /// perhaps. They are out of use for ever, in the set or the caller's reservation, which keeps them.
    WindowLost {
        /// The addresses.
        window: Extent,
        /// The platform's reason why the source was not mapped.
        cause: Errno,
    },
    /// The source has a shutdown record, and no device that tells its identity and its unsafe shutdowns.
    ShutdownUnsupported,
    /// The id of the source's device has more bytes than a shutdown record has room for, or one of them is 0.
    DeviceIdTooLong,
    /// The set does not accept the source's shutdown state.
    UndesirablePartState {
        /// The state, and what it was judged from.
        verdict: Verdict,
    },
    /// The observer could not keep the shutdown record, so a crash would have gone unnoticed.
    RecordNotKept,
    /// Some of the bytes are on damaged memory, and the observer has not cleared it; or refused the mapping.
    BadBlock {
        /// The first bad block that was found.
        block: Span,
    },
    /// The observer has refused the mapping although the bad blocks were cleared.
    ClearedBlocksRefused,
    /// The source's policy is [`Required`](crate::BadBlockPolicy::Required), and what is bad cannot be told.
    BadBlocksUnknown {
        /// Why not.
        reason: BadBlocksError,
    },
}

impl MapError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::TableFull { .. } | Self::ReservationFull { .. } => -200_005,
            Self::OffsetUnaligned { .. } => -200_006,
            Self::GranularityNotSupported { .. } => -200_007,
            Self::Map { .. } | Self::WindowLost { .. } => -200_008,
            Self::GranularityMismatch { .. } => -200_011,
            Self::NoPartAt { .. } => -200_013,
            Self::CannotCoalesce { .. } => -200_014,
            Self::LengthUnaligned { .. } => -200_015,
            Self::CannotGrow { .. } => -200_021,
            Self::CannotFit { .. } => -200_023,
            Self::OffsetOutOfRange { .. } => -200_024,
            Self::LengthUnset => -200_030,
            Self::SourceTooSmall { .. } => -200_031,
            Self::LengthOutOfRange { .. } => -200_033,
            Self::UndesirablePartState { .. } => -200_026,
            Self::ShutdownUnsupported => -200_028,
            Self::DeviceIdTooLong => -200_029,
            Self::BadBlock { .. } | Self::ClearedBlocksRefused => -200_032,
            Self::InvalidAlignment { .. } => -200_035,
            Self::BadBlocksUnknown { reason } => reason.code(),
            Self::RecordNotKept => Errno::IO.code(),
            Self::WriteGranule { .. } => Errno::OPNOTSUPP.code(),
            Self::OtherSpace => Errno::INVAL.code(),
            Self::AddressSpace { cause } | Self::Source { cause } | Self::FailedBefore { cause } => cause.code(),
        }
    }
}

impl MapError {
    /// Writes the reasons that have to do with broken memory.
    fn fmt_broken(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UndesirablePartState { verdict } => {
                let Verdict { state, stored_count, current_count, references, .. } = verdict;
                write!(f, "shutdown state {state:?}: {references} mappings were in use, ")?;
                write!(f, "unsafe shutdown count {stored_count} then and {current_count} now")?;
                f.write_str(if verdict.id_changed { ", on another device" } else { "" })
            }
            Self::ShutdownUnsupported => f.write_str("no device counts unsafe shutdowns: map without a record"),
            Self::DeviceIdTooLong => f.write_str("the device's id does not fit a shutdown record"),
            Self::RecordNotKept => f.write_str("the observer could not keep the shutdown record"),
            Self::BadBlock { block } => write!(f, "the source's bytes {block} are on damaged memory: clear them"),
            Self::ClearedBlocksRefused => f.write_str("the observer refused a source whose bad blocks were cleared"),
            Self::BadBlocksUnknown { reason } => write!(f, "bad blocks cannot be told: {reason}"),
            _ => write!(f, "error {}", self.code()),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OffsetOutOfRange { offset } => write!(f, "offset {offset} is past the largest file offset"),
            Self::OffsetUnaligned { offset, alignment_bytes } => {
                write!(f, "offset {offset} is not a multiple of {alignment_bytes}")
            }
            Self::LengthUnaligned { length_bytes, alignment_bytes } => {
                write!(f, "length {length_bytes} is not a multiple of {alignment_bytes}")
            }
            Self::LengthOutOfRange { offset, length_bytes } => {
                write!(f, "{length_bytes} bytes from offset {offset} do not fit the address space")
            }
            Self::LengthUnset => {
                f.write_str("no length given, and the source has no bytes after the offset: set a length")
            }
            Self::InvalidAlignment { alignment_bytes } => {
                write!(f, "the source's alignment {alignment_bytes} is not a power of two")
            }
            Self::WriteGranule { granule_bytes, narrowest_store_bytes } => {
                write!(f, "the source takes stores of {granule_bytes} bytes or more, copies make some of ")?;
                write!(f, "{narrowest_store_bytes}: see Cpu::storing_whole_words")
            }
            Self::SourceTooSmall { needed_bytes, length_bytes } => {
                write!(f, "the source has {length_bytes} bytes, {needed_bytes} are needed, and it may not grow")
            }
            Self::CannotGrow { needed_bytes, cause } => {
                write!(f, "the source cannot grow to {needed_bytes} bytes: {cause}")
            }
            Self::GranularityNotSupported { required, available } => {
                write!(f, "{required:?} granularity is required, the source has {available:?}")
            }
            Self::GranularityMismatch { set, source } => {
                write!(f, "the set's parts have {set:?} granularity, the source has {source:?}: use another set")
            }
            Self::NoPartAt { address } => write!(f, "no part of the set has the address {address:#x}"),
            Self::CannotCoalesce { at } => {
                write!(f, "the addresses from {at:#x} on, behind the part, cannot be had at the source's alignment: ")?;
                f.write_str("see Config::reserve_ahead")
            }
            Self::CannotFit { length_bytes, alignment_bytes } => {
                write!(f, "the reservation has no hole of {length_bytes} bytes aligned to {alignment_bytes}")
            }
            Self::TableFull { capacity } => write!(f, "the set has room for {capacity} segments, and all are in use"),
            Self::ReservationFull { capacity } => {
                write!(f, "the reservation has room for {capacity} segments, and all are in use")
            }
            Self::AddressSpace { cause } => write!(f, "no address space: {cause}"),
            Self::Source { cause } => write!(f, "the source does not answer: {cause}"),
            Self::OtherSpace => f.write_str("the source is of another address space than the set's platform"),
            Self::FailedBefore { cause } => {
                write!(f, "the source has lost bytes before ({cause}): open it anew, and check what is there")
            }
            Self::Map { window, cause } => write!(f, "cannot map at {window}: {cause}"),
            Self::WindowLost { window, cause } => {
                write!(f, "cannot map at {window}, which stays out of use: {cause}")
            }
            _ => self.fmt_broken(f),
        }
    }
}

impl core::error::Error for MapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::CannotGrow { cause, .. }
            | Self::AddressSpace { cause }
            | Self::Source { cause }
            | Self::FailedBefore { cause }
            | Self::Map { cause, .. }
            | Self::WindowLost { cause, .. } => Some(cause),
            Self::BadBlocksUnknown { reason } => Some(reason),
            _ => None,
        }
    }
}
