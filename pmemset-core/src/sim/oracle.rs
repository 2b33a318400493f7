//! What is found where nothing was decided: the answers, and what was asked.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::collections::HashSet;
use std::hash::DefaultHasher;

use super::line::Word;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum At {
    /// The unit at an offset of a source.
    Unit(usize, usize),
    /// One of so many.
    Pick(usize),
    /// What the check says that all depends on from here on: the line that says so, and how often it was said before.
    Summary(u32, usize),
}

/// How what can be one of several values is decided; the newest where nothing is said.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// By what is looked at, where it is possible.
    pub(super) preferred: BTreeMap<At, Word>,
    /// By how much was looked at before.
    pub(super) forced: BTreeMap<usize, Word>,
    /// By the number of the value, for what has more than one, in order.
    pub(super) choices: VecDeque<usize>,
}

impl Answers {
    /// Returns the answers that pick again what was picked in `trace`.
    pub(super) fn picking(trace: &[(At, Word)]) -> Self {
        let picked = trace.iter().enumerate().filter(|(_, (at, _))| matches!(at, At::Pick(_)));
        Self { forced: picked.map(|(place, (_, value))| (place, *value)).collect(), ..Self::default() }
    }
}

/// Answers, and remembers what was asked.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    answers: Answers,
    pub(super) trace: Vec<(At, Word)>,
    /// How much of the trace had more than one value.
    pub(super) branches: usize,
    /// The units that were read or stored.
    pub(super) known: HashSet<(usize, usize)>,
    /// Those that were before the last summary.
    pub(super) before_summary: HashSet<(usize, usize)>,
    pub(super) summaries: usize,
    pub(super) takes_summaries: bool,
}

impl Oracle {
    pub(super) fn new(answers: Answers, takes_summaries: bool) -> Self {
        Self { answers, takes_summaries, ..Self::default() }
    }

    pub(super) fn reads(&self) -> usize {
        self.trace.len()
    }

    pub(super) fn choose(&mut self, at: At, values: &[Word]) -> Word {
        let Answers { preferred, forced, choices } = &mut self.answers;
        let mut value = values[0];
        if values.len() > 1 {
            self.branches += 1;
            let chosen = choices.pop_front().and_then(|choice| values.get(choice).copied());
            let said = forced.get(&self.trace.len()).or(preferred.get(&at)).copied();
            value = chosen.or(said.filter(|value| values.contains(value))).unwrap_or(value);
        }
        self.trace.push((at, value));
        value
    }

    /// Returns what is read at `offset` of a source, one of `values`; `None` where that was read or stored before.
    pub(super) fn read(&mut self, source: usize, offset: usize, values: &[Word]) -> Option<Word> {
        assert!(
            !self.before_summary.contains(&(source, offset)),
            "what was read before a summary is read again: source {source} at {offset:#x}"
        );
        self.known.insert((source, offset)).then(|| self.choose(At::Unit(source, offset), values))
    }
}

/// Returns a number for `value`, of 128 bits.
pub(super) fn name(value: impl Hash) -> u128 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    u128::from(hasher.hash_one((0, &value))) << 64 | u128::from(hasher.hash_one((1, &value)))
}
