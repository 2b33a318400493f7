//! What `pmemset-devdax`, the fuzzers and the tests share with this crate; no part of its interface.

use core::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io;

use crate::{Fd, FileSource, OpenError, OpenOptions};

pub use crate::address_space::{Mapper, put_placeholder};
pub use crate::errno::errno;
pub use crate::errors::kind_name;
pub use crate::file::open::open_any;
pub use crate::nd::block_device::{Piece, Pieces, Table};
pub use crate::nd::device_mapper::{Linear, targets};
pub use crate::nd::ioctl::{ArsCap, ClearRequest};
pub use crate::nd::region::{Device, NdDevice, Region};
pub use crate::nd::sysfs::{PATH_MAX_BYTES, PathText, Sysfs};

pub mod fuzz;

/// The doctor of other machines than this one, and what is to be said of device DAX.
#[cfg(feature = "std")]
pub mod doctor {
    use rustix::fs::Dev;

    pub use crate::doctor::attributes::Folder;
    pub use crate::doctor::damage::add as add_damage;
    pub use crate::doctor::limits::add as add_limits;
    pub use crate::doctor::machine::{Kernel, Machine, Probed};
    pub use crate::doctor::mounts::{Mount, entry};
    pub use crate::doctor::namespaces::add_region;
    pub use crate::doctor::paths::examine;
    pub use crate::doctor::text::Size;
    pub use crate::doctor::whole::examine_all_with;

    use super::Sysfs;
    use crate::GranularityReason;
    use crate::file::probe::Probe;

    /// Returns what a file on the block device `device` gets, for which the kernel accepts `MAP_SYNC`.
    #[must_use]
    pub fn accepted(sysfs: Option<&Sysfs>, device: Dev) -> Option<GranularityReason> {
        Probe::accepted(sysfs, device).reason.ok()
    }
}

/// Attributes and links of sysfs.
pub mod sysfs {
    pub use crate::nd::sysfs::{dax_alignment, first, first_number, link_name, number, parsed, read};
}

/// Parsers of what sysfs and the device mapper say.
pub mod parse {
    pub use crate::nd::parse::*;
}

/// Parsers of what `/proc/self` says.
pub mod proc {
    pub use crate::facts::parse::*;
}

/// Opens `path`, seen from the directory `at`; interrupted calls are not repeated.
///
/// # Errors
///
/// The kernel's reason.
pub fn open_at(at: BorrowedFd<'_>, path: &CStr, flags: OFlags, mode: Mode) -> io::Result<Fd> {
    Fd::open(at, path, flags, mode)
}

/// Takes what [`open_any`] has opened with `options`.
///
/// # Errors
///
/// - [`OpenError::InvalidFileType`], [`OpenError::HugePages`]: it is no regular file, or one of huge pages; the
///   descriptor is closed then.
pub fn file_source(fd: Fd, stat: &Stat, options: OpenOptions) -> Result<FileSource, OpenError> {
    FileSource::from_opened(fd, stat, options)
}
