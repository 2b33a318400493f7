//! The test program of the lab: the first process of every virtual machine.
//!
//! To add a scenario, write its function and its name in a file of `scenarios/`, and in the crate `lab-machine` what
//! machine it runs on.

mod boot;
mod lab;
mod mapper;
mod mount;
mod scenarios;
mod sets;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        boot::run();
    }
    eprintln!("this program is started by `cargo xtask lab`");
    ExitCode::FAILURE
}
