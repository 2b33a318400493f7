//! The machine that is examined: this one, or one that is described by a tree of files.

use core::fmt;
use std::boxed::Box;
use std::path::{Path, PathBuf};
use std::vec::Vec;

use pmemset_core::Errno;
use pmemset_core::arch::Cpu;
use rustix::fs::{self, Access, Dev};

use crate::auxv;
use crate::errno::errno;
use crate::file::{Backing, FileSource, FileSystem, GranularityReason, OpenError};
use crate::nd::block_device::{self, Pieces, Table};
use crate::nd::sysfs::{NdError, Sysfs};

use super::attributes::Folder;

/// What a directory's file system grants to a new file in it.
#[derive(Clone, Copy, Debug)]
pub struct Probed {
    /// The kind of file system.
    pub file_system: FileSystem,
    /// How sure it is that a store finds storage.
    pub backing: Backing,
    /// What a file there would get, and why; `Err`: it cannot be mapped.
    pub reason: Result<GranularityReason, Errno>,
}

/// What only a running kernel can answer.
pub trait Kernel {
    /// Returns the size of a page in bytes.
    fn page_bytes(&self) -> usize;

    /// Returns how the processor writes back cache lines.
    fn cpu(&self) -> Cpu;

    /// Asks what the file system of `directory` would grant to a file there. Makes nothing that has a name.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked.
    fn probe(&self, directory: &Path, device: Dev, sysfs: Option<&Sysfs>) -> Result<Probed, OpenError>;

    /// Asks for the table of the mapped device `number`.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    fn table(&self, number: Dev, answer: &mut Table) -> Result<(), Errno>;

    /// Returns whether this process may open the device `path` for reading and writing.
    ///
    /// # Errors
    ///
    /// The kernel's reason why not.
    fn may_open(&self, path: &Path) -> Result<(), Errno>;
}

/// The kernel that this program runs on.
struct Running;

impl Kernel for Running {
    fn page_bytes(&self) -> usize {
        auxv::page_size_bytes()
    }

    fn cpu(&self) -> Cpu {
        *auxv::cpu()
    }

    fn probe(&self, directory: &Path, _: Dev, _: Option<&Sysfs>) -> Result<Probed, OpenError> {
        let facts = FileSource::never_named(directory)?.facts().map_err(OpenError::Open)?;
        Ok(Probed { file_system: facts.file_system, backing: facts.backing, reason: facts.granularity })
    }

    fn table(&self, number: Dev, answer: &mut Table) -> Result<(), Errno> {
        block_device::table_of(number, answer)
    }

    fn may_open(&self, path: &Path) -> Result<(), Errno> {
        fs::access(path, Access::READ_OK | Access::WRITE_OK).map_err(errno)
    }
}

/// The machine that is examined.
pub struct Machine {
    root: PathBuf,
    sysfs: Result<Sysfs, Errno>,
    kernel: Box<dyn Kernel>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("root", &self.root).field("sysfs", &self.sysfs).finish_non_exhaustive()
    }
}

impl Machine {
    /// Returns the machine that this program runs on.
    #[must_use]
    pub fn this() -> Self {
        Self { root: "/".into(), sysfs: Sysfs::system(), kernel: Box::new(Running) }
    }

    /// Returns the machine whose sysfs and procfs are `sys` and `proc` below `root`.
    #[must_use]
    pub fn at(root: &Path, kernel: Box<dyn Kernel>) -> Self {
        let sysfs = std::fs::File::open(root.join("sys")).map(|folder| Sysfs::at(folder.into()));
        let cause = |error: std::io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw);
        Self { root: root.into(), sysfs: sysfs.map_err(cause), kernel }
    }

    /// Returns its sysfs.
    ///
    /// # Errors
    ///
    /// The kernel's reason why there is none.
    pub fn sysfs(&self) -> Result<&Sysfs, Errno> {
        self.sysfs.as_ref().map_err(|cause| *cause)
    }

    /// Returns a folder of its sysfs.
    #[must_use]
    pub fn sys(&self, path: &str) -> Folder {
        Folder::new(self.root.join("sys").join(path))
    }

    /// Returns its procfs.
    pub(super) fn proc(&self) -> Folder {
        Folder::new(self.root.join("proc"))
    }

    /// Returns its kernel.
    #[must_use]
    pub fn kernel(&self) -> &dyn Kernel {
        &*self.kernel
    }

    /// Finds the pieces of the block device `number` on the nd bus.
    pub(super) fn pieces(&self, number: Dev) -> Result<Option<Pieces>, NdError> {
        let Ok(sysfs) = self.sysfs() else { return Ok(None) };
        sysfs.pieces_with(number, &mut |number, answer| self.kernel.table(number, answer)).map(Some)
    }

    /// Returns the numbers of the regions, in ascending order.
    #[must_use]
    pub fn region_numbers(&self) -> Vec<u32> {
        let folders = self.sys("bus/nd/devices").numbered("region");
        let number = |folder: &Folder| folder.name().strip_prefix("region").and_then(|digits| digits.parse().ok());
        folders.iter().filter_map(number).collect()
    }
}
