//! `cargo xtask fuzz`: seeded fuzzers, and the same for cargo-fuzz.

mod threads;

pub(crate) use self::threads::threads;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::counting::FEATURES;
use crate::support::processes::{cargo, find_program, root, run as run_quietly};
use crate::support::progress;
use crate::support::tally::{Outcome, Tally};

/// A fuzzer: its name, its package, and what it tries.
type Fuzzer = (&'static str, &'static str, &'static str);

const FUZZERS: &[Fuzzer] = &[
    ("set", "pmemset-core", "operations on a set, some with a failing call, against an interval model"),
    ("cuts", "pmemset-core", "power cuts in programs that flush and fence as they should"),
    ("records", "pmemset-core", "shutdown records from any bytes"),
    ("blocks", "pmemset-core", "lists of bad blocks against one bit per byte"),
    ("texts", "pmemset-linux", "texts of sysfs"),
    ("tables", "pmemset-linux", "tables of the device mapper"),
    ("fiemap", "pmemset-linux", "extents of files and lists of bad sectors"),
    ("nfit", "bare", "NVDIMM firmware tables against what was written into them"),
    ("acpi", "bare", "memory with ACPI's root and tables in it, and what they name mapped"),
    ("virtio", "bare", "virtio-pmem disks whose configuration and registers lie"),
    ("canary", "pmemset-core", "power cuts in programs without some fences: has to fail"),
    ("nfit-canary", "bare", "the tables, believing only the last module of a range: has to fail"),
];

/// Packages whose folder has another name.
const PACKAGES: [(&str, &str); 2] = [("pmemset-linux", "shim-linux"), ("bare", "examples/bare")];

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
    let fuzzer = FUZZERS.iter().find(|(known, ..)| known == name);
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

fn command(&(name, package, _): &Fuzzer, seed: Option<u64>, seconds: Option<u64>) -> Command {
    let mut command = cargo();
    command.args(["test", "--package", package, "--test", "fuzz", "--", name]);
    for (option, value) in [("--seed", seed), ("--seconds", seconds)] {
        if let Some(value) = value {
            command.args([option, &value.to_string()]);
        }
    }
    command
}

/// Builds the fuzzers with what the tests of the workspace are built of, and returns each package's program.
fn programs() -> Result<Vec<(String, PathBuf)>, String> {
    let mut build = cargo();
    build.args(["test", "--no-run", "--locked", "--workspace", "--features", FEATURES, "--test", "fuzz"]);
    let said = run_quietly(build.arg("--message-format=json"))?;
    let value = |line: &str, key: &str| {
        let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let found =
        said.lines().filter_map(|line| Some((value(line, "manifest_path")?, value(line, "executable")?.into())));
    Ok(found.collect())
}

/// Runs every fuzzer for two seconds, always with the same seeds first; the canary has to be caught.
pub(crate) fn short() -> Tally {
    let mut tally = Tally::default();
    let programs = match progress::during("building the fuzzers", programs) {
        Ok(programs) => programs,
        Err(reason) => {
            tally.check("the fuzzers build", Err(reason));
            return tally;
        }
    };
    for (fuzzer, package, _) in FUZZERS {
        let name = format!("fuzz {fuzzer}");
        let folder = PACKAGES.iter().find(|known| known.0 == *package).map_or(*package, |known| known.1);
        let manifest = root().join(folder).join("Cargo.toml");
        let Some((_, program)) = programs.iter().find(|(path, _)| manifest == Path::new(path)) else {
            tally.check(&name, Err(format!("{package} has no fuzzers")));
            continue;
        };
        let mut command = Command::new(program);
        command.args([fuzzer, "--seed", "1", "--seconds", "2"]).current_dir(root().join(folder));
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
    for (name, ..) in
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
