//! Opening devices: which files are devices, which can be mapped, and which are accepted as persistent.

use core::ffi::CStr;

use pmemset_core::Errno;
use pmemset_core::arch::Cpu;
use pmemset_linux::Fd;
use pmemset_linux::internal::{Sysfs, errno, open_at, parse};
use rustix::fd::BorrowedFd;
use rustix::fs::{self, AtFlags, CWD, Dev, FileType, Mode as FileMode, OFlags, Stat};
use rustix::io;
use rustix::path::Arg;

use crate::dax_error::DaxError;
use crate::device::{DaxDevice, Durability, Mode};

/// How a device is opened as a source.
///
/// ```
/// use pmemset_devdax::{DaxError, DaxOptions, DaxSource};
///
/// let shared = DaxOptions::new().accept_unproven(); // other hosts are to see our stores, power cuts do not matter
/// for number in 0..4 {
///     match DaxSource::open(format!("/dev/dax{number}.0"), shared) {
///         Err(DaxError::InvalidPath(_)) => {} // no such device
///         Err(error) => println!("dax{number}.0: {error}"),
///         Ok(device) => println!("dax{number}.0: {}", device.durability()),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[must_use]
pub struct DaxOptions {
    accepts_unproven: bool,
}

impl DaxOptions {
    /// Returns the options that accept a device only if its region says that the memory is persistent.
    ///
    /// ```
    /// use pmemset_devdax::DaxOptions;
    ///
    /// assert_ne!(DaxOptions::new(), DaxOptions::new().accept_unproven());
    /// ```
    pub const fn new() -> Self {
        Self { accepts_unproven: false }
    }

    /// Accepts the device even if nothing says that its memory is persistent.
    ///
    /// A flush writes the stores back to memory, which is enough for memory that is shared with other machines. It is
    /// not known whether they survive a power cut. See [`DaxSource::durability`].
    ///
    /// [`DaxSource::durability`]: crate::DaxSource::durability
    ///
    /// ```no_run
    /// use pmemset_devdax::{DaxOptions, DaxSource};
    ///
    /// let device = DaxSource::open("/dev/dax0.0", DaxOptions::new().accept_unproven())?;
    /// println!("{}", device.durability()); // says why
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn accept_unproven(self) -> Self {
        Self { accepts_unproven: true }
    }

    /// Refuses memory that is not known to be persistent, unless that was asked for.
    pub(crate) const fn check(self, durability: Durability) -> Result<(), DaxError> {
        match durability {
            Durability::NotGuaranteed(doubt) if !self.accepts_unproven => Err(DaxError::NotPersistent(doubt)),
            _ => Ok(()),
        }
    }
}

/// Opens the device `path`, whatever it is, for reading and writing.
pub(crate) fn open(path: impl Arg) -> Result<Fd, DaxError> {
    // `NONBLOCK`: opening what turns out to be no such device must not wait for it.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let opened = path.into_with_c_str(|path| {
        Ok(io::retry_on_intr(|| open_at(CWD, path, flags, FileMode::empty())).map_err(|cause| {
            let without_node = |sysfs: &Sysfs| unusable(sysfs, path.to_bytes());
            match errno(cause) {
                Errno::NOENT => sysfs().ok().and_then(|sysfs| without_node(&sysfs)),
                _ => None,
            }
            .unwrap_or_else(|| refusal(path, errno(cause)))
        }))
    });
    opened.map_err(|cause| DaxError::InvalidPath(errno(cause)))?
}

pub(crate) fn sysfs() -> Result<Sysfs, DaxError> {
    Sysfs::system().map_err(DaxError::Open)
}

/// Finds the character device `number`, whose memory programs can map.
#[inline(never)]
pub(crate) fn usable(sysfs: &Sysfs, number: Dev) -> Result<DaxDevice, DaxError> {
    let device = DaxDevice::find(sysfs, number)?;
    usable_in(device.mode().map_err(DaxError::Attribute)?)?;
    Ok(device)
}

/// Refuses the devices that programs cannot map.
pub(crate) const fn usable_in(mode: Mode) -> Result<(), DaxError> {
    match mode {
        Mode::DevDax | Mode::Other => Ok(()),
        Mode::SystemRam => Err(DaxError::SystemRam),
        Mode::NoDriver => Err(DaxError::NoDriver),
    }
}

/// Finds the character device `number`, which programs can map, and says how stores to it become durable.
pub(crate) fn judged(sysfs: &Sysfs, number: Dev, cpu: &Cpu) -> Result<(DaxDevice, Durability), DaxError> {
    let device = usable(sysfs, number)?;
    if device.length_bytes().map_err(DaxError::Attribute)? == 0 {
        return Err(DaxError::InvalidAlignment { alignment_bytes: device.alignment_bytes() as u64 });
    }
    let durability = device.durability(cpu);
    Ok((device, durability))
}

/// Returns why nobody can open the device that `path`, which is not there, is named after: containers may have a `/sys`
/// and no device nodes, and the memory may be the system's.
pub(crate) fn unusable(sysfs: &Sysfs, path: &[u8]) -> Option<DaxError> {
    let number = sysfs.dax_number(parse::base_name(path).ok()?).ok()?;
    usable(sysfs, number).err().filter(|error| matches!(error, DaxError::SystemRam | DaxError::NoDriver))
}

/// Says why `path` could not be opened.
pub(crate) fn refusal(path: &CStr, cause: Errno) -> DaxError {
    let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
    match cause {
        Errno::NOENT => DaxError::InvalidPath(cause),
        Errno::ISDIR => DaxError::NotDeviceDax { kind: FileType::Directory },
        // What a device without the right driver answers, and a socket.
        Errno::NXIO | Errno::NODEV => match fs::statat(CWD, path, AtFlags::empty()) {
            Ok(stat) if kind(&stat) == FileType::CharacterDevice => {
                match sysfs().and_then(|sysfs| usable(&sysfs, stat.st_rdev)) {
                    Err(reason @ (DaxError::SystemRam | DaxError::NoDriver | DaxError::NotDeviceDax { .. })) => reason,
                    _ => DaxError::Open(cause),
                }
            }
            Ok(stat) => DaxError::NotDeviceDax { kind: kind(&stat) },
            Err(_) => DaxError::Open(cause),
        },
        other => DaxError::Open(other),
    }
}

/// Makes sure that `fd` is a character device, open for reading and writing; returns its number.
pub(crate) fn check(fd: BorrowedFd<'_>) -> Result<Dev, DaxError> {
    let stat = fs::fstat(fd).map_err(|cause| DaxError::Open(errno(cause)))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::CharacterDevice {
        return Err(DaxError::NotDeviceDax { kind });
    }
    let flags = fs::fcntl_getfl(fd).map_err(|cause| DaxError::Open(errno(cause)))?;
    if flags.contains(OFlags::PATH) {
        return Err(DaxError::NotReadable);
    }
    match flags & OFlags::RWMODE {
        OFlags::RDWR => Ok(stat.st_rdev),
        OFlags::WRONLY => Err(DaxError::NotReadable),
        _ => Err(DaxError::NotWritable),
    }
}
