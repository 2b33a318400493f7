//! Why bytes could not be published to other hosts, or refreshed.

use super::{LookupError, PersistError};
use crate::code::errors;
use crate::{Errno, Extent};

errors! {
    /// Why bytes were neither published nor refreshed. Nothing was written back, and nothing dropped.
    ///
    /// ```
    /// use pmemset_core::{Errno, code, error::ShareError};
    ///
    /// assert_eq!(code::to_errno(ShareError::NoInstruction.code()), Errno::OPNOTSUPP);
    /// ```
    pub enum ShareError {
        /// The range is not there.
        Persist(error: PersistError) = error.code() => "{error}";
        /// The source of a segment is not declared as shared with other hosts: see [`Shared`](crate::Shared).
        Private {
            /// The mapping.
            segment: Extent,
        } = Errno::OPNOTSUPP.code() => "the memory at {segment} is not declared as shared with other hosts: see Shared";
        /// The hosts' caches are not coherent, and this processor, as far as the platform knows, cannot write back and
        /// drop lines.
        NoInstruction = Errno::OPNOTSUPP.code() => "this processor cannot write back and drop cache lines, \
            and the memory is shared without coherence";
    }
}

impl From<PersistError> for ShareError {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}

impl From<LookupError> for ShareError {
    fn from(error: LookupError) -> Self {
        Self::Persist(error.into())
    }
}
