//! Opening: finding the segments of a log.

use lock_api::RawRwLock;
use lock_api::RwLock;
use pmemset_core::error::MapError;
use pmemset_core::{MapConfig, Observer, Platform, Set, Source};

use crate::cell::Cell;
use crate::error::OpenError;
use crate::format::{FIRST_STATE, Geometry, SEGMENT_HEAD_BYTES, SegmentHead, State};
use crate::log::{HEAD_BYTES, Head, Log, NOTES, Tail};
use crate::mistake::Mistake;
use crate::options::Options;
use crate::recovered::Recovered;
use crate::table::{Live, Table};
use crate::walk::{Broken, Walk};

impl<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
    /// Opens the log in `source`, or makes one where the source is empty; what it finds is durable when this returns.
    ///
    /// The set is empty, and has room for one segment more than `table`. Reads all records, and checks them. Where it
    /// makes a log, it looks into each page of the source before, for a segment whose head was lost.
    ///
    /// Compiles only for processors that store 8 bytes at once.
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
        const { assert!(size_of::<usize>() >= 8, "marks in segments' heads are 8 bytes, which must be stored at once") };
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
            tail: RwLock::new(Tail { end: 0, next: 1, generation: 1, stop: None }),
            live: RwLock::new(Live::new(table.into())),
            #[cfg(test)]
            mistake: options.mistake,
        };
        log.open_head(alignment_bytes, options)?;
        let walk = log.find_all()?;
        log.settle(walk, options)?;
        log.begin_first()?;
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

    /// Finds the segments of the log, and walks along its records.
    fn find_all(&self) -> Result<Walk, OpenError> {
        let state = self.head.read().state;
        let oldest = self.geometry.oldest(&state);
        let (mut newest, mut current, mut broken) = (None, None, false);
        self.each_slot(|log, slot, address| {
            let head = log.segment_at(address)?;
            broken |= head == Err(Broken);
            let Some(head) = head.ok().flatten().filter(|head| head.number >= oldest) else { return Ok(false) };
            newest = newest.max(Some(head.number));
            current = current.max((head.generation == state.generation).then_some(head.number));
            log.note_found(head, address, slot)
        })?;
        let (gap, durable) = self.follow(&state, current)?;
        let strays = newest.map_or(0, |newest| newest.wrapping_add(1));
        let walk = Walk { position: state.start, sequence: state.first, durable, rest: false, gap, strays, broken };
        self.walk(walk, state.cut)
    }

    /// Notes that a slot begins with this head of a segment. Of two with the same number the one that was made, or
    /// truncated, later is the segment; the other one is an older copy of what lay there before. Returns whether it is
    /// to be kept.
    fn note_found(&self, head: SegmentHead, address: usize, slot: u32) -> Result<bool, OpenError> {
        let other = {
            let live = self.live.read();
            live.found_in(head.number).and_then(|_| live.place_of(head.number))
        };
        if let Some((address, slot)) = other {
            if matches!(self.segment_at(address)?, Ok(Some(found)) if found.generation >= head.generation) {
                return Ok(false);
            }
            self.set.remove_range(address, self.geometry.segment_bytes)?;
            self.live.write().free_slot(slot, false);
        }
        let mut live = self.live.write();
        let room = live.room();
        if live.found(head.number, address, slot) { Ok(true) } else { Err(OpenError::TooManySegments { room }) }
    }

    /// Counts the segments that follow on each other from the oldest one on, each of the generation that the one before
    /// it says. Returns whether one is missing that was made, or is an older copy of itself, and the last record that
    /// they say was durable; `current` is the last segment of the newest generation that was found.
    fn follow(&self, state: &State, current: Option<u64>) -> Result<(bool, u64), OpenError> {
        let oldest = self.geometry.oldest(state);
        // Whether the next one was made, and its generation.
        let mut mark = (state.made > oldest).then_some(state.oldest_generation);
        let mut durable = state.durable;
        for number in oldest.. {
            let place = {
                let live = self.live.read();
                live.found_in(number).and_then(|_| live.place_of(number))
            };
            let Some((address, _)) = place else { break };
            let Ok(Some(head)) = self.segment_at(address)? else { break };
            // One that was being made when the power went is of the newest generation. Until a truncation is finished,
            // the segment that is the newest one then may be of either.
            let expected = head.generation == mark.unwrap_or(state.generation)
                || state.cut.is_some() && head.generation == state.generation;
            if !expected && !self.makes(Mistake::GenerationUnchecked) {
                break;
            }
            let mut live = self.live.write();
            live.count = live.count.wrapping_add(1);
            (mark, durable) = (head.next, durable.max(head.durable));
        }
        let behind = self.live.read().behind();
        // The newest segment is of the newest generation: others behind the end are older copies of something, and no
        // loss.
        let gap = mark.is_some() || state.made > behind || current.is_some_and(|current| current >= behind);
        Ok((gap, durable))
    }
}
