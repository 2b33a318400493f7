//! What is found where nothing was decided: the answers, and what was asked.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::Hash;
use core::ops::Range;
use core::panic::Location;
use std::collections::HashSet;

use super::cut::name;
use super::line::{UNIT_BYTES, Word, word};
use super::{Machine, State};
use crate::Extent;

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

/// Answers, and remembers what was asked.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    answers: Answers,
    pub(super) trace: Vec<(At, Word)>,
    /// How much of the trace had more than one value.
    pub(super) branches: usize,
    /// The units that were read or stored.
    known: HashSet<(usize, usize)>,
    /// Those that were before the last summary.
    before_summary: HashSet<(usize, usize)>,
    summaries: usize,
    pub(super) takes_summaries: bool,
}

impl Oracle {
    pub(super) fn new(answers: Answers, takes_summaries: bool) -> Self {
        Self { answers, takes_summaries, ..Self::default() }
    }

    pub(super) fn reads(&self) -> usize {
        self.trace.len()
    }

    fn choose(&mut self, at: At, values: &[Word]) -> Word {
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
    fn read(&mut self, source: usize, offset: usize, values: &[Word]) -> Option<Word> {
        assert!(
            !self.before_summary.contains(&(source, offset)),
            "what was read before a summary is read again: source {source} at {offset:#x}"
        );
        self.known.insert((source, offset)).then(|| self.choose(At::Unit(source, offset), values))
    }
}

impl Machine {
    /// Decides what is in `range` of a source, as far as nobody has read or stored there since the last power cut.
    pub(super) fn look(&self, state: &mut State, index: usize, range: Range<usize>) {
        if state.oracle.is_none() || range.is_empty() {
            return;
        }
        self.observe(state);
        let State { oracle: Some(oracle), sources, .. } = state else { return };
        let source = &mut sources[index];
        for offset in (range.start & !(UNIT_BYTES - 1)..range.end).step_by(UNIT_BYTES) {
            let value = oracle.read(index, offset, &source.image.values(offset));
            if let Some(value) = value.filter(|value| source.image.decide(offset, *value)) {
                source.put(&self.inner.memory, offset, value);
            }
        }
    }

    /// As [`look`](Self::look), for addresses.
    pub(super) fn look_at(&self, state: &mut State, range: Extent) {
        if state.oracle.is_some() {
            for (index, bytes) in state.mapped(range) {
                self.look(state, index, bytes);
            }
        }
    }

    /// Gets ready for bytes to be stored to `range` of a source: units of which only a part is stored are decided, and
    /// the others need not be.
    pub(super) fn before_store(
        &self,
        state: &mut State,
        index: usize,
        range: Range<usize>,
        byte: impl Fn(usize) -> u8,
    ) {
        if state.oracle.is_none() || range.is_empty() {
            return;
        }
        self.observe(state);
        for offset in (range.start & !(UNIT_BYTES - 1)..range.end).step_by(UNIT_BYTES) {
            if offset < range.start || range.end < offset + UNIT_BYTES {
                self.look(state, index, offset..offset + UNIT_BYTES);
                continue;
            }
            let State { oracle: Some(oracle), sources, .. } = &mut *state else { return };
            let stored: Vec<u8> = (offset..offset + UNIT_BYTES).map(|at| byte(at - range.start)).collect();
            oracle.known.insert((index, offset));
            let source = &mut sources[index];
            if let Some(other) = source.image.conceal(offset, word(&stored)) {
                source.put(&self.inner.memory, offset, other);
            }
        }
    }

    /// Says that what the check does from here on depends on `value` alone, beside what it has not read yet: ways that
    /// come to the same value are followed once.
    ///
    /// For checks that read much and want to know little: a sum over a log, the number of whole records in a ring.
    /// Without it a check that reads *n* words that can each be old or new is run 2ⁿ times. Does nothing in a check
    /// that may be cut itself.
    ///
    /// # Panics
    ///
    /// Later, if something is read again that was read before.
    #[track_caller]
    pub fn summary(&self, value: &impl Hash) {
        let line = Location::caller().line();
        if let Some(oracle) = self.lock().oracle.as_mut().filter(|oracle| oracle.takes_summaries) {
            oracle.before_summary.clone_from(&oracle.known);
            oracle.summaries += 1;
            let _ = oracle.choose(At::Summary(line, oracle.summaries), &[name(value) as Word]);
        }
    }

    /// Returns whether what the last power cut has left is decided when it is read: for tests of the exploration.
    #[doc(hidden)]
    #[must_use]
    pub fn decides_when_read(&self) -> bool {
        self.lock().oracle.is_some()
    }

    /// Checks something of each of `count` things by itself: of all of them in turn, or, while a crash is explored, of
    /// any one of them, whichever the exploration wants to see.
    ///
    /// A check that looks at many things, each for itself, costs the sum of what they can hold; in a loop it costs the
    /// product.
    ///
    /// # Errors
    ///
    /// Those of `check`.
    pub fn every<E>(&self, count: usize, mut check: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        let explored = self.lock().oracle.is_some();
        match count {
            0 => Ok(()),
            _ if explored => {
                let values: Vec<Word> = (0..count as Word).collect();
                let picked = self.lock().oracle.as_mut().map_or(0, |oracle| oracle.choose(At::Pick(count), &values));
                check(picked as usize)
            }
            _ => (0..count).try_for_each(check),
        }
    }
}
