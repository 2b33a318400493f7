//! Why a shutdown record was not repaired.

use crate::Errno;
use crate::code::{self, errors};
use crate::health::{Counted, DeviceError};

errors! {
    /// Why a shutdown record was not repaired. Nothing has changed.
    ///
    /// ```
    #[doc = include_str!("../set/example.md")]
    /// use pmemset_core::error::RepairError;
    ///
    /// assert_eq!(set.repair_shutdown_state(&source), Err(RepairError::NoRecord)); // see `Checked`
    /// ```
    pub enum RepairError {
        /// The source has no shutdown record.
        NoRecord = code::SDS_NOSUPP => "the source has no shutdown record";
        /// The source has mappings in this process, which its record must count.
        InUse {
            /// Their number.
            mapped: u32,
        } = Errno::BUSY.code() => "the source has {}: remove what is mapped first", Counted(mapped.into(), "mapping");
        /// The device's shutdown state is not known.
        Device(cause: DeviceError) = cause.code() => "cannot read the device's shutdown state: {cause}";
        /// The observer could not keep the record.
        RecordNotKept = Errno::IO.code() => "the observer could not keep the shutdown record";
    }
}
