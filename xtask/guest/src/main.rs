//! The test program of the lab: the first process of every virtual machine, and the list of all scenarios.
//!
//! A scenario is a function and the declaration of the machine that it wants, next to each other in one file of
//! `scenarios/`; nothing else has to be touched to add one.

mod boot;
mod lab;
mod machine;
mod mapper;
mod scenarios;
mod sets;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        boot::run();
    }
    match std::env::args().nth(1).as_deref() {
        Some("--list") => {
            for scenario in scenarios::all() {
                println!("{}", scenario.line());
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("this program is started by `cargo xtask lab`; `--list` prints what it can do");
            ExitCode::FAILURE
        }
    }
}
