//! Trees of files that look like sysfs, made for one test each.
#![allow(clippy::new_without_default, reason = "making one leaves a folder")]

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::prelude::rust_2024::*;
use std::{format, vec};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The bus of all trees, seen from a folder two below the root.
pub const BUS: &str = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0";

/// The block device on `region0`.
pub const PMEM0: &str = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/pfn0.1/block/pmem0";

/// A folder of a test's own, which goes with this value.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes an empty one.
    pub fn new() -> Self {
        let name = format!("sysfs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the whole path of `path`.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Writes the file `path`, and makes the folders that it is in.
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A tree of attributes.
pub struct Tree {
    root: Folder,
}

impl Tree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        let root = Folder::new();
        for folder in ["dev/block", "dev/char", BUS] {
            fs::create_dir_all(root.at(folder)).unwrap();
        }
        Self { root }
    }

    /// Writes the attribute `path`.
    pub fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.root.file(path, text);
        self
    }

    /// Writes the attribute `path` of `region0`.
    pub fn region(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.file(&format!("{BUS}/region0/{path}"), text)
    }

    /// Takes the attribute `path` out again.
    pub fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.root.at(path)).unwrap();
        self
    }

    /// Makes `dev/KIND/NUMBER` a link to the folder `device`.
    pub fn device(&self, kind: &str, number: &str, device: &str) -> &Self {
        fs::create_dir_all(self.root.at(device)).unwrap();
        symlink(format!("../../{device}"), self.root.at("dev").join(kind).join(number)).unwrap();
        self
    }

    /// Returns the whole path of `path`.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.at(path)
    }

    /// Returns the text of an attribute.
    pub fn text(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.at(path)).unwrap()
    }

    /// Opens the folder, for what takes it for `/sys`.
    pub fn open(&self) -> fs::File {
        fs::File::open(self.root.path()).unwrap()
    }

    /// Two memory modules, one of them with a number of two digits, interleaved to `region0` with `pmem0` (259:0) on
    /// it.
    pub fn two_modules() -> Self {
        let tree = Self::new();
        tree.region("persistence_domain", "memory_controller\n")
            .region("deep_flush", "1\n")
            .region("read_only", "0\n")
            .region("resource", "0x240000000\n")
            .region("size", "1073741824\n")
            .region("badblocks", "")
            .file(&format!("{BUS}/provider"), "ACPI.NFIT\n")
            .region("mappings", "2\n")
            .region("mapping0", "nmem10,0,536870912,0\n")
            .region("mapping1", "nmem2,0,536870912,1\n")
            .file(&format!("{BUS}/nmem2/nfit/dirty_shutdown"), "3\n")
            .file(&format!("{BUS}/nmem2/nfit/id"), "8089-a2-1834-00000002\n")
            .file(&format!("{BUS}/nmem10/nfit/dirty_shutdown"), "4\n")
            .file(&format!("{BUS}/nmem10/nfit/id"), "8089-a2-1834-00000010\n")
            .device("block", "259:0", &format!("{BUS}/region0/pfn0.1/block/pmem0"))
            .file(&format!("{PMEM0}/badblocks"), "")
            .file(&format!("{PMEM0}/size"), "2097152\n");
        tree
    }

    /// Adds `region1` with one module and `pmem1` (259:1) on it.
    pub fn with_second_region(self) -> Self {
        let region = format!("{BUS}/region1");
        self.file(&format!("{region}/mappings"), "1\n")
            .file(&format!("{region}/mapping0"), "nmem3,0,536870912,0\n")
            .file(&format!("{BUS}/nmem3/nfit/dirty_shutdown"), "5\n")
            .file(&format!("{BUS}/nmem3/nfit/id"), "8089-a2-1834-00000003\n")
            .device("block", "259:1", &format!("{region}/pfn1.0/block/pmem1"))
            .file(&format!("{region}/pfn1.0/block/pmem1/size"), "2097152\n")
            .file(&format!("{region}/pfn1.0/block/pmem1/badblocks"), "");
        self
    }

    /// Makes partition 259:2 of `pmem0`, of `count` sectors from `start` on.
    pub fn with_partition(self, start: u64, count: u64) -> Self {
        let partition = format!("{PMEM0}/pmem0p1");
        self.device("block", "259:2", &partition)
            .file(&format!("{partition}/partition"), "1\n")
            .file(&format!("{partition}/start"), format!("{start}\n"))
            .file(&format!("{partition}/size"), format!("{count}\n"));
        self
    }

    /// Makes the mapped device 253:`minor`, of `count` sectors.
    pub fn with_mapped(self, minor: u32, count: u64) -> Self {
        let device = format!("devices/virtual/block/dm-{minor}");
        self.device("block", &format!("253:{minor}"), &device)
            .file(&format!("{device}/dm/name"), "linear\n")
            .file(&format!("{device}/size"), format!("{count}\n"));
        self
    }
}

/// Writes the kernel's answer to `DM_TABLE_STATUS` with targets of first sector, count, type and parameters.
pub fn table(targets: &[(u64, u64, &str, &str)]) -> Vec<u8> {
    let mut answer = vec![0_u8; 312];
    answer[16..20].copy_from_slice(&312_u32.to_ne_bytes());
    answer[20..24].copy_from_slice(&u32::try_from(targets.len()).unwrap().to_ne_bytes());
    for (start, count, kind, parameters) in targets {
        let at = answer.len();
        answer.extend_from_slice(&start.to_ne_bytes());
        answer.extend_from_slice(&count.to_ne_bytes());
        answer.resize(at + 40, 0);
        answer[at + 24..at + 24 + kind.len()].copy_from_slice(kind.as_bytes());
        answer.extend_from_slice(parameters.as_bytes());
        answer.push(0);
        answer.resize(answer.len().next_multiple_of(8), 0);
        let next = u32::try_from(answer.len() - 312).unwrap();
        answer[at + 20..at + 24].copy_from_slice(&next.to_ne_bytes());
    }
    answer
}
