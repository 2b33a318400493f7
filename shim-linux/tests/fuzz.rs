//! The fuzzers of the parsers of what the kernel says: texts of sysfs, tables of the device mapper, extents of files.

#[path = "../../pmemset-core/tests/campaign/mod.rs"]
mod campaign;
mod common;
mod fuzzers;

use std::process::ExitCode;

fn main() -> ExitCode {
    campaign::main(&[("texts", fuzzers::texts), ("tables", fuzzers::tables), ("fiemap", fuzzers::fiemap)])
}
