//! Unnamed files.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io;
use rustix::path::Arg;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::errno::errno;
use crate::fd::Fd;
use crate::nd::sysfs::PathText;

use super::open::OpenError;

/// Makes an unnamed file in the directory `path`.
pub(crate) fn temporary(path: impl Arg) -> Result<(Fd, Stat), OpenError> {
    let directory = directory(path)?;
    asked(match unnamed(directory.as_fd()) {
        // `EISDIR`: a kernel before 3.11, which reads the flag as `O_DIRECTORY`.
        Err(io::Errno::OPNOTSUPP | io::Errno::ISDIR | io::Errno::INVAL) => create_and_unlink(directory.as_fd()),
        other => other,
    })
}

/// Makes an unnamed file in the directory `path`, or none, where the file system gives each a name first.
#[cfg(feature = "std")]
pub(crate) fn never_named(path: impl Arg) -> Result<(Fd, Stat), OpenError> {
    asked(unnamed(directory(path)?.as_fd()))
}

fn directory(path: impl Arg) -> Result<Fd, OpenError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = path.into_with_c_str(|path| Fd::open(CWD, path, flags, Mode::empty()));
    opened.map_err(|cause| match cause {
        io::Errno::NOENT | io::Errno::INVAL => OpenError::InvalidPath(errno(cause)),
        other => OpenError::CannotCreateTemporary(errno(other)),
    })
}

fn unnamed(directory: BorrowedFd<'_>) -> io::Result<Fd> {
    // `EXCL`: nobody gives it a name later.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    io::retry_on_intr(|| Fd::open(directory, c".", flags, Mode::RUSR | Mode::WUSR))
}

fn asked(made: io::Result<Fd>) -> Result<(Fd, Stat), OpenError> {
    let fd = made.map_err(|cause| OpenError::CannotCreateTemporary(errno(cause)))?;
    let stat = fs::fstat(&fd).map_err(|cause| OpenError::CannotCreateTemporary(errno(cause)))?;
    Ok((fd, stat))
}

/// Makes a file with a name that nobody can guess, and takes the name away.
fn create_and_unlink(directory: BorrowedFd<'_>) -> io::Result<Fd> {
    const ATTEMPTS: usize = 16;
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    const PREFIX: &[u8] = b".pmemset.";
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for _ in 0..ATTEMPTS {
        let mut random = [0_u8; 16];
        io::retry_on_intr(|| getrandom(&mut random[..], GetRandomFlags::empty()))?;
        let mut name = PathText::new();
        let digits = random.map(|byte| *DIGITS.get(usize::from(byte & 15)).unwrap_or(&b'0'));
        let name = name.text(PREFIX).text(&digits).as_c_str().ok_or(io::Errno::NAMETOOLONG)?;
        match Fd::open(directory, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => {
                fs::unlinkat(directory, name, AtFlags::empty())?;
                return Ok(fd);
            }
            Err(io::Errno::EXIST | io::Errno::INTR) => {}
            Err(cause) => return Err(cause),
        }
    }
    Err(io::Errno::EXIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_unnamed_files_gets_a_named_one_without_its_name() {
        let directory = std::env::temp_dir().join(std::format!("pmemset-unlinked-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let folder = fs::open(&directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let file = create_and_unlink(folder.as_fd()).unwrap();
        let stat = fs::fstat(&file).unwrap();
        assert_eq!(stat.st_nlink, 0);
        assert_eq!(stat.st_mode & 0o777, 0o600);
        assert!(io::fcntl_getfd(&file).unwrap().contains(io::FdFlags::CLOEXEC));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
    }
}
