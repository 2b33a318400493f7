//! Why storage was not given back.

use crate::code::{self, errors};
use crate::{Errno, Extent, Span};

errors! {
    /// Why [`Set::give_back`](crate::Set::give_back) has given no storage back.
    pub enum GiveBackError {
        /// The bytes are not on multiples of the source's alignment (or the page size, if that is larger). Nothing has
        /// changed.
        Unaligned {
            /// The bytes.
            range: Span,
            /// What start and end must be multiples of, in bytes.
            alignment_bytes: usize,
        } = code::INVALID_OFFSET_VALUE => "the bytes {range} are not on multiples of {alignment_bytes}";
        /// Some of the bytes are mapped in the set. Nothing has changed.
        Mapped {
            /// The lowest segment that has one of them.
            segment: Extent,
        } = code::PART_MAP_POSSIBLE_USE_AFTER_DROP => "some of the bytes are mapped at {segment}: remove them first";
        /// The source's reason: `EOPNOTSUPP` where it cannot give storage back, or may not grow. After any other, each
        /// page is as it was, or 0.
        Failed(cause: Errno) = cause.code() => "cannot give the storage back: {cause}";
    }
}
