//! Trees of files that look like sysfs, made for one test each.

use core::sync::atomic::{AtomicU32, Ordering};
use std::format;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::string::String;
use std::time::SystemTime;

use pmemset_linux::internal::Sysfs;
use rustix::fd::OwnedFd;
use rustix::fs::{Dev, MemfdFlags, Mode, OFlags, ftruncate, makedev, memfd_create, open};

use crate::{DaxDevice, DaxError, DaxSource};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) const ACPI: &str = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0";
pub(crate) const MIB: u64 = 1 << 20;

/// A folder that is removed with its tree, and the path of the device DAX in it.
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) device: String,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Tree {
    /// Makes a tree with the device 252:0 at the folder `device`, of the subsystem `subsystem`.
    pub(crate) fn new(device: &str, subsystem: &str) -> Self {
        let name = format!("pmemset-dax-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        let tree = Self { root, device: device.into() };
        tree.folder("dev/char").folder(device).folder("bus/dax/drivers").folder("bus/dax/devices").folder("class/dax");
        let up = "../".repeat(device.split('/').count());
        tree.link("dev/char/252:0", &format!("../../{device}"))
            .link(&format!("{device}/subsystem"), &format!("{up}{subsystem}"))
    }

    pub(crate) fn number() -> Dev {
        makedev(252, 0)
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.root.join(path)).unwrap();
        self
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.root.join(path)).unwrap();
        self
    }

    /// Writes the attribute `path`.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// Writes the attribute `path`.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns the text of the attribute `path`.
    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Writes the device's own attribute `name`.
    pub(crate) fn own(self, name: &str, text: &str) -> Self {
        let path = format!("{}/{name}", self.device);
        self.file(&path, text)
    }

    /// Takes the attribute or folder `path` out.
    pub(crate) fn without(self, path: &str) -> Self {
        let path = self.root.join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    /// Gives the device to `driver`.
    pub(crate) fn driver(self, driver: &str) -> Self {
        let path = format!("{}/driver", self.device);
        let _ = fs::remove_file(self.root.join(&path));
        let up = "../".repeat(self.device.split('/').count());
        self.folder(&format!("bus/dax/drivers/{driver}"));
        self.link(&path, &format!("{up}bus/dax/drivers/{driver}"))
    }

    /// Takes the device from its driver.
    pub(crate) fn without_driver(self) -> Self {
        let path = format!("{}/driver", self.device);
        self.without(&path)
    }

    /// Returns when the attribute `path` was last written.
    pub(crate) fn modified(&self, path: &str) -> SystemTime {
        fs::metadata(self.root.join(path)).unwrap().modified().unwrap()
    }

    /// Makes the attribute `path` look as if it was not written for long.
    pub(crate) fn forget(&self, path: &str) {
        let file = fs::File::options().write(true).open(self.root.join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs::at(open(self.root.to_str().unwrap(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap())
    }

    pub(crate) fn find(&self) -> Result<DaxDevice, DaxError> {
        DaxDevice::find(&self.sysfs(), Self::number())
    }

    /// Makes a source whose bytes are those of a new file in memory, as long as the device says to be.
    pub(crate) fn source(&self) -> Result<DaxSource, DaxError> {
        let length_bytes = self.find()?.length_bytes().unwrap();
        self.source_of(memory(length_bytes))
    }

    pub(crate) fn source_of(&self, fd: OwnedFd) -> Result<DaxSource, DaxError> {
        DaxSource::new(fd.into(), Self::number(), &self.sysfs())
    }

    /// Puts `region0` of one memory module on the bus `bus`, 1 GiB from 8 GiB on.
    fn region(self, bus: &str, provider: &str) -> Self {
        let region = format!("{bus}/region0");
        self.file(&format!("{bus}/provider"), &format!("{provider}\n"))
            .file(&format!("{region}/devtype"), "nd_pmem\n")
            .file(&format!("{region}/read_only"), "0\n")
            .file(&format!("{region}/resource"), "0x200000000\n")
            .file(&format!("{region}/size"), "1073741824\n")
            .file(&format!("{region}/badblocks"), "")
            .file(&format!("{region}/mappings"), "0\n")
            .file(&format!("{region}/dax0.1/namespace"), "namespace0.0\n")
            .file(&format!("{region}/dax0.1/uuid"), "01234567-89ab-cdef-0123-456789abcdef\n")
            .file(&format!("{region}/dax0.1/mode"), "pmem\n")
    }

    /// A device on the nd bus `bus` since Linux 5.10: 32 MiB with an alignment of 2 MiB, 4 MiB into its region.
    pub(crate) fn on_bus(bus: &str, provider: &str) -> Self {
        Self::new(&format!("{bus}/region0/dax0.1/dax0.0"), "bus/dax")
            .region(bus, provider)
            .own("size", "33554432\n")
            .own("align", "2097152\n")
            .own("resource", "0x200400000\n")
            .own("numa_node", "1\n")
            .own("target_node", "3\n")
            .own("mapping0/start", "0x200400000\n")
            .own("mapping0/end", "0x2023fffff\n")
            .own("mapping0/page_offset", "0x0\n")
            .file(&format!("{bus}/region0/dax0.1/dax_region/id"), "0\n")
            .file(&format!("{bus}/region0/dax0.1/dax_region/size"), "33554432\n")
            .file(&format!("{bus}/region0/dax0.1/dax_region/align"), "2097152\n")
            .driver("device_dax")
    }

    /// The same on NVDIMMs that ACPI describes, with the domain and the deep flush of the lab's machines.
    pub(crate) fn nfit() -> Self {
        Self::on_bus(ACPI, "ACPI.NFIT")
            .file(&format!("{ACPI}/region0/persistence_domain"), "memory_controller\n")
            .file(&format!("{ACPI}/region0/deep_flush"), "1\n")
            .file(&format!("{ACPI}/commands"), "ars_cap ars_start ars_status clear_error\n")
            .file(&format!("{ACPI}/nd/ndctl0/dev"), "250:0\n")
    }

    /// A device with the alignment `alignment_bytes` and the length `length_bytes`.
    pub(crate) fn sized(alignment_bytes: u64, length_bytes: u64) -> Self {
        Self::nfit().own("align", &format!("{alignment_bytes}\n")).own("size", &format!("{length_bytes}\n"))
    }

    /// A device of Linux 5.1 to 5.9: on the bus of its own, the alignment with the region.
    pub(crate) fn early_bus() -> Self {
        let tree = Self::nfit();
        let device = tree.device.clone();
        tree.without(&format!("{device}/align")).without(&format!("{device}/mapping0"))
    }

    /// A device of Linux 4.7 to 5.0 (and of `CONFIG_DEV_DAX_PMEM_COMPAT` later): of a class.
    pub(crate) fn class() -> Self {
        let parent = format!("{ACPI}/region0/dax0.1");
        Self::new(&format!("{parent}/dax/dax0.0"), "class/dax")
            .region(ACPI, "ACPI.NFIT")
            .own("size", "33554432\n")
            .link(&format!("{parent}/dax/dax0.0/device"), "../../../dax0.1")
            .file(&format!("{parent}/dax_region/align"), "2097152\n")
            .file(&format!("{parent}/resource"), "0x200400000\n")
    }

    /// Soft-reserved memory (`hmem`), since Linux 5.5.
    pub(crate) fn hmem() -> Self {
        Self::loose("devices/platform/hmem.0")
    }

    /// Volatile CXL memory, since Linux 6.3; its own `region0` is on no nd bus.
    pub(crate) fn cxl() -> Self {
        Self::loose("devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0")
    }

    fn loose(parent: &str) -> Self {
        Self::new(&format!("{parent}/dax0.0"), "bus/dax")
            .own("size", "33554432\n")
            .own("align", "2097152\n")
            .own("resource", "0x200400000\n")
            .own("numa_node", "-1\n")
            .own("target_node", "2\n")
            .file(&format!("{parent}/dax_region/align"), "2097152\n")
            .driver("device_dax")
    }
}

/// Makes a file in memory; nothing of it is there until it is touched.
pub(crate) fn memory(length_bytes: u64) -> OwnedFd {
    let fd = memfd_create(c"dax", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, length_bytes).unwrap();
    fd
}
