//! Trees of files that look like sysfs, made for one test each.
#![allow(dead_code, reason = "each test program uses its own share")]

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use shim_linux::nd::Sysfs;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The bus of all trees, seen from a folder two below the root.
pub(crate) const BUS: &str = "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0";

/// A folder that is removed with its tree.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes an empty tree.
    pub(crate) fn new() -> Self {
        let name = format!("sysfs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        for folder in ["dev/block", "dev/char", BUS] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Self { root }
    }

    /// Writes the attribute `path`.
    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Writes the attribute `path` of `region0`.
    pub(crate) fn region(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.file(&format!("{BUS}/region0/{path}"), text)
    }

    /// Takes the attribute `path` out again.
    pub(crate) fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.root.join(path)).unwrap();
        self
    }

    /// Makes `dev/KIND/NUMBER` a link to the folder `device`.
    pub(crate) fn device(&self, kind: &str, number: &str, device: &str) -> &Self {
        fs::create_dir_all(self.root.join(device)).unwrap();
        symlink(format!("../../{device}"), self.root.join("dev").join(kind).join(number)).unwrap();
        self
    }

    /// Returns the whole path of `path`.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the text of an attribute.
    pub(crate) fn text(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap()
    }

    /// Opens the tree as the shim does.
    pub(crate) fn open(&self) -> Sysfs {
        Sysfs::at(open(self.root.to_str().unwrap(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap())
    }

    /// Two memory modules, one of them with a number of two digits, interleaved to `region0` with `pmem0` (259:0) on it.
    pub(crate) fn two_modules() -> Self {
        let tree = Self::new();
        tree.region("persistence_domain", "memory_controller\n")
            .region("deep_flush", "1\n")
            .region("read_only", "0\n")
            .region("resource", "0x240000000\n")
            .region("size", "1073741824\n")
            .region("badblocks", "")
            .region("mappings", "2\n")
            .region("mapping0", "nmem10,0,536870912,0\n")
            .region("mapping1", "nmem2,0,536870912,1\n")
            .file(&format!("{BUS}/nmem2/nfit/dirty_shutdown"), "3\n")
            .file(&format!("{BUS}/nmem2/nfit/id"), "8089-a2-1834-00000002\n")
            .file(&format!("{BUS}/nmem10/nfit/dirty_shutdown"), "4\n")
            .file(&format!("{BUS}/nmem10/nfit/id"), "8089-a2-1834-00000010\n")
            .device("block", "259:0", &format!("{BUS}/region0/pfn0.1/block/pmem0"))
            .file(&format!("{BUS}/region0/pfn0.1/block/pmem0/badblocks"), "");
        tree
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
