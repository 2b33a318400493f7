//! Says what persistent memory there is, what a set would get of it, and which command makes that better.

use std::path::Path;
use std::process::ExitCode;

use pmemset_devdax::doctor;

/// 0: nothing is worse than a hint; 1: there is an error; 2: it was called wrongly.
fn main() -> ExitCode {
    let (mut paths, mut json) = (Vec::new(), false);
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--json") => json = true,
            Some(option) if option.starts_with('-') => {
                eprintln!("usage: doctor [PATH…] [--json]");
                return ExitCode::from(2);
            }
            _ => paths.push(argument),
        }
    }
    let mut report = paths.is_empty().then(doctor::examine_machine).unwrap_or_default();
    for path in &paths {
        doctor::examine(Path::new(path)).subjects.into_iter().for_each(|subject| report.push(subject));
    }
    if json {
        println!("{}", report.to_json());
    } else {
        println!("{report}");
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
