//! `cargo xtask targets`: the core and the shims for every target that they are meant for.

use std::path::Path;
use std::process::Command;

use crate::bare::{Compiler, run as run_command};
use crate::foreign;
use crate::tools::{Outcome, Tally, root};
use crate::vm::Vm;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Everything that makes sense on a processor with compare-and-swap.
const FULL: &str = "spin,critical-section,defmt";
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

const CONTROLLER: &str = "thumbv7m-none-eabi";

pub(crate) fn run(_args: &Args) -> Outcome {
    let tally = check();
    println!("\n{tally}");
    Ok(tally.good())
}

/// Builds everything, and runs what can be run.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    for (target, features) in CORE {
        let name = format!("core for {target} with {features}");
        build(&mut tally, &name, target, &["--package", "pmemset-core", "--features", features]);
    }
    for target in LINUX {
        let packages = ["--package", "shim-linux", "--package", "shim-devdax"];
        build(&mut tally, &format!("shims for {target}"), target, &packages);
    }
    controller(&mut tally);
    foreign::check(&mut tally);
    tally
}

/// Boots two Cortex-M programs: memory at a fixed address, and a handler that uses the set in between, which links only
/// if no panic can be reached; and the contract suite, which is a program of its own.
fn controller(tally: &mut Tally) {
    let programs: [(&str, &str, &[&str]); 2] = [
        ("a controller's set works, also from an interrupt handler", "cortex-m-fram", &[]),
        ("a controller keeps every duty of a port", "contract", &["--features", "contract"]),
    ];
    let compiler = Compiler::with(CONTROLLER, &["qemu-system-arm"]);
    for (name, program, features) in programs {
        match &compiler {
            Err(reason) => tally.skip(name, reason),
            Ok(compiler) => {
                let mut cargo = compiler.cargo(&root().join("examples/cortex-m"), "build", "core");
                cargo.args(["--release", "--quiet", "--locked", "--bin", program]).args(features);
                tally.run(name, || {
                    run_command(&mut cargo).and_then(|_| boot(&compiler.release_program(program))).map(drop)
                });
            }
        }
    }
}

/// Runs a controller program, and returns what it said.
pub(crate) fn boot(program: &Path) -> Result<Vec<String>, String> {
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args(["-M", "mps2-an385", "-cpu", "cortex-m3", "-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-semihosting-config", "enable=on,target=native,chardev=text", "-chardev", "stdio,id=text", "-kernel"]);
    let (status, lines) = Vm::start(qemu.arg(program))?.finish()?;
    if status == Some(0) { Ok(lines) } else { Err(format!("{status:?}:\n{}", lines.join("\n"))) }
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
