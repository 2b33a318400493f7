//! The kernel's error numbers, as the core knows them.

use pmemset_core::Errno;

/// Returns the kernel's error number as the core knows it.
#[must_use]
pub const fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
