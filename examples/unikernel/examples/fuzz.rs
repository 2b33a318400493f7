//! The fuzzer of the firmware table reader: `cargo xtask fuzz nfit` runs it, and `nfit-canary`, which has to fail.

#[path = "../../../pmemset-core/tests/campaign/mod.rs"]
mod campaign;
mod fuzzers;
mod tables;

use std::process::ExitCode;

fn main() -> ExitCode {
    campaign::main(&[("nfit", fuzzers::nfit), ("nfit-canary", fuzzers::canary)])
}
