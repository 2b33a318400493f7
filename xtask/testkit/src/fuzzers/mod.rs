//! What the fuzzers do with the choices of a generator: a seeded one by `cargo xtask fuzz`, bytes by `cargo fuzz`.

mod core;
mod doctor;
mod fiemap;
mod firmware;
mod ledger;
mod linux;
mod log;

pub use fiemap::fiemap;
use pmemset_core::support::Random;

use crate::campaign::Fuzzer;

/// All of them; those that end with `canary` have to fail.
pub const ALL: &[Fuzzer] = &[
    ("set", core::set),
    ("cuts", core::cuts),
    ("records", core::records),
    ("blocks", core::blocks),
    ("texts", linux::texts),
    ("proc", linux::proc),
    ("tables", linux::tables),
    ("fiemap", fiemap::fiemap),
    ("doctor", doctor::doctor),
    ("nfit", firmware::nfit),
    ("acpi", firmware::acpi),
    ("virtio", firmware::virtio),
    ("ledger", ledger::ledger),
    ("log", log::log),
    ("canary", core::canary),
    ("nfit-canary", firmware::canary),
];

/// Runs the fuzzer `name` with choices that `bytes` spell.
///
/// # Panics
///
/// Where the fuzzer finds something, or there is none of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, fuzz) = ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("there is no fuzzer {name}"));
    fuzz(&mut Random::from_bytes(bytes));
}
