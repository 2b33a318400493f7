#![no_main]
//! `cargo fuzz run --fuzz-dir xtask/fuzz proc`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzzers::run("proc", bytes));
