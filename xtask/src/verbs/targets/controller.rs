//! The programs for a Cortex-M controller: they do what they say, and their log can be read.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::support::controller::{TARGET, boot, chip};
use crate::support::processes::{root, run as run_command};
use crate::support::programs::decode;
use crate::support::readme;
use crate::support::tally::Tally;
use crate::support::toolchains::Compiler;

/// Boots two programs: memory at a fixed address, and a handler that uses the set in between, which links only if no
/// panic can be reached; and the contract suite, which is a program of its own. Then the first one again, with a log.
pub(crate) fn check(tally: &mut Tally) {
    type Run = fn(&Path) -> Result<(), String>;
    let shown: Run = |program| readme::compare("cortex-m", "cortex-m-fram", &boot(program)?);
    let run: Run = |program| boot(program).map(drop);
    let programs: [(&str, &str, &[&str], Run); 3] = [
        ("a controller's set works, also from an interrupt handler", "cortex-m-fram", &[], shown),
        ("a controller keeps every duty of a port", "contract", &["--features", "contract"], run),
        ("a controller's log is decoded", "cortex-m-fram", &["--features", "defmt"], log),
    ];
    let compiler = Compiler::with(TARGET, &["qemu-system-arm"]);
    for (name, program, features, run) in programs {
        match &compiler {
            Err(reason) => tally.skip(name, reason),
            Ok(compiler) => {
                let mut cargo = compiler.cargo(&root().join("examples/cortex-m"), "build", "core");
                cargo.args(["--release", "--quiet", "--locked", "--bin", program]).args(features);
                tally.run(name, || run_command(&mut cargo).and_then(|_| run(&compiler.release_program(program))));
            }
        }
    }
}

/// Runs a program whose words are defmt's frames, and decodes them.
fn log(program: &Path) -> Result<(), String> {
    let said = chip(program)?.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let frames = program.with_extension("frames");
    fs::write(&frames, said.stdout).map_err(|error| error.to_string())?;
    let decoded = decode(program, &frames)?;
    for wanted in ["mapped 0x20030000..0x20038000", "the handler used the set in between", "good"] {
        if !decoded.contains(wanted) {
            return Err(format!("nothing about `{wanted}`, {}:\n{decoded}", said.status));
        }
    }
    said.status.success().then_some(()).ok_or_else(|| format!("{}", said.status))
}
