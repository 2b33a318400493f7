#![no_main]
//! `cargo fuzz run --fuzz-dir xtask/fuzz log`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzzers::run("log", bytes));
