//! `cargo xtask demo`: the main job, in two processes.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::processes::{cargo, root, succeeds};
use crate::support::progress;
use crate::support::tally::Outcome;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file or DAX device to use; a file is made if it is not there, but not below /dev. Its first 512 KiB (of a
    /// device: the first eight units of its alignment) are overwritten.
    #[arg(long)]
    path: Option<PathBuf>,
    /// Overwrite also what is not a demo's.
    #[arg(long)]
    force: bool,
    /// Draw the address window, too: parts, segments, holes, sources, and who uses what, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let own = root().join("target/records.pmem");
    let path = args.path.as_ref().unwrap_or(&own);
    if !succeeds(cargo().args(["build", "--release", "--package", "hosted", "--bin", "demo"]))? {
        return Ok(false);
    }
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() % 1_000_000_000_000;
    for verb in ["store", "verify"] {
        let mut demo = cargo();
        demo.args(["run", "--quiet", "--release", "--package", "hosted", "--bin", "demo", "--", verb]);
        let force = (args.force && verb == "store").then_some("--force");
        demo.arg(path).arg(stamp.to_string()).args(force);
        if !progress::during(&format!("demo {verb}"), || succeeds(&mut demo))? {
            println!("{}", if verb == "store" { "nothing was stored" } else { "the records are NOT there" });
            return Ok(false);
        }
    }
    println!("the records are there");
    if let Some(svg) = &args.svg {
        let mut demo = cargo();
        demo.args(["run", "--quiet", "--release", "--package", "hosted", "--bin", "demo", "--", "svg"]);
        return succeeds(demo.arg(path).arg(svg));
    }
    Ok(true)
}
