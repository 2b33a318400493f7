//! `cargo xtask fuzz`: seeded fuzzers, and the same for cargo-fuzz.

mod threads;

pub(crate) use self::threads::threads;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::counting::FEATURES;
use crate::support::processes::{cargo, find_program, root, run as run_quietly};
use crate::support::progress;
use crate::support::tally::{Outcome, Tally};

/// A fuzzer: its name, and what it tries.
type Fuzzer = (&'static str, &'static str);

const FUZZERS: &[Fuzzer] = &[
    ("set", "operations on a set, some with a failing call, against an interval model"),
    ("cuts", "power cuts in programs that flush and fence as they should"),
    ("records", "shutdown records from any bytes"),
    ("blocks", "lists of bad blocks against one bit per byte"),
    ("texts", "texts of sysfs"),
    ("proc", "texts of /proc/self and of settings"),
    ("tables", "tables of the device mapper"),
    ("fiemap", "extents of files and lists of bad sectors"),
    ("doctor", "what the doctor reads: lists of mounts, and whole machines with damaged attributes"),
    ("nfit", "NVDIMM firmware tables against what was written into them"),
    ("acpi", "memory with ACPI's root and tables in it, and what they name mapped"),
    ("virtio", "virtio-pmem disks whose configuration and registers lie"),
    ("ledger", "shutdown records in a ledger whose bytes are damaged"),
    ("log", "logs whose image is damaged, cut short, or older in one place"),
    ("canary", "power cuts in programs without some fences: has to fail"),
    ("nfit-canary", "the tables, believing only the last module of a range: has to fail"),
];

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
        for (name, what) in FUZZERS {
            println!("{name:14}{what}");
        }
        return Ok(true);
    };
    if name == "short" {
        return Ok(short().good());
    }
    if name == "threads" {
        return Ok(threads().failed == 0);
    }
    let fuzzer = FUZZERS.iter().find(|(known, _)| known == name);
    let fuzzer = fuzzer.ok_or_else(|| format!("there is no fuzzer {name}: `cargo xtask fuzz` lists them"))?;
    watched(&mut command(fuzzer, args.seed, args.seconds))
}

/// Runs a fuzzer that ends when this program does, also by Ctrl-C, and says which seed it has reached.
fn watched(command: &mut Command) -> Outcome {
    // In a group of its own the terminal's signal does not reach it; that its input ends does.
    let started = command.arg("--watched").process_group(0).stdin(Stdio::piped()).spawn();
    let mut fuzzer = started.map_err(|error| format!("cargo: {error}"))?;
    let input = fuzzer.stdin.take();
    let status = fuzzer.wait()?;
    drop(input);
    Ok(status.success())
}

fn command(&(name, _): &Fuzzer, seed: Option<u64>, seconds: Option<u64>) -> Command {
    let mut command = cargo();
    command.args(["run", "--package", "testkit", "--features", "fuzzers", "--bin", "fuzz", "--", name]);
    for (option, value) in [("--seed", seed), ("--seconds", seconds)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    command
}

/// Builds the fuzzers with what the workspace is built of, and returns their program.
fn program() -> Result<PathBuf, String> {
    let mut build = cargo();
    build.args(["build", "--locked", "--workspace", "--features", &format!("{FEATURES},testkit/fuzzers")]);
    let said = run_quietly(build.args(["--bin", "fuzz", "--message-format=json"]))?;
    let program = said.lines().rev().find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    program.map(PathBuf::from).ok_or_else(|| "cargo names no program".into())
}

/// Runs every fuzzer for two seconds, always with the same seeds first; the canary has to be caught.
pub(crate) fn short() -> Tally {
    let mut tally = Tally::default();
    let program = match progress::during("building the fuzzers", program) {
        Ok(program) => program,
        Err(reason) => {
            tally.check("the fuzzers build", Err(reason));
            return tally;
        }
    };
    for (fuzzer, _) in FUZZERS {
        let name = format!("fuzz {fuzzer}");
        let mut command = Command::new(&program);
        command.args([fuzzer, "--seed", "1", "--seconds", "2"]).current_dir(root());
        let output = progress::during(&name, || command.env("RUST_BACKTRACE", "0").output());
        let caught = |text: &[u8]| String::from_utf8_lossy(text).contains("canary: seed ");
        let result = match output {
            Err(error) => Err(error.to_string()),
            Ok(output) if fuzzer.ends_with(CANARY) => {
                caught(&output.stdout).then_some(()).ok_or_else(|| "what is wrong was not found".into())
            }
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
        };
        tally.check(&name, result);
    }
    tally
}

/// Checks that the targets of cargo-fuzz compile, and where it is installed, that each finds nothing in two seconds.
pub(crate) fn guided() -> Tally {
    const FOLDER: &str = "xtask/fuzz";
    let mut tally = Tally::default();
    let mut check = cargo();
    check.args(["check", "--quiet", "--locked", "--manifest-path", "xtask/fuzz/Cargo.toml"]);
    // Nothing is linked: libFuzzer need not be built.
    check.args(["--target-dir", "target/fuzz"]).env("CUSTOM_LIBFUZZER_PATH", "/none/libfuzzer.a");
    tally.check("targets of cargo-fuzz compile", run_quietly(&mut check).map(drop));
    if find_program("cargo-fuzz").is_none() {
        tally.skip("targets of cargo-fuzz find nothing", "no cargo-fuzz (cargo install cargo-fuzz)");
        return tally;
    }
    for (name, _) in
        FUZZERS.iter().filter(|fuzzer| root().join(format!("{FOLDER}/fuzz_targets/{}.rs", fuzzer.0)).is_file())
    {
        let mut command = cargo();
        // A stable compiler knows the options that cargo-fuzz gives to nightly ones.
        command
            .args(["fuzz", "run", "--fuzz-dir", FOLDER, name, "--", "-max_total_time=2"])
            .env("RUSTC_BOOTSTRAP", "1");
        tally.check(&format!("cargo fuzz run {name}"), run_quietly(&mut command).map(drop));
    }
    tally
}
