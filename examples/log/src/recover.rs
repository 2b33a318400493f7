//! Opening: finding the segments of a log.

use lock_api::RawRwLock;
use lock_api::RwLock;
use pmemset_core::error::MapError;
use pmemset_core::{MapConfig, Observer, Platform, Set, Source};

use crate::cell::Cell;
use crate::error::OpenError;
use crate::format::{FIRST_STATE, Geometry, SEGMENT_HEAD_BYTES, SegmentHead};
use crate::log::{HEAD_BYTES, Head, Log, NOTES, Tail};
use crate::options::Options;
use crate::recovered::Recovered;
use crate::table::{Live, Table};
use crate::walk::{Broken, Walk};

impl<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
    /// Opens the log in `source`, or makes one where the source is empty; what it finds is durable when this returns.
    ///
    /// The set is empty, and has room for one segment more than `table`. Reads all records, and checks them. Where it makes
    /// a log, it looks into each page of the source before, for a segment whose head was lost.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A log that is refused as damaged is left as it was.
    pub fn open(
        set: Set<'m, P, S, O>,
        source: S,
        options: &Options,
        table: impl Into<Table<'m>>,
    ) -> Result<Self, OpenError> {
        let alignment_bytes = source.alignment_bytes().max(set.platform().page_size_bytes());
        let round_up = |bytes: usize| bytes.checked_next_multiple_of(alignment_bytes).unwrap_or(usize::MAX);
        let head_bytes = round_up(HEAD_BYTES);
        let segment_bytes = round_up(options.segment_bytes.max(2 * SEGMENT_HEAD_BYTES));
        let geometry = Geometry { head_bytes, segment_bytes };
        let head_at = set.map(source.clone(), &MapConfig::new().length(head_bytes))?.extent();
        let head = Head { state: FIRST_STATE, state_cell: Cell::NOWHERE, notes: [Cell::NOWHERE; NOTES] };
        let recovered = Recovered { made: false, first: 1, next: 1, erased: false, damaged: None };
        let mut log = Self {
            set,
            source,
            geometry,
            head_at,
            recovered,
            head: RwLock::new(head),
            commit: RwLock::new(()),
            tail: RwLock::new(Tail { end: 0, next: 1, stop: None }),
            live: RwLock::new(Live::new(table.into())),
            #[cfg(test)]
            mistake: options.mistake,
        };
        log.open_head(alignment_bytes, options)?;
        let walk = log.find_all()?;
        log.settle(walk, options)?;
        Ok(log)
    }

    /// Maps each slot of the source that is not in use, and unmaps it again where `act` does not want to keep it.
    pub(crate) fn each_slot(
        &self,
        mut act: impl FnMut(&Self, u32, usize) -> Result<bool, OpenError>,
    ) -> Result<(), OpenError> {
        let length_bytes = self.source.length_bytes().map_err(|cause| MapError::Source { cause })?;
        let (mut slot, mut kept) = (0_u32, None);
        while self.geometry.offset(slot).saturating_add(self.geometry.segment_bytes as u64) <= length_bytes {
            if !self.live.read().uses_slot(slot) {
                let address = self.map_slot(slot, kept)?;
                if act(self, slot, address)? {
                    kept = Some(address);
                } else {
                    self.set.remove_range(address, self.geometry.segment_bytes)?;
                }
            }
            slot = slot.wrapping_add(1);
        }
        Ok(())
    }

    /// Maps the segments of the log, and walks along its records.
    fn find_all(&self) -> Result<Walk, OpenError> {
        let (oldest, room) = {
            let live = self.live.read();
            (live.oldest, live.room())
        };
        let (mut newest, mut broken) = (None, false);
        let state = self.head.read().state;
        let mut durable = state.durable;
        self.each_slot(|log, slot, address| {
            let head = log.segment_at(address)?;
            broken |= head == Err(Broken);
            let Some(SegmentHead { number, durable: then }) = head.ok().flatten().filter(|head| head.number >= oldest)
            else {
                return Ok(false);
            };
            let mut live = log.live.write();
            if !live.found(number, slot) {
                return Err(OpenError::TooManySegments { room });
            }
            newest = newest.max(Some(number));
            durable = durable.max(then);
            let next = number == live.behind();
            if next {
                live.set_place(number, address, slot);
                live.count = live.count.wrapping_add(1);
            }
            Ok(next)
        })?;
        // Those whose slots are not in their order.
        let behind = self.live.read().behind();
        for number in behind.. {
            let Some(slot) = self.live.read().found_in(number) else { break };
            let before = self.live.read().address(number.wrapping_sub(1));
            let address = self.map_slot(slot, before)?;
            let mut live = self.live.write();
            live.set_place(number, address, slot);
            live.count = live.count.wrapping_add(1);
        }
        let behind = self.live.read().behind();
        let gap = newest.is_some_and(|newest| newest >= behind);
        let strays = newest.map_or(behind, |newest| newest.wrapping_add(1));
        let walk = Walk { position: state.start, sequence: state.first, durable, rest: false, gap, strays, broken };
        self.walk(walk, state.cut)
    }
}
