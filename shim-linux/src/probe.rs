//! How stores to a file become durable, and why: found out once, away from every reservation.

use core::fmt;

use pmemset_core::{Errno, Granularity};
use rustix::fd::BorrowedFd;
use rustix::fs::Dev;

use crate::address_space;
use crate::nd::{Device, PersistenceDomain, Region, Sysfs};

/// Why a file has its granularity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GranularityReason {
    /// Page: the file system refuses `MAP_SYNC` for this file; it is not persistent memory mounted with DAX.
    NoMapSync(Errno),
    /// Byte or cache line: the file is mapped with `MAP_SYNC`, and this is the persistence domain of its region.
    Domain(PersistenceDomain),
}

impl GranularityReason {
    /// Returns the granularity that follows; only a region that says so makes flushing unnecessary.
    #[must_use]
    pub const fn granularity(self) -> Granularity {
        match self {
            Self::NoMapSync(_) => Granularity::Page,
            Self::Domain(PersistenceDomain::CpuCache) => Granularity::Byte,
            Self::Domain(_) => Granularity::CacheLine,
        }
    }
}

impl fmt::Display for GranularityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMapSync(cause) => write!(f, "no MAP_SYNC here: {cause}"),
            Self::Domain(PersistenceDomain::CpuCache) => f.write_str("MAP_SYNC, and the region keeps CPU caches"),
            Self::Domain(PersistenceDomain::MemoryController) => {
                f.write_str("MAP_SYNC, and the region keeps what has reached the memory controller")
            }
            Self::Domain(PersistenceDomain::None) => f.write_str("MAP_SYNC, and the region has no persistence domain"),
            Self::Domain(PersistenceDomain::Unknown) => {
                f.write_str("MAP_SYNC, and nothing is known of the persistence domain")
            }
        }
    }
}

/// What has been found out about a file.
#[derive(Debug)]
pub(crate) struct Probe {
    /// `Err`: the file could not be mapped at all.
    pub(crate) reason: Result<GranularityReason, Errno>,
    /// The region, where the file is mapped with `MAP_SYNC`.
    pub(crate) region: Option<Region>,
}

impl Probe {
    /// Asks the kernel about the regular file `fd`, on a file system with the device number `device`.
    ///
    /// `MAP_SYNC` goes only together with `MAP_SHARED_VALIDATE`, since without it file systems accept the flag unread;
    /// refusing it with `EOPNOTSUPP`, or `EINVAL` before Linux 4.15, is the ordinary answer (`mmap(2)`).
    pub(crate) fn new(fd: BorrowedFd<'_>, device: Dev) -> Self {
        match address_space::try_map_sync(fd) {
            Ok(()) => {
                let found = Sysfs::system().ok().and_then(|sysfs| sysfs.device(Device::Block(device)).ok());
                let region = found.and_then(|device| device.region);
                let domain = region.as_ref().map_or(PersistenceDomain::Unknown, Region::persistence_domain);
                Self { reason: Ok(GranularityReason::Domain(domain)), region }
            }
            Err(cause @ (Errno::OPNOTSUPP | Errno::INVAL)) => {
                Self { reason: Ok(GranularityReason::NoMapSync(cause)), region: None }
            }
            Err(cause) => Self { reason: Err(cause), region: None },
        }
    }

    pub(crate) const fn maps_sync(&self) -> bool {
        matches!(self.reason, Ok(GranularityReason::Domain(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_positive_statement_spares_the_flush() {
        use PersistenceDomain::{CpuCache, MemoryController, None, Unknown};
        assert_eq!(GranularityReason::NoMapSync(Errno::OPNOTSUPP).granularity(), Granularity::Page);
        assert_eq!(GranularityReason::Domain(CpuCache).granularity(), Granularity::Byte);
        for domain in [MemoryController, None, Unknown] {
            assert_eq!(GranularityReason::Domain(domain).granularity(), Granularity::CacheLine);
        }
    }
}
