//! The descriptor of this process that is open on what is mapped: sources keep theirs as long as they are mapped.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::AsFd;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxAttributes, StatxFlags};

use crate::errno::errno;
use crate::fd::Fd;
use crate::file::FileSystem;
use crate::nd::parse::numbered;
use crate::nd::sysfs::PathText;

use super::answers::FactError;
use super::parse::Vma;

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The number of a descriptor that is open on it.
    number: u32,
    /// Its file system's device and its number there, as the list of mappings says.
    identity: ((u32, u32), u64),
    pub(super) kind: Kind,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A character device, which may be a device DAX.
    Device {
        /// Its number.
        number: fs::Dev,
    },
    /// A regular file, on the file system with this device number.
    File {
        /// Its file system's device.
        device: fs::Dev,
        /// Its file system.
        file_system: FileSystem,
        /// The medium itself is mapped: `STATX_ATTR_DAX`.
        is_dax: bool,
    },
}

impl Mapped {
    /// Finds what `vma` maps; `known` was found before.
    pub(super) fn find(vma: &Vma, known: Option<Self>) -> Result<Self, FactError> {
        if let Some(found) = known.and_then(|known| Self::at(known.number, vma)) {
            return Ok(found);
        }
        let folder = super::vma::open(c"/proc/self/fd")?;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut entries = RawDir::new(folder.as_fd(), &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|cause| FactError::NoProc(errno(cause)))?;
            let number = numbered(entry.file_name().to_bytes(), b"");
            if let Some(found) = number.and_then(|number| Self::at(number, vma)) {
                return Ok(found);
            }
        }
        Err(FactError::NoDescriptor)
    }

    /// Returns what descriptor `number` is open on, if that is what `vma` maps.
    fn at(number: u32, vma: &Vma) -> Option<Self> {
        let mut path = PathText::new();
        let path = path.text(b"/proc/self/fd/").number(number).as_c_str()?;
        let stat = fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS).ok()?;
        if (vma.device, vma.inode) != ((stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino) {
            return None;
        }
        Some(Self { number, identity: (vma.device, vma.inode), kind: Kind::of(&stat, path)? })
    }

    /// Opens it once more, for reading.
    pub(super) fn open(&self) -> Result<Fd, FactError> {
        let mut path = PathText::new();
        let path = path.text(b"/proc/self/fd/").number(self.number).as_c_str().ok_or(FactError::NoDescriptor)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = Fd::open(CWD, path, flags, Mode::empty()).map_err(|cause| FactError::Failed(errno(cause)))?;
        // Another thread may have closed it and opened something else.
        let stat = fs::fstat(&fd).map_err(|cause| FactError::Failed(errno(cause)))?;
        let found = ((fs::major(stat.st_dev), fs::minor(stat.st_dev)), stat.st_ino);
        if found == self.identity { Ok(fd) } else { Err(FactError::NoDescriptor) }
    }
}

impl Kind {
    fn of(stat: &Statx, path: &CStr) -> Option<Self> {
        match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
            FileType::CharacterDevice => {
                Some(Self::Device { number: fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor) })
            }
            FileType::RegularFile => Some(Self::File {
                device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                file_system: FileSystem::of(&fs::statfs(path).ok()?),
                is_dax: stat.stx_attributes.contains(StatxAttributes::DAX),
            }),
            _ => None,
        }
    }
}
