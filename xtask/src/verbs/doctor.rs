//! `cargo xtask doctor`: what persistent memory there is, and what a set would get of it.

use std::path::PathBuf;

use crate::support::processes::{cargo, succeeds};
use crate::support::tally::Outcome;

/// Ends with 0 where nothing is worse than a hint, with 1 where there is an error, and with 2 where it was called
/// wrongly. Nothing is changed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, directories, mount points, disks, DAX devices; the whole machine, if none is named.
    paths: Vec<PathBuf>,
    /// One JSON object: see `Report::to_json` in the documentation of `pmemset-linux`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut doctor = cargo();
    doctor.args(["run", "--quiet", "--release", "--package", "hosted", "--bin", "doctor", "--"]);
    // Cargo is run elsewhere than this program.
    let paths = args.paths.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>()?;
    succeeds(doctor.args(paths).args(args.json.then_some("--json")))
}
