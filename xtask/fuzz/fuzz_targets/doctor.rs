#![no_main]
//! `cargo fuzz run --fuzz-dir xtask/fuzz doctor`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testkit::fuzzers::run("doctor", bytes));
