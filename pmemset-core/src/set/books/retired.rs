//! Segments that have left the books, until their events are told.

use super::slot::{Link, Position, linked_mut};
use super::{Books, Previous};
use crate::{Extent, Platform};

/// The start, in a removed segment's slot, that says that no whole part went with it.
const NOT_WHOLE: u64 = u64::MAX;

/// Removed segments whose events are still to be told, in the order of their addresses.
///
/// They keep their slots until then, so that no memory is needed to remember them.
#[derive(Debug)]
pub(crate) struct Retired {
    first: Link,
    last: Link,
    /// The entry that last announced a whole part.
    whole: Link,
}

impl Retired {
    pub(crate) const fn new() -> Self {
        Self { first: 0, last: 0, whole: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first == 0
    }
}

/// A removed segment, as it is told.
#[derive(Debug)]
pub(crate) struct RetiredSegment<S> {
    pub(crate) source: S,
    /// The addresses of the whole part, at the first segment of a part that went as a whole.
    pub(crate) part: Option<Extent>,
}

impl<P: Platform, S: Clone> Books<'_, P, S> {
    /// Takes a segment out and puts it at the end of `retired`; `part` is given at the first segment of a part that
    /// goes as a whole. A part that loses its head goes on with its next segment.
    pub(crate) fn remove(&mut self, place: &Position, part: Option<Extent>, retired: &mut Retired) {
        let found = &place.found;
        let (start, tag) = (found.key, found.value);
        let end = self.end_of(start, tag);
        let next = found.next.filter(|(_, next)| !next.is_head());
        if let Some(Previous { head, last }) = self.previous {
            if head == start {
                let takes_over = |head| Previous { head, last: None };
                self.previous = match next {
                    Some((head, _)) => Some(Previous { head, last }),
                    None => self.neighbour_of(found).map(takes_over),
                };
            } else if head < start && last.and_then(|last| self.slot(last.into())).is_some_and(|last| start < last.end)
            {
                // It ends before this segment now.
                self.previous = Some(Previous { head, last: None });
            }
        }
        self.changes = self.changes.wrapping_add(1);
        self.table.remove(found, next.map(|(_, follower)| follower.as_head()));
        if self.table.len() == 0 {
            self.granularity = None;
        }
        if let Some(told) = part.or(Extent::between(start, end)) {
            self.retire(tag.slot(), told, part.is_some(), retired);
        }
    }

    /// Chains a slot that has left the table; in it, `offset` and `end` now are what is to be told.
    fn retire(&mut self, index: u32, told: Extent, whole: bool, retired: &mut Retired) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        slot.spare = 0;
        slot.offset = if whole { told.start() as u64 } else { NOT_WHOLE };
        slot.end = told.end();
        let link = (index as usize).wrapping_add(1);
        match linked_mut(&mut self.slots, retired.last) {
            Some(last) => last.spare = link,
            None => retired.first = link,
        }
        retired.last = link;
        if whole {
            retired.whole = link;
        }
    }

    /// Takes back the last announcement that a part has gone as a whole.
    pub(crate) fn not_whole(&mut self, retired: &Retired) {
        if let Some(slot) = linked_mut(&mut self.slots, retired.whole) {
            slot.offset = NOT_WHOLE;
        }
    }

    /// Takes the next removed segment to tell of, and frees its slot.
    pub(crate) fn pop_retired(&mut self, retired: &mut Retired) -> Option<RetiredSegment<S>> {
        let slot = linked_mut(&mut self.slots, retired.first)?;
        let next = core::mem::replace(&mut slot.spare, self.freed);
        self.freed = core::mem::replace(&mut retired.first, next);
        self.used = self.used.saturating_sub(1);
        let part = usize::try_from(slot.offset).ok().and_then(|start| Extent::between(start, slot.end));
        Some(RetiredSegment { source: slot.source.take()?, part })
    }
}
