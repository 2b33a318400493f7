//! `cargo xtask fuzz`: seeded fuzzers, and the threads of a set under `ThreadSanitizer`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tools::{Outcome, Tally, cargo, output_of, root, succeeds};

/// A fuzzer: its name, its package, and what it tries.
type Fuzzer = (&'static str, &'static str, &'static str);

const FUZZERS: &[Fuzzer] = &[
    ("set", "pmemset-core", "operations on a set, some with a failing call, against an interval model"),
    ("cuts", "pmemset-core", "power cuts in programs that flush and fence as they should"),
    ("records", "pmemset-core", "shutdown records from any bytes"),
    ("blocks", "pmemset-core", "lists of bad blocks against one bit per byte"),
    ("texts", "shim-linux", "texts of sysfs"),
    ("tables", "shim-linux", "tables of the device mapper"),
    ("fiemap", "shim-linux", "extents of files and lists of bad sectors"),
    ("nfit", UNIKERNEL, "NVDIMM firmware tables against what was written into them"),
    ("canary", "pmemset-core", "power cuts in programs without some fences: has to fail"),
    ("nfit-canary", UNIKERNEL, "the tables, believing only the last module of a range: has to fail"),
];

/// The unikernel's package, which is a workspace of its own.
const UNIKERNEL: &str = "unikernel";

/// What the names of fuzzers end with that have to fail.
const CANARY: &str = "canary";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The fuzzer, or `short` for all of them, two seconds each, and `threads` for `ThreadSanitizer`; without one, all
    /// are listed.
    name: Option<String>,
    /// The first seed; alone, it is the only one.
    #[arg(long)]
    seed: Option<u64>,
    /// How long to go on with the seeds that follow: 10 where neither is given.
    #[arg(long)]
    seconds: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let Some(name) = &args.name else {
        for (name, _, what) in FUZZERS {
            println!("{name:10}{what}");
        }
        return Ok(true);
    };
    if name == "short" {
        return Ok(short().good());
    }
    if name == "threads" {
        return Ok(thread_sanitizer().failed == 0);
    }
    let fuzzer = FUZZERS.iter().find(|(known, ..)| known == name);
    let fuzzer = fuzzer.ok_or_else(|| format!("there is no fuzzer {name}: `cargo xtask fuzz` lists them"))?;
    succeeds(&mut command(fuzzer, args.seed, args.seconds))
}

fn command(&(name, package, _): &Fuzzer, seed: Option<u64>, seconds: Option<u64>) -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", package]);
    if package == UNIKERNEL {
        command.args(["--locked", "--manifest-path", "examples/unikernel/Cargo.toml", "--example", "fuzz"]);
    }
    if name == "fiemap" {
        // Property tests next to what they test: about 100 cases a second.
        let cases = seconds.unwrap_or(10).saturating_mul(100);
        command.args(["--lib", "extents"]).env("PROPTEST_CASES", cases.to_string());
        if let Some(seed) = seed {
            command.env("PROPTEST_RNG_SEED", seed.to_string());
        }
        return command;
    }
    if package != UNIKERNEL {
        command.args(["--test", "fuzz"]);
    }
    command.args(["--", name]);
    for (option, value) in [("--seed", seed), ("--seconds", seconds)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    command
}

/// Runs every fuzzer for two seconds, always with the same seeds first; the canary has to be caught.
pub(crate) fn short() -> Tally {
    let mut tally = Tally::default();
    for fuzzer in FUZZERS {
        let output = command(fuzzer, Some(1), Some(2)).env("RUST_BACKTRACE", "0").output();
        let name = format!("fuzz {}", fuzzer.0);
        let caught = |text: &[u8]| String::from_utf8_lossy(text).contains("canary: seed ");
        let result = match output {
            Err(error) => Err(error.to_string()),
            Ok(output) if fuzzer.0.ends_with(CANARY) => {
                caught(&output.stdout).then_some(()).ok_or_else(|| "what is wrong was not found".into())
            }
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        };
        tally.check(&name, result);
    }
    tally
}

/// A program with a data race, which `ThreadSanitizer` has to find.
const RACE: &str = "static mut N: u64 = 0;
fn main() {
    let workers: Vec<_> = (0..2).map(|_| std::thread::spawn(|| (0..1000).for_each(|_| unsafe { N += 1 }))).collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}
";

/// Runs the threaded tests of the core under `ThreadSanitizer`, where a nightly compiler is.
pub(crate) fn thread_sanitizer() -> Tally {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let mut tally = Tally::default();
    let name = "threads of a set under ThreadSanitizer";
    let Ok(sysroot) = output_of("rustc", &["+nightly", "--print", "sysroot"]) else {
        tally.skip(name, "no nightly compiler");
        return tally;
    };
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    if !rustlib.join(TARGET).is_dir() {
        tally.skip(name, "no x86-64 Linux");
        return tally;
    }
    // Without its sources the standard library is not instrumented: what it alone orders looks like a race. The tests
    // synchronise with locks and atomics of their own, and the test harness's channel is left out.
    let flags: &[&str] = if rustlib.join("src/rust/library").is_dir() {
        &["-Zsanitizer=thread"]
    } else {
        &["-Zsanitizer=thread", "-Cunsafe-allow-abi-mismatch=sanitizer"]
    };
    let folder = root().join("target/tsan");
    let result = finds_a_race(&folder, flags).and_then(|()| {
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(["+nightly", "test", "--target", TARGET, "--target-dir"]).arg(&folder);
        if flags.len() == 1 {
            command.arg("-Zbuild-std");
        }
        command.args(["--package", "pmemset-core", "--test", "threads", "--", "--test-threads=1"]);
        command.env("TSAN_OPTIONS", format!("suppressions={}", folder.join("suppressions").display()));
        command.env("RUSTFLAGS", flags.join(" ")).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        let output = command.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(text) }
    });
    tally.check(name, result);
    tally
}

/// Fails unless a program with a data race is found out; writes the list of what is not reported.
fn finds_a_race(folder: &Path, flags: &[&str]) -> Result<(), String> {
    let (source, program) = (folder.join("race.rs"), folder.join("race"));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&source, RACE))
        .and_then(|()| fs::write(folder.join("suppressions"), "race:CompletedTest\n"));
    written.map_err(|error| error.to_string())?;
    let mut compiler = Command::new("rustc");
    compiler.args(["+nightly", "--edition", "2021", "-Awarnings", "-Cunsafe-allow-abi-mismatch=sanitizer"]).args(flags);
    let compiled = compiler.arg(&source).arg("-o").arg(&program).env_remove("RUSTUP_TOOLCHAIN").status();
    if !compiled.is_ok_and(|status| status.success()) {
        return Err("the program with a race could not be built".into());
    }
    let output = Command::new(&program).output().map_err(|error| error.to_string())?;
    if String::from_utf8_lossy(&output.stderr).contains("data race") {
        Ok(())
    } else {
        Err("a program with a data race was not found out".into())
    }
}
