//! Segments that have left the books, until their events are told.

use super::{Books, Link, linked_mut};
use crate::{Extent, Platform};

/// The start, in a removed segment's slot, that says that no whole part went with it.
const NOT_WHOLE: u64 = u64::MAX;

/// Removed segments whose events are still to be told, in the order of their addresses.
///
/// They keep their slots until then, so that no memory is needed to remember them.
#[derive(Debug)]
pub(crate) struct Farewell {
    first: Link,
    last: Link,
    /// The entry that last announced a whole part.
    whole: Link,
}

impl Farewell {
    pub(crate) const fn new() -> Self {
        Self { first: 0, last: 0, whole: 0 }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first == 0
    }
}

/// A removed segment, as it is told.
#[derive(Debug)]
pub(crate) struct Gone<S> {
    pub(crate) source: S,
    /// The addresses of the whole part, at the first segment of a part that went as a whole.
    pub(crate) part: Option<Extent>,
}

impl<P: Platform, S: Clone> Books<'_, P, S> {
    /// Chains a slot that has left the table; in it, `offset` and `end` now are what is to be told.
    /// Returns how many bytes are reserved behind the segment.
    pub(super) fn bury(&mut self, index: u32, told: Extent, whole: bool, farewell: &mut Farewell) -> Option<usize> {
        let slot = self.slots.get_mut(index as usize)?;
        let spare_bytes = core::mem::replace(&mut slot.spare, 0);
        slot.offset = if whole { told.start() as u64 } else { NOT_WHOLE };
        slot.end = told.end();
        let link = (index as usize).wrapping_add(1);
        match linked_mut(&mut self.slots, farewell.last) {
            Some(last) => last.spare = link,
            None => farewell.first = link,
        }
        farewell.last = link;
        if whole {
            farewell.whole = link;
        }
        Some(spare_bytes)
    }

    /// Takes back the last announcement that a part has gone as a whole.
    pub(crate) fn not_whole(&mut self, farewell: &Farewell) {
        if let Some(slot) = linked_mut(&mut self.slots, farewell.whole) {
            slot.offset = NOT_WHOLE;
        }
    }

    /// Takes the next removed segment to tell of, and frees its slot.
    pub(crate) fn tell(&mut self, farewell: &mut Farewell) -> Option<Gone<S>> {
        let slot = linked_mut(&mut self.slots, farewell.first)?;
        let next = core::mem::replace(&mut slot.spare, self.freed);
        self.freed = core::mem::replace(&mut farewell.first, next);
        self.used = self.used.saturating_sub(1);
        let part = usize::try_from(slot.offset).ok().and_then(|start| Extent::between(start, slot.end));
        Some(Gone { source: slot.source.take()?, part })
    }
}
