//! The fuzzers of tables and devices: `cargo xtask fuzz nfit`, `acpi` and `virtio` run them, and `nfit-canary`, which has
//! to fail.

#[path = "../../../pmemset-core/tests/campaign/mod.rs"]
mod campaign;
#[path = "../src/fake.rs"]
mod fake;
mod fuzzers;
mod tables;

use std::process::ExitCode;

// What `fake` finds at the root of the library.
use bare::{Kernel, pci};

fn main() -> ExitCode {
    campaign::main(&[
        ("nfit", fuzzers::nfit),
        ("nfit-canary", fuzzers::canary),
        ("acpi", fuzzers::acpi),
        ("virtio", fuzzers::virtio),
    ])
}
