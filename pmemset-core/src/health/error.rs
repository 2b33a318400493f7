//! Why a question about a medium has no answer, or why a change to it failed.

use core::fmt;

use crate::Errno;
use crate::code::{self, errors};

errors! {
    /// Why bad blocks cannot be listed.
    pub enum BadBlocksError {
        /// The source is on a medium without a list of bad blocks: an ordinary disk, or memory on no nd bus.
        NoRegion = code::DAX_REGION_NOT_FOUND => "the source is on no region that lists them";
        /// The place of the source on the medium cannot be read, so it is not known which bad blocks are in it.
        NoBounds(cause: Errno) = code::CANNOT_READ_BOUNDS
            => "cannot read where the source is in its region: {cause}";
        /// The medium has no list, or no driver fills it.
        Unsupported = code::BADBLOCK_NOSUPP => "the medium does not list them";
        /// The list cannot be read.
        Failed(cause: Errno) = cause.code() => "the list cannot be read: {cause}";
    }
}

impl From<Errno> for BadBlocksError {
    fn from(cause: Errno) -> Self {
        if cause == Errno::OPNOTSUPP { Self::Unsupported } else { Self::Failed(cause) }
    }
}

errors! {
    /// Why a bad block was not cleared.
    pub enum ClearError {
        /// The source, or its medium, cannot clear.
        Unsupported = code::BADBLOCK_NOSUPP => "the source cannot clear bad blocks";
        /// The block is not inside the source.
        OutOfRange {
            /// The source's length in bytes.
            length_bytes: u64,
        } = code::LENGTH_OUT_OF_RANGE => "the block is outside the source ({length_bytes} bytes)";
        /// Bad blocks cannot be listed, so nothing was cleared.
        Unknown(reason: BadBlocksError) = reason.code() => "cannot list bad blocks, nothing was cleared: {reason}";
        /// The platform refused or failed; what was cleared before stays cleared.
        Failed(cause: Errno) = cause.code() => "cannot clear the block: {cause}";
        /// The platform said that it cleared the block, and still lists it.
        StillBad = code::IO_FAIL => "the block is bad after it was cleared";
    }
}

errors! {
    /// Why bytes were not copied from or to a source.
    pub enum McsafeError {
        /// The source has no copy that survives damaged memory.
        Unsupported = Errno::OPNOTSUPP.code() => "the source has no copy that survives damaged memory";
        /// The bytes are not all inside the source; nothing was copied.
        OutOfRange {
            /// The source's length in bytes.
            length_bytes: u64,
        } = code::LENGTH_OUT_OF_RANGE => "the range is outside the source ({length_bytes} bytes)";
        /// The medium is damaged; some of the bytes may have been copied.
        IoFail = code::IO_FAIL => "the medium is damaged";
        /// The platform's reason; some of the bytes may have been copied.
        Failed(cause: Errno) = cause.code() => "cannot copy the bytes: {cause}";
    }
}

errors! {
    /// Why the shutdown state of a device is not known.
    pub enum DeviceError {
        /// The source is on no device that counts unsafe shutdowns, or the device does not report the count.
        Unsupported = code::SDS_NOSUPP => "no device counts unsafe shutdowns";
        /// The id has more than [`DeviceId::BYTES_MAX`](crate::DeviceId::BYTES_MAX) bytes, or one of them is 0.
        IdTooLong = code::SDS_DEVICE_ID_LEN_TOO_BIG => "the device's id does not fit a shutdown record";
        /// Asking failed.
        Failed(cause: Errno) = cause.code() => "cannot query the device: {cause}";
    }
}

/// A number of things, as one says it.
pub(crate) struct Counted(pub(crate) i64, pub(crate) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}
