//! The verbs, one file or folder each: to add one takes a line in each of the three lists here.

pub(crate) mod appliance;
pub(crate) mod bench;
pub(crate) mod c;
pub(crate) mod ci;
pub(crate) mod cluster;
pub(crate) mod counts;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod fresh;
pub(crate) mod fuzz;
pub(crate) mod lab;
pub(crate) mod size;
pub(crate) mod targets;
pub(crate) mod test;
pub(crate) mod uefi;
pub(crate) mod unikernel;

use crate::support::tally::Outcome;

/// Everything that can be asked for.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Builds libpmemset for C programs and tests it, or installs it.
    C(c::Args),
    /// Maps a set over a file, stores records, and has a second process find them again.
    Demo(demo::Args),
    /// Says what persistent memory there is, what a set would get of it, and which command makes that better.
    Doctor(doctor::Args),
    /// Runs every test; ends with `N passed, N failed, N skipped`.
    Test(test::Args),
    /// Checks all that has to pass before a change lands, the tests among it.
    Ci(ci::Args),
    /// Runs a replicated store as three processes, harms them, and checks what its clients were told.
    Cluster(cluster::Args),
    /// Measures the library beside its peers in the same run.
    Bench(bench::Args),
    /// Compares instructions and system calls of single operations with the checked-in table.
    Counts(counts::Args),
    /// Boots real kernels with persistent memory and tests the shims there.
    Lab(lab::Args),
    /// Builds the core for every target that it is meant for.
    Targets(targets::Args),
    /// Builds the unikernel, boots it twice, and checks what is left in its memory files.
    Unikernel(unikernel::Args),
    /// Builds the UEFI application, starts it under firmware, and checks what it has counted.
    Uefi(uefi::Args),
    /// Builds the flight recorder, kills it twenty times, and checks what it recovers.
    Appliance(appliance::Args),
    /// Compares code size, memory and stack with the checked-in table.
    Size(size::Args),
    /// Runs a seeded fuzzer.
    Fuzz(fuzz::Args),
    /// Runs the demo and the tests on Debian machines that have just been installed (as root).
    Fresh(fresh::Args),
}

impl Verb {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> Outcome {
        match self {
            Self::C(args) => c::run(args),
            Self::Demo(args) => demo::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Test(args) => test::run(args),
            Self::Ci(args) => ci::run(args),
            Self::Cluster(args) => cluster::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Counts(args) => counts::run(args),
            Self::Lab(args) => lab::run(args),
            Self::Targets(args) => targets::run(args),
            Self::Unikernel(args) => unikernel::run(args),
            Self::Uefi(args) => uefi::run(args),
            Self::Appliance(args) => appliance::run(args),
            Self::Size(args) => size::run(args),
            Self::Fuzz(args) => fuzz::run(args),
            Self::Fresh(args) => fresh::run(args),
        }
    }
}
