//! What an exploration of several hosts says.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What an exploration of several hosts came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct HostsExplored {
    /// States of all hosts and their caches that were different in some respect.
    pub states: usize,
    /// Power cuts of a host.
    pub cuts: usize,
    /// Ways that all went to their ends.
    pub ends: usize,
    /// Runs of programs.
    pub runs: usize,
    /// States that were left out, because the bound was met.
    pub bounded: usize,
}

impl HostsExplored {
    /// Panics unless everything was explored.
    #[track_caller]
    pub fn assert_complete(&self) {
        assert!(self.bounded == 0, "{self}");
    }
}

impl fmt::Display for HostsExplored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, cuts, ends, runs, bounded } = self;
        write!(f, "{states} states, {cuts} power cuts, {ends} ends, {runs} runs of programs")?;
        if *bounded > 0 {
            write!(f, "; NOT COMPLETE: the bound was met, {bounded} states were left out")?;
        }
        Ok(())
    }
}

/// A way that one of the hosts did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostsFailure {
    /// What the program said.
    pub message: String,
    /// What happened before, in order.
    pub events: Vec<String>,
}

impl fmt::Display for HostsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

impl core::error::Error for HostsFailure {}
