//! The program prints what its README shows.

use std::process::Command;

#[test]
fn the_program_prints_what_its_readme_shows() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pmemset-mirror"));
    let output = program.arg(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    testkit::readme::check(include_str!("../README.md"), "cargo run -p pmemset-mirror", &printed).unwrap();
}
