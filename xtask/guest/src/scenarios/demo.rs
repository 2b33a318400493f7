//! The demonstration program, as people run it.

use std::process::Command;

use crate::boot::wait_for;
use crate::lab::{Lab, check};
use crate::machine::{Failure, Machine, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("demo-ext4", on_file).on(Machine::NFIT).short(),
    Scenario::new("demo-xfs", on_file).on(Machine::XFS).once(),
    Scenario::new("demo-devdax", on_device).on(Machine::DEVDAX),
];

fn on_file(_: &mut Lab) -> Result<(), Failure> {
    demo("/mnt0/demo")
}

fn on_device(_: &mut Lab) -> Result<(), Failure> {
    wait_for("/dev/dax0.0");
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
    let (found, said) = run("verify", "1")?;
    check(found, format!("the demo finds its records: {said}"))?;
    let (found, said) = run("verify", "2")?;
    check(!found && said.contains("verified 0 of"), format!("the demo finds no records of another run: {said}"))
}
