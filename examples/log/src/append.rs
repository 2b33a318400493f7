//! Records go in: staged one after the other, made durable together.

use lock_api::RawRwLock;
use pmemset_core::error::{MapError, PersistError};
use pmemset_core::{CopyFlags, MapConfig, Observer, Platform, Source};

use crate::error::{AppendError, Stop};
use crate::format::{MARK_AT, RECORD_HEAD_BYTES, RecordHead, SegmentHead, checksum};
use crate::log::{Log, Tail};
use crate::mistake::Mistake;

/// Length of the longest record in bytes: as much as 4 bytes can count.
pub const LENGTH_MAX_BYTES: usize = u32::MAX as usize;

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Appends a record, and returns its sequence number; it is durable when this returns.
    ///
    /// Threads that append at the same time share a fence or a synchronisation: who comes first waits for the medium,
    /// and what the others have staged meanwhile goes with the next one.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    #[cfg_attr(test, track_caller)]
    pub fn append(&self, payload: &[u8]) -> Result<u64, AppendError> {
        let sequence = self.stage(payload)?;
        if !self.makes(Mistake::AcknowledgedEarly) {
            self.commit_until(sequence)?;
        }
        Ok(sequence)
    }

    /// Puts a record at the end, and returns its sequence number. It is durable, and read, after the next
    /// [`commit`](Self::commit) in any thread, and may be lost until then.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    #[cfg_attr(test, track_caller)]
    pub fn stage(&self, payload: &[u8]) -> Result<u64, AppendError> {
        let length_bytes = payload.len();
        let length = u32::try_from(length_bytes).map_err(|_| AppendError::TooLong { length_bytes })?;
        let payload_sum = checksum(&[payload]);
        let mut tail = self.tail.write();
        if let Some(stop) = tail.stop {
            return Err(stop.into());
        }
        let (position, sequence) = (tail.end, tail.next);
        let whole_bytes = (RECORD_HEAD_BYTES as u64).wrapping_add(length.into());
        let last = self.geometry.number(position.wrapping_add(whole_bytes).wrapping_sub(1));
        self.grow(&mut tail, last)?;
        let number = self.geometry.number(position);
        let (within, data_bytes) = (self.geometry.within(position), self.geometry.data_bytes());
        let live = self.live.read();
        let behind = u32::try_from(sequence.wrapping_sub(live.next).wrapping_add(1)).unwrap_or(u32::MAX);
        let behind = if self.makes(Mistake::ClaimsTooMuch) { 0 } else { behind };
        let head = RecordHead { sequence, length_bytes: length, behind, payload_sum };
        let stored = self.write_at(&live, position, &head.to_bytes(number)).and_then(|_| {
            let position = position.wrapping_add(RECORD_HEAD_BYTES as u64);
            self.write_at(&live, position, payload)
        });
        stored.map_err(|error| tail.stop(error))?;
        let wants_mark = live.wants_mark(number, within, data_bytes);
        drop(live);
        if wants_mark {
            self.live.write().mark(number, within, data_bytes, sequence);
        }
        tail.end = self.geometry.behind(position, length);
        tail.next = sequence.wrapping_add(1);
        Ok(sequence)
    }

    /// Makes everything durable that was staged before, with one fence, and returns the sequence number of the next
    /// record.
    ///
    /// # Errors
    ///
    /// See [`Stop`].
    #[cfg_attr(test, track_caller)]
    pub fn commit(&self) -> Result<u64, Stop> {
        self.commit_until(u64::MAX)
    }

    /// Makes everything durable that was staged, unless record `sequence` is already.
    fn commit_until(&self, sequence: u64) -> Result<u64, Stop> {
        // Whoever waits here finds, as a rule, that its record has gone with those of another.
        let _turn = self.commit.write();
        let (durable, next) = self.durable_until();
        if next > sequence {
            return Ok(next);
        }
        let tail = *self.tail.read();
        if let Some(stop) = tail.stop {
            return Err(stop);
        }
        if tail.next == next {
            return Ok(next);
        }
        self.persist(durable, tail.end).map_err(|error| self.stop(error))?;
        let tail = if self.makes(Mistake::CountsTooMany) { *self.tail.read() } else { tail };
        let mut live = self.live.write();
        (live.end, live.next) = (tail.end, tail.next);
        Ok(tail.next)
    }

    /// Returns where the durable records end, and the number of the next one.
    pub(crate) fn durable_until(&self) -> (u64, u64) {
        let live = self.live.read();
        (live.end, live.next)
    }

    /// Adds segments up to number `last`: all of them, or none. The caller has the tail locked, so nobody else adds
    /// any.
    pub(crate) fn grow(&self, tail: &mut Tail, last: u64) -> Result<(), AppendError> {
        let (behind, oldest, durable, room) = {
            let live = self.live.read();
            (live.behind(), live.oldest, live.next.wrapping_sub(1), live.room())
        };
        if last < behind {
            return Ok(());
        }
        if last.wrapping_sub(oldest) >= room as u64 {
            return Err(AppendError::TooManySegments { room });
        }
        for number in behind..=last {
            if let Err(error) = self.add(tail, number) {
                (behind..number).for_each(|number| self.take_back(number));
                return Err(error);
            }
        }
        for number in behind..=last {
            let begun = self.begin_segment(tail, number, durable, number > oldest);
            begun.map_err(|error| tail.stop(error))?;
        }
        let mut live = self.live.write();
        live.count = live.count.wrapping_add(last.wrapping_sub(behind)).wrapping_add(1);
        Ok(())
    }

    /// Stores the head of segment `number`, durably, and then the mark of the one before that there is this one. Before
    /// that nothing in it is acknowledged, and who finds the mark knows that the segment was there.
    fn begin_segment(&self, tail: &Tail, number: u64, durable: u64, mark: bool) -> Result<(), PersistError> {
        let mark = mark && !self.makes(Mistake::MarkForgotten);
        if mark && self.makes(Mistake::MarkEarly) {
            self.mark_next(number.wrapping_sub(1), tail.generation)?;
        }
        let (address, _) = self.live.read().place_of(number).unwrap_or_default();
        let head = SegmentHead { number, durable, generation: tail.generation, next: None };
        let late = self.makes(Mistake::SegmentHeadLate);
        let flags = if late { CopyFlags::NOFLUSH } else { CopyFlags::empty() };
        self.set.write_with(address, &head.to_bytes(), flags)?;
        if mark { self.mark_next(number.wrapping_sub(1), tail.generation) } else { Ok(()) }
    }

    /// Stores the mark of segment `number` that the next one was made, of this generation; durably.
    pub(crate) fn mark_next(&self, number: u64, generation: u32) -> Result<(), PersistError> {
        let (address, _) = self.live.read().place_of(number).unwrap_or_default();
        let unfenced = self.makes(Mistake::MarkNotFenced);
        let flags = if unfenced { CopyFlags::NOFLUSH } else { CopyFlags::empty() };
        self.set.write_with(address.wrapping_add(MARK_AT), &SegmentHead::mark(number, generation), flags)
    }

    /// Maps segment `number`, all zeros, in a free slot.
    fn add(&self, tail: &mut Tail, number: u64) -> Result<(), AppendError> {
        let (slot, zero, before) = {
            let mut live = self.live.write();
            let room = live.room();
            let (slot, zero) = live.take_slot().ok_or(AppendError::TooManySegments { room })?;
            (slot, zero, live.place_of(number.wrapping_sub(1)).map(|(address, _)| address))
        };
        let give_up = |error| {
            self.live.write().free_slot(slot, zero);
            AppendError::Full(error)
        };
        let known_bytes = self.source.length_bytes().unwrap_or(u64::MAX);
        let address = self.map_slot(slot, before).map_err(give_up)?;
        self.live.write().set_place(number, address, slot);
        // So is what the source has grown by, and what it has given back.
        if !zero && self.geometry.offset(slot) < known_bytes && !self.makes(Mistake::SegmentNotErased) {
            self.erase(address, self.geometry.segment_bytes).map_err(|error| tail.stop(error))?;
        }
        Ok(())
    }

    /// Maps a slot, behind `before` if that can be had.
    pub(crate) fn map_slot(&self, slot: u32, before: Option<usize>) -> Result<usize, MapError> {
        let config = MapConfig::new().offset(self.geometry.offset(slot)).length(self.geometry.segment_bytes);
        let mapped = match before.filter(|address| *address != 0) {
            None => self.set.map(self.source.clone(), &config),
            Some(address) => match self.set.map(self.source.clone(), &config.after(address)) {
                Err(MapError::CannotCoalesce { .. } | MapError::NoPartAt { .. }) => {
                    self.set.map(self.source.clone(), &config)
                }
                other => other,
            },
        };
        mapped.map(|part| part.extent().start())
    }

    /// Unmaps a segment that was added for a record that is not written.
    fn take_back(&self, number: u64) {
        let Some((address, slot)) = self.live.read().place_of(number) else { return };
        // Where it cannot be unmapped, the slot stays in use until the log is opened again.
        if self.set.remove_range(address, self.geometry.segment_bytes).is_ok() {
            self.live.write().free_slot(slot, false);
        }
    }

    /// Makes everything durable that is staged. The caller has locked what commits and the tail.
    pub(crate) fn commit_locked(&self, tail: &Tail) -> Result<(), PersistError> {
        let (durable, next) = self.durable_until();
        if tail.next != next {
            self.persist(durable, tail.end)?;
            let mut live = self.live.write();
            (live.end, live.next) = (tail.end, tail.next);
        }
        Ok(())
    }
}
