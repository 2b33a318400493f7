//! Reading and storing where a power cut has left something undecided.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::Hash;
use core::ops::Range;
use core::panic::Location;
use std::panic::resume_unwind;

use super::line::{UNIT_BYTES, Word, word};
use super::machine::{Machine, State};
use super::oracle::{At, name};
use super::tape::{Act, Stop};
use crate::Extent;

impl Machine {
    /// Decides what is in `range` of a source, as far as nobody has read or stored there since the last power cut.
    pub(super) fn look(&self, state: &mut State, index: usize, range: Range<usize>) {
        if state.tape.is_some() {
            return self.load(state, index, range);
        }
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

    /// Loads what the script of one of several hosts says, or ends the program where it says no more.
    fn load(&self, state: &mut State, index: usize, range: Range<usize>) {
        self.observe(state);
        let State { tape: Some(tape), sources, .. } = state else { return };
        for offset in (range.start & !(UNIT_BYTES - 1)..range.end).step_by(UNIT_BYTES) {
            let Some(value) = tape.load((index, offset)) else {
                if std::thread::panicking() {
                    return;
                }
                resume_unwind(Box::new(Stop))
            };
            sources[index].image.show(offset, value);
            sources[index].put(&self.inner.memory, offset, value);
        }
    }

    /// Writes down what one of several hosts stores: whole units, the rest of which it has loaded.
    fn note_store(
        &self,
        state: &mut State,
        index: usize,
        range: Range<usize>,
        byte: impl Fn(usize) -> u8,
        streamed: bool,
    ) {
        let mut units = Vec::new();
        for offset in (range.start & !(UNIT_BYTES - 1)..range.end).step_by(UNIT_BYTES) {
            if offset < range.start || range.end < offset + UNIT_BYTES {
                self.load(state, index, offset..offset + UNIT_BYTES);
            }
            let old = &state.sources[index].image.now[offset..offset + UNIT_BYTES];
            let new = old.iter().zip(offset..);
            let new = new.map(|(old, at)| if range.contains(&at) { byte(at - range.start) } else { *old });
            units.push(((index, offset), word(&new.collect::<Vec<u8>>())));
        }
        if let Some(tape) = &mut state.tape {
            tape.note(Act::Store { units, streamed });
        }
    }

    /// As [`look`](Self::look), for addresses.
    pub(super) fn look_at(&self, state: &mut State, range: Extent) {
        if state.oracle.is_some() || state.tape.is_some() {
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
        streamed: bool,
    ) {
        if state.tape.is_some() {
            return self.note_store(state, index, range, byte, streamed);
        }
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
