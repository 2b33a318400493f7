//! What one cache line was since a power cut last could not change it, and what such a cut can leave of it.

use alloc::vec::Vec;
use core::ops::Range;

/// Bytes that are never torn: one aligned store of the processor.
pub(super) const UNIT_BYTES: usize = 8;

/// The bytes of a unit.
pub(super) type Word = u64;

/// Returns the unit that begins `bytes`.
pub(super) fn word(bytes: &[u8]) -> Word {
    bytes.iter().take(UNIT_BYTES).rev().fold(0, |word, byte| word << 8 | Word::from(*byte))
}

/// When something was stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// The step before which it was stored.
    pub(super) step: usize,
    /// The number of fences before it.
    pub(super) epoch: usize,
}

#[derive(Clone, Debug)]
struct Version {
    bytes: Vec<u8>,
    stored: Moment,
}

/// What is known of one unit of a line.
#[derive(Clone, Debug, Default)]
struct Unit {
    /// The oldest version that can survive.
    sure: usize,
    /// The version that the next fence makes sure of.
    pending: usize,
    /// Between which fences it was streamed, and the last version that was.
    streamed: Vec<(usize, usize)>,
}

/// A line that may hold any of several versions after a power cut.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// In the order in which they were seen; the first is the oldest that can survive.
    versions: Vec<Version>,
    units: Vec<Unit>,
}

impl Line {
    pub(super) fn new(old: &[u8]) -> Self {
        let version = Version { bytes: old.to_vec(), stored: Moment::default() };
        Self { versions: [version].into(), units: (0..old.len() / UNIT_BYTES).map(|_| Unit::default()).collect() }
    }

    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    pub(super) fn newest(&self) -> usize {
        self.versions.len() - 1
    }

    pub(super) fn newest_bytes(&self) -> &[u8] {
        &self.versions[self.newest()].bytes
    }

    pub(super) fn word(&self, version: usize, unit: usize) -> Word {
        word(&self.versions[version].bytes[unit * UNIT_BYTES..])
    }

    /// Adds what the line has become.
    pub(super) fn store(&mut self, bytes: &[u8], stored: Moment) {
        self.versions.push(Version { bytes: bytes.to_vec(), stored });
    }

    /// Notes that `unit` is on its way to the medium as it is now.
    pub(super) fn begin(&mut self, unit: usize) {
        self.units[unit].pending = self.newest();
    }

    /// Notes that what was stored to `unit` at `step`, if anything, went around the cache.
    pub(super) fn stream(&mut self, unit: usize, step: usize) {
        let newest = self.newest();
        let Moment { step: stored, epoch, .. } = self.versions[newest].stored;
        if newest == 0 || stored != step || self.word(newest, unit) == self.word(newest - 1, unit) {
            return;
        }
        match self.units[unit].streamed.last_mut() {
            Some((same, last)) if *same == epoch => *last = newest,
            _ => self.units[unit].streamed.push((epoch, newest)),
        }
    }

    /// Returns whether something of it is on its way.
    pub(super) fn is_pending(&self) -> bool {
        self.units.iter().any(|unit| unit.pending != unit.sure)
    }

    /// Makes sure of what is on its way.
    pub(super) fn arrive(&mut self) {
        for unit in &mut self.units {
            unit.sure = unit.sure.max(unit.pending);
        }
        let gone = self.units.iter().map(|unit| unit.sure).min().unwrap_or(0);
        self.versions.drain(..gone);
        for unit in &mut self.units {
            unit.sure -= gone;
            unit.pending = unit.pending.saturating_sub(gone);
            let sure = unit.sure;
            unit.streamed.retain_mut(|(_, last)| {
                *last = last.saturating_sub(gone);
                *last > sure
            });
        }
    }

    pub(super) fn is_sure(&self) -> bool {
        self.units.iter().all(|unit| unit.sure == self.newest())
    }

    /// Returns the versions between which eviction can catch the line: between each of them and the next.
    pub(super) fn moments(&self) -> Range<usize> {
        0..self.newest().max(1)
    }

    /// Returns the versions that `unit` can have where eviction caught the line between version `from` and the next.
    ///
    /// Stores to a line reach it in program order as far as that is known: what was stored before a step comes before
    /// what was stored after it. Stores around the cache do so in any order until the next fence, each unit by itself.
    pub(super) fn caught(&self, from: usize, unit: usize) -> Range<usize> {
        let Unit { sure, streamed, .. } = &self.units[unit];
        let next = (from + 1).min(self.newest());
        let (mut first, mut last) = (from, next);
        let epoch = self.versions[next].stored.epoch;
        for (_, streamed) in streamed.iter().filter(|(between, _)| *between == epoch) {
            let before = (0..=from).rev().find(|at| self.versions[*at].stored.epoch < epoch);
            first = first.min(before.unwrap_or(0));
            last = last.max(*streamed);
        }
        first.max(*sure)..last.max(*sure) + 1
    }

    /// Returns every content that can survive: first the oldest, then the newest, then those in between.
    pub(super) fn survivors(&self) -> Vec<Vec<u8>> {
        let whole = |version: usize| {
            let words = (0..self.units()).map(|unit| self.word(version.max(self.units[unit].sure), unit));
            words.flat_map(Word::to_le_bytes).collect::<Vec<u8>>()
        };
        let mut all = Vec::from([whole(0)]);
        let mut add = |content: Vec<u8>| {
            if !all.contains(&content) {
                all.push(content);
            }
        };
        add(whole(self.newest()));
        for from in self.moments() {
            let mut contents: Vec<Vec<u8>> = Vec::from([Vec::new()]);
            for unit in 0..self.units() {
                let mut words: Vec<Word> = self.caught(from, unit).map(|version| self.word(version, unit)).collect();
                words.dedup();
                let with = |content: &Vec<u8>| {
                    let content = content.clone();
                    words.iter().map(move |word| [&content[..], &word.to_le_bytes()].concat()).collect::<Vec<_>>()
                };
                contents = contents.iter().flat_map(with).collect();
            }
            contents.into_iter().for_each(&mut add);
        }
        all
    }
}
