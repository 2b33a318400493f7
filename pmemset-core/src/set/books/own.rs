//! The set's own reservations in the books.

use super::{Books, NONE};
use crate::Extent;

/// A reservation of the set's own; `end` is 0 in a free record, whose `start` leads to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    start: usize,
    end: usize,
}

impl Record {
    pub(super) const FREE: Self = Self { start: 0, end: 0 };
}

impl<S: Clone, const N: usize> Books<S, N> {
    /// Returns the addresses of a reservation of the set's own.
    pub(crate) fn reservation(&self, index: u32) -> Option<Extent> {
        let record = self.records.get(index as usize)?;
        Extent::between(record.start, record.end)
    }

    /// Enters a reservation of the set's own. There are never more of them than segments.
    pub(crate) fn enter_reservation(&mut self, extent: Extent) -> Option<u32> {
        let records = &self.records;
        let link = |index: u32| {
            records.get(index as usize).and_then(|record| u32::try_from(record.start).ok()).unwrap_or(NONE)
        };
        let index = self.free_records.take(N, link)?;
        *self.records.get_mut(index as usize)? = Record { start: extent.start(), end: extent.end() };
        Some(index)
    }

    /// Notes that a reservation of the set's own now ends at `end`.
    pub(crate) fn resize_reservation(&mut self, index: u32, end: usize) {
        if let Some(record) = self.records.get_mut(index as usize) {
            record.end = end;
        }
    }

    /// Strikes a reservation of the set's own if no segment is left in it, and returns its addresses.
    pub(crate) fn strike_empty_reservation(&mut self, index: u32) -> Option<Extent> {
        let extent = self.reservation(index)?;
        if !self.is_free(extent) {
            return None;
        }
        let next = self.free_records.chain;
        *self.records.get_mut(index as usize)? = Record { start: next as usize, end: 0 };
        self.free_records.chain = index;
        Some(extent)
    }
}
