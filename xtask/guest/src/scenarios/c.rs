//! libpmemset from C: the cases of a C program (`examples/libpmemset/tests/machine.c`), and what happens in between.

use std::fs;
use std::process::Command;

use super::badblocks::{PAGE, scrub, spoil, write_pages};
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::wait::wait_for;

pub(crate) const CHECKS: &[Checks] =
    &[("c-state", state), ("c-bad", bad), ("c-bad-xfs", bad), ("c-devdax", device), ("c-devdax-bad", bad_device)];

/// Runs one case in `folder`; it has to be there, and to pass.
fn case(folder: &str, name: &str) -> Result<(), Failure> {
    let output = Command::new("/bin/c-cases").args([folder, name]).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let passed = output.status.success() && said.ends_with("1 passed, 0 failed\n");
    check(passed, format!("{name} passes: {} {said}", output.status))
}

/// A run that stops, an unsafe shutdown while the file is in use, one while it is not, and a record that moves.
fn state(lab: &mut Lab) -> Result<(), Failure> {
    match lab.phase() {
        0 => case("/mnt0", "new_record_counts_mappings")?,
        1 => {
            case("/mnt0", "stopped_run_was_interrupted")?;
            lab.ask("count 0 6 1")?;
        }
        2 => {
            case("/mnt0", "unsafe_shutdown_corrupts")?;
            lab.ask("count 0 7 1")?;
        }
        _ => {
            case("/mnt0", "count_of_a_clean_record_is_renewed")?;
            fs::copy("/mnt0/record", "/mnt1/record")?;
            return case("/mnt1", "record_of_another_device_says_nothing");
        }
    }
    lab.again();
    Ok(())
}

fn bad(lab: &mut Lab) -> Result<(), Failure> {
    write_pages()?;
    spoil(lab, 5, 0, PAGE)?;
    spoil(lab, 9, 512, 256)?;
    scrub()?;
    case("/mnt0", "bad_blocks_of_a_file")?;
    same("the firmware's list", lab.ask("bad-list 0")?.as_str(), "")
}

fn device(lab: &mut Lab) -> Result<(), Failure> {
    wait_for("/dev/dax0.0")?;
    for name in ["parts_of_a_device", "parts_of_a_device_grow", "copies_past_damage_and_parts_agree"] {
        case("/tmp", name)?;
    }
    for (name, hint) in [("persisted_only", "0"), ("flushed_deeply", "1")] {
        lab.ask("hint 0")?;
        case("/tmp", name)?;
        same("the flush hint", lab.ask("hint 0")?.as_str(), hint)?;
    }
    Ok(())
}

fn bad_device(lab: &mut Lab) -> Result<(), Failure> {
    wait_for("/dev/dax0.0")?;
    case("/tmp", "bad_blocks_of_a_device")?;
    same("the firmware's list", lab.ask("bad-list 0")?.split(' ').count(), 1)
}
