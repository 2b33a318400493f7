//! The program prints what its README shows.

use std::path::Path;
use std::process::Command;

use ring::{RECORD_BYTES, Record, slot_of};

const SLOTS: usize = 8;

#[test]
fn the_program_prints_what_its_readme_shows() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("FILE");
    let mut slots = [[0; RECORD_BYTES]; SLOTS];
    for number in 1..=11 {
        slots[usize::try_from(slot_of(number, SLOTS as u64)).unwrap()] = Record::sample(number).to_bytes();
    }
    std::fs::write(&path, slots.as_flattened()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ring")).arg("0").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    testkit::readme::check(include_str!("../README.md"), "ring 0 FILE", &printed).unwrap();
}
