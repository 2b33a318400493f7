//! Faulting a range in at once (`MADV_POPULATE_WRITE`).
#![allow(unsafe_code, reason = "a system call on mapped memory")]

use linux_raw_sys::errno::{EAGAIN, EFAULT, EHWPOISON, EINTR, EINVAL, ENOMEM};
use linux_raw_sys::general::MADV_POPULATE_WRITE;
use pmemset_core::error::LookupError;
use pmemset_core::support::errors;
use pmemset_core::{Errno, Extent};
use syscalls::{Sysno, syscall};

errors! {
    /// Why a range was not faulted in; some of it may have been.
    pub enum PopulateError {
        /// Some of the range is not mapped.
        Lookup(error: LookupError) = error.code() => "{error}";
        /// The kernel is older than 5.14 and has no such call.
        Unsupported = Errno::OPNOTSUPP.code()
            => "this kernel cannot fault memory in at once; Linux 5.14 and newer can";
        /// An access would raise `SIGBUS`: the file has become shorter, has no storage there, or its device was
        /// removed.
        NoMemoryBehind = Errno::FAULT.code()
            => "a touch would raise SIGBUS: the file is shorter now, without storage there, or its device has gone";
        /// A page is damaged.
        Damaged = Errno::from_raw(EHWPOISON.cast_signed()).code() => "a page is damaged";
        /// There is no memory for pages or page tables, or a limit was reached.
        OutOfMemory = Errno::NOMEM.code() => "no memory for the pages, or a limit was reached";
        /// The kernel's reason.
        Failed(cause: Errno) = cause.code() => "cannot fault the range in: {cause}";
    }
}

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
