//! The bytes of a source: what its program sees of them, and how they get to the medium.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::hardware::Hardware;
use super::line::{Line, UNIT_BYTES, Word, word};
use super::open::{Left, Open};
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
    /// The lines that the last power cut left in any of several ways, and that nobody has wholly read, by offset.
    pub(super) open: Left,
    /// For each unit that is not in `lines`, the step before which it was stored.
    pub(super) since: Arc<Vec<u32>>,
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
            open: BTreeMap::new(),
            since: Arc::new([0].repeat(bytes.len() / UNIT_BYTES)),
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
        Arc::make_mut(&mut self.since).resize(length_bytes / UNIT_BYTES, 0);
        self.lines.retain(|offset, _| *offset < length_bytes);
        self.open.retain(|offset, _| *offset < length_bytes);
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
                let open = self.open.get(&start).cloned();
                let line = self.lines.entry(start).or_insert_with(|| {
                    let since = &self.since[start / UNIT_BYTES..(start + new.len()) / UNIT_BYTES];
                    let unseen = |unit| open.as_ref().is_some_and(|open| open.is_unseen(unit));
                    Arc::new(Line::new(old, since, unseen))
                });
                for unit in Arc::make_mut(line).store(new, step, self.epoch) {
                    if let Some(open) = self.open.get_mut(&start) {
                        Arc::make_mut(open).see(unit);
                    }
                }
                old.copy_from_slice(new);
                self.clean.remove(&(start / self.page_bytes));
            }
        }
    }

    /// Notes that the lines that `range` touches are on their way to the medium.
    ///
    /// Returns whether that was of use: whether one of them has been stored to since it was last written back.
    pub(super) fn write_back(&mut self, range: Range<usize>) -> bool {
        let mut of_use = self.granularity != Granularity::CacheLine;
        if !of_use {
            let mask = self.line_bytes - 1;
            self.units(range.start & !mask..(range.end + mask) & !mask, |line, unit| of_use |= line.begin(unit));
        }
        of_use
    }

    /// Returns whether a fence would make sure of anything.
    pub(super) fn waits_for_fence(&self) -> bool {
        match self.granularity {
            Granularity::Page => false,
            Granularity::CacheLine => self.lines.values().any(|line| line.is_pending()),
            Granularity::Byte => !self.lines.is_empty(),
        }
    }

    /// Makes the bytes of `range`, whole pages, 0 and sure of it.
    pub(super) fn erase(&mut self, range: Range<usize>, step: usize) {
        self.observe(range.start, &[0].repeat(range.len()), step);
        self.dirty(range.clone());
        self.units(range.clone(), Line::put);
        self.arrive(range);
    }

    /// Notes that somebody stores to `range`, whatever: pages that were taken for clean are not any more.
    pub(super) fn dirty(&mut self, range: Range<usize>) {
        let pages = range.start / self.page_bytes..range.end.div_ceil(self.page_bytes);
        self.clean.retain(|page| !pages.contains(page));
    }

    /// Notes that what was stored to the units that `range` touches at `step` went around the cache.
    pub(super) fn stream(&mut self, range: Range<usize>, step: usize) {
        let begins = self.granularity == Granularity::CacheLine;
        self.units(range, |line, unit| {
            line.stream(unit, step);
            if begins {
                line.put(unit);
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
            Granularity::Byte => self.units(all.clone(), Line::put),
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
        for start in arrived {
            let Some(line) = self.lines.remove(&start) else { continue };
            let content = line.newest_bytes();
            Arc::make_mut(&mut self.sure)[start..start + content.len()].copy_from_slice(content);
            let since = &mut Arc::make_mut(&mut self.since)[start / UNIT_BYTES..];
            for (unit, since) in since.iter_mut().take(line.units()).enumerate() {
                *since = line.stored_at(line.newest(), unit) as u32;
            }
            if let Some(open) = self.open.get_mut(&start) {
                let open = Arc::make_mut(open);
                for unit in 0..line.units() {
                    if !open.is_unseen(unit) {
                        open.set(unit, word(&content[unit * UNIT_BYTES..]));
                    }
                }
                if open.is_seen() {
                    self.open.remove(&start);
                }
            }
        }
    }

    /// Returns the line and the unit that begins at `offset`, and what the last power cut has left there where nobody
    /// has read or stored since.
    fn unseen(&self, offset: usize) -> Option<(usize, usize, &Open)> {
        let start = offset & !(self.line_bytes - 1);
        let unit = (offset - start) / UNIT_BYTES;
        self.open.get(&start).filter(|open| open.is_unseen(unit)).map(|open| (start, unit, &**open))
    }

    /// Returns the values that the unit at `offset` can have when it is read now, the newest first.
    pub(super) fn values(&self, offset: usize) -> Vec<Word> {
        match self.unseen(offset) {
            Some((_, unit, open)) => open.values(unit),
            None => [word(&self.now[offset..])].into(),
        }
    }

    /// Decides that the last power cut has left `value` at `offset`; returns whether that was not decided before.
    pub(super) fn decide(&mut self, offset: usize, value: Word) -> bool {
        let Some((start, unit, _)) = self.unseen(offset) else { return false };
        self.rewrite(offset, start, unit, value, true);
        if let Some(open) = self.open.get_mut(&start) {
            let open = Arc::make_mut(open);
            open.refine(unit, value);
            open.see(unit);
            if open.is_seen() && !self.lines.contains_key(&start) {
                self.open.remove(&start);
            }
        }
        true
    }

    /// Has `value` at `offset`, as memory that another host stores to may have it at any time.
    pub(super) fn show(&mut self, offset: usize, value: Word) {
        self.now[offset..offset + UNIT_BYTES].copy_from_slice(&value.to_le_bytes());
    }

    /// Has bytes at `offset` that `word`, which is about to be stored, differs from in each: bytes that mean nothing
    /// because nobody has read or stored there; returns them.
    pub(super) fn conceal(&mut self, offset: usize, word: Word) -> Option<Word> {
        let (start, unit, _) = self.unseen(offset)?;
        self.rewrite(offset, start, unit, !word, false);
        Some(!word)
    }

    fn rewrite(&mut self, offset: usize, start: usize, unit: usize, value: Word, known: bool) {
        let bytes = value.to_le_bytes();
        self.now[offset..offset + UNIT_BYTES].copy_from_slice(&bytes);
        Arc::make_mut(&mut self.sure)[offset..offset + UNIT_BYTES].copy_from_slice(&bytes);
        if let Some(line) = self.lines.get_mut(&start) {
            Arc::make_mut(line).rewrite(unit, bytes, known);
        }
    }

    /// Makes sure of every byte of `range` in a page that is not taken for clean, as a source's `sync` does.
    pub(super) fn sync(&mut self, range: Range<usize>) {
        for page in range.start / self.page_bytes..range.end.div_ceil(self.page_bytes) {
            let whole = page * self.page_bytes..(page + 1) * self.page_bytes;
            if !self.clean.contains(&page) {
                let bytes = whole.start.max(range.start)..whole.end.min(range.end);
                self.units(bytes.clone(), Line::put);
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
        self.since = Arc::new([0].repeat(self.now.len() / UNIT_BYTES));
    }
}
