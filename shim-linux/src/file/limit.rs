//! The limit of the process on the length of files, which the kernel enforces with a signal that ends the process.
#![allow(unsafe_code, reason = "a system call that `rustix` does not make without assuming success")]

use syscalls::{Sysno, syscall};

/// `RLIMIT_FSIZE` of `setrlimit(2)`.
const FSIZE: usize = 1;

/// Returns whether this process may write to a file up to `end_bytes`, or lengthen it so far.
///
/// Ask before: the kernel would send `SIGXFSZ`, whose default is to end the process.
pub(crate) fn allows(end_bytes: u64) -> bool {
    let mut current_and_maximum = [u64::MAX; 2];
    // SAFETY: the kernel writes two numbers of 64 bits, and reads nothing.
    let asked = unsafe { syscall!(Sysno::prlimit64, 0, FSIZE, 0, current_and_maximum.as_mut_ptr()) };
    // A process that may not ask has not been limited by whoever knows this call.
    asked.is_err() || end_bytes <= current_and_maximum[0]
}
