//! How stores become durable.

use core::fmt;

/// How a store becomes durable, from the finest to the coarsest (libpmem2: "store granularity").
///
/// The order of the variants is the order of coarseness; the numbers are libpmem2's.
///
/// ```
/// use pmemset_core::Granularity;
///
/// assert!(Granularity::Byte < Granularity::CacheLine && Granularity::CacheLine < Granularity::Page);
/// ```
#[doc(alias = "pmem2_granularity")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Granularity {
    /// CPU caches are inside the power-fail domain: a fence is enough.
    #[doc(alias = "PMEM2_GRANULARITY_BYTE")]
    Byte = 0,
    /// Cache lines must be written back, then fenced.
    #[doc(alias = "PMEM2_GRANULARITY_CACHE_LINE")]
    CacheLine = 1,
    /// Pages must be synchronised by the source.
    #[doc(alias = "PMEM2_GRANULARITY_PAGE")]
    Page = 2,
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "byte",
            Self::CacheLine => "cache line",
            Self::Page => "page",
        })
    }
}

impl Granularity {
    /// Returns the granularity with libpmem2's number `value`, if there is one.
    ///
    /// ```
    /// use pmemset_core::Granularity;
    ///
    /// assert_eq!(Granularity::from_raw(2), Some(Granularity::Page));
    /// ```
    #[must_use]
    pub const fn from_raw(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Byte),
            1 => Some(Self::CacheLine),
            2 => Some(Self::Page),
            _ => None,
        }
    }
}

/// Why a source has no finer granularity than it has: [`Source::granularity_limit`](crate::Source::granularity_limit).
///
/// ```
/// use pmemset_core::GranularityLimit;
///
/// let why = GranularityLimit::NoDax.to_string();
/// assert_eq!(why, "it is not on persistent memory that is mounted with DAX (MAP_SYNC is refused)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GranularityLimit {
    /// The memory is on no region, or the region cannot be read.
    NoRegion,
    /// The region is volatile memory.
    Volatile,
    /// Stores become durable only by a request to the device (virtio-pmem).
    Request,
    /// The provider of the region is not known.
    UnknownProvider,
    /// The platform says that nothing survives a power cut.
    NoDomain,
    /// The region is read-only.
    ReadOnly,
    /// This processor has no instruction that writes back cache lines to the memory.
    NoWriteBack,
    /// Nothing says that the caches of the processors survive a power cut.
    NoCaches,
    /// The file system refuses `MAP_SYNC` (`mmap(2)`): see the kernel's `filesystems/dax.rst`.
    NoDax,
    /// The program or its environment has set it.
    Declared,
    /// The source does not say.
    Unspecified,
}

impl fmt::Display for GranularityLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRegion => "no region says that its memory is persistent (soft-reserved or CXL memory, no sysfs)",
            Self::Volatile => "its region is volatile memory",
            Self::Request => "stores become durable by a request to the device only (virtio-pmem)",
            Self::UnknownProvider => "its region's bus does not say what provides it",
            Self::NoDomain => "the platform says that nothing survives a power cut",
            Self::ReadOnly => "its region is read-only",
            Self::NoWriteBack => "this processor cannot write back cache lines",
            Self::NoCaches => "nothing says that CPU caches survive a power cut",
            Self::NoDax => "it is not on persistent memory that is mounted with DAX (MAP_SYNC is refused)",
            Self::Declared => "the program or its environment has set it",
            Self::Unspecified => "it does not say why",
        })
    }
}

#[cfg(feature = "defmt")]
crate::code::as_it_is!(Granularity GranularityLimit);
