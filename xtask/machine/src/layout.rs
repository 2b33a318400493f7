//! Where things are in the file that is a virtual machine's persistent memory.

use crate::{Device, Machine};

/// Physical address of the first byte.
pub const BASE: u64 = 256 << 20;
/// Length of the file in bytes.
pub const SIZE: u64 = 512 << 20;
/// Where regions end at the latest.
pub const REGIONS_END: u64 = SIZE - (16 << 20);
/// The page that the firmware keeps its state in.
pub const CONTROL: u64 = SIZE - (1 << 20);
/// The pages that flush hints are written to, one for each module.
pub const HINTS: u64 = CONTROL + 0x1000;

impl Machine {
    /// Returns the number of regions.
    #[must_use]
    pub fn regions(&self) -> u64 {
        if self.interleave || self.device != Device::Nfit { 1 } else { self.dimms }
    }

    /// Returns the length of each region in bytes, a multiple of 16 MiB.
    #[must_use]
    pub fn region_bytes(&self) -> u64 {
        REGIONS_END / self.regions() / (16 << 20) * (16 << 20)
    }

    /// Returns the physical address of byte `offset` of `region`.
    #[must_use]
    pub fn address(&self, region: u64, offset: u64) -> u64 {
        BASE + region * self.region_bytes() + offset
    }
}
