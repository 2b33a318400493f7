//! The library for kernels and firmware in C: built for a target, checked, and installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{WARNINGS, fresh_folder, kernels, source};
use crate::support::packages;
use crate::support::processes::{self, output_of, run as run_command};
use crate::support::tally::Tally;
use crate::support::toolchains::Compiler;

/// Targets that the library is built for, and what the C compiler calls them.
pub(super) const TARGETS: [&str; 3] = ["x86_64-unknown-none", "aarch64-unknown-none-softfloat", "thumbv7m-none-eabi"];
/// What takes objects of every target apart, and puts them together.
pub(super) const TOOLS: [&str; 3] = ["clang", "lld", "llvm"];
pub(super) const ARCHIVE: &str = "libpmemset_port.a";
/// What the library wants of the program, and what each target's own support library has besides.
const WANTED: [&str; 4] = ["memcmp", "memcpy", "memmove", "memset"];

/// The library for one target.
pub(super) struct Port {
    pub(super) archive: PathBuf,
    /// Where it is put together, and programs on it.
    pub(super) folder: PathBuf,
}

impl Port {
    /// Builds it; the reason that it cannot be is the outer error.
    pub(super) fn build(target: &'static str) -> Result<Result<Self, String>, String> {
        let compiler = Compiler::with(target, &TOOLS)?;
        let mut cargo = compiler.cargo(&source(), "build", "core");
        cargo.args(["--release", "--quiet", "--locked", "--no-default-features", "--features", "port"]);
        if target.starts_with("thumb") {
            // There, room is what is short.
            cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s");
        }
        let built = run_command(&mut cargo);
        Ok(built.and_then(|_| Self::from(&compiler.release_program("libpmemset.a"), target)))
    }

    /// Builds it for this machine, as a program that tests it is.
    pub(super) fn build_here() -> Result<Self, String> {
        let folder = super::folder().join("port-here");
        let mut cargo = processes::cargo();
        cargo.current_dir(source()).args(["build", "--release", "--quiet", "--locked", "--no-default-features"]);
        run_command(cargo.args(["--features", "port", "--target-dir"]).arg(&folder))?;
        Self::from(&folder.join("release/libpmemset.a"), "here")
    }

    /// Makes one object of what cargo has built, so that what is global can be chosen.
    fn from(built: &Path, target: &str) -> Result<Self, String> {
        let folder = fresh_folder(&format!("port-{target}"))?;
        run_command(Command::new("llvm-ar").current_dir(&folder).arg("x").arg(built))?;
        let members = fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten();
        let members: Vec<PathBuf> = members.map(|entry| entry.path()).collect();
        let ours =
            |path: &&PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"pmemset-"));
        // The compiler's own support library has these, too: the program's are better, and one of each is enough.
        let support = folder.join("support.a");
        let others: Vec<&PathBuf> = members.iter().filter(|path| !ours(path)).collect();
        if !others.is_empty() {
            run_command(Command::new("llvm-ar").arg("rcs").arg(&support).args(others))?;
            let mut objcopy = Command::new("llvm-objcopy");
            for name in WANTED {
                objcopy.arg(format!("--redefine-sym={name}=pmemset_spare_{name}"));
            }
            run_command(objcopy.arg(&support))?;
        }
        let whole = folder.join("whole.o");
        let mut lld = Command::new("ld.lld");
        lld.arg("-r").args(members.iter().filter(ours)).arg("-o").arg(&whole);
        run_command(if support.exists() { lld.arg(&support) } else { &mut lld })?;
        let object = folder.join("pmemset_port.o");
        let mut objcopy = Command::new("llvm-objcopy");
        objcopy.args(["--strip-debug", "--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
        for name in names()? {
            objcopy.arg(format!("--keep-global-symbol={name}"));
        }
        run_command(objcopy.arg(&whole).arg(&object))?;
        let archive = folder.join(ARCHIVE);
        run_command(Command::new("llvm-ar").arg("rcs").arg(&archive).arg(&object))?;
        Ok(Self { archive, folder })
    }
}

/// Returns the names that the library exports, one a line in a list that is checked in.
fn names() -> Result<Vec<String>, String> {
    let path = source().join("port.txt");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.lines().filter(|line| line.starts_with("pmemset_")).map(str::to_owned).collect())
}

/// Installs the library for `target` and the headers below `prefix`.
pub(super) fn install(target: &'static str, prefix: &Path) -> Result<(), String> {
    let port = Port::build(target)??;
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let work = || {
        fs::create_dir_all(&include)?;
        fs::create_dir_all(&lib)?;
        for header in ["libpmemset.h", "pmemset_port.h"] {
            fs::copy(source().join("include").join(header), include.join(header))?;
        }
        fs::copy(&port.archive, lib.join(ARCHIVE)).map(drop)
    };
    work().map_err(|error: std::io::Error| format!("{}: {error}", prefix.display()))
}

/// Builds the library for every target, and runs C programs on it.
pub(super) fn check(tally: &mut Tally) {
    match packages::install(&TOOLS) {
        Err(reason) => tally.skip("the library for kernels, on this machine", &reason),
        Ok(()) => tally.run("the library for kernels keeps its duties on this machine", here),
    }
    for target in TARGETS {
        let name = format!("the library for {target} wants four functions and exports its names");
        match Port::build(target) {
            Err(reason) => tally.skip(&name, &reason),
            Ok(Err(reason)) => tally.check(&name, Err(reason)),
            Ok(Ok(port)) => {
                tally.run(&name, || symbols(&port.archive));
                kernels::check(tally, target, &port);
            }
        }
    }
}

/// Compares what the library has and wants with the lists.
fn symbols(archive: &Path) -> Result<(), String> {
    let archive = archive.to_string_lossy();
    let table = output_of("llvm-nm", &["-u", &*archive])?;
    let mut wanted: Vec<&str> = table.lines().filter_map(|line| line.trim().strip_prefix("U ")).collect();
    wanted.retain(|name| !WANTED.contains(name) && *name != "pmemset_port_panic");
    if !wanted.is_empty() {
        return Err(format!("not on the list: {wanted:?}"));
    }
    let table = output_of("llvm-nm", &["-g", "--defined-only", &*archive])?;
    let mut found: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    found.sort_unstable();
    let mut names = names()?;
    names.sort();
    if found != names { Err(format!("it exports {found:?}")) } else { Ok(()) }
}

/// Runs the program that has ordinary memory for persistent memory, with every access checked.
fn here() -> Result<(), String> {
    let port = Port::build_here()?;
    let program = port.folder.join("port");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-g", "-pthread", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    cc.args(WARNINGS).arg("-I").arg(source().join("include")).arg(source().join("tests/port/host.c"));
    run_command(cc.arg(&port.archive).arg("-o").arg(&program))?;
    super::cases(Command::new(program), &fresh_folder("port")?)
}
