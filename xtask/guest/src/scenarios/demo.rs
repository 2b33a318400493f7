//! The demonstration program and the appliance, as people run them.

use std::process::Command;

use crate::lab::{Checks, Failure, Lab, check};
use crate::wait::wait_for;

pub(crate) const CHECKS: &[Checks] = &[
    ("demo-ext4", on_file),
    ("demo-xfs", on_file),
    ("demo-devdax", on_device),
    ("appliance-ext4", recorder_on_file),
    ("appliance-devdax", recorder_on_device),
];

fn on_file(_: &mut Lab) -> Result<(), Failure> {
    demo("/mnt0/demo")
}

fn on_device(_: &mut Lab) -> Result<(), Failure> {
    wait_for("/dev/dax0.0")?;
    demo("/dev/dax0.0")
}

/// Stores in one process, and finds the records in another; a third one that looks for other records finds none.
fn demo(path: &str) -> Result<(), Failure> {
    let run = |verb: &str, stamp: &str| -> Result<(bool, String), Failure> {
        let output = Command::new("/bin/demo").args([verb, path, stamp]).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let (stored, said) = run("store", "1")?;
    check(stored && said.contains("CacheLine granularity"), format!("the demo stores: {said}"))?;
    check(said.contains("\nmapped   pages ") && said.contains(", region0\n"), format!("the demo tells facts: {said}"))?;
    let (found, said) = run("verify", "1")?;
    check(found, format!("the demo finds its records: {said}"))?;
    let (found, said) = run("verify", "2")?;
    check(!found && said.contains("verified 0 of"), format!("the demo finds no records of another run: {said}"))
}

fn recorder_on_file(_: &mut Lab) -> Result<(), Failure> {
    recorder("/mnt0/records")
}

fn recorder_on_device(_: &mut Lab) -> Result<(), Failure> {
    wait_for("/dev/dax0.0")?;
    recorder("/dev/dax0.0")
}

/// Records twice, with the shutdown state on; the second run finds what the first has recorded.
fn recorder(path: &str) -> Result<(), Failure> {
    let mut said = String::new();
    for _ in 0..2 {
        let output = Command::new("/bin/appliance").args([path, "/", "100"]).output()?;
        said.push_str(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        check(output.status.success(), format!("the appliance records: {said}"))?;
    }
    check(said.contains("recovered 1 to 100"), format!("the appliance finds its records: {said}"))?;
    check(said.contains("ack 200"), format!("the appliance goes on: {said}"))?;
    // `PartState::Ok`: both runs ended cleanly.
    check(said.matches("shutdown state 2").count() == 2, format!("the shutdown state is known, and good: {said}"))
}
