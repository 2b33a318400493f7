//! Every developer command of pmemset, one file per verb.

mod appliance;
mod bare;
mod bench;
mod c;
mod ci;
mod controller;
mod demo;
mod disassembly;
mod foreign;
mod fresh;
mod fuzz;
mod lab;
mod packages;
mod progress;
mod sanitizer;
mod size;
mod stage;
mod targets;
mod test;
mod tools;
mod unikernel;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The developer commands of pmemset")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds libpmemset for C programs and tests it, or installs it.
    C(c::Args),
    /// Maps a set over a file, stores records, and has a second process find them again.
    Demo(demo::Args),
    /// Runs every test; ends with `N passed, N failed, N skipped`.
    Test(test::Args),
    /// Checks all that has to pass before a change lands, the tests among it.
    Ci(ci::Args),
    /// Measures the library beside its peers in the same run.
    Bench(bench::Args),
    /// Boots real kernels with persistent memory and tests the shims there.
    Lab(lab::Args),
    /// Builds the core for every target that it is meant for.
    Targets(targets::Args),
    /// Builds the unikernel, boots it twice, and checks what is left in its memory files.
    Unikernel(unikernel::Args),
    /// Builds the flight recorder, kills it twenty times, and checks what it recovers.
    Appliance(appliance::Args),
    /// Compares code size, memory and stack with the checked-in table.
    Size(size::Args),
    /// Runs a seeded fuzzer.
    Fuzz(fuzz::Args),
    /// Runs the demo and the tests on Debian machines that have just been installed (as root).
    Fresh(fresh::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::C(args) => c::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Targets(args) => targets::run(&args),
        Verb::Unikernel(args) => unikernel::run(&args),
        Verb::Appliance(args) => appliance::run(&args),
        Verb::Size(args) => size::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Fresh(args) => fresh::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_says_what_to_type() {
        let mut cli = <Cli as clap::CommandFactory>::command();
        cli.build();
        for verb in cli.get_subcommands_mut() {
            let (usage, name) = (verb.render_usage().to_string(), verb.get_name().to_owned());
            assert!(usage.starts_with(&format!("Usage: cargo xtask {name}")) || name == "help", "{usage}");
        }
    }
}
