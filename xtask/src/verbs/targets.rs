//! `cargo xtask targets`: the core and the shims for every target that they are meant for.

mod controller;
mod foreign;

use crate::support::processes::{root, run as run_command};
use crate::support::tally::{Outcome, Tally};
use crate::support::toolchains::Compiler;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Everything that makes sense on a processor with compare-and-swap.
const FULL: &str = "spin-lock,critical-section,defmt";
/// What is left without: no lock that spins.
const NO_SWAP: &str = "critical-section,defmt";

/// Bare-metal targets and the features that the core has there.
const CORE: [(&str, &str); 5] = [
    ("x86_64-unknown-none", FULL),
    ("aarch64-unknown-none", FULL),
    ("riscv64gc-unknown-none-elf", FULL),
    ("thumbv7em-none-eabihf", FULL),
    ("thumbv6m-none-eabi", NO_SWAP),
];

/// Linux targets that the shims are built for, besides that of this machine.
const LINUX: [&str; 2] = ["aarch64-unknown-linux-gnu", "i686-unknown-linux-gnu"];

pub(crate) fn run(_args: &Args) -> Outcome {
    check().outcome()
}

/// Builds everything, and runs what can be run.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    for (target, features) in CORE {
        let name = format!("core for {target} with {features}");
        build(&mut tally, &name, target, &["--package", "pmemset-core", "--features", features]);
    }
    for target in LINUX {
        let packages = ["--package", "pmemset-linux", "--package", "pmemset-devdax", "--no-default-features"];
        build(&mut tally, &format!("shims for {target}"), target, &packages);
    }
    controller::check(&mut tally);
    foreign::check(&mut tally);
    tally
}

fn build(tally: &mut Tally, name: &str, target: &'static str, arguments: &[&str]) {
    match Compiler::find(target) {
        Ok(compiler) => {
            let mut cargo = compiler.cargo(&root(), "build", "core");
            cargo.args(["--quiet", "--locked"]).args(arguments);
            tally.run(name, || run_command(&mut cargo).map(drop));
        }
        Err(reason) => tally.skip(name, &reason),
    }
}
