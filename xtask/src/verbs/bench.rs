//! `cargo xtask bench`: times, each beside its peers in the same process.

use crate::support::packages;
use crate::support::processes::{cargo, root, succeeds};
use crate::support::progress;
use crate::support::tally::Outcome;
use crate::verbs::c;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Figures by name; all of them, if none is named. A name that is none has them listed.
    figures: Vec<String>,
    /// Fewer and shorter samples, and smaller numbers.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line; nanoseconds for one operation, medians of interleaved samples.
    #[arg(long)]
    json: bool,
}

/// Measures; a run of everything writes `BENCHMARKS.md` and its pictures.
pub(crate) fn run(args: &Args) -> Outcome {
    if let Err(reason) = packages::install(&["libpmem2"]) {
        eprintln!("peer libpmem2: {reason}");
    }
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "pmemset-bench", "--bin", "pmemset-bench", "--"]);
    command.args(args.quick.then_some("--quick")).args(args.json.then_some("--json")).args(&args.figures);
    if args.figures.is_empty() && !args.quick {
        command.arg("--write").arg(root());
    }
    match progress::during("libpmemset for C", c::shared_library) {
        Ok(library) => command.env("PMEMSET_C_LIBRARY", library),
        Err(reason) => {
            eprintln!("the C interface: {reason}");
            &mut command
        }
    };
    // Where there is no persistent memory, the peer is told to take this for it; ours is given a source that says so.
    command.env("PMEM2_FORCE_GRANULARITY", "CACHE_LINE");
    let what = if args.figures.is_empty() { "bench".to_owned() } else { format!("bench {}", args.figures.join(", ")) };
    progress::during(&what, || succeeds(&mut command))
}
