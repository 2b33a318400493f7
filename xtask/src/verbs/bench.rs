//! `cargo xtask bench`: benchmarks, each beside its peers in the same process.

use crate::support::packages;
use crate::support::processes;
use crate::support::progress;
use crate::support::tally::Outcome;

/// What is measured: programs of shim-linux, in `shim-linux/benches`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Bench {
    /// Mapping, removing and looking up parts, beside plain mmap.
    Map,
    /// Durable copies, beside libpmem2 and memcpy.
    Copy,
    /// Persisting, beside a hand-written loop and libpmem2.
    Persist,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// All of them, if none is named.
    benches: Vec<Bench>,
    /// Fewer and shorter samples.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line; nanoseconds a call, medians of interleaved samples.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let all = [Bench::Map, Bench::Copy, Bench::Persist];
    let benches = if args.benches.is_empty() { &all[..] } else { &args.benches };
    if benches.iter().any(|bench| !matches!(bench, Bench::Map))
        && let Err(reason) = packages::install(&["libpmem2"])
    {
        eprintln!("peer libpmem2: {reason}");
    }
    for bench in benches {
        let name = match bench {
            Bench::Map => "map",
            Bench::Copy => "copy",
            Bench::Persist => "persist",
        };
        let mut command = processes::cargo();
        command.args(["bench", "--package", "pmemset-linux", "--bench", name, "--"]);
        command.args(args.quick.then_some("--quick")).args(args.json.then_some("--json"));
        if !progress::during(&format!("bench {name}"), || processes::succeeds(&mut command))? {
            return Ok(false);
        }
    }
    Ok(true)
}
