//! Faulting a range in at once (`MADV_POPULATE_WRITE`).
#![allow(unsafe_code, reason = "a system call on mapped memory")]

use core::fmt;

use linux_raw_sys::errno::{EAGAIN, EFAULT, EHWPOISON, EINTR, EINVAL, ENOMEM};
use linux_raw_sys::general::MADV_POPULATE_WRITE;
use pmemset_core::error::LookupError;
use pmemset_core::{Errno, Extent};
use syscalls::{Sysno, syscall};

/// Why a range was not faulted in; some of it may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopulateError {
    /// Some of the range is not mapped.
    Lookup(LookupError),
    /// The kernel is older than 5.14 and has no such call.
    Unsupported,
    /// An access would raise `SIGBUS`: the file has become shorter, has no storage there, or its device was removed.
    NoMemoryBehind,
    /// A page is damaged.
    Damaged,
    /// There is no memory for pages or page tables, or a limit was reached.
    OutOfMemory,
    /// The kernel's reason.
    Failed(Errno),
}

impl PopulateError {
    /// Returns the number of this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Lookup(error) => error.code(),
            Self::Unsupported => Errno::OPNOTSUPP.code(),
            Self::NoMemoryBehind => Errno::FAULT.code(),
            Self::Damaged => Errno::from_raw(EHWPOISON.cast_signed()).code(),
            Self::OutOfMemory => Errno::NOMEM.code(),
            Self::Failed(cause) => cause.code(),
        }
    }
}

impl fmt::Display for PopulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(error) => error.fmt(f),
            Self::Unsupported => f.write_str("this kernel cannot fault memory in at once; Linux 5.14 and newer can"),
            Self::NoMemoryBehind => f.write_str(
                "a touch would raise SIGBUS: the file is shorter now, without storage there, or its device has gone",
            ),
            Self::Damaged => f.write_str("a page is damaged"),
            Self::OutOfMemory => f.write_str("no memory for the pages, or a limit was reached"),
            Self::Failed(cause) => write!(f, "cannot fault the range in: {cause}"),
        }
    }
}

impl core::error::Error for PopulateError {}

impl From<LookupError> for PopulateError {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

/// Faults the whole pages `pages` in, all of which are mapped and stay so.
pub(super) fn populate(pages: Extent) -> Result<(), PopulateError> {
    loop {
        // SAFETY: the caller has pinned the range; its bytes stay what they are.
        let done = unsafe { syscall!(Sysno::madvise, pages.start(), pages.length_bytes(), MADV_POPULATE_WRITE) };
        let Err(cause) = done else { return Ok(()) };
        return Err(match cause.into_raw().cast_unsigned() {
            EINTR | EAGAIN => continue,
            // Addresses are whole pages, and what a set maps is no memory of devices: the advice is not known.
            EINVAL => PopulateError::Unsupported,
            EFAULT => PopulateError::NoMemoryBehind,
            EHWPOISON => PopulateError::Damaged,
            ENOMEM => PopulateError::OutOfMemory,
            _ => PopulateError::Failed(Errno::from_raw(cause.into_raw())),
        });
    }
}
