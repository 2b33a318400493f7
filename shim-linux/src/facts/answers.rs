//! The facts, and why some are not known.

use core::fmt;

use pmemset_core::support::errors;
use pmemset_core::{Errno, Extent, code};

use crate::file::FileSystem;
use crate::nd::NdError;

errors! {
    /// Why something about a mapping is not known.
    pub enum FactError {
        /// `/proc/self` cannot be read: it is not mounted, or hidden from this program.
        NoProc(cause: Errno) = cause.code() => "/proc/self cannot be read: {cause}";
        /// The kernel lists no mapping of a file at the addresses.
        NoMapping = code::NO_PART_MAPPED => "the kernel lists no mapping of a file there";
        /// No descriptor of this process has the numbers of the mapped file, although its source has one open: the file
        /// system has other numbers in the list of mappings than in `stat(2)` (btrfs, overlayfs).
        NoDescriptor = Errno::BADF.code() => "no descriptor of this process is open on what is mapped there";
        /// Nothing has been touched yet, so no page is mapped.
        NotTouched = Errno::OPNOTSUPP.code() => "nothing has been touched yet";
        /// The kernel is older than 6.7 and does not report the pages that DAX memory is mapped by.
        OldKernel = Errno::OPNOTSUPP.code() => "kernels before 6.7 do not report the pages that DAX memory is mapped by";
        /// Asking the kernel would split the pages of 1 GiB (`mm/pagewalk.c`).
        NotLooked = Errno::OPNOTSUPP.code() => "asking the kernel would split the pages of 1 GiB";
        /// The memory belongs to no NUMA node, or the kernel knows of none.
        NoNode = Errno::OPNOTSUPP.code() => "the memory belongs to no NUMA node";
        /// `/sys` has no answer.
        Sysfs(error: NdError) = error.code() => "{error}";
        /// The kernel's reason.
        Failed(cause: Errno) = cause.code() => "{cause}";
    }
}

impl From<NdError> for FactError {
    fn from(error: NdError) -> Self {
        Self::Sysfs(error)
    }
}

/// What kind of memory is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Memory {
    /// A device DAX, mapped by pages of exactly its alignment.
    DeviceDax {
        /// The alignment in bytes.
        alignment_bytes: usize,
    },
    /// A file on fs-dax: the medium itself.
    FsDax,
    /// A file on tmpfs, or of `memfd_create(2)`.
    Tmpfs,
    /// A file on another file system: the page cache's copy of it.
    PageCache(FileSystem),
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceDax { alignment_bytes } => write!(f, "device DAX aligned to {}", Size(*alignment_bytes)),
            Self::FsDax => f.write_str("fs-dax"),
            Self::Tmpfs => f.write_str("tmpfs"),
            Self::PageCache(file_system) => write!(f, "page cache of {file_system}"),
        }
    }
}

/// The pages that memory is mapped by, in bytes: the units of the processor's page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pages {
    /// The size of the smallest page.
    pub smallest_bytes: usize,
    /// The size of the largest page.
    pub largest_bytes: usize,
    /// How many bytes are mapped by pages of the largest size; for a device DAX of 1 GiB pages, all mapped bytes.
    pub in_largest_bytes: usize,
}

/// A NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Its distance from the processor that asks, as the firmware says: 10 is near. `None` if it is not known.
    pub distance: Option<u32>,
    /// Whether some of the examined pages (16 of a segment, at even distances) are on other nodes.
    pub has_others: bool,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.number)?;
        if self.has_others {
            f.write_str(" and others")?;
        }
        match self.distance {
            Some(distance) => write!(f, " (distance {distance})"),
            None => Ok(()),
        }
    }
}

/// How the kernel has mapped a segment, or the requested part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentFacts {
    /// The addresses.
    pub extent: Extent,
    /// The first byte in the source.
    pub offset: u64,
    /// The kind of memory.
    pub memory: Result<Memory, FactError>,
    /// How many bytes are in the process's page tables. The first touch of each other page faults.
    pub resident_bytes: Result<usize, FactError>,
    /// The pages that they are mapped by.
    pub pages: Result<Pages, FactError>,
    /// Why memory that is mapped by small pages, or will be, has no huge pages; `None` if nothing prevents them.
    pub hindrance: Option<Hindrance>,
    /// The node that the memory is on.
    pub node: Result<Node, FactError>,
    /// R of `regionR`, the region of the nd bus that it is on.
    pub region: Option<u32>,
}

impl fmt::Display for SegmentFacts {
    /// Writes one line: `2 MiB pages (4 MiB of 16 MiB touched), node 0 (distance 10), region 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pages {
            Ok(pages) if pages.smallest_bytes == pages.largest_bytes => {
                write!(f, "pages of {}", Size(pages.largest_bytes))?;
            }
            Ok(pages) => {
                let (large, in_large) = (Size(pages.largest_bytes), Size(pages.in_largest_bytes));
                write!(f, "pages of {} and, {in_large}, of {large}", Size(pages.smallest_bytes))?;
            }
            Err(reason) => write!(f, "pages not known ({reason})")?,
        }
        if let Ok(resident) = self.resident_bytes {
            write!(f, ", {} of {} touched", Size(resident), Size(self.extent.length_bytes()))?;
        }
        match self.node {
            Ok(node) => write!(f, ", {node}")?,
            Err(reason) => write!(f, ", node not known ({reason})")?,
        }
        match self.region {
            Some(region) => write!(f, ", region{region}"),
            None => Ok(()),
        }
    }
}

/// Why huge pages are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hindrance {
    /// The mapping is too short for a huge page.
    TooShort {
        /// The size of a huge page.
        huge_bytes: usize,
    },
    /// Address and offset differ modulo the size of a huge page.
    Misplaced {
        /// The size of a huge page.
        huge_bytes: usize,
        /// The address minus the offset, modulo the size of a huge page.
        by_bytes: usize,
    },
    /// The file's bytes are not on one aligned piece of the medium.
    Extents {
        /// The size of a huge page.
        huge_bytes: usize,
        /// The offset in the file of the first huge page that is not.
        offset: u64,
    },
    /// The data of the namespace do not begin at a multiple of a huge page, or the namespace has a smaller alignment.
    Namespace {
        /// The alignment in bytes.
        alignment_bytes: u64,
    },
    /// The device DAX is mapped by pages of its alignment, which is 4 KiB.
    DeviceAlignment,
    /// The tmpfs was mounted without `huge=`, or with `huge=never`, or `huge=advise`, which needs `madvise(2)`.
    Mount,
    /// The setting `/sys/kernel/mm/transparent_hugepage/shmem_enabled`.
    Setting,
    /// Huge pages are switched off for this process (`PR_SET_THP_DISABLE`).
    Process,
    /// The kernel has no transparent huge pages.
    Kernel,
    /// The page cache is mapped by small pages, whatever the medium.
    PageCache,
    /// Not known: when the memory was first touched, no huge page was free, a limit was reached, or another reason
    /// prevented it that is gone now.
    Unknown,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { huge_bytes } => write!(f, "the mapping is too short for a page of {}", Size(huge_bytes)),
            Self::Misplaced { huge_bytes, by_bytes } => {
                let (huge, by) = (Size(huge_bytes), Size(by_bytes));
                write!(f, "address and offset differ by {by} modulo {huge}: map from a multiple of {huge} on")
            }
            Self::Extents { huge_bytes, offset } => {
                let huge = Size(huge_bytes);
                write!(
                    f,
                    "the file's {huge} from byte {offset} on are not on one aligned piece of the medium: allocate it anew, \
                     on a file system made for that (`mkfs.xfs -d su=2m,sw=1`, `mkfs.ext4 -E stride=512,stripe_width=512`)"
                )
            }
            Self::Namespace { alignment_bytes } => write!(
                f,
                "the namespace is aligned to {alignment_bytes} bytes: `ndctl create-namespace --force --align=2M \
                 --reconfig=namespaceR.N` makes it anew, empty"
            ),
            Self::DeviceAlignment => f.write_str(
                "the device is mapped by pages of its alignment: `ndctl create-namespace --force --mode=devdax --align=2M \
                 --reconfig=namespaceR.N` makes it anew, empty",
            ),
            Self::Mount => f.write_str("the tmpfs has no huge pages: `mount -o remount,huge=always`"),
            Self::Setting => f.write_str(
                "tmpfs may not use huge pages: `echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled`",
            ),
            Self::Process => f.write_str("huge pages are switched off for this process (PR_SET_THP_DISABLE)"),
            Self::Kernel => f.write_str("the kernel has no transparent huge pages"),
            Self::PageCache => f.write_str("files in the page cache are mapped by small pages; fs-dax and tmpfs are not"),
            Self::Unknown => f.write_str("no huge page was free when the memory was first touched, or a limit was reached"),
        }
    }
}

/// A number of bytes for people.
#[derive(Clone, Copy)]
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30_u32, "GiB"), (20, "MiB"), (10, "KiB")] {
            let whole = self.0.wrapping_shr(shift);
            if whole > 0 && whole.wrapping_shl(shift) == self.0 {
                return write!(f, "{whole} {unit}");
            }
        }
        write!(f, "{} bytes", self.0)
    }
}
