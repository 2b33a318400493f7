//! Why a source was not mapped.

use crate::code::{self, errors};
use crate::health::{BadBlocksError, ShutdownVerdict};
use crate::{Errno, Extent, Granularity, GranularityLimit, Span};

errors! {
    /// Why the bytes of a source are not available.
    ///
    /// ```
    /// use pmemset_core::sim::{Hardware, Machine, Medium};
    /// use pmemset_core::{Source, Span, error::PrepareError};
    ///
    /// let source = Machine::new(Hardware::new()).add_source(Medium::new(4096)); // may not grow
    /// let behind = Span::new(4096, 4096).unwrap();
    /// assert_eq!(source.prepare(behind), Err(PrepareError::TooSmall { length_bytes: 4096 }));
    /// ```
    pub enum PrepareError {
        /// The length could not be read.
        Length(cause: Errno) = cause.code() => "cannot read the source's length: {cause}";
        /// The source ends before the range and may not grow.
        TooSmall {
            /// Its length in bytes.
            length_bytes: u64,
        } = code::SOURCE_FILE_IS_TOO_SMALL => "the source has {length_bytes} bytes, and may not grow";
        /// The source may grow, and its medium refused.
        CannotGrow(cause: Errno) = code::CANNOT_GROW_SOURCE_FILE => "the source cannot grow: {cause}";
    }
}

errors! {
    /// Why [`Source::map`](crate::Source::map) has failed, and what is in the window now.
    pub enum MapFailure {
        /// The placeholder is in the window, as before.
        Refused(cause: Errno) = cause.code() => "cannot map the source: {cause}";
        /// The placeholder is in the window. The source has changed since [`prepare`](crate::Source::prepare): prepare
        /// again.
        Outdated(cause: Errno) = cause.code() => "the source has changed: {cause}";
        /// It is not known what is in the window: it may be another thread's memory. It must never be used or released
        /// again.
        WindowLost(cause: Errno) = cause.code() => "cannot map the source, and the window is lost: {cause}";
    }
}

impl MapFailure {
    /// Returns the platform's reason.
    ///
    /// ```
    /// use pmemset_core::{Errno, error::MapFailure};
    ///
    /// assert_eq!(MapFailure::from(Errno::NOMEM).cause(), Errno::NOMEM);
    /// ```
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

errors! {
    /// Why [`Set::map`](crate::Set::map) refused or failed. The set, the source and the address space are what they
    /// were, but for [`WindowLost`](Self::WindowLost).
    ///
    /// ```
    /// use pmemset_core::error::MapError;
    ///
    /// fn advice(error: MapError) -> &'static str {
    ///     match error {
    ///         MapError::CannotGrow { .. } => "make room on the file system",
    ///         MapError::GranularityNotSupported { .. } => "ask for Granularity::Page",
    ///         MapError::FailedBefore { .. } => "open the source anew",
    ///         _ => "see the message",
    ///     }
    /// }
    /// ```
    pub enum MapError {
        /// The offset is past `i64::MAX`.
        OffsetOutOfRange {
            /// The offset in the way.
            offset: u64,
        } = code::OFFSET_OUT_OF_RANGE => "offset {offset} is past the largest file offset";
        /// The offset is not a multiple of the source's alignment (or the page size, if that is larger).
        OffsetUnaligned {
            /// The offset in the way.
            offset: u64,
            /// What it must be a multiple of, in bytes.
            alignment_bytes: usize,
        } = code::INVALID_OFFSET_VALUE => "offset {offset} is not a multiple of {alignment_bytes}";
        /// The length is not a multiple of the source's alignment (or the page size, if that is larger).
        LengthUnaligned {
            /// The length in the way, in bytes.
            length_bytes: u64,
            /// What it must be a multiple of, in bytes.
            alignment_bytes: usize,
        } = code::LENGTH_UNALIGNED => "length {length_bytes} is not a multiple of {alignment_bytes}";
        /// Offset and length together, or the rest of the source, do not fit the address space.
        LengthOutOfRange {
            /// The offset in bytes.
            offset: u64,
            /// The length in bytes.
            length_bytes: u64,
        } = code::LENGTH_OUT_OF_RANGE => "{length_bytes} bytes from offset {offset} do not fit the address space";
        /// No length was given, and nothing of the source is left after the offset.
        LengthUnset = code::MAP_LENGTH_UNSET
            => "no length given, and the source has no bytes after the offset: set a length";
        /// The source says that its mappings need an alignment that is not a power of two.
        InvalidAlignment {
            /// The alignment in the way, in bytes.
            alignment_bytes: usize,
        } = code::INVALID_ALIGNMENT_VALUE => "the source's alignment {alignment_bytes} is not a power of two";
        /// The platform makes narrower stores than the source's medium accepts.
        WriteGranule {
            /// The narrowest store that the medium accepts, in bytes.
            granule_bytes: usize,
            /// The narrowest store of the platform's copies, in bytes.
            narrowest_store_bytes: usize,
        } = Errno::OPNOTSUPP.code()
            => "the medium needs stores of at least {granule_bytes} bytes, and the platform's copies make some of \
            {narrowest_store_bytes}: see Cpu::storing_whole_words";
        /// The source ends too early and may not grow.
        SourceTooSmall {
            /// The length in bytes that the mapping needs.
            needed_bytes: u64,
            /// The length in bytes that the source has.
            length_bytes: u64,
        } = code::SOURCE_FILE_IS_TOO_SMALL
            => "the source has {length_bytes} bytes, {needed_bytes} are needed, and it may not grow";
        /// The source may grow, and its medium refused.
        CannotGrow {
            /// The length in bytes that the mapping needs.
            needed_bytes: u64,
            /// The platform's reason.
            cause: Errno,
        } = code::CANNOT_GROW_SOURCE_FILE => "the source cannot grow to {needed_bytes} bytes: {cause}";
        /// The source's granularity is coarser than the set's configuration requires.
        GranularityNotSupported {
            /// The coarsest that the set accepts.
            required: Granularity,
            /// What the source has.
            available: Granularity,
            /// Why it has no finer one.
            limit: GranularityLimit,
        } = code::GRANULARITY_NOT_SUPPORTED
            => "{required} granularity is required, and the source supports {available} granularity only: {limit}";
        /// The parts in the set have another granularity.
        GranularityMismatch {
            /// The granularity of the parts in the set.
            set: Granularity,
            /// What the source has.
            source: Granularity,
        } = code::GRANULARITY_MISMATCH
            => "the set's parts have {set} granularity, the source has {source}: use another set";
        /// [`MapConfig::after`](crate::MapConfig::after): no part has this address.
        NoPartAt {
            /// The address.
            address: usize,
        } = code::CANNOT_FIND_PART_MAP => "no part of the set has the address {address:#x}";
        /// [`Coalescing::Full`](crate::Coalescing::Full), or [`MapConfig::after`](crate::MapConfig::after): the
        /// addresses behind the part are not free.
        CannotCoalesce {
            /// The address behind the previous part.
            at: usize,
        } = code::CANNOT_COALESCE_PARTS
            => "cannot continue the part that ends at {at:#x}: what lies behind it is in use, is not on the source's \
            alignment, or is not in the reservation; Config::reserve_ahead keeps room";
        /// The caller's reservation has no hole that is long enough at the source's alignment.
        CannotFit {
            /// The length in bytes.
            length_bytes: usize,
            /// The alignment in bytes.
            alignment_bytes: usize,
        } = code::CANNOT_FIT_PART_MAP
            => "there is no hole of {length_bytes} bytes aligned to {alignment_bytes} in the reservation";
        /// The set has as many segments as it has room for.
        TableFull {
            /// The number of segments that fit.
            capacity: usize,
        } = code::CANNOT_ALLOCATE_INTERNAL_STRUCTURE => "the set has room for {capacity} segments, and all are in use";
        /// The caller's reservation has as many segments as it has room for.
        ReservationFull {
            /// The number of segments that fit.
            capacity: usize,
        } = code::CANNOT_ALLOCATE_INTERNAL_STRUCTURE
            => "the reservation has room for {capacity} segments, and all are in use";
        /// The platform could not reserve address space.
        AddressSpace {
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "no address space: {cause}";
        /// The source could not be asked for its length or its granularity.
        Source {
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "cannot query the source: {cause}";
        /// The source belongs to another address space than the set's platform.
        OtherSpace = Errno::INVAL.code() => "the source is of another address space than the set's platform";
        /// A synchronisation or a deep flush of the source has failed before, in this set or another one, so none of
        /// its bytes can be made durable any more. Open it again, and store again what was not durable before. Reading
        /// does not help: the kernel may show bytes from memory that are not on the medium.
        FailedBefore {
            /// The platform's reason then.
            cause: Errno,
        } = cause.code()
            => "the source has lost bytes before ({cause}): open it anew, and store again what was not durable before";
        /// The source could not be mapped.
        Map {
            /// Where it was to be mapped.
            window: Extent,
            /// The platform's reason.
            cause: Errno,
        } = code::INVALID_PMEM2_MAP => "cannot map at {window}: {cause}";
        /// The source could not be mapped, and it is not known what is at these addresses now: perhaps memory of
        /// another thread. The set or the caller's reservation keeps the addresses and never uses them again.
        WindowLost {
            /// The addresses.
            window: Extent,
            /// The platform's reason why the source was not mapped.
            cause: Errno,
        } = code::INVALID_PMEM2_MAP => "cannot map at {window}, which stays out of use: {cause}";
        /// The source has a shutdown record, but no device with an identity and a count of unsafe shutdowns.
        ShutdownUnsupported = code::SDS_NOSUPP => "no device counts unsafe shutdowns: map without a record";
        /// The id of the source's device has more bytes than a shutdown record has room for, or one of them is 0.
        DeviceIdTooLong = code::SDS_DEVICE_ID_LEN_TOO_BIG => "the device's id does not fit a shutdown record";
        /// The set does not accept the source's shutdown state.
        UndesirablePartState {
            /// The state, and what it was judged from.
            verdict: ShutdownVerdict,
        } = code::UNDESIRABLE_PART_STATE
            => "{verdict}: check or restore the bytes and call repair_shutdown_state, or accept the state \
            with Config::acceptable_states";
        /// The observer could not store the shutdown record, so a crash would not be detected later.
        RecordNotKept = Errno::IO.code() => "the observer could not keep the shutdown record";
        /// Some of the bytes are on damaged memory, and the observer has not cleared it; or refused the mapping.
        BadBlock {
            /// The first bad block that was found.
            block: Span,
        } = code::IO_FAIL => "the source's bytes {block} are on damaged memory: clear them";
        /// The observer has refused the mapping although the bad blocks were cleared.
        ClearedBlocksRefused = code::IO_FAIL => "the observer refused a source whose bad blocks were cleared";
        /// The source's policy is [`Required`](crate::BadBlockPolicy::Required), and its bad blocks cannot be listed.
        BadBlocksUnknown {
            /// Why not.
            reason: BadBlocksError,
        } = reason.code() => "cannot list the source's bad blocks: {reason}";
    }
}
