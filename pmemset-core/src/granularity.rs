//! How stores reach the medium.

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

#[cfg(feature = "defmt")]
crate::code::as_it_is!(Granularity);
