//! Why bytes could not be passed on to other hosts, or taken from them.

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
        /// The source of a segment does not say that other hosts have its memory: see [`Shared`](crate::Shared).
        Private {
            /// The mapping.
            segment: Extent,
        } = Errno::OPNOTSUPP.code() => "nobody has said that other hosts share the memory at {segment}";
        /// The caches of the hosts do not agree, and this processor, as far as the platform knows, cannot write back and
        /// drop their lines.
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
