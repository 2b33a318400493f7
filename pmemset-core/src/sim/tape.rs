//! What one of several hosts does to the memory that they share: what it loads comes from a script, everything else is
//! written down.

use alloc::vec::Vec;

use super::caller::{Origin, caller};
use super::fault::Call;
use super::line::Word;

/// Source and offset of a unit, or of the first byte of a line.
pub(super) type At = (usize, usize);

/// In place of a source: what a host has acknowledged, whose number is in place of the offset.
pub(super) const ACKNOWLEDGED: usize = usize::MAX;

/// In place of a source: what a program says that all depends on from here on, whose number is in place of the offset.
pub(super) const SUMMARY: usize = usize::MAX - 1;

/// Something that a host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Load(At),
    Store {
        units: Vec<(At, Word)>,
        streamed: bool,
    },
    WriteBack(Vec<At>),
    /// Written back if dirty, and dropped.
    Drop(Vec<At>),
    Fence,
    FullFence,
    Acknowledge(u64),
}

/// Something that a host does, and where it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) origin: Origin,
}

/// Unwinds a program that has loaded something of which nobody has said yet what it is.
pub(super) struct Stop;

/// The script, and what was done.
#[derive(Debug)]
pub(super) struct Tape {
    script: Vec<Word>,
    loads: usize,
    stopped: bool,
    pub(super) summaries: usize,
    pub(super) steps: Vec<Step>,
}

impl Tape {
    pub(super) const fn new(script: Vec<Word>) -> Self {
        Self { script, loads: 0, stopped: false, summaries: 0, steps: Vec::new() }
    }

    /// Notes what is done next; nothing once the program unwinds.
    pub(super) fn note(&mut self, act: Act) {
        if !self.stopped {
            // All that is noted is done by parts.
            self.steps.push(Step { act, origin: caller(Call::Copy) });
        }
    }

    /// Returns what is loaded at `at`; `None` where the script has ended: the program has to stop.
    pub(super) fn load(&mut self, at: At) -> Option<Word> {
        self.note(Act::Load(at));
        let value = self.script.get(self.loads).copied();
        self.loads += 1;
        self.stopped |= value.is_none();
        value
    }
}
