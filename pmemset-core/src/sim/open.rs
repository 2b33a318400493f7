//! What a line can hold after a power cut, before anybody has read it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::line::{Line, UNIT_BYTES, Word, word};

/// For every unit of a line, the values that it can have whatever the others have, the newest first.
type Combinations = Vec<Vec<Word>>;

/// The lines of a source that can hold several contents, by offset.
pub(super) type Left = BTreeMap<usize, Arc<Open>>;

/// What a line can hold: any of the combinations of any of its boxes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Open {
    boxes: Vec<Combinations>,
    /// The units that nobody has read or stored; their bytes in memory mean nothing.
    unseen: u32,
}

impl Open {
    /// Returns what a line holds that is known.
    pub(super) fn known(bytes: &[u8]) -> Self {
        Self { boxes: [bytes.chunks(UNIT_BYTES).map(|unit| [word(unit)].into()).collect()].into(), unseen: 0 }
    }

    /// Returns what a power cut leaves of `line`, where `before` is what the power cut before it has left.
    pub(super) fn after(line: &Line, before: &Self) -> Self {
        let mut boxes = Vec::new();
        for from in line.moments().rev() {
            for below in &before.boxes {
                let values = |unit: usize| {
                    let mut values = Vec::new();
                    for version in line.caught(from, unit).rev() {
                        match line.stored_word(version, unit) {
                            Some(word) => add(&mut values, word),
                            None => below[unit].iter().for_each(|word| add(&mut values, *word)),
                        }
                    }
                    values
                };
                boxes.push((0..line.units()).map(values).collect());
            }
        }
        let mut open = Self { boxes, unseen: 0 };
        open.simplify();
        open
    }

    /// Drops boxes that lie in others.
    fn simplify(&mut self) {
        let inside = |one: &Combinations, other: &Combinations| {
            one.iter().zip(other).all(|(one, other)| one.iter().all(|value| other.contains(value)))
        };
        let mut kept: Vec<Combinations> = Vec::new();
        for one in self.boxes.drain(..) {
            if !kept.iter().any(|other| inside(&one, other)) {
                kept.retain(|other| !inside(other, &one));
                kept.push(one);
            }
        }
        self.boxes = kept;
    }

    pub(super) fn units(&self) -> usize {
        self.boxes.first().map_or(0, Vec::len)
    }

    /// Returns the values that `unit` can have, the newest first.
    pub(super) fn values(&self, unit: usize) -> Vec<Word> {
        let mut all = Vec::new();
        self.boxes.iter().flat_map(|one| &one[unit]).for_each(|value| add(&mut all, *value));
        all
    }

    /// Leaves only what has `value` in `unit`.
    pub(super) fn refine(&mut self, unit: usize, value: Word) {
        self.boxes.retain(|one| one[unit].contains(&value));
        self.boxes.iter_mut().for_each(|one| one[unit] = [value].into());
        self.simplify();
    }

    /// Has `value` in `unit`, whatever was there.
    pub(super) fn set(&mut self, unit: usize, value: Word) {
        self.boxes.iter_mut().for_each(|one| one[unit] = [value].into());
        self.simplify();
    }

    /// Returns whether there is one content only.
    pub(super) fn is_known(&self) -> bool {
        self.boxes.iter().all(|one| one.iter().all(|values| values.len() == 1)) && self.boxes.len() == 1
    }

    /// Returns what is not decided: the boxes in some order, without the values of units that have one only.
    pub(super) fn rest(&self) -> Vec<Combinations> {
        let decided: Vec<bool> = (0..self.units()).map(|unit| self.values(unit).len() == 1).collect();
        let mut rest = self.clone();
        for one in &mut rest.boxes {
            for (values, _) in one.iter_mut().zip(&decided).filter(|(_, decided)| **decided) {
                *values = Vec::new();
            }
            one.iter_mut().for_each(|values| values.sort_unstable());
        }
        rest.simplify();
        rest.boxes.sort_unstable();
        rest.boxes
    }

    pub(super) fn is_unseen(&self, unit: usize) -> bool {
        self.unseen >> unit & 1 == 1
    }

    pub(super) fn unsee(&mut self, unit: usize) {
        self.unseen |= 1 << unit;
    }

    pub(super) fn see(&mut self, unit: usize) {
        self.unseen &= !(1 << unit);
    }

    pub(super) fn is_seen(&self) -> bool {
        self.unseen == 0
    }
}

fn add(values: &mut Vec<Word>, value: Word) {
    if !values.contains(&value) {
        values.push(value);
    }
}
