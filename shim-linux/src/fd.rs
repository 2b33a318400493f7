//! Descriptors that the compiler sees are not -1, so that no panic about them is left in a program.
#![allow(unsafe_code, reason = "opens a file by number, and lends descriptors by number")]

use core::ffi::CStr;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io;
use syscalls::{Sysno, syscall};

/// A descriptor, closed when dropped.
///
/// Descriptors are never negative, and `rustix` and `std` panic if one is -1. With this type the compiler sees that
/// this cannot happen, so programs can be linked without a panic: see the appliance example.
#[derive(Debug)]
pub struct Fd(OwnedFd);

impl Fd {
    /// Takes over `fd`.
    #[must_use]
    pub const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens `path`, seen from the directory `at` (`openat(2)`); interrupted calls are not repeated.
    pub(crate) fn open(at: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: Mode) -> io::Result<Self> {
        let (at, flags) = (at.as_raw_fd(), (flags | OFlags::LARGEFILE).bits());
        // SAFETY: the kernel reads the path up to its NUL, and nothing else.
        match unsafe { syscall!(Sysno::openat, at, path.as_ptr(), flags, mode.bits()) } {
            // SAFETY: the kernel has made the descriptor for this call.
            Ok(fd) => Ok(Self(unsafe { OwnedFd::from_raw_fd(not_negative(fd)) })),
            Err(cause) => Err(io::Errno::from_raw_os_error(cause.into_raw())),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the kernel's descriptors have 31 bits")]
const fn not_negative(fd: usize) -> i32 {
    fd as i32 & i32::MAX
}

impl AsFd for Fd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.0.as_raw_fd();
        // SAFETY: what `OwnedFd` promises of itself.
        unsafe { core::hint::assert_unchecked(fd != -1) };
        // SAFETY: open as long as it is borrowed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

/// Returns the text up to the first zero; `None` where there is none. For paths, which are short: a byte at a time.
#[inline(never)]
pub(crate) fn until_nul(bytes: &[u8]) -> Option<&CStr> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let text = bytes.get(..=end)?;
    // SAFETY: it ends with its first zero.
    Some(unsafe { CStr::from_bytes_with_nul_unchecked(text) })
}

impl From<OwnedFd> for Fd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Fd> for OwnedFd {
    fn from(fd: Fd) -> Self {
        fd.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    #[test]
    fn opened_is_lent_and_closed() {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let (raw, maps) = {
            let null = Fd::open(CWD, c"/dev/null", flags, Mode::empty()).unwrap();
            let mut byte = [0];
            assert_eq!(io::read(&null, &mut byte), Ok(0));
            (null.as_fd().as_raw_fd(), Fd::open(CWD, c"/dev/null", flags, Mode::empty()).unwrap())
        };
        assert_ne!(raw, maps.as_fd().as_raw_fd());
        assert_eq!(Fd::open(maps.as_fd(), c"x", flags, Mode::empty()).unwrap_err(), io::Errno::NOTDIR);
        assert_eq!(Fd::open(CWD, c"/absent", flags, Mode::empty()).unwrap_err(), io::Errno::NOENT);
    }
}
