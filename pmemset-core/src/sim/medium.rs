//! What of a source's bytes a power cut leaves: every line's versions since its last sure one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::Granularity;

/// Bytes that are never torn: one aligned store of the processor.
pub(super) const UNIT_BYTES: usize = 8;

/// A line that may hold any of several versions after a power cut.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Contents in the order in which they were seen; the first is the oldest that can survive.
    versions: Vec<Vec<u8>>,
    /// For each unit, the oldest version that it can have.
    sure: Vec<usize>,
    /// For each unit, the version that the next fence makes sure of.
    pending: Vec<usize>,
}

impl Line {
    fn new(old: &[u8]) -> Self {
        let units = old.len() / UNIT_BYTES;
        Self { versions: [old.to_vec()].into(), sure: [0].repeat(units), pending: [0].repeat(units) }
    }

    fn newest(&self) -> usize {
        self.versions.len() - 1
    }

    fn fence(&mut self) {
        for (sure, pending) in self.sure.iter_mut().zip(&self.pending) {
            *sure = (*sure).max(*pending);
        }
        let gone = self.sure.iter().copied().min().unwrap_or(0);
        self.versions.drain(..gone);
        for unit in self.sure.iter_mut().chain(&mut self.pending) {
            *unit = unit.saturating_sub(gone);
        }
    }

    fn is_sure(&self) -> bool {
        self.sure.iter().all(|&unit| unit == self.newest())
    }

    /// Returns the line as it is when eviction caught it between version `from` and the next, with the units in `mask`
    /// already stored.
    fn caught(&self, from: usize, mask: u32) -> Vec<u8> {
        let mut content = Vec::new();
        for (unit, &sure) in self.sure.iter().enumerate() {
            let version = (from + ((mask >> unit) & 1) as usize).max(sure);
            content.extend_from_slice(&self.versions[version][unit * UNIT_BYTES..(unit + 1) * UNIT_BYTES]);
        }
        content
    }

    /// Returns every content that can survive: first the oldest, then the newest, then those in between.
    ///
    /// Stores of a line reach the medium in program order as far as the order is known: what was stored before a call
    /// of the platform comes before what was stored after it. Between two calls every order of 8-byte units is
    /// possible.
    pub(super) fn survivors(&self) -> Vec<Vec<u8>> {
        let units = self.sure.len();
        let mut all = Vec::from([self.caught(0, 0)]);
        let mut add = |content: Vec<u8>| {
            if !all.contains(&content) {
                all.push(content);
            }
        };
        add(self.caught(self.newest(), 0));
        for from in 0..self.newest() {
            let (old, new) = (self.caught(from, 0), self.caught(from, u32::MAX));
            let changed: Vec<usize> = (0..units)
                .filter(|unit| {
                    let bytes = unit * UNIT_BYTES..(unit + 1) * UNIT_BYTES;
                    old[bytes.clone()] != new[bytes]
                })
                .collect();
            for subset in 0..1_u32 << changed.len() {
                let stored = changed.iter().enumerate().filter(|(bit, _)| subset >> bit & 1 == 1);
                add(self.caught(from, stored.fold(0, |mask, (_, unit)| mask | 1 << unit)));
            }
        }
        all
    }
}

/// The bytes of one source, as the program sees them and as a power cut may leave them.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// What survives of every line that is not in `lines`.
    pub(super) sure: Arc<Vec<u8>>,
    /// The lines of which something else may survive, by their offset in bytes.
    pub(super) lines: BTreeMap<usize, Arc<Line>>,
    /// What the program reads, as last seen.
    pub(super) now: Vec<u8>,
    granularity: Granularity,
    line_bytes: usize,
}

impl Image {
    pub(super) fn new(bytes: Vec<u8>, granularity: Granularity, line_bytes: usize) -> Self {
        Self { sure: Arc::new(bytes.clone()), lines: BTreeMap::new(), now: bytes, granularity, line_bytes }
    }

    /// Sets the length, at once and durably; new bytes are 0.
    pub(super) fn resize(&mut self, length_bytes: usize) {
        self.now.resize(length_bytes, 0);
        Arc::make_mut(&mut self.sure).resize(length_bytes, 0);
        self.lines.retain(|offset, _| *offset < length_bytes);
    }

    /// Takes note of what `memory`, the bytes from `offset` on, has become through ordinary stores.
    pub(super) fn observe(&mut self, offset: usize, memory: &[u8]) {
        if self.now[offset..offset + memory.len()] == *memory {
            return;
        }
        for at in (0..memory.len()).step_by(self.line_bytes) {
            let (start, new) = (offset + at, &memory[at..(at + self.line_bytes).min(memory.len())]);
            let old = &mut self.now[start..start + new.len()];
            if old != new {
                let line = self.lines.entry(start).or_insert_with(|| Arc::new(Line::new(old)));
                Arc::make_mut(line).versions.push(new.to_vec());
                old.copy_from_slice(new);
            }
        }
    }

    /// Notes that the lines that `range` touches are on their way to the medium.
    pub(super) fn write_back(&mut self, range: Range<usize>) {
        let mask = self.line_bytes - 1;
        self.stream(range.start & !mask..(range.end + mask) & !mask);
    }

    /// Notes that the units that `range` touches were stored around the cache, or written back.
    pub(super) fn stream(&mut self, range: Range<usize>) {
        if self.granularity == Granularity::CacheLine {
            self.begin(range);
        }
    }

    fn begin(&mut self, range: Range<usize>) {
        let first = range.start & !(self.line_bytes - 1);
        for (start, line) in self.lines.range_mut(first..range.end) {
            let line = Arc::make_mut(line);
            let newest = line.newest();
            for (unit, pending) in line.pending.iter_mut().enumerate() {
                let at = start + unit * UNIT_BYTES;
                if at < range.end && range.start < at + UNIT_BYTES {
                    *pending = newest;
                }
            }
        }
    }

    /// Makes sure of what a fence makes sure of.
    pub(super) fn fence(&mut self) {
        match self.granularity {
            Granularity::Page => return,
            Granularity::CacheLine => {}
            Granularity::Byte => self.begin(0..self.now.len()),
        }
        self.arrive();
    }

    fn arrive(&mut self) {
        let mut arrived = Vec::new();
        for (start, line) in &mut self.lines {
            if line.pending != line.sure {
                Arc::make_mut(line).fence();
                if line.is_sure() {
                    arrived.push(*start);
                }
            }
        }
        if !arrived.is_empty() {
            let sure = Arc::make_mut(&mut self.sure);
            for start in arrived {
                if let Some(line) = self.lines.remove(&start) {
                    let content = &line.versions[line.newest()];
                    sure[start..start + content.len()].copy_from_slice(content);
                }
            }
        }
    }

    /// Makes sure of every byte of `range`, as a source's `sync` does.
    pub(super) fn sync(&mut self, range: Range<usize>) {
        self.begin(range);
        self.arrive();
    }
}
