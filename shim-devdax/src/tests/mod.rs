//! Device DAX of every kernel layout, in trees that look like sysfs, with files in memory in the devices' place.

mod any;
mod damage;
mod devices;
#[cfg(feature = "std")]
mod doctor;
mod sources;
pub(crate) mod tree;

use std::format;
use std::process::Command;
use std::string::String;

/// Set for a test that runs alone in a process of its own.
const ALONE: &str = "PMEMSET_TEST_ALONE";

/// Runs `body` in a process of its own, whose address space nothing else changes: runs the test that the first word of
/// `name` ends with again, in its only thread. A test that calls this more than once has names of more words.
fn alone(name: &str, body: impl FnOnce()) {
    match std::env::var(ALONE) {
        Ok(mine) if mine == name => return body(),
        Ok(_) => return,
        Err(_) => {}
    }
    let test = name.split(' ').next().unwrap_or(name);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("tests::{test}"), "--exact", "--test-threads=1", "--nocapture"])
        .env(ALONE, name)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{name} alone: {}\n{text}", output.status);
}
