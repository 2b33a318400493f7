//! Finding segments and parts, with the lock of the books or without it.

use super::slot::{PartEntry, SegmentEntry, Slot, Tag};
use crate::table::{Arrays, Tree};
use crate::{Extent, Platform};

/// Where segments are. What is found without the lock, in books that change meanwhile, means nothing.
pub(crate) struct View<'v, 'm, P: Platform, S> {
    pub(super) tree: &'v Tree<Arrays<'m, Tag, P>, 1>,
    /// The lock guards them: who looks without it has none, and does not find segments whose length is not in the tag.
    pub(super) slots: Option<&'v [Slot<S>]>,
}

impl<'v, 'm, P: Platform, S> View<'v, 'm, P, S> {
    /// Returns a view for who has no lock.
    #[inline]
    pub(crate) const fn without_lock(tree: &'v Tree<Arrays<'m, Tag, P>, 1>) -> Self {
        Self { tree, slots: None }
    }

    /// Returns where a segment ends; 0 where that cannot be told.
    #[inline]
    pub(super) fn end_of(&self, start: usize, tag: Tag) -> usize {
        match tag.length_bytes() {
            0 if !Tag::FITS => self.slots.and_then(|slots| slots.get(tag.slot() as usize)).map_or(0, |slot| slot.end),
            length_bytes => start.wrapping_add(length_bytes),
        }
    }

    /// Returns the segment that has `address`, without its source; `hint` gets its slot early.
    #[inline]
    pub(crate) fn entry_at(&self, address: usize, hint: impl FnOnce(u32)) -> Option<SegmentEntry> {
        let (start, tag) = self.tree.at_or_before(address)?;
        hint(tag.slot());
        let end = self.end_of(start, tag);
        if address >= end {
            return None;
        }
        Some(SegmentEntry { slot: tag.slot(), extent: Extent::between(start, end)? })
    }

    /// Returns the part that has `address`; `hint` gets the slot whose pins are likely to be wanted.
    #[inline]
    pub(crate) fn part_at(&self, address: usize, hint: impl FnOnce(u32)) -> Option<PartEntry> {
        let (found, next) = self.tree.around(address);
        let (start, tag) = found?;
        hint(tag.slot());
        if address < self.end_of(start, tag) { self.part_of(start, tag, next) } else { None }
    }

    /// Returns the part that has the segment at `start`; `next` is the entry behind it.
    #[inline]
    pub(super) fn part_of(&self, start: usize, tag: Tag, next: Option<(usize, Tag)>) -> Option<PartEntry> {
        if tag.is_head() && next.is_none_or(|(_, next)| next.is_head()) {
            return Some(PartEntry { head: tag.slot(), extent: Extent::between(start, self.end_of(start, tag))? });
        }
        self.part_around(start)
    }

    /// As [`part_of`](Self::part_of), where the part has more segments.
    #[inline(never)]
    pub(super) fn part_around(&self, start: usize) -> Option<PartEntry> {
        let (head_start, head) = self.tree.last_at_or_before_with(start, 0, 1)?;
        let last = match self.tree.first_after_with(Some(start), 0, 1) {
            Some((beyond, _)) => self.tree.at_or_before(beyond.wrapping_sub(1))?,
            None => self.tree.last()?,
        };
        Some(PartEntry { head: head.slot(), extent: Extent::between(head_start, self.end_of(last.0, last.1))? })
    }
}
