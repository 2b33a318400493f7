//! The glue to Unikraft, compiled and run over areas of virtual memory that behave as Unikraft's.

use std::process::Command;

use super::port::{Port, TOOLS};
use super::{WARNINGS, cases, fresh_folder, source};
use crate::support::packages;
use crate::support::processes::{root, run as run_command};
use crate::support::tally::Tally;

pub(super) fn check(tally: &mut Tally) {
    let name = "the glue to Unikraft keeps every duty over a fake of its calls";
    match packages::install(&TOOLS) {
        Err(reason) => tally.skip(name, &reason),
        Ok(()) => tally.run(name, glue),
    }
}

fn glue() -> Result<(), String> {
    let (port, folder) = (Port::build_here()?, root().join("examples/unikraft"));
    let program = fresh_folder("unikraft")?.join("glue");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).args(WARNINGS);
    for include in [folder.join("include"), folder.join("tests"), source().join("include")] {
        cc.arg("-I").arg(include);
    }
    cc.args(["pmemset_unikraft.c", "tests/fake.c", "tests/glue.c"].map(|file| folder.join(file)));
    run_command(cc.arg(&port.archive).arg("-o").arg(&program))?;
    cases(Command::new(program), &fresh_folder("unikraft-files")?)
}
