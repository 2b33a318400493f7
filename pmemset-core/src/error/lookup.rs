//! Why no part could be found.

use crate::Errno;
use crate::code::{self, errors};

errors! {
    /// Why no part could be found.
    ///
    /// ```
    /// use pmemset_core::error::LookupError;
    ///
    /// let error = LookupError::NotMapped { address: 0x1000 };
    /// assert_eq!(error.to_string(), "no part of the set has the address 0x1000");
    /// ```
    pub enum LookupError {
        /// No part of the set has this address.
        NotMapped {
            /// The address.
            address: usize,
        } = code::CANNOT_FIND_PART_MAP => "no part of the set has the address {address:#x}";
        /// The part has 2^22 handles already.
        TooManyHandles = Errno::BUSY.code() => "the part has too many handles: drop some";
    }
}
