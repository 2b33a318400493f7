//! `cargo xtask cluster`: the replicated store as three processes that are harmed, and its tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::counting::counted_by;
use crate::support::processes::{self, root, run as run_command};
use crate::support::progress;
use crate::support::readme;
use crate::support::tally::{Outcome, Tally, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the nodes are harmed.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Does the same things to them in the same order; when they fall is another matter.
    #[arg(long)]
    seed: Option<u64>,
    /// Draws how long a write takes beside the same store on `fdatasync` to this file (SVG), and harms nobody.
    #[arg(long, conflicts_with = "seed")]
    picture: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if let Some(path) = &args.picture {
        return picture(path);
    }
    let mut tally = Tally::default();
    cluster(&mut tally, args);
    tally.outcome()
}

/// The tests of the store, openraft's suite among them, and a cluster for some minutes.
pub(crate) fn check(minutes: f64) -> Tally {
    let mut tally = counted_by(cargo("test").args(["--quiet", "--no-fail-fast", "--", "--show-output"]));
    cluster(&mut tally, &Args { minutes, seed: None, picture: None });
    tally
}

fn cargo(verb: &str) -> Command {
    let mut cargo = processes::cargo();
    cargo.current_dir(root().join("examples/raft")).args([verb, "--locked", "--target-dir"]).arg(target());
    cargo
}

fn picture(path: &Path) -> Outcome {
    run_command(cargo("build").args(["--quiet", "--release", "--bins", "--features", "picture"]))?;
    let mut program = Command::new(target().join("release/cluster"));
    // Beside what was built, on a disk.
    program.arg("--picture").arg(path).arg("--folder").arg(target().join("latency"));
    progress::during("writes to three clusters", || processes::succeeds(&mut program))
}

fn target() -> PathBuf {
    root().join("target/raft")
}

/// Counts what the program says of a cluster.
fn cluster(tally: &mut Tally, args: &Args) {
    if !cfg!(target_os = "linux") {
        return tally.skip("cluster", "its nodes are programs for Linux");
    }
    if let Err(reason) = run_command(cargo("build").args(["--quiet", "--bins"])) {
        return tally.check("the replicated store builds", Err(reason));
    }
    let mut program = Command::new(target().join("debug/cluster"));
    program.arg("--minutes").arg(args.minutes.to_string());
    if let Some(seed) = args.seed {
        program.arg("--seed").arg(seed.to_string());
    }
    let before = tally.failed;
    let result = progress::during("cluster", || follow(&mut program, tally));
    if let Err(reason) = result
        && tally.failed == before
    {
        tally.check("cluster", Err(reason));
    }
}

/// Runs the program, counts its lines, and returns whether it has ended well, with something checked.
fn follow(program: &mut Command, tally: &mut Tally) -> Result<(), String> {
    let mut child = program.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let (before, mut said) = (tally.passed, Vec::new());
    let lines = child.stdout.take().map(|output| BufReader::new(output).lines());
    for line in lines.into_iter().flatten().map_while(Result::ok) {
        match line.split_whitespace().next() {
            Some("ok") => tally.passed += 1,
            Some("FAILED") => tally.failed += 1,
            Some("skipped") => tally.skipped += 1,
            _ => {}
        }
        say(&line);
        said.push(line);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match status.success() && tally.passed > before {
        true => readme::compare("raft", "cargo xtask cluster", &said),
        false => Err(format!("{status}, {} checks", tally.passed - before)),
    }
}
