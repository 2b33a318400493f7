//! `cargo xtask test`: the whole test suite, counted.

use crate::support::counting::{FEATURES, counted};
use crate::support::stage::{self, Stage};
use crate::support::tally::{Outcome, Tally};
use crate::verbs::appliance;
use crate::verbs::c;
use crate::verbs::cluster;
use crate::verbs::counts;
use crate::verbs::fuzz;
use crate::verbs::lab;
use crate::verbs::size;
use crate::verbs::targets;
use crate::verbs::uefi;
use crate::verbs::unikernel;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what needs a virtual machine or another target: seconds instead of minutes.
    #[arg(long)]
    quick: bool,
    /// Run every scenario of the lab instead of the short list.
    #[arg(long, conflicts_with = "quick")]
    whole_lab: bool,
    /// Run only the tests of the workspace whose names contain this.
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut stages: Vec<Stage> = Vec::new();
    if args.filter.is_none() && !args.quick {
        stages = thorough(args.whole_lab);
    }
    let filter = args.filter.clone();
    stages.insert(0, Stage::new("workspace", move || workspace(&["--workspace"], filter.as_deref())));
    Ok(stage::run(stages))
}

/// Everything but the tests of the workspace.
pub(crate) fn thorough(whole_lab: bool) -> Vec<Stage> {
    let lab = if whole_lab { Stage::new("lab", lab::whole) } else { Stage::new("lab, short list", lab::short) };
    vec![
        Stage::new("targets", targets::check),
        Stage::new("threads", fuzz::threads),
        Stage::new("unikernel", unikernel::check),
        Stage::new("UEFI", uefi::check),
        Stage::new("size", size::check),
        Stage::new("counts", counts::check),
        Stage::new("appliance", appliance::check),
        Stage::new("fuzz", fuzz::short),
        Stage::new("C", c::check),
        Stage::new("raft", move || cluster::check(if whole_lab { 2.0 } else { 0.5 })),
        Stage::new("cargo-fuzz", fuzz::guided),
        // Boots a machine for each processor by itself, and so fills what the others leave.
        lab,
    ]
}

/// Runs the tests of the workspace's packages that cargo's words choose.
pub(crate) fn workspace(packages: &[&str], filter: Option<&str>) -> Tally {
    let chosen = |kind| {
        let mut arguments = vec!["test", "--quiet", "--no-fail-fast", "--features", FEATURES, kind];
        arguments.extend(packages);
        arguments.extend(filter);
        arguments
    };
    // A skip is seen in what a test prints.
    let mut tally = counted(&[chosen("--tests"), vec!["--", "--show-output"]].concat());
    // The examples in documentation skip nothing, and are built as one program only if nobody asks for their output.
    tally.add(&counted(&chosen("--doc")));
    tally
}
