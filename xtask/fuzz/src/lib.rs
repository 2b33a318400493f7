//! The bodies of the seeded fuzzers of `cargo xtask fuzz`, each as a function of bytes.

#[path = "../../../shim-linux/tests/common/mod.rs"]
mod common;
#[path = "../../../examples/bare/src/fake.rs"]
mod fake;
#[path = "../../../pmemset-core/tests/fuzzers/mod.rs"]
#[allow(dead_code, reason = "the canary has to fail")]
mod of_core;
#[path = "../../../examples/bare/tests/fuzzers/mod.rs"]
#[allow(dead_code, reason = "the canary has to fail")]
mod of_firmware;
#[path = "../../../shim-linux/tests/fuzzers/mod.rs"]
mod of_linux;
#[path = "../../../examples/bare/tests/tables/mod.rs"]
mod tables;
#[path = "../../../pmemset-core/tests/world/mod.rs"]
mod world;

// What `fake` finds at the root of the library.
use bare::{Kernel, pci};
use pmemset_core::support::Random;

/// Runs the fuzzer `name` with choices that `bytes` spell.
///
/// # Panics
///
/// Where the fuzzer finds something, or there is none of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let fuzz = match name {
        "set" => of_core::set,
        "cuts" => of_core::cuts,
        "records" => of_core::records,
        "blocks" => of_core::blocks,
        "texts" => of_linux::texts,
        "tables" => of_linux::tables,
        "fiemap" => of_linux::fiemap,
        "nfit" => of_firmware::nfit,
        "acpi" => of_firmware::acpi,
        "virtio" => of_firmware::virtio,
        _ => panic!("there is no fuzzer {name}"),
    };
    fuzz(&mut Random::from_bytes(bytes));
}
