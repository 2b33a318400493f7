//! A UEFI application that counts its starts in each NVDIMM, before there is an operating system.
#![no_std]
#![no_main]

mod firmware;

use bare::Nvdimm;
use bare::nfit::{Nfit, Range};
use firmware::{Firmware, Said, open, why};
use pmemset_core::{Config, MapConfig, Platform as _, Set, Slab, Source as _};
use uefi::prelude::*;
use uefi::println;

/// Counts this start in the first 8 bytes of `range`.
fn count(firmware: &Firmware, table: &Nfit, range: Range) -> Said<()> {
    let (dimm, machine) = open(firmware, table, range)?;
    let granularity = why("granularity", dimm.granularity())?;
    let mut slab = Slab::<&Nvdimm<&Firmware>, 4>::new();
    let set = Set::new(&machine, Config::new(granularity), &mut slab);
    let part = why("map", set.map(&dimm, &MapConfig::new().length(64 << 10)))?;
    let mut word = [0; 8];
    why("read", part.read(0, &mut word))?;
    let starts = u64::from_le_bytes(word).wrapping_add(1);
    why("write", part.write(0, &starts.to_le_bytes()))?;
    println!("start {starts} in {} by {}, {granularity:?}", part.extent(), machine.cpu().method());
    why("remove", set.remove(part))
}

#[entry]
fn main() -> Status {
    firmware::end(firmware::each(count))
}
