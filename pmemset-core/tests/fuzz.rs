//! The core's fuzzers: sequences of set operations, power cuts, records and lists. `cargo xtask fuzz NAME` runs them.

mod campaign;
mod fuzzers;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    campaign::main(&[
        ("set", fuzzers::set),
        ("cuts", fuzzers::cuts),
        ("records", fuzzers::records),
        ("blocks", fuzzers::blocks),
        ("canary", fuzzers::canary),
    ])
}
