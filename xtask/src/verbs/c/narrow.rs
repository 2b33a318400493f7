//! The library and its C programs with 32-bit addresses, which x86-64 Linux runs as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::{cases, fresh_folder};
use super::{PROGRAMS, WARNINGS, source};
use crate::support::processes::run as run_command;
use crate::support::tally::Tally;
use crate::support::toolchains::Compiler;

const TARGET: &str = "i686-unknown-linux-gnu";
const PACKAGES: [&str; 2] = ["gcc-i686-linux-gnu", "libc6-dev-i386-cross"];

/// Builds the static library for i686, and runs the programs on it.
pub(super) fn check(tally: &mut Tally) {
    let name = "libpmemset for i686 builds";
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return tally.skip(name, "this is not x86-64 Linux");
    }
    let library = match Compiler::with(TARGET, &PACKAGES) {
        Err(reason) => return tally.skip(name, &reason),
        Ok(compiler) => {
            let mut cargo = compiler.cargo(&source(), "build", "core,alloc");
            run_command(cargo.args(["--release", "--quiet", "--locked"]))
                .map(|_| compiler.release_program("libpmemset.a"))
        }
    };
    tally.check(name, library.as_ref().map(drop).map_err(Clone::clone));
    let Ok(library) = library else { return };
    for program in PROGRAMS {
        tally.run(&format!("{program}.c as a program for i686"), || {
            let files = fresh_folder(&format!("{program}-i686"))?;
            let built = compile(program, &library, &files)?;
            cases(Command::new(built), &files)
        });
    }
}

/// Builds a program with all that it needs: the machine need not have the libraries.
fn compile(program: &str, library: &Path, files: &Path) -> Result<PathBuf, String> {
    let built = files.join(program);
    let mut cc = Command::new("i686-linux-gnu-gcc");
    cc.args(["-std=gnu99", "-O1", "-pthread", "-static"]).args(WARNINGS).arg("-I").arg(source().join("include"));
    cc.arg(source().join(format!("tests/{program}.c"))).arg(source().join("src/hosted/glue.c"));
    run_command(cc.arg(library).arg("-o").arg(&built))?;
    Ok(built)
}
