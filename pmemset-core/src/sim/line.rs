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

#[derive(Clone, Debug)]
struct Version {
    bytes: Vec<u8>,
    /// The step before which it was stored.
    step: usize,
    /// The number of fences before that.
    epoch: usize,
}

/// What is known of one unit of a line.
#[derive(Clone, Debug)]
struct Unit {
    /// The oldest version that can survive.
    sure: usize,
    /// The version that the next fence makes sure of.
    pending: usize,
    /// Between which fences it was streamed, and the last version that was.
    streamed: Vec<(usize, usize)>,
    /// The first version that holds what was stored, and not what the last power cut has left, undecided.
    stored_from: usize,
    /// The step before which the oldest version was stored.
    since: usize,
}

/// What became of a store that a power cut has lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostStore {
    /// What the program has last stored there.
    pub(super) newest: Word,
    /// The step before which the first store was made that was lost.
    pub(super) step: usize,
    /// Whether it was on its way to the medium.
    pub(super) pending: bool,
}

/// A line that may hold any of several versions after a power cut.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// In the order in which they were seen; the first is the oldest that can survive.
    versions: Vec<Version>,
    units: Vec<Unit>,
}

impl Line {
    /// Returns the line that holds `old`; `since` says when each unit was stored, and `unseen` which of them nobody has
    /// read since the last power cut.
    pub(super) fn new(old: &[u8], since: &[u32], unseen: impl Fn(usize) -> bool) -> Self {
        let unit = |(unit, since): (usize, &u32)| Unit {
            sure: 0,
            pending: 0,
            streamed: Vec::new(),
            stored_from: if unseen(unit) { usize::MAX } else { 0 },
            since: *since as usize,
        };
        let version = Version { bytes: old.to_vec(), step: 0, epoch: 0 };
        Self { versions: [version].into(), units: since.iter().enumerate().map(unit).collect() }
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

    fn word(&self, version: usize, unit: usize) -> Word {
        word(&self.versions[version].bytes[unit * UNIT_BYTES..])
    }

    /// Returns what was stored to `unit` in `version`; `None` where that is what the last power cut has left.
    pub(super) fn stored_word(&self, version: usize, unit: usize) -> Option<Word> {
        (version >= self.units[unit].stored_from).then(|| self.word(version, unit))
    }

    /// Adds what the line has become before `step`; returns the units stored to that nobody had read or stored before,
    /// and panics where it was a part of such a unit.
    pub(super) fn store(&mut self, bytes: &[u8], step: usize, epoch: usize) -> Vec<usize> {
        let newest = self.versions.len();
        let old = core::mem::take(&mut self.versions[newest - 1].bytes);
        let mut first = Vec::new();
        for (unit, state) in self.units.iter_mut().enumerate().filter(|(_, unit)| unit.stored_from == usize::MAX) {
            let at = unit * UNIT_BYTES..(unit + 1) * UNIT_BYTES;
            let changed = old[at.clone()].iter().zip(&bytes[at]).filter(|(old, new)| old != new).count();
            if changed > 0 {
                assert!(
                    changed == UNIT_BYTES || std::thread::panicking(),
                    "a part of a unit was stored that nobody has read: get a pointer to it from the part"
                );
                state.stored_from = newest;
                first.push(unit);
            }
        }
        self.versions[newest - 1].bytes = old;
        self.versions.push(Version { bytes: bytes.to_vec(), step, epoch });
        first
    }

    /// As [`put`](Self::put); returns whether it was not before.
    pub(super) fn begin(&mut self, unit: usize) -> bool {
        let newest = self.newest();
        core::mem::replace(&mut self.units[unit].pending, newest) < newest
    }

    /// Notes that `unit` is on its way to the medium as it is now.
    pub(super) fn put(&mut self, unit: usize) {
        let _ = self.begin(unit);
    }

    /// Notes that what was stored to `unit` at `step`, if anything, went around the cache.
    pub(super) fn stream(&mut self, unit: usize, step: usize) {
        let newest = self.newest();
        let Version { step: stored, epoch, .. } = self.versions[newest];
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
        for unit in 0..self.units.len() {
            self.units[unit].since = self.stored_at(gone, unit);
        }
        self.versions.drain(..gone);
        for unit in &mut self.units {
            unit.sure -= gone;
            unit.pending = unit.pending.saturating_sub(gone);
            if unit.stored_from != usize::MAX {
                unit.stored_from = unit.stored_from.saturating_sub(gone);
            }
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

    /// Sets `unit`, which nobody has read or stored since the last power cut, in every version; `known` if it is
    /// decided.
    pub(super) fn rewrite(&mut self, unit: usize, bytes: [u8; UNIT_BYTES], known: bool) {
        for version in &mut self.versions {
            version.bytes[unit * UNIT_BYTES..(unit + 1) * UNIT_BYTES].copy_from_slice(&bytes);
        }
        if known {
            self.units[unit].stored_from = 0;
        }
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
        let epoch = self.versions[next].epoch;
        for (_, streamed) in streamed.iter().filter(|(between, _)| *between == epoch) {
            let before = (0..=from).rev().find(|at| self.versions[*at].epoch < epoch);
            first = first.min(before.unwrap_or(0));
            last = last.max(*streamed);
        }
        first.max(*sure)..last.max(*sure) + 1
    }

    /// Returns the step before which `unit` was last stored to, up to `version`.
    pub(super) fn stored_at(&self, version: usize, unit: usize) -> usize {
        let stored = |at: &usize| self.word(*at, unit) != self.word(at - 1, unit);
        (1..=version).rev().find(stored).map_or(self.units[unit].since, |at| self.versions[at].step)
    }

    /// Returns from which step to which `unit` had `value`, if it is known: a unit that had it twice says nothing.
    pub(super) fn span(&self, unit: usize, value: Word) -> Option<(usize, usize)> {
        let is = |at: &usize| self.word(*at, unit) == value;
        let first = (self.units[unit].sure..=self.newest()).find(is)?;
        let next = (first..=self.newest()).find(|at| !is(at));
        let again = next.is_some_and(|next| (next..=self.newest()).any(|at| is(&at)));
        let until = next.map_or(usize::MAX, |at| self.versions[at].step);
        (!again).then(|| (self.stored_at(first, unit), until))
    }

    /// Returns what has become of what was stored to `unit`, which survived as `value`.
    pub(super) fn lost(&self, unit: usize, value: Word) -> Option<LostStore> {
        let newest = self.word(self.newest(), unit);
        let survived = (0..=self.newest()).rev().find(|at| self.word(*at, unit) == value);
        let from = survived.unwrap_or(self.units[unit].sure);
        let lost = (from + 1..=self.newest()).find(|at| self.word(*at, unit) != self.word(from, unit))?;
        Some(LostStore { newest, step: self.versions[lost].step, pending: self.units[unit].pending >= lost })
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
