//! The bytes of a source: what its program sees of them, and how they get to the medium.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::Hardware;
use super::line::{Line, Moment, UNIT_BYTES};
use crate::Granularity;

/// The bytes of one source, as the program sees them and as a power cut may leave them.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// What survives of every line that is not in `lines`.
    pub(super) sure: Arc<Vec<u8>>,
    /// The lines of which something else may survive, by their offset in bytes.
    pub(super) lines: BTreeMap<usize, Arc<Line>>,
    /// What the program reads, as last seen.
    pub(super) now: Vec<u8>,
    /// Pages that a failed `sync` has called clean, and that nobody has stored to since.
    clean: BTreeSet<usize>,
    /// The number of fences so far.
    epoch: usize,
    granularity: Granularity,
    line_bytes: usize,
    page_bytes: usize,
}

impl Image {
    pub(super) fn new(bytes: Vec<u8>, granularity: Granularity, hardware: &Hardware) -> Self {
        Self {
            sure: Arc::new(bytes.clone()),
            lines: BTreeMap::new(),
            now: bytes,
            clean: BTreeSet::new(),
            epoch: 0,
            granularity,
            line_bytes: hardware.line_bytes,
            page_bytes: hardware.page_bytes,
        }
    }

    /// Sets the length, at once and durably; new bytes are 0.
    pub(super) fn resize(&mut self, length_bytes: usize) {
        self.now.resize(length_bytes, 0);
        Arc::make_mut(&mut self.sure).resize(length_bytes, 0);
        self.lines.retain(|offset, _| *offset < length_bytes);
    }

    /// Takes note of what `memory`, the bytes from `offset` on, has become through ordinary stores before `step`.
    pub(super) fn observe(&mut self, offset: usize, memory: &[u8], step: usize) {
        if self.now[offset..offset + memory.len()] == *memory {
            return;
        }
        for at in (0..memory.len()).step_by(self.line_bytes) {
            let (start, new) = (offset + at, &memory[at..(at + self.line_bytes).min(memory.len())]);
            let old = &mut self.now[start..start + new.len()];
            if old != new {
                let line = self.lines.entry(start).or_insert_with(|| Arc::new(Line::new(old)));
                Arc::make_mut(line).store(new, Moment { step, epoch: self.epoch });
                old.copy_from_slice(new);
                self.clean.remove(&(start / self.page_bytes));
            }
        }
    }

    /// Notes that the lines that `range` touches are on their way to the medium.
    pub(super) fn write_back(&mut self, range: Range<usize>) {
        if self.granularity == Granularity::CacheLine {
            let mask = self.line_bytes - 1;
            self.units(range.start & !mask..(range.end + mask) & !mask, Line::begin);
        }
    }

    /// Notes that what was stored to the units that `range` touches at `step` went around the cache.
    pub(super) fn stream(&mut self, range: Range<usize>, step: usize) {
        let begins = self.granularity == Granularity::CacheLine;
        self.units(range, |line, unit| {
            line.stream(unit, step);
            if begins {
                line.begin(unit);
            }
        });
    }

    /// Does something to every unit that `range` touches, in lines of which something may be lost.
    fn units(&mut self, range: Range<usize>, mut act: impl FnMut(&mut Line, usize)) {
        let first = range.start & !(self.line_bytes - 1);
        for (start, line) in self.lines.range_mut(first..range.end) {
            let line = Arc::make_mut(line);
            for unit in 0..line.units() {
                let at = start + unit * UNIT_BYTES;
                if at < range.end && range.start < at + UNIT_BYTES {
                    act(line, unit);
                }
            }
        }
    }

    /// Makes sure of what a fence makes sure of.
    pub(super) fn fence(&mut self) {
        self.epoch += 1;
        let all = 0..self.now.len();
        match self.granularity {
            Granularity::Page => return,
            Granularity::CacheLine => {}
            Granularity::Byte => self.units(all.clone(), Line::begin),
        }
        self.arrive(all);
    }

    /// Makes sure of what is on its way in the lines that `range` touches.
    fn arrive(&mut self, range: Range<usize>) {
        let mut arrived = Vec::new();
        let first = range.start & !(self.line_bytes - 1);
        for (start, line) in self.lines.range_mut(first..range.end).filter(|(_, line)| line.is_pending()) {
            Arc::make_mut(line).arrive();
            if line.is_sure() {
                arrived.push(*start);
            }
        }
        if !arrived.is_empty() {
            let sure = Arc::make_mut(&mut self.sure);
            for start in arrived {
                if let Some(line) = self.lines.remove(&start) {
                    let content = line.newest_bytes();
                    sure[start..start + content.len()].copy_from_slice(content);
                }
            }
        }
    }

    /// Makes sure of every byte of `range` in a page that is not taken for clean, as a source's `sync` does.
    pub(super) fn sync(&mut self, range: Range<usize>) {
        for page in range.start / self.page_bytes..range.end.div_ceil(self.page_bytes) {
            let whole = page * self.page_bytes..(page + 1) * self.page_bytes;
            if !self.clean.contains(&page) {
                let bytes = whole.start.max(range.start)..whole.end.min(range.end);
                self.units(bytes.clone(), Line::begin);
                self.arrive(bytes);
            }
        }
    }

    /// Fails to write back: what was dirty anywhere in the source may or may not have got to the medium, and is taken
    /// for clean from now on, until somebody stores to its page again.
    pub(super) fn fail_sync(&mut self) {
        self.clean.extend(self.lines.keys().map(|start| start / self.page_bytes));
    }

    /// Makes sure of everything, also of what a failed `sync` has left.
    pub(super) fn settle(&mut self) {
        self.clean.clear();
        self.sync(0..self.now.len());
    }
}
