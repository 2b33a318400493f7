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
        /// The part has 2^22 handles already. Nothing was stored or flushed.
        TooManyHandles = Errno::BUSY.code() => "the part has too many handles: drop some";
        /// The source could not make pages durable; their bytes may be lost. If the call stored bytes, they are stored.
        /// From now on calls for every segment of the source, in every set, fail with
        /// [`FailedBefore`](Self::FailedBefore).
        Sync {
            /// The mapping that the pages are in.
            segment: Extent,
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "the bytes at {segment} could not be made durable: {cause}";
        /// A synchronisation or a deep flush of the segment's source has failed before, in this set or another one, so
        /// it is not known which of its bytes are durable. [Discard](crate::Set::discard) its parts, open the source
        /// again, and store again what was not durable before. Reading does not help: the kernel may show bytes from
        /// memory that are not on the medium. If the call stored bytes, they are stored.
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
    ///
    /// ```
    #[doc = include_str!("../sim/example.md")]
    /// use pmemset_core::error::{DeepFlushError, PersistError};
    ///
    /// machine.fail(Fault::nth(0).only(Call::DeepFlush));
    /// assert!(matches!(part.deep_flush(0, 64), Err(DeepFlushError::Failed { .. })));
    /// let again = part.deep_flush(0, 64); // what was lost once is not called durable later
    /// assert!(matches!(again, Err(DeepFlushError::Persist(PersistError::FailedBefore { .. }))));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub enum DeepFlushError {
        /// As for persisting: the range is not there, or the source of a segment has failed before.
        Persist(error: PersistError) = match error {
            PersistError::FailedBefore { .. } => code::DEEP_FLUSH_FAIL,
            other => other.code(),
        } => "{error}";
        /// The source could not make the bytes durable, or could not push them further; they may be lost. From now on
        /// calls for every segment of the source, in every set, fail with [`FailedBefore`](PersistError::FailedBefore).
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
