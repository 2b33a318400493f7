//! All fuzzers: `cargo xtask fuzz NAME` runs one.

use std::process::ExitCode;

fn main() -> ExitCode {
    testkit::campaign::main(testkit::fuzzers::ALL)
}
