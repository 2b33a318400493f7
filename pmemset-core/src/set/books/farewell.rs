//! Segments that have left the books, until their events are told.

use super::{Books, NONE};
use crate::Extent;

/// The start, in a removed segment's slot, that says that no whole part went with it.
const NOT_WHOLE: u64 = u64::MAX;

/// Removed segments whose events are still to be told, in the order of their addresses.
///
/// They keep their slots until then, so that no memory is needed to remember them.
#[derive(Debug)]
pub(crate) struct Farewell {
    first: u32,
    last: u32,
    /// The entry that last announced a whole part.
    whole: u32,
}

impl Farewell {
    pub(crate) const fn new() -> Self {
        Self { first: NONE, last: NONE, whole: NONE }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// A removed segment, as it is told.
#[derive(Debug)]
pub(crate) struct Gone<S> {
    pub(crate) source: S,
    /// The addresses of the whole part, at the first segment of a part that went as a whole.
    pub(crate) part: Option<Extent>,
}

impl<S: Clone, const N: usize> Books<S, N> {
    /// Chains a slot that has left the table; in it, `offset` and `end` now are what is to be told.
    pub(super) fn bury(&mut self, index: u32, told: Extent, whole: bool, farewell: &mut Farewell) -> Option<u32> {
        let slot = self.slots.get_mut(index as usize)?;
        let reservation = core::mem::replace(&mut slot.link, NONE);
        slot.offset = if whole { told.start() as u64 } else { NOT_WHOLE };
        slot.end = told.end();
        match self.slots.get_mut(farewell.last as usize) {
            Some(last) => last.link = index,
            None => farewell.first = index,
        }
        farewell.last = index;
        if whole {
            farewell.whole = index;
        }
        Some(reservation)
    }

    /// Takes back the last announcement that a part has gone as a whole.
    pub(crate) fn not_whole(&mut self, farewell: &Farewell) {
        if let Some(slot) = self.slots.get_mut(farewell.whole as usize) {
            slot.offset = NOT_WHOLE;
        }
    }

    /// Takes the next removed segment to tell of, and frees its slot.
    pub(crate) fn tell(&mut self, farewell: &mut Farewell) -> Option<Gone<S>> {
        let index = farewell.first;
        let chain = self.free_slots.chain;
        let slot = self.slots.get_mut(index as usize)?;
        farewell.first = core::mem::replace(&mut slot.link, chain);
        self.free_slots.chain = index;
        self.used = self.used.saturating_sub(1);
        let part = usize::try_from(slot.offset).ok().and_then(|start| Extent::between(start, slot.end));
        Some(Gone { source: slot.source.take()?, part })
    }
}
