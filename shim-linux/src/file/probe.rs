//! How stores to a file become durable, and why: tested once, when the source is opened.

use core::fmt;

use pmemset_core::{Errno, Granularity, GranularityLimit};
use rustix::fd::BorrowedFd;
use rustix::fs::Dev;

use crate::address_space;
use crate::auxv;
use crate::nd::block_device::Pieces;
use crate::nd::region::{Device, Region};
use crate::nd::sysfs::Sysfs;
use crate::nd::{Doubt, PersistenceDomain};

/// The reason for a file's granularity.
///
/// ```
/// use pmemset_linux::nd::PersistenceDomain;
/// use pmemset_linux::{Granularity, GranularityReason};
///
/// let reason = GranularityReason::Domain(PersistenceDomain::CpuCache);
/// assert_eq!(reason.to_string(), "MAP_SYNC, and CPU caches survive a power cut");
/// assert_eq!(reason.granularity(), Granularity::Byte);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GranularityReason {
    /// Page: the file system refuses `MAP_SYNC` for this file; it is not persistent memory mounted with DAX.
    NoMapSync(Errno),
    /// Page: the kernel would accept `MAP_SYNC`, but the memory below is not accepted as persistent.
    Doubted(Doubt),
    /// Byte or cache line: the file is mapped with `MAP_SYNC`, and this is the persistence domain of its region.
    Domain(PersistenceDomain),
}

impl GranularityReason {
    /// Returns the granularity. It is byte granularity only if the region says that CPU caches are persistent.
    #[must_use]
    pub const fn granularity(self) -> Granularity {
        match self {
            Self::NoMapSync(_) | Self::Doubted(_) => Granularity::Page,
            Self::Domain(PersistenceDomain::CpuCache) => Granularity::Byte,
            Self::Domain(_) => Granularity::CacheLine,
        }
    }

    /// Returns why the granularity is no finer, without the platform's details.
    #[must_use]
    pub const fn limit(self) -> GranularityLimit {
        match self {
            Self::NoMapSync(_) => GranularityLimit::NoDax,
            Self::Doubted(doubt) => doubt.limit(),
            Self::Domain(_) => GranularityLimit::NoCaches,
        }
    }
}

impl fmt::Display for GranularityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMapSync(cause) => write!(f, "the file system refuses MAP_SYNC for this file: {cause}"),
            Self::Doubted(doubt) => write!(f, "the memory below is not accepted as persistent: {doubt}"),
            Self::Domain(PersistenceDomain::CpuCache) => f.write_str("MAP_SYNC, and CPU caches survive a power cut"),
            Self::Domain(PersistenceDomain::MemoryController) => {
                f.write_str("MAP_SYNC, and what has reached the memory controller survives a power cut")
            }
            Self::Domain(PersistenceDomain::None) => f.write_str("MAP_SYNC, and the region has no persistence domain"),
            Self::Domain(PersistenceDomain::Unknown) => {
                f.write_str("MAP_SYNC, and the persistence domain is not known")
            }
        }
    }
}

/// What has been found out about a file.
#[derive(Debug)]
pub(crate) struct Probe {
    /// `Err`: the file could not be mapped at all.
    pub(crate) reason: Result<GranularityReason, Errno>,
    /// The region that the file's block device is on, where the kernel accepts `MAP_SYNC`.
    pub(crate) region: Option<Region>,
}

impl Probe {
    /// Asks the kernel about the regular file `fd`, on a file system with the device number `device`.
    ///
    /// `MAP_SYNC` goes only together with `MAP_SHARED_VALIDATE`, since without it file systems accept the flag unread;
    /// refusing it with `EOPNOTSUPP`, or `EINVAL` before Linux 4.15, is the ordinary answer (`mmap(2)`).
    pub(crate) fn new(fd: BorrowedFd<'_>, device: Dev) -> Self {
        let page_bytes = auxv::page_size_bytes();
        match address_space::try_to_map(page_bytes, fd, 0, true) {
            Ok(()) => Self::accepted(Sysfs::system().as_ref().ok(), device),
            Err(cause @ (Errno::OPNOTSUPP | Errno::INVAL)) => {
                // What cannot be mapped at all is known before it grows; a limit that is in the way may not be
                // tomorrow.
                let reason = match address_space::try_to_map(page_bytes, fd, 0, false) {
                    Ok(()) | Err(Errno::NOMEM | Errno::AGAIN) => Ok(GranularityReason::NoMapSync(cause)),
                    Err(cause) => Err(cause),
                };
                Self { reason, region: None }
            }
            Err(cause) => Self { reason: Err(cause), region: None },
        }
    }

    /// Judges the memory below the device `device`, for which the kernel accepts `MAP_SYNC`.
    pub(crate) fn accepted(sysfs: Option<&Sysfs>, device: Dev) -> Self {
        let region = sysfs.and_then(|sysfs| sysfs.device(Device::Block(device)).ok()).and_then(|device| device.region);
        let pieces = || sysfs.and_then(|sysfs| sysfs.pieces(device).ok());
        let judged = judge(region.as_ref(), pieces);
        Self { reason: Ok(judged.map_or_else(GranularityReason::Doubted, GranularityReason::Domain)), region }
    }

    pub(crate) const fn maps_sync(&self) -> bool {
        matches!(self.reason, Ok(GranularityReason::Domain(_)))
    }
}

/// Judges the memory below a file: the region that its block device is on, or the regions of all pieces of that device.
fn judge(region: Option<&Region>, pieces: impl FnOnce() -> Option<Pieces>) -> Result<PersistenceDomain, Doubt> {
    if let Some(region) = region {
        return region.vouches();
    }
    let pieces = pieces().ok_or(Doubt::NoRegion)?;
    let mut whole = None;
    for piece in pieces.as_slice() {
        let domain = piece.region.vouches()?;
        whole = Some(if whole.is_none_or(|other| other == domain) { domain } else { PersistenceDomain::Unknown });
    }
    whole.ok_or(Doubt::NoRegion)
}

#[cfg(test)]
mod tests {
    use std::format;

    use pmemset_core::error::BadBlocksError;

    use super::*;
    use testkit::sysfs::{BUS, Tree, table};

    #[test]
    fn only_a_positive_statement_spares_the_flush() {
        use PersistenceDomain::{CpuCache, MemoryController, None, Unknown};
        assert_eq!(GranularityReason::NoMapSync(Errno::OPNOTSUPP).granularity(), Granularity::Page);
        assert_eq!(GranularityReason::Domain(CpuCache).granularity(), Granularity::Byte);
        for domain in [MemoryController, None, Unknown] {
            assert_eq!(GranularityReason::Domain(domain).granularity(), Granularity::CacheLine);
        }
        assert_eq!(GranularityReason::Doubted(Doubt::Volatile).granularity(), Granularity::Page);
    }

    const PMEM0: Dev = 259 << 8;
    const MAPPED: Dev = 253 << 8;

    fn judged(tree: &Tree) -> Result<PersistenceDomain, Doubt> {
        let region = Sysfs::at(tree.open().into()).device(Device::Block(PMEM0)).unwrap().region;
        judge(region.as_ref(), || unreachable!("it is on a region"))
    }

    fn vouching() -> Tree {
        let tree = Tree::two_modules().with_second_region();
        tree.file(&format!("{BUS}/provider"), "ACPI.NFIT\n");
        tree
    }

    #[test]
    fn a_region_that_speaks_against_itself_is_not_believed() {
        let tree = vouching();
        assert_eq!(judged(&tree), Ok(PersistenceDomain::MemoryController));
        assert_eq!(judged(tree.region("persistence_domain", "cpu_cache\n")), Ok(PersistenceDomain::CpuCache));
        assert_eq!(judged(tree.region("devtype", "nd_pmem\n")), Ok(PersistenceDomain::CpuCache));
        assert_eq!(judged(tree.region("devtype", "nd_volatile\n")), Err(Doubt::Volatile));
        assert_eq!(judged(vouching().region("read_only", "1\n")), Err(Doubt::ReadOnly));
        assert_eq!(judged(vouching().region("persistence_domain", "none\n")), Err(Doubt::NoDomain));
        assert_eq!(judged(vouching().file(&format!("{BUS}/provider"), "virtio-pmem\n")), Err(Doubt::Virtio));
        assert_eq!(judged(vouching().remove(&format!("{BUS}/provider"))), Err(Doubt::UnknownProvider));
    }

    #[test]
    fn a_mapped_device_is_as_good_as_the_worst_of_its_pieces() {
        let mapped = |tree: Tree| {
            let tree = tree.with_mapped(0, 4096);
            let parts = [(0, 2048, "linear", "259:0 0"), (2048, 2048, "linear", "259:1 0")];
            let answer = table(&parts);
            let sysfs = Sysfs::at(tree.open().into());
            assert!(sysfs.device(Device::Block(MAPPED)).unwrap().region.is_none());
            let mut read = |_: Dev, into: &mut crate::nd::block_device::Table| {
                into.iter_mut().zip(&answer).for_each(|(to, from)| *to = *from);
                Ok(())
            };
            judge(None, || sysfs.pieces_with(MAPPED, &mut read).ok())
        };
        let second = format!("{BUS}/region1");
        let with = |domain: &str| {
            let tree = vouching();
            tree.file(&format!("{second}/persistence_domain"), domain);
            tree
        };
        assert_eq!(mapped(with("memory_controller\n")), Ok(PersistenceDomain::MemoryController));
        assert_eq!(mapped(with("cpu_cache\n")), Ok(PersistenceDomain::Unknown));
        assert_eq!(mapped(with("none\n")), Err(Doubt::NoDomain));
        let volatile = vouching();
        volatile.file(&format!("{second}/devtype"), "nd_volatile\n");
        assert_eq!(mapped(volatile), Err(Doubt::Volatile));
        assert_eq!(judge(None, || None), Err(Doubt::NoRegion), "nobody can be asked");
        // Why bad blocks cannot be listed there.
        let tree = vouching().with_mapped(0, 4096);
        let why = |cause| {
            BadBlocksError::from(Sysfs::at(tree.open().into()).pieces_with(MAPPED, &mut |_, _| Err(cause)).unwrap_err())
        };
        assert_eq!(why(Errno::ACCES), BadBlocksError::NoBounds(Errno::ACCES));
        let none = Sysfs::at(tree.open().into()).pieces(1 << 8).unwrap_err();
        assert_eq!(BadBlocksError::from(none), BadBlocksError::NoRegion);
    }
}
