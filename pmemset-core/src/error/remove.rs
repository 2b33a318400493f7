//! Why something of a set could not be removed.

use core::fmt;

use crate::code::{self, errors};
use crate::{Errno, Extent};

errors! {
    /// Why a part, or a range, could not be removed.
    ///
    /// ```
    /// use pmemset_core::error::RemoveError;
    ///
    /// fn may_try_again(error: RemoveError) -> bool {
    ///     matches!(error, RemoveError::Pinned { .. } | RemoveError::InUse { .. })
    /// }
    /// ```
    pub enum RemoveError {
        /// The part has other handles to it as a whole. Nothing has changed.
        Pinned {
            /// The part's addresses.
            part: Extent,
        } = code::PART_MAP_POSSIBLE_USE_AFTER_DROP
            => "the part at {part} is in use by other handles: drop them first";
        /// A call is running that uses bytes of this segment, or there is a handle to a range of them. Nothing has
        /// changed.
        InUse {
            /// The segment's addresses.
            segment: Extent,
        } = code::PART_MAP_POSSIBLE_USE_AFTER_DROP
            => "the segment at {segment} is in use by a call or by a handle to these bytes: try again";
        /// The handle belongs to another set. Nothing has changed.
        OtherSet = code::PART_NOT_FOUND => "the handle belongs to another set";
        /// The range wraps around the end of the address space. Nothing has changed.
        OutOfRange {
            /// The first address.
            address: usize,
            /// The length in bytes.
            length_bytes: usize,
        } = code::LENGTH_OUT_OF_RANGE => "{length_bytes} bytes from {address:#x} wrap around the address space";
        /// The bytes could not be made durable first. Everything is still mapped; from now on every segment of the
        /// source answers [`FailedBefore`](Self::FailedBefore).
        DeepFlush {
            /// The mapping whose flush failed.
            segment: Extent,
            /// The platform's reason.
            cause: Errno,
        } = code::DEEP_FLUSH_FAIL => "the bytes at {segment} could not be made durable: {cause}";
        /// A synchronisation or a deep flush of the segment's source has failed before, in this set or another one, so
        /// it is not known which of its bytes are durable. Everything is still mapped: [discard](crate::Set::discard)
        /// it, open the source again, and store again what was not durable before.
        FailedBefore {
            /// The mapping.
            segment: Extent,
            /// The platform's reason then.
            cause: Errno,
        } = code::DEEP_FLUSH_FAIL
            => "the source of {segment} has lost bytes before ({cause}): \
            discard what is mapped of it, open it anew, and store again what was not durable before";
        /// The platform would not unmap `segment`: it and all above it are still mapped and in the set, everything of
        /// the range below it is removed, as [`RemoveRange`](crate::Event::RemoveRange) has reported.
        Unmap {
            /// The mapping that is still there.
            segment: Extent,
            /// The addresses from the first segment that is gone to the last; `None` where nothing has changed.
            removed: Option<Extent>,
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "cannot unmap {segment}: {cause}{}", Removed(removed);
    }
}

/// What has gone before.
struct Removed(Option<Extent>);

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |removed| write!(f, "; {removed} is removed"))
    }
}
