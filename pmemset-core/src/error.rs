//! One small error per operation; each knows libpmemset's code and keeps the platform's reason.

use core::fmt;

use crate::{Extent, Granularity};

/// A platform's error number, positive as in `errno(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`E", stringify!($name), "`: ", $text, ".")]
            pub const $name: Self = Self($number);)*

            const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    PERM = 1, "operation not permitted";
    NOENT = 2, "no such file or directory";
    INTR = 4, "interrupted";
    IO = 5, "input/output error";
    NXIO = 6, "no such device or address";
    BADF = 9, "bad file descriptor";
    AGAIN = 11, "try again";
    NOMEM = 12, "out of memory or address space";
    ACCES = 13, "permission denied";
    FAULT = 14, "bad address or damaged memory";
    BUSY = 16, "device or resource busy";
    EXIST = 17, "something is already there";
    NODEV = 19, "no such device";
    NOTDIR = 20, "not a directory";
    ISDIR = 21, "is a directory";
    INVAL = 22, "invalid argument";
    NOTTY = 25, "not supported by the device";
    FBIG = 27, "file too large";
    NOSPC = 28, "no space left on device";
    ROFS = 30, "read-only file system";
    RANGE = 34, "result does not fit";
    OVERFLOW = 75, "value too large";
    OPNOTSUPP = 95, "operation not supported";
}

impl Errno {
    /// Returns the error with the number `number`, positive as in `errno(3)`.
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number, positive as in `errno(3)`.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Returns the number as libpmemset returns it: negative.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.0.wrapping_neg()
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "{text} (errno {})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

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

/// Why [`Set::map`](crate::Set::map) refused or failed. The set, the source and the address space are what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
    /// [`Coalescing::Full`](crate::Coalescing::Full): the addresses behind the previous part cannot be had.
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
    /// The source could not be mapped.
    Map {
        /// Where it was to be mapped.
        window: Extent,
        /// The platform's reason.
        cause: Errno,
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
            Self::Map { .. } => -200_008,
            Self::GranularityMismatch { .. } => -200_011,
            Self::CannotCoalesce { .. } => -200_014,
            Self::LengthUnaligned { .. } => -200_015,
            Self::CannotGrow { .. } => -200_021,
            Self::CannotFit { .. } => -200_023,
            Self::OffsetOutOfRange { .. } => -200_024,
            Self::LengthUnset => -200_030,
            Self::SourceTooSmall { .. } => -200_031,
            Self::LengthOutOfRange { .. } => -200_033,
            Self::InvalidAlignment { .. } => -200_035,
            Self::AddressSpace { cause } | Self::Source { cause } => cause.code(),
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
            Self::CannotCoalesce { at } => {
                write!(f, "the addresses from {at:#x} on, behind the previous part, are taken")
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
            Self::Map { window, cause } => write!(f, "cannot map at {window}: {cause}"),
        }
    }
}

impl core::error::Error for MapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::CannotGrow { cause, .. }
            | Self::AddressSpace { cause }
            | Self::Source { cause }
            | Self::Map { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Why no part could be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RemoveError {
    /// The part has other handles. Nothing has changed.
    Pinned {
        /// The part's addresses.
        part: Extent,
    },
    /// The handle belongs to another set. Nothing has changed.
    OtherSet,
    /// The range wraps around the end of the address space. Nothing has changed.
    RangeOutOfRange {
        /// The first address.
        address: usize,
        /// The length in bytes.
        length_bytes: usize,
    },
    /// The bytes could not be made durable first. Everything is still mapped.
    DeepFlush {
        /// The mapping whose flush failed.
        segment: Extent,
        /// The platform's reason.
        cause: Errno,
    },
    /// The platform would not take out `segment`: it and all above it are still mapped and in the set, everything of
    /// the range below it is removed.
    Unmap {
        /// The mapping that is still there.
        segment: Extent,
        /// The platform's reason.
        cause: Errno,
    },
}

impl RemoveError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Pinned { .. } => -200_022,
            Self::OtherSet => -200_016,
            Self::RangeOutOfRange { .. } => -200_033,
            Self::DeepFlush { .. } => -200_018,
            Self::Unmap { cause, .. } => cause.code(),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pinned { part } => write!(f, "the part at {part} is in use by other handles: drop them first"),
            Self::OtherSet => f.write_str("the handle belongs to another set"),
            Self::RangeOutOfRange { address, length_bytes } => {
                write!(f, "{length_bytes} bytes from {address:#x} wrap around the address space")
            }
            Self::DeepFlush { segment, cause } => {
                write!(f, "the bytes at {segment} could not be made durable: {cause}")
            }
            Self::Unmap { segment, cause } => write!(f, "the mapping at {segment} could not be taken out: {cause}"),
        }
    }
}

impl core::error::Error for RemoveError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::DeepFlush { cause, .. } | Self::Unmap { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
