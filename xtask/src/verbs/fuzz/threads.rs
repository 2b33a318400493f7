//! The threads of a set, readers beside writers, and the lock of Linux, under `ThreadSanitizer`, standard library and
//! all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::processes::{self, output_of, root};
use crate::support::tally::Tally;
use crate::support::toolchains::Sources;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A program with a data race, which `ThreadSanitizer` has to find.
const RACE: &str = "static mut N: u64 = 0;
fn main() {
    let workers: Vec<_> = (0..2).map(|_| std::thread::spawn(|| (0..1000).for_each(|_| unsafe { N += 1 }))).collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}
";

/// What runs: arguments of `cargo test`.
const PROGRAMS: [&[&str]; 3] = [
    &["--package", "pmemset-core", "--test", "threads"],
    &["--package", "pmemset-linux", "--lib", "lock::"],
    &["--package", "pmemset-linux", "--test", "beside"],
];

/// Runs the threaded tests of the core and of the shim's lock under `ThreadSanitizer`.
///
/// The standard library has to be compiled anew for this, by a compiler that has its sources; the sanitizer's runtime
/// library comes with rustup's. Neither has to be a nightly one.
pub(crate) fn threads() -> Tally {
    let mut tally = Tally::default();
    let name = |program: &[&str]| format!("{} under ThreadSanitizer", program.join(" "));
    let (runtime, sources) = match runtime().and_then(|runtime| Ok((runtime, Sources::find()?))) {
        Ok(both) => both,
        Err(reason) => {
            PROGRAMS.iter().for_each(|program| tally.skip(&name(program), &reason));
            return tally;
        }
    };
    let folder = root().join("target/tsan");
    let flags = flags(&runtime);
    let mixed = mixed(&sources);
    tally.check("a program with a race is found out", finds_a_race(&folder, sources.rustc().args(&flags).args(mixed)));
    for program in PROGRAMS {
        let mut command = sources.cargo();
        command.current_dir(root()).args(["test", "--quiet", "--locked", "-Zbuild-std", "--target", TARGET]);
        command.arg("--target-dir").arg(&folder).args(program).args(["--", "--test-threads=1"]);
        command.env("RUSTFLAGS", flags.join(" ")).env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
        let ran = processes::run(&mut command).and_then(|said| {
            if said.contains("running 0 tests") { Err("there is no such test".into()) } else { Ok(()) }
        });
        tally.check(&name(program), ran);
    }
    tally
}

/// Returns the sanitizer's runtime library, which rustup has next to the standard library.
fn runtime() -> Result<PathBuf, String> {
    let folder = output_of("rustc", &["--print", "target-libdir", "--target", TARGET])?;
    let files = fs::read_dir(folder.trim()).map_err(|error| format!("{TARGET}: {error}"))?;
    let mut paths = files.flatten().map(|file| file.path());
    let found = paths.find(|path| path.to_string_lossy().ends_with("_rt.tsan.a"));
    found.ok_or_else(|| "the compiler comes without ThreadSanitizer's runtime library (rustup's has it)".into())
}

/// Returns the compiler's flags; the runtime has to come first of all libraries.
fn flags(runtime: &Path) -> Vec<String> {
    let link = [&format!("-Wl,--whole-archive,{},--no-whole-archive", runtime.display()), "-Wl,--export-dynamic"];
    let libraries = ["-lm", "-lrt", "-ldl", "-lpthread"].map(|library| format!("-Clink-arg={library}"));
    let sanitizer = ["-Zsanitizer=thread", "-Zexternal-clangrt"].map(String::from);
    sanitizer.into_iter().chain(link.map(|piece| format!("-Zpre-link-arg={piece}"))).chain(libraries).collect()
}

/// Returns the word that lets instrumented code meet a standard library that is not. Older compilers know none, and
/// need none.
fn mixed(sources: &Sources) -> Option<&'static str> {
    let word = "-Cunsafe-allow-abi-mismatch=sanitizer";
    let output = sources.rustc().args([word, "--print", "cfg"]).output();
    output.is_ok_and(|output| output.status.success()).then_some(word)
}

/// Fails unless a program with a data race is found out.
fn finds_a_race(folder: &Path, compiler: &mut Command) -> Result<(), String> {
    let (source, program) = (folder.join("race.rs"), folder.join("race"));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&source, RACE));
    written.map_err(|error| error.to_string())?;
    // Here the standard library is the one that there is.
    compiler.args(["--edition", "2021", "-Awarnings"]);
    processes::run(compiler.arg(&source).arg("-o").arg(&program))?;
    let output = Command::new(&program).output().map_err(|error| error.to_string())?;
    if String::from_utf8_lossy(&output.stderr).contains("data race") {
        Ok(())
    } else {
        Err("a program with a data race was not found out".into())
    }
}
