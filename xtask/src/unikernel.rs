//! `cargo xtask unikernel`: the unikernel's test bench.

use crate::tools::Outcome;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Outcome {
    Err("not built yet".into())
}
