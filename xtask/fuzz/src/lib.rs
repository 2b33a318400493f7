//! The bodies of the seeded fuzzers of `cargo xtask fuzz`, each as a function of bytes.

#[path = "../../../shim-linux/tests/common/mod.rs"]
mod common;
#[path = "../../../pmemset-core/tests/fuzzers/mod.rs"]
#[allow(dead_code, reason = "the canary has to fail")]
mod of_core;
#[path = "../../../examples/unikernel/examples/fuzzers/mod.rs"]
#[allow(dead_code, reason = "the canary has to fail")]
mod of_firmware;
#[path = "../../../shim-linux/tests/fuzzers/mod.rs"]
mod of_linux;
#[path = "../../../examples/unikernel/examples/tables/mod.rs"]
mod tables;
#[path = "../../../pmemset-core/tests/world/mod.rs"]
mod world;

use pmemset_core::sim::Random;

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
        _ => panic!("there is no fuzzer {name}"),
    };
    fuzz(&mut Random::from_bytes(bytes));
}
