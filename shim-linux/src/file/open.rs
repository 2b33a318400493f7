//! Opening files: libpmemset's flags, the lock of whoever wants a file for itself, and what is refused.

use core::ffi::CStr;
use core::fmt;

use pmemset_core::support::errors;
use pmemset_core::{Errno, code};
use rustix::fd::BorrowedFd;
use rustix::fs::{self, AtFlags, CWD, Dev, FileType, FlockOperation, Mode, OFlags, Stat, StatFs};
use rustix::io;
use rustix::path::Arg;

use crate::errno::errno;
use crate::errors::kind_name;
use crate::fd::Fd;
use crate::nd::Attribute;
use crate::nd::sysfs::{self, PathText};

const CREATE_ALWAYS: u64 = 1 << 0;
const CREATE_IF_NEEDED: u64 = 1 << 1;
const DO_NOT_GROW: u64 = 1 << 2;
const MODE_SHIFT: u32 = 32;
const MODE_MASK: u32 = 0o777;
const DEFAULT_MODE: u32 = 0o644;

/// How a file is opened as a source (`pmemset_xsource_from_file`).
///
/// ```
/// use pmemset_linux::{FileSource, OpenOptions};
///
/// let made = OpenOptions::new().create_if_needed().create_mode(0o600)?; // for our eyes only
/// let fixed = OpenOptions::new().do_not_grow(); // mapping more than the file has fails
/// # Ok::<(), pmemset_linux::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[must_use]
pub struct OpenOptions {
    flags: u64,
    exclusive: bool,
}

impl OpenOptions {
    /// Returns the options that open an existing file, which grows when more of it is mapped than it has.
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenError, OpenOptions};
    ///
    /// let missing = FileSource::open("/no/such/file", OpenOptions::new());
    /// assert!(matches!(missing, Err(OpenError::InvalidPath(_))));
    /// ```
    pub const fn new() -> Self {
        Self { flags: 0, exclusive: false }
    }

    /// Creates the file, or truncates an existing one to length 0 in place (`PMEMSET_SOURCE_FILE_CREATE_ALWAYS`).
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenOptions};
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-always-{}", std::process::id()));
    /// std::fs::write(&path, b"old records")?;
    /// let empty = FileSource::open(&path, OpenOptions::new().create_always())?;
    /// assert_eq!(empty.facts()?.length_bytes, 0);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "PMEMSET_SOURCE_FILE_CREATE_ALWAYS")]
    pub const fn create_always(self) -> Self {
        Self { flags: self.flags | CREATE_ALWAYS, ..self }
    }

    /// Creates the file where there is none (`PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED`).
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenOptions};
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-if-needed-{}", std::process::id()));
    /// let made = FileSource::open(&path, OpenOptions::new().create_if_needed())?;
    /// let same = FileSource::open(&path, OpenOptions::new().create_if_needed())?;
    /// assert_eq!(made.facts()?.inode, same.facts()?.inode);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "PMEMSET_SOURCE_FILE_CREATE_IF_NEEDED")]
    pub const fn create_if_needed(self) -> Self {
        Self { flags: self.flags | CREATE_IF_NEEDED, ..self }
    }

    /// Never changes the length of the file (`PMEMSET_SOURCE_FILE_DO_NOT_GROW`).
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenOptions};
    ///
    /// # let path = std::env::temp_dir().join(format!("pmemset-fixed-{}", std::process::id()));
    /// std::fs::write(&path, [0; 8192])?;
    /// let file = FileSource::open(&path, OpenOptions::new().do_not_grow())?;
    /// assert!(!file.facts()?.may_grow);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "PMEMSET_SOURCE_FILE_DO_NOT_GROW")]
    pub const fn do_not_grow(self) -> Self {
        Self { flags: self.flags | DO_NOT_GROW, ..self }
    }

    /// Gives a new file these permissions, less the process's umask (`PMEMSET_SOURCE_FILE_CREATE_MODE`).
    ///
    /// 0 means 0644, which is also the default. An existing file keeps its own.
    ///
    /// ```
    /// use pmemset_linux::OpenOptions;
    ///
    /// assert!(OpenOptions::new().create_mode(0o600).is_ok());
    /// assert!(OpenOptions::new().create_mode(0o7000).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// - [`OpenError::InvalidFlags`]: `mode` has bits besides 0777.
    #[doc(alias(
        "PMEMSET_SOURCE_FILE_CREATE_MODE",
        "PMEMSET_SOURCE_FILE_CREATE_ALWAYS_MODE",
        "PMEMSET_SOURCE_FILE_VALID_MODES"
    ))]
    pub const fn create_mode(self, mode: u32) -> Result<Self, OpenError> {
        let shifted = (mode as u64) << MODE_SHIFT;
        if mode & !MODE_MASK != 0 {
            return Err(OpenError::InvalidFlags { flags: shifted });
        }
        let others = self.flags & !((MODE_MASK as u64) << MODE_SHIFT);
        Ok(Self { flags: others | shifted, ..self })
    }

    /// Takes an exclusive lock of the file (`flock(2)`, `LOCK_EX`), or fails to open it. For files that two programs at
    /// a time would destroy, such as a log.
    ///
    /// The lock is advisory: it keeps out programs that ask for a lock too, and other sources of this process. It
    /// belongs to the open file, and is released with its last descriptor and mapping, however the process ends; a
    /// child of `fork(2)` shares it. `flock(2)` with [`AsFd`](rustix::fd::AsFd) changes it. If somebody else holds the
    /// lock, [`create_always`](Self::create_always) does not truncate the file. Over NFS the lock is on the server, or
    /// on this machine only (`nfs(5)`).
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenError, OpenOptions};
    ///
    /// let path = std::env::temp_dir().join(format!("exclusive-{}", std::process::id()));
    /// let options = OpenOptions::new().create_if_needed().exclusive();
    /// let ours = FileSource::open(&path, options)?;
    /// assert_eq!(FileSource::open(&path, options).err(), Some(OpenError::InUse));
    /// drop(ours);
    /// assert!(FileSource::open(&path, options).is_ok());
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn exclusive(self) -> Self {
        Self { exclusive: true, ..self }
    }

    /// Returns the options that libpmemset's `flags` stand for.
    ///
    /// ```
    /// use pmemset_linux::OpenOptions;
    ///
    /// assert_eq!(OpenOptions::from_raw_flags(1 << 1), Ok(OpenOptions::new().create_if_needed()));
    /// ```
    ///
    /// # Errors
    ///
    /// - [`OpenError::InvalidFlags`]: a bit is set that has no meaning.
    #[doc(alias("PMEMSET_SOURCE_FILE_CREATE_VALID_FLAGS", "PMEMSET_SOURCE_FILE_CREATE_MODE_FROM_FLAG"))]
    pub const fn from_raw_flags(flags: u64) -> Result<Self, OpenError> {
        let known = CREATE_ALWAYS | CREATE_IF_NEEDED | DO_NOT_GROW | ((MODE_MASK as u64) << MODE_SHIFT);
        if flags & !known == 0 { Ok(Self { flags, ..Self::new() }) } else { Err(OpenError::InvalidFlags { flags }) }
    }

    pub(crate) const fn may_grow(self) -> bool {
        self.flags & DO_NOT_GROW == 0
    }

    const fn creates(self) -> bool {
        self.flags & (CREATE_ALWAYS | CREATE_IF_NEEDED) != 0
    }

    const fn truncates(self) -> bool {
        self.flags & CREATE_ALWAYS != 0
    }

    /// Returns the flag for a file that is there: what is to be locked is not truncated before.
    fn truncation(self) -> OFlags {
        if self.truncates() && !self.exclusive { OFlags::TRUNC } else { OFlags::empty() }
    }

    fn mode(self) -> Mode {
        let asked = Mode::from_bits_truncate(u32::try_from(self.flags >> MODE_SHIFT).unwrap_or(0) as _);
        if asked.is_empty() { Mode::from_bits_truncate(DEFAULT_MODE as _) } else { asked }
    }
}

/// A kind of file system, by its magic number (`statfs(2)`, `linux/magic.h`).
///
/// ```
/// use pmemset_linux::FileSystem;
///
/// assert_eq!(FileSystem::XFS.to_string(), "XFS");
/// assert_eq!(FileSystem(0x9123_683e).to_string(), "file system 0x9123683e");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSystem(pub u64);

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EXT => f.pad("ext2, ext3 or ext4"),
            Self::XFS => f.pad("XFS"),
            Self::TMPFS => f.pad("tmpfs"),
            Self(number) => write!(f, "file system {number:#x}"),
        }
    }
}

impl FileSystem {
    /// ext2, ext3 and ext4.
    pub const EXT: Self = Self(0xef53);
    /// XFS.
    pub const XFS: Self = Self(0x5846_5342);
    /// tmpfs, and the memory of `memfd_create(2)`.
    pub const TMPFS: Self = Self(0x0102_1994);
    /// Files of huge pages.
    pub(crate) const HUGETLBFS: Self = Self(0x9584_58f6);

    /// Returns what `statfs(2)` says.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "32 bits, signed or not, by processor")]
    pub(crate) fn of(facts: &StatFs) -> Self {
        Self(facts.f_type as u64 & u64::from(u32::MAX))
    }
}

errors! {
    /// Why a file cannot be a source.
    ///
    /// ```
    /// use pmemset_linux::{FileSource, OpenError, OpenOptions};
    ///
    /// let error = FileSource::open(std::env::temp_dir(), OpenOptions::new()).unwrap_err();
    /// assert!(matches!(error, OpenError::InvalidFileType { .. }));
    /// assert_eq!(error.to_string(), "only regular files can be mapped, and this is a directory");
    /// ```
    // Parts side by side take less code where an error is passed on.
    #[repr(u32)]
    pub enum OpenError {
        /// There is no such file or directory, or the path holds a NUL byte.
        InvalidPath(cause: Errno) = code::INVALID_SOURCE_PATH => "no file has this path: {cause}";
        /// A flag or a permission bit has no meaning.
        InvalidFlags {
            /// The flags as libpmemset numbers them.
            flags: u64,
        } = code::INVALID_SOURCE_FILE_CREATE_FLAGS => "unknown flags or permission bits in {flags:#x}";
        /// Only regular files can be mapped as files.
        InvalidFileType {
            /// What it is.
            kind: FileType,
        } = code::INVALID_FILE_TYPE => "only regular files can be mapped, and this is {}", kind_name(kind);
        /// A device DAX: `pmemset-devdax` has a source for it.
        DeviceDax = code::INVALID_FILE_TYPE => "a device DAX is not a file: open it with pmemset-devdax";
        /// A file of huge pages (hugetlbfs, `MFD_HUGETLB`): volatile memory, mapped in units larger than a page.
        HugePages = code::INVALID_FILE_TYPE => "a file of huge pages is volatile memory: nothing in it would be durable";
        /// The descriptor appends (`O_APPEND`): the kernel ignores the offset of a write.
        Appends = Errno::INVAL.code() => "the descriptor appends: open it without O_APPEND";
        /// The descriptor is not open for reading.
        NotReadable = code::INVALID_FILE_HANDLE
            => "the descriptor is not open for reading: open it for reading and writing";
        /// The descriptor is not open for writing.
        NotWritable = code::FILE_DESCRIPTOR_NOT_WRITABLE
            => "the descriptor is not open for writing: open it for reading and writing";
        /// The file is locked by another program, or by another source of this one (`flock(2)`).
        InUse = Errno::AGAIN.code() => "another program has locked the file, or another source of this one";
        /// The file could not be opened, or its status could not be read.
        Open(cause: Errno) = cause.code() => "cannot open the file: {cause}";
        /// No unnamed file can be made in the directory.
        CannotCreateTemporary(cause: Errno) = code::CANNOT_CREATE_TEMP_FILE
            => "cannot create an unnamed file in this directory: {cause}";
    }
}

/// Opens `path`, whatever it is, for reading and writing, and asks what it is (`fstat(2)`).
///
/// For programs that decide by the answer which source it is to be: see `FileSource::from_opened`.
///
/// Waits for the holder of a lease on a file (`F_SETLEASE`) as `open(2)` does, and for nothing else.
///
/// # Errors
///
/// See [`OpenError`]; `Open` of `ENXIO` for a socket, and for a device without a driver.
pub fn open_any(path: &CStr, options: OpenOptions) -> Result<(Fd, Stat), OpenError> {
    // `fs.protected_regular` refuses `O_CREAT` for the files of others, also where they are there already.
    let opened = match open_or_wait(path, options.truncation(), Mode::empty()) {
        Err(io::Errno::NOENT) if options.creates() => {
            open_or_wait(path, options.truncation() | OFlags::CREATE, options.mode())
        }
        other => other,
    };
    let fd = opened.map_err(|cause| match cause {
        io::Errno::NOENT => OpenError::InvalidPath(Errno::NOENT),
        io::Errno::ISDIR => OpenError::InvalidFileType { kind: FileType::Directory },
        other => OpenError::Open(errno(other)),
    })?;
    if options.exclusive {
        lock(&fd, options)?;
    }
    let stat = fs::fstat(&fd).map_err(|cause| OpenError::Open(errno(cause)))?;
    Ok((fd, stat))
}

/// Takes the exclusive lock of an open file, and truncates it then where that is asked for.
fn lock(fd: &Fd, options: OpenOptions) -> Result<(), OpenError> {
    let locked = io::retry_on_intr(|| fs::flock(fd, FlockOperation::NonBlockingLockExclusive));
    let truncated = locked.and_then(|()| {
        let truncates = options.truncates() && file_type(&fs::fstat(fd)?) == FileType::RegularFile;
        if truncates { io::retry_on_intr(|| fs::ftruncate(fd, 0)) } else { Ok(()) }
    });
    truncated.map_err(|cause| match cause {
        io::Errno::WOULDBLOCK => OpenError::InUse,
        other => OpenError::Open(errno(other)),
    })
}

fn open_or_wait(path: &CStr, flags: OFlags, mode: Mode) -> io::Result<Fd> {
    let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    // `NONBLOCK`: opening what turns out to be no regular file must not wait for it.
    match io::retry_on_intr(|| Fd::open(CWD, path, flags | OFlags::NONBLOCK, mode)) {
        Err(io::Errno::AGAIN) if is_of_kind(path, FileType::RegularFile) => {
            io::retry_on_intr(|| Fd::open(CWD, path, flags, mode))
        }
        other => other,
    }
}

/// Opens the regular file `path`.
pub(crate) fn open(path: impl Arg, options: OpenOptions) -> Result<(Fd, Stat), OpenError> {
    let opened = path.into_with_c_str(|path| {
        let opened = open_any(path, options).and_then(|(fd, stat)| regular_or_dax(&stat).map(|()| (fd, stat)));
        Ok(match opened {
            Err(OpenError::Open(Errno::NXIO)) if is_of_kind(path, FileType::Socket) => {
                Err(OpenError::InvalidFileType { kind: FileType::Socket })
            }
            other => other,
        })
    });
    opened.map_err(|cause| match cause {
        io::Errno::INVAL => OpenError::InvalidPath(errno(cause)),
        other => OpenError::Open(errno(other)),
    })?
}

fn is_of_kind(path: &CStr, kind: FileType) -> bool {
    fs::statat(CWD, path, AtFlags::empty()).is_ok_and(|stat| file_type(&stat) == kind)
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Makes sure that it is a regular file.
pub(crate) fn regular(stat: &Stat) -> Result<(), OpenError> {
    match file_type(stat) {
        FileType::RegularFile => Ok(()),
        kind => Err(OpenError::InvalidFileType { kind }),
    }
}

/// Makes sure that it is a regular file, and distinguishes a device DAX from what else it may be.
fn regular_or_dax(stat: &Stat) -> Result<(), OpenError> {
    match regular(stat) {
        Err(OpenError::InvalidFileType { kind: FileType::CharacterDevice }) if is_dax(stat.st_rdev) => {
            Err(OpenError::DeviceDax)
        }
        other => other,
    }
}

/// Makes sure that `fd` is a regular file, open for reading and writing.
pub(crate) fn check(fd: BorrowedFd<'_>) -> Result<Stat, OpenError> {
    let stat = fs::fstat(fd).map_err(|cause| OpenError::Open(errno(cause)))?;
    regular_or_dax(&stat)?;
    let flags = fs::fcntl_getfl(fd).map_err(|cause| OpenError::Open(errno(cause)))?;
    if flags.contains(OFlags::PATH) {
        return Err(OpenError::NotReadable);
    }
    if flags.contains(OFlags::APPEND) {
        return Err(OpenError::Appends);
    }
    match flags & OFlags::RWMODE {
        OFlags::RDWR => Ok(stat),
        OFlags::WRONLY => Err(OpenError::NotReadable),
        _ => Err(OpenError::NotWritable),
    }
}

/// Returns the kind of file system that the regular file `fd` is on (`statfs(2)`).
///
/// # Errors
///
/// - [`OpenError::HugePages`]: the kernel rounds its mappings up to huge pages, over what lies behind the window.
pub(crate) fn file_system(fd: BorrowedFd<'_>) -> Result<FileSystem, OpenError> {
    match FileSystem::of(&fs::fstatfs(fd).map_err(|cause| OpenError::Open(errno(cause)))?) {
        FileSystem::HUGETLBFS => Err(OpenError::HugePages),
        other => Ok(other),
    }
}

/// Returns whether the character device `number` is a device DAX: what its link in sysfs says.
pub(crate) fn is_dax(number: Dev) -> bool {
    let mut target = [0_u8; sysfs::PATH_MAX_BYTES];
    let mut path = PathText::new();
    let Some(path) = path.text(b"/sys/dev/char/").device(number).text(b"/subsystem").as_c_str() else { return false };
    sysfs::link(CWD, Attribute::Subsystem, path, &mut target).is_ok_and(|target| target.ends_with(b"/dax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_modes_have_libpmemsets_numbers() {
        let all = OpenOptions::new().create_always().create_if_needed().do_not_grow().create_mode(0o750).unwrap();
        assert_eq!(OpenOptions::from_raw_flags((0o750 << 32) | 7), Ok(all));
        assert_eq!(OpenOptions::from_raw_flags(0), Ok(OpenOptions::new()));
        assert_eq!(OpenOptions::from_raw_flags(0x1FF_0000_0007).unwrap().mode(), Mode::RWXU | Mode::RWXG | Mode::RWXO);
        for flags in [8, 1 << 31, 1 << 41, 90_180 << 32, 0x1FF_0000_0007 + 1, u64::MAX] {
            assert_eq!(OpenOptions::from_raw_flags(flags), Err(OpenError::InvalidFlags { flags }));
            assert_eq!(OpenError::InvalidFlags { flags }.code(), -200_019);
        }
        assert!(OpenOptions::new().create_mode(0o1000).is_err());
        assert_eq!(OpenOptions::new().create_mode(0).unwrap().mode().bits(), 0o644);
        assert!(!all.may_grow() && OpenOptions::new().may_grow());
    }
}
