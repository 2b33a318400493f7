//! What a power cut has left, and the machines that start from it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::cut::{Cut, SourceCut};
use super::hardware::Hardware;
use super::line::{UNIT_BYTES, Word, word};
use super::machine::Machine;
use super::medium::SourceState;
use super::open::{Left, Open};
use super::oracle::{At, name};
use super::random::Random;

impl Cut {
    /// Starts a machine again with `images` on its media.
    pub(super) fn restart(&self, hardware: Hardware, images: impl IntoIterator<Item = (Vec<u8>, Left)>) -> Machine {
        let machine = Machine::new(hardware);
        let mut state = machine.lock();
        state.acknowledged = self.acknowledged;
        state.kept.clone_from(&self.kept);
        for (source, (bytes, open)) in self.sources.iter().zip(images) {
            let mut started = SourceState::with_bytes(source.medium, &hardware, bytes);
            started.bad.clone_from(&source.bad);
            started.image.open = open;
            state.sources.push(started);
        }
        drop(state);
        machine
    }
}

/// What a power cut leaves, undecided as far as nobody has read it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Base {
    /// Of each source the bytes, and the lines of which there is more than one content.
    sources: Vec<(Arc<Vec<u8>>, Left)>,
}

/// What undoes a decision: of a source, the line at an offset.
pub(super) type Undo = (usize, usize, Arc<Open>);

impl Base {
    pub(super) fn of(cut: &Cut) -> Self {
        let source = |source: &SourceCut| {
            let (mut sure, mut left) = (Arc::clone(&source.sure), BTreeMap::new());
            let mut lines = |start: usize, open: Arc<Open>| {
                let sure = Arc::make_mut(&mut sure);
                for unit in 0..open.units() {
                    let at = start + unit * UNIT_BYTES;
                    sure[at..at + UNIT_BYTES].copy_from_slice(&open.values(unit)[0].to_le_bytes());
                }
                if !open.is_known() {
                    left.insert(start, open);
                }
            };
            for (start, line) in &source.lines {
                let known = || Arc::new(Open::known(&source.sure[*start..*start + line.units() * UNIT_BYTES]));
                let before = source.open.get(start).cloned().unwrap_or_else(known);
                lines(*start, Arc::new(Open::after(line, &before)));
            }
            for (start, open) in source.open.iter().filter(|(start, _)| !source.lines.contains_key(start)) {
                lines(*start, Arc::clone(open));
            }
            (sure, left)
        };
        Self { sources: cut.sources.iter().map(source).collect() }
    }

    fn line(&self, source: usize, offset: usize) -> Option<(usize, usize)> {
        let (start, open) = self.sources[source].1.range(..=offset).next_back()?;
        let unit = (offset - start) / UNIT_BYTES;
        (unit < open.units()).then_some((*start, unit))
    }

    /// Returns what can be found at `at`, the newest first.
    pub(super) fn values(&self, at: At) -> Vec<Word> {
        let (source, offset) = match at {
            At::Pick(count) => return (0..count as Word).collect(),
            At::Summary(..) => return Vec::new(),
            At::Unit(source, offset) => (source, offset),
        };
        let (sure, open) = &self.sources[source];
        match self.line(source, offset) {
            Some((start, unit)) => open[&start].values(unit),
            // Beyond the end is what the check has made the source longer by.
            None => [sure.get(offset..).map_or(0, word)].into(),
        }
    }

    /// Decides that `value` is found at `at`; returns what undoes that.
    pub(super) fn refine(&mut self, at: At, value: Word) -> Option<Undo> {
        let At::Unit(source, offset) = at else { return None };
        let (start, unit) = self.line(source, offset)?;
        let open = self.sources[source].1.get_mut(&start)?;
        let before = Arc::clone(open);
        Arc::make_mut(open).refine(unit, value);
        Some((source, start, before))
    }

    pub(super) fn undo(&mut self, (source, start, open): Undo) {
        self.sources[source].1.insert(start, open);
    }

    /// Returns a number for what is not decided.
    pub(super) fn rest(&self) -> u128 {
        let undecided = |(_, open): &(_, Left)| -> Vec<_> {
            open.iter().filter(|(_, open)| !open.is_known()).map(|(start, open)| (*start, open.rest())).collect()
        };
        name(self.sources.iter().map(undecided).collect::<Vec<_>>())
    }

    /// Returns the base with everything decided: as new as it can be, or as `old`.
    pub(super) fn decided(&self, old: bool) -> Self {
        let mut decided = self.clone();
        for (bytes, open) in &mut decided.sources {
            for (start, mut open) in core::mem::take(open) {
                let open = Arc::make_mut(&mut open);
                for unit in 0..open.units() {
                    let values = open.values(unit);
                    let value = if old { values[values.len() - 1] } else { values[0] };
                    open.refine(unit, value);
                    let at = start + unit * UNIT_BYTES;
                    Arc::make_mut(bytes)[at..at + UNIT_BYTES].copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        decided
    }

    /// Starts the machine again; bytes of which nothing is decided mean nothing, and are unlikely ones.
    pub(super) fn restart(&self, hardware: Hardware, cut: &Cut) -> Machine {
        let images = self.sources.iter().map(|(bytes, left)| {
            let (mut bytes, mut undecided) = (bytes.to_vec(), BTreeMap::new());
            for (start, open) in left {
                let mut open = Arc::clone(open);
                for unit in 0..open.units() {
                    let (at, values) = (start + unit * UNIT_BYTES, open.values(unit));
                    let mut value = values[0];
                    if values.len() > 1 {
                        Arc::make_mut(&mut open).unsee(unit);
                        value = Random::new(at as u64).word() | 0x8080_8080_8080_8080;
                    }
                    bytes[at..at + UNIT_BYTES].copy_from_slice(&value.to_le_bytes());
                }
                if !open.is_seen() {
                    undecided.insert(*start, open);
                }
            }
            (bytes, undecided)
        });
        cut.restart(hardware, images.collect::<Vec<_>>())
    }
}
