//! What the tests of this folder share.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::cast_possible_truncation, reason = "pages are numbered by their low bits")]

use pmemset_core::{Extent, MapConfig};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tests are for processors with pages of this size, in bytes.
pub(crate) const PAGE: usize = 4096;

/// One page of a file.
pub(crate) fn at(page: usize) -> MapConfig {
    MapConfig::new().offset((page * PAGE) as u64).length(PAGE)
}

/// The bytes of a part.
pub(crate) fn bytes(extent: Extent) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(extent.start())
}

/// A file of `pages` pages, which number themselves.
pub(crate) fn numbered(folder: &Folder, pages: usize) -> PathBuf {
    let path = folder.join("numbered");
    std::fs::write(&path, (0..pages).flat_map(|page| [page as u8; PAGE]).collect::<Vec<_>>()).unwrap();
    path
}

/// Set for a test that runs alone in a process of its own.
const ALONE: &str = "PMEMSET_TEST_ALONE";

/// Runs `body` alone in a process of its own, which nothing else maps memory or opens files in.
///
/// The process runs the test `name` again, in its only thread.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        body();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--test-threads=1", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{name} alone: {}\n{text}", output.status);
    for line in text.lines().filter(|line| line.contains("SKIPPED ")) {
        println!("{}", &line[line.find("SKIPPED ").unwrap()..]);
    }
}

/// Counts the calling test as skipped.
pub(crate) fn skip(reason: &str) {
    println!("SKIPPED {reason}");
}

/// Whether this program may mount file systems.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The number of open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    // One of them lists them.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// The mappings of this process as the kernel lists them, without the heap and the stack, which come and go.
pub(crate) fn mappings() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap();
    text.lines().filter(|line| !line.ends_with("[heap]") && !line.ends_with("[stack]")).map(str::to_owned).collect()
}

/// A directory of its own, removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes a directory below `parent`, with a name that no other test uses.
    pub(crate) fn below(parent: impl AsRef<Path>, name: &str) -> Self {
        let path = parent.as_ref().join(format!("pmemset-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Makes a directory where the build is: on a disk.
    pub(crate) fn on_disk(name: &str) -> Self {
        Self::below(env!("CARGO_TARGET_TMPDIR"), name)
    }

    /// Makes a directory in memory.
    pub(crate) fn in_memory(name: &str) -> Self {
        Self::below("/dev/shm", name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of `name` in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file system of its own, unmounted in the end.
pub(crate) struct Mount(Folder);

impl Mount {
    /// Mounts a file system of `kind` with `options` from `device`; `None` where that is not possible.
    pub(crate) fn new(name: &str, kind: &str, device: &str, options: &str) -> Option<Self> {
        let folder = Folder::on_disk(name);
        let mount = Command::new("mount").args(["-t", kind, "-o", options, device]).arg(folder.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) -> bool {
        let mount = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()).output();
        mount.is_ok_and(|output| output.status.success())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
