//! The nd bus as sysfs shows it: which region a device is on, its memory modules, and what the region says of itself.

use core::fmt;

use pmemset_core::error::DeviceError;
use pmemset_core::{DeepFlush, DeviceId, Errno, GranularityLimit, Span};
use rustix::fd::AsFd;
use rustix::fs::{self, OFlags};
use rustix::io;

use crate::errno::errno;
use crate::fd::Fd;

use super::bad_blocks;
use super::parse::{self, Garbage, PersistenceDomain};
use super::sysfs::{self, Attribute, NdError, PathText, Sysfs, Value};

/// The most memory modules that one region is interleaved over.
const MODULES_MAX: usize = 32;
/// Where a module's own numbers are, by what its bus speaks.
const FAMILIES: [&[u8]; 3] = [b"/nfit/", b"/papr/", b"/cxl/"];

/// Why memory is not accepted as persistent, although the kernel may accept `MAP_SYNC` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doubt {
    /// The memory is on no nd bus that can be read: soft-reserved or CXL memory, or a mapped device that this program
    /// may not examine.
    NoRegion,
    /// The region is one of volatile memory (`nd_volatile`).
    Volatile,
    /// The region is a virtio-pmem device: stores become durable only by a request of the file system.
    Virtio,
    /// The bus does not name its provider.
    UnknownProvider,
    /// The platform says that nothing survives a power cut.
    NoDomain,
    /// The region is read-only: its modules will not save stores.
    ReadOnly,
    /// This processor has no instruction that writes back cache lines to the memory.
    NoWriteBack,
}

impl Doubt {
    /// Returns the reason that a set gives when it refuses the granularity.
    #[must_use]
    pub const fn limit(self) -> GranularityLimit {
        match self {
            Self::NoRegion => GranularityLimit::NoRegion,
            Self::Volatile => GranularityLimit::Volatile,
            Self::Virtio => GranularityLimit::Request,
            Self::UnknownProvider => GranularityLimit::UnknownProvider,
            Self::NoDomain => GranularityLimit::NoDomain,
            Self::ReadOnly => GranularityLimit::ReadOnly,
            Self::NoWriteBack => GranularityLimit::NoWriteBack,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoRegion => {
                "no region of an nd bus says that it is persistent (soft-reserved or CXL memory, no sysfs)"
            }
            Self::Volatile => "the region is volatile memory",
            Self::Virtio => "stores to virtio-pmem become durable by fsync on a file system only, never as device DAX",
            Self::UnknownProvider => "the region's bus does not say what provides it",
            Self::NoDomain => "the platform says that nothing survives a power cut",
            Self::ReadOnly => "the region is read-only",
            Self::NoWriteBack => "this processor cannot write back cache lines",
        })
    }
}

/// The device number of a block device, which a file's `st_dev` is, or of a character device: its `st_rdev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A block device.
    Block(fs::Dev),
    /// A character device.
    Character(fs::Dev),
}

impl Sysfs {
    /// Opens the directory of `device`, and finds the region that it is on.
    ///
    /// `region` is `None` for a device that is on no nd bus.
    ///
    /// # Errors
    ///
    /// - [`NdError::Unreadable`]: no such device; a file system that has no block device of its own (btrfs, overlayfs,
    ///   tmpfs) has a number that belongs to no device.
    /// - [`NdError::Garbage`], [`NdError::TooLong`]: the link is not what it should be.
    pub fn device(&self, device: Device) -> Result<NdDevice, NdError> {
        let (kind, attribute, number) = match device {
            Device::Block(number) => (&b"dev/block/"[..], Attribute::BlockDevice, number),
            Device::Character(number) => (&b"dev/char/"[..], Attribute::CharacterDevice, number),
        };
        let mut path = PathText::new();
        let name = path.text(kind).device(number).of(attribute)?;
        let dir = sysfs::open_directory(self.root(), attribute, name)?;
        let mut buffer = [0; sysfs::PATH_MAX_BYTES];
        let link = sysfs::link(self.root(), attribute, name, &mut buffer)?;
        // A link of sysfs is relative; an absolute one would lead out of a tree that only looks like it.
        if link.first() == Some(&b'/') {
            return Err(NdError::Garbage { attribute });
        }
        let region = match parse::region(link) {
            Some(found) => {
                path = PathText::new();
                let name = path.text(kind).text(found.prefix).of(Attribute::Region)?;
                let dir = sysfs::open_directory(self.root(), Attribute::Region, name)?;
                Some(Region { dir, id: found.id, bus: found.bus })
            }
            None => None,
        };
        Ok(NdDevice { dir, region })
    }
}

#[cfg(feature = "std")]
impl Sysfs {
    /// Opens `regionR` of the nd bus, R being `id`.
    ///
    /// # Errors
    ///
    /// As [`device`](Self::device).
    pub(crate) fn region(&self, id: u32) -> Result<Region, NdError> {
        let attribute = Attribute::Region;
        let mut path = PathText::new();
        let name = path.text(b"bus/nd/devices/region").number(id).of(attribute)?;
        let mut buffer = [0; sysfs::PATH_MAX_BYTES];
        let link = sysfs::link(self.root(), attribute, name, &mut buffer)?;
        let found = parse::region(link).filter(|found| found.id == id).ok_or(NdError::Garbage { attribute })?;
        Ok(Region { dir: sysfs::open_directory(self.root(), attribute, name)?, id, bus: found.bus })
    }
}

impl Sysfs {
    /// Returns the number of the device DAX with the name `name`, as `dax0.0`.
    ///
    /// # Errors
    ///
    /// - [`NdError::Unreadable`]: there is none.
    /// - [`NdError::Garbage`]: it is no such name.
    pub fn dax_number(&self, name: &[u8]) -> Result<fs::Dev, NdError> {
        let attribute = Attribute::DeviceNumber;
        let (region, device) = parse::cut(name, b'.');
        let device = device.and_then(|device| parse::numbered(device, b""));
        if parse::numbered(region, b"dax").is_none() || device.is_none() {
            return Err(NdError::Garbage { attribute });
        }
        let mut path = PathText::new();
        let path = path.text(b"bus/dax/devices/").text(name).text(b"/dev").of(attribute)?;
        let (major, minor) = sysfs::read(self.root(), attribute, path, parse::device_number)?;
        Ok(fs::makedev(major, minor))
    }
}

/// A device, and the region that it is on.
#[derive(Debug)]
pub struct NdDevice {
    /// Its directory in sysfs.
    pub dir: Fd,
    /// Its region; `None` for a device that is on no nd bus.
    pub region: Option<Region>,
}

/// A region of the nd bus: memory modules, interleaved.
#[derive(Debug)]
pub struct Region {
    dir: Fd,
    id: u32,
    bus: u32,
}

impl Region {
    /// Returns R of `regionR`.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Returns B of `ndbusB`, the bus that the region is on.
    #[must_use]
    pub const fn bus(&self) -> u32 {
        self.bus
    }

    /// Returns the region's directory in sysfs.
    pub const fn dir(&self) -> &Fd {
        &self.dir
    }

    /// Returns how far stores have to get; `Unknown` also when the attribute is absent.
    #[must_use]
    pub fn persistence_domain(&self) -> PersistenceDomain {
        sysfs::read(self.dir.as_fd(), Attribute::PersistenceDomain, c"persistence_domain", |text| {
            Ok(parse::persistence_domain(text))
        })
        .unwrap_or(PersistenceDomain::Unknown)
    }

    /// Returns how far stores have to get, where nothing speaks against the region: the one rule for files and for
    /// device DAX.
    ///
    /// The kernel accepts `MAP_SYNC` on every device DAX, and for files on volatile regions, so that alone proves
    /// nothing.
    ///
    /// # Errors
    ///
    /// What speaks against it.
    #[inline(never)]
    pub fn vouches(&self) -> Result<PersistenceDomain, Doubt> {
        if sysfs::is(self.dir.as_fd(), Attribute::DevType, c"devtype", b"nd_volatile") == Ok(true) {
            return Err(Doubt::Volatile);
        }
        match sysfs::is(self.dir.as_fd(), Attribute::Provider, c"../provider", b"virtio-pmem") {
            Ok(true) => return Err(Doubt::Virtio),
            Err(_) => return Err(Doubt::UnknownProvider),
            Ok(false) => {}
        }
        if self.read_only() == Ok(true) {
            return Err(Doubt::ReadOnly);
        }
        match self.persistence_domain() {
            PersistenceDomain::None => Err(Doubt::NoDomain),
            domain => Ok(domain),
        }
    }

    /// Returns whether the region is read-only.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn read_only(&self) -> Result<bool, NdError> {
        sysfs::flag(self.dir.as_fd(), Attribute::ReadOnly, c"read_only")
    }

    /// Returns the region's physical addresses; only the administrator may read them.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn span(&self) -> Result<Span, NdError> {
        let start = sysfs::number(self.dir.as_fd(), Attribute::Resource, c"resource")?;
        let length_bytes = sysfs::number(self.dir.as_fd(), Attribute::Size, c"size")?;
        Span::new(start, length_bytes).ok_or(NdError::Garbage { attribute: Attribute::Size })
    }

    /// Writes everything that the memory controllers hold to the medium.
    ///
    /// `NotNeeded` when the region says so, or has no such attribute; `NotPermitted` when this program may not write
    /// it.
    ///
    /// # Errors
    ///
    /// The kernel's reason why the flush failed.
    pub fn deep_flush(&self) -> Result<DeepFlush, Errno> {
        let name = c"deep_flush";
        let not_permitted = |cause| matches!(cause, Errno::ACCES | Errno::PERM | Errno::ROFS);
        match sysfs::flag(self.dir.as_fd(), Attribute::DeepFlush, name) {
            Ok(true) => {}
            Ok(false) | Err(NdError::Unreadable { cause: Errno::NOENT, .. }) => return Ok(DeepFlush::NotNeeded),
            Err(error) if not_permitted(error.errno()) => return Ok(DeepFlush::NotPermitted),
            Err(error) => return Err(error.errno()),
        }
        let file = match sysfs::open(self.dir.as_fd(), Attribute::DeepFlush, name, OFlags::WRONLY) {
            Ok(file) => file,
            Err(error) if not_permitted(error.errno()) => return Ok(DeepFlush::NotPermitted),
            Err(error) => return Err(error.errno()),
        };
        match io::retry_on_intr(|| io::write(&file, b"1")) {
            Ok(1) => Ok(DeepFlush::Done),
            Ok(_) => Err(Errno::IO),
            Err(cause) => Err(errno(cause)),
        }
    }

    /// Returns the region's memory modules, K of `nmemK`, in ascending order; none for emulated memory.
    ///
    /// # Errors
    ///
    /// See [`NdError`]; `TooLong` for more than 32.
    pub fn modules(&self) -> Result<Modules, NdError> {
        let mut modules = Modules { numbers: [0; MODULES_MAX], count: 0 };
        let mut from = 0;
        while let Some(number) = self.module_from(from)? {
            let place = modules.numbers.get_mut(modules.count);
            *place.ok_or(NdError::TooLong { attribute: Attribute::Mappings })? = number;
            modules.count = modules.count.saturating_add(1);
            from = u64::from(number).saturating_add(1);
        }
        Ok(modules)
    }

    /// Returns the lowest number of a memory module that is not below `from`.
    #[inline(never)]
    fn module_from(&self, from: u64) -> Result<Option<u32>, NdError> {
        let count = sysfs::number(self.dir.as_fd(), Attribute::Mappings, c"mappings")?;
        let mut lowest = None;
        for index in 0..count {
            let attribute = Attribute::Mapping;
            let mut path = PathText::new();
            let path = path.text(b"mapping").number(u32::try_from(index).unwrap_or(u32::MAX)).of(attribute)?;
            let number = sysfs::parsed(self.dir.as_fd(), attribute, path, |text| parse::mapping(text).map(u64::from))?;
            if lowest == Some(number) {
                return Err(NdError::Garbage { attribute });
            }
            if number >= from && lowest.is_none_or(|lowest| number < lowest) {
                lowest = Some(number);
            }
        }
        Ok(lowest.and_then(|number| u32::try_from(number).ok()))
    }

    /// Reads the attribute `name` of the memory module `number`, whatever its bus speaks.
    #[inline(never)]
    fn module(&self, number: u32, attribute: Attribute, name: &[u8], value: &mut Value) -> Result<(), NdError> {
        let mut answer = Err(NdError::Unreadable { attribute, cause: Errno::NOENT });
        for family in &FAMILIES {
            let mut path = PathText::new();
            let path = path.text(b"../nmem").number(number).text(family).text(name).of(attribute)?;
            answer = value.read(self.dir.as_fd(), attribute, path);
            if !matches!(answer, Err(NdError::Unreadable { cause: Errno::NOENT | Errno::NOTDIR, .. })) {
                break;
            }
        }
        answer
    }

    /// As [`device_of`] for this region alone.
    ///
    /// # Errors
    ///
    /// See [`device_of`].
    pub fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        device_of(&|index| (index == 0).then_some(self), id)
    }

    /// Appends the ids of the region's memory modules to the empty `id`, ordered by their numbers: those of
    /// [`device`](Self::device), also where nothing counts unsafe shutdowns.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Unsupported`]: there is no module, or one does not report its id.
    /// - [`DeviceError::IdTooLong`]: the ids have more than 511 bytes.
    pub fn module_ids(&self, id: &mut DeviceId) -> Result<(), DeviceError> {
        let modules = self.modules().map_err(|_| DeviceError::Unsupported)?;
        for number in modules.numbers() {
            let mut value = Value::new();
            self.module(*number, Attribute::Id, b"id", &mut value).map_err(|_| DeviceError::Unsupported)?;
            id.push(parse::module_id(value.text()).map_err(|Garbage| DeviceError::Unsupported)?)?;
        }
        if modules.numbers().is_empty() { Err(DeviceError::Unsupported) } else { Ok(()) }
    }

    /// Returns how often the module `number` has lost power with stores under way; `None` where it does not count them.
    ///
    /// # Errors
    ///
    /// See [`NdError`].
    pub fn dirty_shutdowns(&self, number: u32) -> Result<Option<u64>, NdError> {
        let (attribute, mut value) = (Attribute::DirtyShutdown, Value::new());
        self.module(number, attribute, b"dirty_shutdown", &mut value)?;
        parse::count(value.text()).map_err(|Garbage| NdError::Garbage { attribute })
    }

    /// Calls `take` with each bad block of the region, in bytes from its first one.
    ///
    /// # Errors
    ///
    /// See [`NdError`]; `TooLong` where the kernel may have cut off the list, after `take` was called with the rest;
    /// `EOPNOTSUPP` where nothing is ever listed, see [`lists_bad_blocks`](Self::lists_bad_blocks).
    pub fn bad_blocks(&self, mut take: impl FnMut(Span)) -> Result<(), NdError> {
        self.lists_bad_blocks()?;
        bad_blocks::read(self.dir.as_fd(), &mut take)
    }

    /// Makes sure that something reports this region's bad blocks to the kernel, so that an empty list means something.
    ///
    /// Linux fills the lists from what ACPI's NFIT driver and POWER's `papr_scm` report. CXL, virtio-pmem,
    /// `memmap=` and device trees report nothing: memory behind them may be poisoned and the list is empty
    /// (`drivers/acpi/nfit`, `arch/powerpc/platforms/pseries/papr_scm.c` are the only callers of
    /// `nvdimm_bus_add_badrange`).
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` where nothing is ever listed; else see [`NdError`].
    pub fn lists_bad_blocks(&self) -> Result<(), NdError> {
        let known = sysfs::parsed(self.dir.as_fd(), Attribute::Provider, c"../provider", |text| {
            let providers: [&[u8]; 3] = [b"ACPI.NFIT", b"nfit_test.", b"ibm,persistent-memory"];
            Ok(u64::from(providers.iter().any(|provider| text.starts_with(provider))))
        })?;
        if known == 1 {
            return Ok(());
        }
        Err(NdError::Unreadable { attribute: Attribute::BadBlocks, cause: Errno::OPNOTSUPP })
    }
}

/// Appends the ids of all memory modules of regions to the empty `id`, ordered by their numbers and each once, and
/// returns the sum of their unsafe shutdown counts. `region` returns the regions: those of 0, 1 and so on, then `None`.
///
/// The order is this project's: records of libpmemset for several modules look like another device's.
///
/// # Errors
///
/// - [`DeviceError::Unsupported`]: there is no module, or one does not report its id or its count.
/// - [`DeviceError::IdTooLong`]: the ids have more than 511 bytes.
pub(crate) fn device_of<'r>(
    region: &dyn Fn(usize) -> Option<&'r Region>,
    id: &mut DeviceId,
) -> Result<u64, DeviceError> {
    let unsupported = |_| DeviceError::Unsupported;
    let (mut sum, mut from) = (0_u64, 0_u64);
    loop {
        // The module with the lowest number behind the last one, whichever region it is in.
        let mut next: Option<(u32, &Region)> = None;
        for region in (0..).map_while(region) {
            let number = region.module_from(from).map_err(unsupported)?;
            if let Some(number) = number {
                if next.is_none_or(|(other, _)| number < other) {
                    next = Some((number, region));
                }
            } else if from == 0 {
                return Err(DeviceError::Unsupported);
            }
        }
        let Some((number, region)) = next else { break };
        let count = region.dirty_shutdowns(number).map_err(unsupported)?.ok_or(DeviceError::Unsupported)?;
        sum = sum.checked_add(count).ok_or(DeviceError::Unsupported)?;
        let mut value = Value::new();
        region.module(number, Attribute::Id, b"id", &mut value).map_err(unsupported)?;
        id.push(parse::module_id(value.text()).map_err(|Garbage| DeviceError::Unsupported)?)?;
        from = u64::from(number).saturating_add(1);
    }
    if from > 0 { Ok(sum) } else { Err(DeviceError::Unsupported) }
}

/// The numbers of a region's memory modules.
#[derive(Clone, Copy, Debug)]
pub struct Modules {
    numbers: [u32; MODULES_MAX],
    count: usize,
}

impl Modules {
    /// Returns the numbers, in ascending order.
    #[must_use]
    pub fn numbers(&self) -> &[u32] {
        self.numbers.get(..self.count).unwrap_or_default()
    }
}
