//! How a copy is stored: libpmemset's flags and the set's granularity decide.

use crate::Granularity;
use crate::arch::StoreKind;

bitflags::bitflags! {
    /// How a copy is stored and how far it goes (`PMEMSET_F_MEM_*`); the bits are libpmemset's.
    ///
    /// Without a flag the bytes are durable when the call returns. [`NOFLUSH`](Self::NOFLUSH) overrides all other
    /// flags, and streaming overrides stores through the cache.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, b"one", CopyFlags::NODRAIN)?;
    /// part.write_with(64, b"two", CopyFlags::NODRAIN | CopyFlags::TEMPORAL)?; // stays in the cache, too
    /// set.drain(); // both are durable now
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "PMEMSET_F_MEM_VALID_FLAGS")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct CopyFlags: u32 {
        /// Do not wait: durable after the next [`drain`](crate::Set::drain). Has no effect at page granularity.
        #[doc(alias = "PMEMSET_F_MEM_NODRAIN")]
        const NODRAIN = 1 << 0;
        /// Store around the cache. Pieces of a line and short copies go through it if that is faster
        /// ([`StoreKind::Streaming`](crate::arch::StoreKind::Streaming)).
        #[doc(alias = "PMEMSET_F_MEM_NONTEMPORAL")]
        const NONTEMPORAL = 1 << 1;
        /// Store through the cache, and write back.
        #[doc(alias = "PMEMSET_F_MEM_TEMPORAL")]
        const TEMPORAL = 1 << 2;
        /// Like [`NONTEMPORAL`](Self::NONTEMPORAL), except at byte granularity, where it would be slower.
        #[doc(alias = "PMEMSET_F_MEM_WC")]
        const WC = 1 << 3;
        /// Like [`TEMPORAL`](Self::TEMPORAL).
        #[doc(alias = "PMEMSET_F_MEM_WB")]
        const WB = 1 << 4;
        /// Store through the cache and nothing else: durable after a [`persist`](crate::Set::persist) of the range.
        #[doc(alias = "PMEMSET_F_MEM_NOFLUSH")]
        const NOFLUSH = 1 << 5;
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for CopyFlags {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "CopyFlags({=u32:#x})", self.bits());
    }
}

/// What is done for one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) kind: StoreKind,
    /// Write back the lines of the destination.
    pub(crate) write_back: bool,
    /// Have the source synchronise the pages of the destination.
    pub(crate) sync: bool,
    /// The bytes are to become durable, now or with the next fence.
    pub(crate) flush: bool,
    /// Fence at the end.
    pub(crate) fence: bool,
    /// Tell that the bytes have arrived.
    pub(crate) drained: bool,
}

impl Strategy {
    /// Decides; streams by default at every length: what is faster through the cache goes through it all the same
    /// ([`StoreKind::Streaming`]).
    #[inline(always)]
    pub(crate) const fn new(granularity: Granularity, flags: CopyFlags) -> Self {
        let flush = !flags.contains(CopyFlags::NOFLUSH);
        let drained = flush && !flags.contains(CopyFlags::NODRAIN);
        let cached = Self { kind: StoreKind::Cached, write_back: false, sync: false, flush, fence: false, drained };
        if !flush {
            return cached;
        }
        match granularity {
            Granularity::Page => Self { sync: true, ..cached },
            Granularity::Byte if flags.contains(CopyFlags::NONTEMPORAL) => {
                Self { kind: StoreKind::Streaming, fence: drained, ..cached }
            }
            Granularity::Byte => Self { fence: drained, ..cached },
            Granularity::CacheLine => {
                let streams = flags.intersects(CopyFlags::WC.union(CopyFlags::NONTEMPORAL))
                    || !flags.intersects(CopyFlags::WB.union(CopyFlags::TEMPORAL));
                let kind = if streams { StoreKind::Streaming } else { StoreKind::Cached };
                Self { kind, write_back: !streams, fence: drained, ..cached }
            }
        }
    }

    /// Returns whether nothing has to be done to the stored bytes but, if that, to fence.
    pub(crate) const fn needs_only_fence(self) -> bool {
        !self.write_back && !self.sync
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams, writes back, synchronises, fences.
    fn of(granularity: Granularity, flags: CopyFlags) -> (bool, bool, bool, bool) {
        let strategy = Strategy::new(granularity, flags);
        (strategy.kind == StoreKind::Streaming, strategy.write_back, strategy.sync, strategy.fence)
    }

    #[test]
    fn flags_and_granularity_decide() {
        use CopyFlags as F;
        use Granularity::{Byte, CacheLine, Page};
        let none = (false, false, false, false);
        for granularity in [Byte, CacheLine, Page] {
            assert_eq!(of(granularity, F::NOFLUSH), none);
            assert_eq!(of(granularity, F::all()), none);
        }
        for (flags, streams) in
            [(F::empty(), true), (F::NONTEMPORAL, true), (F::WC, true), (F::NONTEMPORAL.union(F::TEMPORAL), true)]
        {
            assert_eq!(of(CacheLine, flags), (streams, false, false, true));
            assert_eq!(of(CacheLine, flags | F::NODRAIN), (streams, false, false, false));
        }
        for flags in [F::WB, F::TEMPORAL] {
            assert_eq!(of(CacheLine, flags), (false, true, false, true));
            assert_eq!(of(CacheLine, flags | F::NODRAIN), (false, true, false, false));
        }
        assert_eq!(of(Byte, F::NONTEMPORAL), (true, false, false, true));
        for flags in [F::empty(), F::WC, F::WB, F::TEMPORAL] {
            assert_eq!(of(Byte, flags), (false, false, false, true));
            assert_eq!(of(Byte, flags | F::NODRAIN), none);
        }
        for flags in [F::empty(), F::NODRAIN, F::NONTEMPORAL, F::TEMPORAL, F::WC, F::WB] {
            assert_eq!(of(Page, flags), (false, false, true, false));
        }
    }
}
