//! `cargo xtask fuzz`: seeded fuzzers, and the threads of a set under `ThreadSanitizer`.

use std::process::Command;

use crate::tools::{Outcome, Tally, cargo, output_of, succeeds};

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
    ("canary", "pmemset-core", "power cuts in programs without some fences: has to fail"),
];

const CANARY: &str = "canary";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The fuzzer; without one, all are listed.
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
    let fuzzer = FUZZERS.iter().find(|(known, ..)| known == name);
    let fuzzer = fuzzer.ok_or_else(|| format!("there is no fuzzer {name}: `cargo xtask fuzz` lists them"))?;
    succeeds(&mut command(fuzzer, args.seed, args.seconds))
}

fn command(&(name, package, _): &Fuzzer, seed: Option<u64>, seconds: Option<u64>) -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", package]);
    if name == "fiemap" {
        // Property tests next to what they test: about 100 cases a second.
        let cases = seconds.unwrap_or(10).saturating_mul(100);
        command.args(["--lib", "extents"]).env("PROPTEST_CASES", cases.to_string());
        if let Some(seed) = seed {
            command.env("PROPTEST_RNG_SEED", seed.to_string());
        }
        return command;
    }
    command.args(["--test", "fuzz", "--", name]);
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
            Ok(output) if fuzzer.0 == CANARY => {
                if caught(&output.stdout) {
                    Ok(())
                } else {
                    Err("the missing fence was not found".into())
                }
            }
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        };
        tally.check(&name, result);
    }
    tally
}

/// Runs the threaded tests of the core under `ThreadSanitizer`, where a nightly compiler and its sources are.
pub(crate) fn thread_sanitizer() -> Tally {
    let mut tally = Tally::default();
    let name = "threads under ThreadSanitizer";
    let Ok(sysroot) = output_of("rustc", &["+nightly", "--print", "sysroot"]) else {
        tally.skip(name, "no nightly compiler");
        return tally;
    };
    let sources = std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
    let sources_are_there = sources.is_file();
    let target = "x86_64-unknown-linux-gnu";
    let mut command = Command::new("cargo");
    command.current_dir(crate::tools::root()).args([
        "+nightly",
        "test",
        "--target",
        target,
        "--target-dir",
        "target/tsan",
    ]);
    let flags = if sources_are_there {
        command.arg("-Zbuild-std");
        "-Zsanitizer=thread"
    } else {
        // The standard library is not instrumented then: what only it orders looks like a race, so that the program
        // synchronises its threads with atomics and locks of its own.
        "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
    };
    command.args(["--package", "pmemset-core", "--test", "threads", "--", "--test-threads=1"]);
    let output = command.env("RUSTFLAGS", flags).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").output();
    let result = match output {
        Err(error) => Err(error.to_string()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
    };
    tally.check(name, result);
    tally
}
