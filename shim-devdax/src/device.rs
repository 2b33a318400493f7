//! A device DAX in sysfs: recognised by its subsystem, described by its attributes.

use core::fmt;

use pmemset_core::arch::Cpu;
use pmemset_core::error::DeviceError;
use pmemset_core::{DeviceId, Errno, Granularity, GranularityLimit};
use pmemset_linux::Fd;
use pmemset_linux::internal::parse::{self, Garbage};
use pmemset_linux::internal::{Device, PATH_MAX_BYTES, Region, Sysfs, sysfs};
use pmemset_linux::nd::{Attribute, Doubt, NdError, PersistenceDomain};
use rustix::fd::AsFd as _;
use rustix::fs::{Dev, FileType};

use crate::dax_error::DaxError;

/// What the memory of a device is used for, which depends on the driver that is bound to it.
///
/// ```
/// assert_eq!(pmemset_devdax::Mode::SystemRam.to_string(), "system-ram"); // daxctl's words
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// `device_dax`: programs map it.
    DevDax,
    /// `kmem`: the kernel uses it as ordinary memory.
    SystemRam,
    /// No driver is bound to it.
    NoDriver,
    /// A driver that this version does not know.
    Other,
}

/// How stores to a device become durable.
///
/// ```
/// use pmemset_devdax::Durability;
/// use pmemset_devdax::nd::{Doubt, PersistenceDomain};
///
/// let usual = Durability::WriteBack(PersistenceDomain::MemoryController);
/// assert_eq!(usual.to_string(), "what has reached the memory controller survives a power cut");
/// assert!(Durability::NotGuaranteed(Doubt::NoRegion).to_string().starts_with("not known to be persistent"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// In the cache of a processor: the device's region says that caches survive a power cut.
    CpuCache,
    /// When their lines are written back; with the persistence domain of the region.
    WriteBack(PersistenceDomain),
    /// Not guaranteed, for this reason.
    NotGuaranteed(Doubt),
}

impl Durability {
    /// Returns the granularity. Without a guarantee, it is the one that makes stores visible to other machines.
    ///
    /// ```
    /// use pmemset_devdax::{Durability, Granularity};
    ///
    /// assert_eq!(Durability::CpuCache.granularity(), Granularity::Byte);
    /// ```
    #[must_use]
    pub const fn granularity(self) -> Granularity {
        match self {
            Self::CpuCache => Granularity::Byte,
            Self::WriteBack(_) | Self::NotGuaranteed(_) => Granularity::CacheLine,
        }
    }

    /// Returns why the granularity is no finer.
    ///
    /// ```
    /// use pmemset_devdax::nd::PersistenceDomain;
    /// use pmemset_devdax::{Durability, GranularityLimit};
    ///
    /// let usual = Durability::WriteBack(PersistenceDomain::MemoryController);
    /// assert_eq!(usual.limit(), GranularityLimit::NoCaches); // what is in a cache is lost
    /// ```
    #[must_use]
    pub const fn limit(self) -> GranularityLimit {
        match self {
            Self::CpuCache | Self::WriteBack(_) => GranularityLimit::NoCaches,
            Self::NotGuaranteed(doubt) => doubt.limit(),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CpuCache => f.write_str("CPU caches survive a power cut"),
            Self::WriteBack(PersistenceDomain::MemoryController) => {
                f.write_str("what has reached the memory controller survives a power cut")
            }
            Self::WriteBack(domain) => write!(f, "the region's persistence domain is {domain}"),
            Self::NotGuaranteed(doubt) => write!(f, "not known to be persistent: {doubt}"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DevDax => "devdax",
            Self::SystemRam => "system-ram",
            Self::NoDriver => "no driver",
            Self::Other => "another driver",
        })
    }
}

/// A device DAX, described by sysfs. Reading it does not need permission to open the device.
#[derive(Debug)]
pub struct DaxDevice {
    dir: Fd,
    region: Option<Region>,
    number: Dev,
    alignment_bytes: usize,
}

impl DaxDevice {
    /// Finds the character device `number` in a sysfs tree.
    pub(crate) fn find(sysfs: &Sysfs, number: Dev) -> Result<Self, DaxError> {
        let found = sysfs.device(Device::Character(number)).map_err(DaxError::Attribute)?;
        let mut buffer = [0; PATH_MAX_BYTES];
        let subsystem = sysfs::link_name(found.dir.as_fd(), Attribute::Subsystem, c"subsystem", &mut buffer);
        if subsystem.map_err(DaxError::Attribute)? != b"dax" {
            return Err(DaxError::NotDeviceDax { kind: FileType::CharacterDevice });
        }
        let alignment_bytes = sysfs::dax_alignment(found.dir.as_fd()).map_err(DaxError::Attribute)?;
        let invalid = DaxError::InvalidAlignment { alignment_bytes };
        let alignment_bytes = usize::try_from(alignment_bytes).map_err(|_| invalid)?;
        if !alignment_bytes.is_power_of_two() {
            return Err(invalid);
        }
        Ok(Self { dir: found.dir, region: found.region, number, alignment_bytes })
    }

    /// Returns the device number, which identifies the device as long as the system runs.
    #[must_use]
    pub const fn number(&self) -> Dev {
        self.number
    }

    /// Reads the number of bytes that can be mapped: the size rounded down to the alignment.
    ///
    /// # Errors
    ///
    /// See [`NdError`]; `ENODEV` if the device was removed.
    pub fn length_bytes(&self) -> Result<u64, NdError> {
        let size_bytes = sysfs::number(self.dir.as_fd(), Attribute::Size, c"size")?;
        Ok(size_bytes & !(self.alignment_bytes as u64).wrapping_sub(1))
    }

    /// Returns the alignment of mappings in bytes: 4 KiB, 2 MiB or 1 GiB.
    #[must_use]
    pub const fn alignment_bytes(&self) -> usize {
        self.alignment_bytes
    }

    /// Returns the NUMA node of the nearest processors; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn numa_node(&self) -> Result<Option<u64>, NdError> {
        sysfs::read(self.dir.as_fd(), Attribute::NumaNode, c"numa_node", parse::count)
    }

    /// Returns the NUMA node that the memory becomes in system-ram mode; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`NdError`]; absent before Linux 5.1.
    pub fn target_node(&self) -> Result<Option<u64>, NdError> {
        sysfs::read(self.dir.as_fd(), Attribute::TargetNode, c"target_node", parse::count)
    }

    /// Returns the first physical address; only the administrator may read it.
    ///
    /// # Errors
    ///
    /// See [`NdError`]; `Garbage` for a device of several pieces, which devices on the nd bus never are.
    pub fn physical_address(&self) -> Result<u64, NdError> {
        let attribute = Attribute::Resource;
        match sysfs::number(self.dir.as_fd(), Attribute::Mapping1, c"mapping1/start") {
            Err(NdError::Unreadable { cause: Errno::NOENT, .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(NdError::Garbage { attribute: Attribute::Mapping1 }),
        }
        let address =
            sysfs::first_number(self.dir.as_fd(), attribute, &[c"resource", c"../resource", c"device/resource"])?;
        // What the kernel writes when it does not know, or does not want to say.
        if address == 0 || address == u64::MAX {
            return Err(NdError::Unreadable { attribute, cause: Errno::ACCES });
        }
        Ok(address)
    }

    /// Returns R of `regionR`, the region of the nd bus that the device is on; `None` for soft-reserved and CXL memory.
    #[must_use]
    pub fn region(&self) -> Option<u32> {
        self.nd_region().map(Region::id)
    }

    pub(crate) const fn nd_region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// Returns R and N of the device's namespace `namespaceR.N`; `None` for a device on no nd bus.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn namespace(&self) -> Result<Option<(u32, u32)>, NdError> {
        if self.region.is_none() {
            return Ok(None);
        }
        let paths = [c"../namespace", c"device/namespace"];
        sysfs::first(&paths, |path| sysfs::read(self.dir.as_fd(), Attribute::Namespace, path, namespace_name)).map(Some)
    }

    /// Returns the UUID of the device's own metadata, which it keeps wherever it goes; `None` for one on no nd bus.
    ///
    /// Soft-reserved memory and volatile memory behind CXL keep nothing, and have none: R and N of their names are
    /// given in the order in which they are found, so keep what distinguishes one from another in the first bytes of
    /// your own.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn uuid(&self) -> Result<Option<[u8; 16]>, NdError> {
        if self.region.is_none() {
            return Ok(None);
        }
        sysfs::first(&[c"../uuid", c"device/uuid"], |path| sysfs::read(self.dir.as_fd(), Attribute::Uuid, path, uuid))
            .map(Some)
    }

    /// Appends the ids of the memory modules that the device is on to the empty `id`: vendor, date and serial number as
    /// ACPI has them, or the serial number of a memory device behind CXL. Devices of one region have the same.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Unsupported`]: it is on no nd bus, or a module does not report it.
    /// - [`DeviceError::IdTooLong`]: the ids have more than 511 bytes.
    pub fn module_ids(&self, id: &mut DeviceId) -> Result<(), DeviceError> {
        self.nd_region().ok_or(DeviceError::Unsupported)?.module_ids(id)
    }

    /// Returns how the memory is used.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn mode(&self) -> Result<Mode, NdError> {
        let mut buffer = [0; PATH_MAX_BYTES];
        match sysfs::link_name(self.dir.as_fd(), Attribute::Driver, c"driver", &mut buffer) {
            Ok(driver) if driver == b"device_dax" => Ok(Mode::DevDax),
            Ok(driver) if driver == b"kmem" => Ok(Mode::SystemRam),
            Ok(_) => Ok(Mode::Other),
            // Up to Linux 5.0 it is a device of a class: no driver of its own, and one way to be used.
            Err(NdError::Unreadable { cause: Errno::NOENT, .. }) if self.is_of_class() => Ok(Mode::DevDax),
            Err(NdError::Unreadable { cause: Errno::NOENT, .. }) => Ok(Mode::NoDriver),
            Err(error) => Err(error),
        }
    }

    fn is_of_class(&self) -> bool {
        sysfs::link_name(self.dir.as_fd(), Attribute::Class, c"device", &mut [0; PATH_MAX_BYTES]).is_ok()
    }

    /// Returns how stores become durable: what the device's own region says, on a processor with `cpu`.
    #[inline(never)]
    pub(crate) fn durability(&self, cpu: &Cpu) -> Durability {
        let Some(region) = &self.region else { return Durability::NotGuaranteed(Doubt::NoRegion) };
        match region.vouches() {
            Err(doubt) => Durability::NotGuaranteed(doubt),
            Ok(PersistenceDomain::CpuCache) => Durability::CpuCache,
            Ok(_) if !cpu.can_write_back() => Durability::NotGuaranteed(Doubt::NoWriteBack),
            Ok(domain) => Durability::WriteBack(domain),
        }
    }
}

/// Parses `namespaceR.N`.
fn namespace_name(text: &[u8]) -> Result<(u32, u32), Garbage> {
    let name = parse::trim(text);
    let dot = name.iter().position(|byte| *byte == b'.').ok_or(Garbage)?;
    let (region, rest) = name.split_at(dot);
    let region = parse::numbered(region, b"namespace").ok_or(Garbage)?;
    Ok((region, parse::numbered(rest, b".").ok_or(Garbage)?))
}

/// Parses a UUID in its usual form, 8-4-4-4-12 digits.
fn uuid(text: &[u8]) -> Result<[u8; 16], Garbage> {
    let text = parse::trim(text);
    let mut bytes = [0_u8; 16];
    let mut digits = text.iter().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
    let dashes = text.iter().enumerate().filter(|(at, byte)| matches!(at, 8 | 13 | 18 | 23) && **byte == b'-').count();
    if text.len() != 36 || dashes != 4 {
        return Err(Garbage);
    }
    for byte in &mut bytes {
        for _ in 0..2 {
            let (_, digit) = digits.next().ok_or(Garbage)?;
            let value = char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(Garbage)?;
            *byte = (*byte << 4) | value;
        }
    }
    Ok(bytes)
}
