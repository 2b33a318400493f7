//! The contract suite, run under the firmware: overwrites each NVDIMM.
#![no_std]
#![no_main]

mod firmware;

use bare::nfit::{Nfit, Range};
use firmware::{Firmware, Said, open};
use pmemset_core::contract::{self, Outcome};
use uefi::prelude::*;
use uefi::println;

/// Checks every duty of the platform and of `range`, whose bytes are overwritten.
fn check(firmware: &Firmware, table: &Nfit, range: Range) -> Said<()> {
    let (dimm, machine) = open(firmware, table, range)?;
    let (mut kept, mut skipped, mut broken) = (0, 0, 0);
    let mut report = |duty: &'static str, finding: contract::Finding| match finding {
        Ok(Outcome::Kept) => kept += 1,
        Ok(Outcome::Skipped(_)) => skipped += 1,
        Err(breach) => {
            broken += 1;
            println!("broken {duty}: {breach}");
        }
    };
    contract::platform(&machine, &mut report);
    contract::source(&machine, &dimm, &mut report);
    println!("duties: {kept} kept, {skipped} skipped, {broken} broken");
    if broken == 0 { Ok(()) } else { Err(()) }
}

#[entry]
fn main() -> Status {
    firmware::end(firmware::each(check))
}
