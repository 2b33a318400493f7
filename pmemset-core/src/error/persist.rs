//! Why stores could not be made durable.

use super::LookupError;
use crate::code::{self, errors};
use crate::{Errno, Extent};

errors! {
    /// Why bytes of a set could not be stored, read or made durable. libpmemset's functions have no such errors: they
    /// crash, abort or succeed.
    ///
    /// ```
    /// use pmemset_core::error::PersistError;
    ///
    /// fn is_lost(error: PersistError) -> bool {
    ///     matches!(error, PersistError::Sync { .. } | PersistError::FailedBefore { .. })
    /// }
    /// ```
    pub enum PersistError {
        /// The range, or the part where a part was asked, ends before `address`. Nothing was stored or flushed.
        NotMapped {
            /// The first address of the range that is not there.
            address: usize,
        } = code::NO_PART_MAPPED => "{address:#x} is not mapped";
        /// The range wraps around the end of the address space. Nothing was stored or flushed.
        OutOfRange {
            /// The first address, or the offset in the part.
            start: usize,
            /// The length in bytes.
            length_bytes: usize,
        } = code::LENGTH_OUT_OF_RANGE => "{length_bytes} bytes from {start:#x} wrap around the address space";
        /// The part has 2^30 handles already. Nothing was stored or flushed.
        TooManyHandles = Errno::BUSY.code() => "the part has too many handles: drop some";
        /// The source could not make pages durable, whose bytes may be lost. Where the call stored bytes, they are
        /// stored. From now on every segment of the source, in every set, answers [`FailedBefore`](Self::FailedBefore).
        Sync {
            /// The mapping that the pages are in.
            segment: Extent,
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "the bytes at {segment} could not be made durable: {cause}";
        /// A synchronisation or a deep flush of the segment's source has failed before, here or in another set, so that
        /// it cannot be said which of its bytes are durable: [discard](crate::Set::discard) what is mapped of it, open
        /// the source anew, and store again what was not durable before. Reading does not tell: the kernel may show
        /// from memory what is not on the medium. Where the call stored bytes, they are stored.
        FailedBefore {
            /// The mapping.
            segment: Extent,
            /// The platform's reason then.
            cause: Errno,
        } = cause.code() => "the source of {segment} has lost bytes before ({cause}): \
            discard its parts, open it anew, and store again what was not durable before";
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

errors! {
    /// Why a deep flush failed. What lies below the segment in the way is flushed.
    pub enum DeepFlushError {
        /// As for persisting: the range is not there, or the source of a segment has failed before.
        Persist(error: PersistError) = match error {
            PersistError::FailedBefore { .. } => code::DEEP_FLUSH_FAIL,
            other => other.code(),
        } => "{error}";
        /// The source could not make the bytes durable, or not push them further; they may be lost. From now on every
        /// segment of the source, in every set, answers [`FailedBefore`](PersistError::FailedBefore).
        Failed {
            /// The mapping that they are in.
            segment: Extent,
            /// The platform's reason.
            cause: Errno,
        } = code::DEEP_FLUSH_FAIL => "the deep flush of {segment} failed: {cause}";
    }
}

impl From<PersistError> for DeepFlushError {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}

impl From<LookupError> for DeepFlushError {
    fn from(error: LookupError) -> Self {
        Self::Persist(error.into())
    }
}
