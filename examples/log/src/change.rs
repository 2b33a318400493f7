//! Records go: the newest by truncation, the oldest to give their storage back.

use lock_api::RawRwLock;
use pmemset_core::error::{PersistError, RemoveError};
use pmemset_core::{Observer, Platform, Source, Span};

use crate::error::{ChangeError, OpenError};
use crate::format::{GENERATION_AT, MARK_AT, NUMBER_MAX, SEGMENT_HEAD_BYTES, SegmentHead, State};
use crate::log::{Head, Log, Tail};
use crate::mistake::Mistake;

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Drops the records before `first`, durably, and gives back segments that hold no others. Appends go on meanwhile.
    ///
    /// `first` may be beyond the newest record: then the log is empty, and the next record has this number, which is
    /// below 2^63.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn drop_before(&self, first: u64) -> Result<(), ChangeError> {
        let mut head = self.head.write();
        self.is_running()?;
        if first <= self.first() {
            return Ok(());
        }
        if first > NUMBER_MAX {
            return Err(ChangeError::NotThere { sequence: first });
        }
        if first > self.next() && self.restart(&mut head, first)? {
            return self.drop_segments(self.geometry.oldest(&head.state));
        }
        let (start, next) = {
            let live = self.live.read();
            let start = if first == live.next { live.end } else { self.find(&live, first)?.0 };
            (start, live.next)
        };
        let durable = head.state.durable.max(next.wrapping_sub(1));
        let state = self.anchored(State { start, first, durable, ..head.state })?;
        let late = self.makes(Mistake::DropUnannounced);
        if !late {
            self.keep(&mut head, state).map_err(|error| self.stop(error))?;
        }
        {
            let mut live = self.live.write();
            (live.start, live.first) = (start, first);
        }
        let outcome = self.drop_segments(self.geometry.oldest(&state));
        if late {
            let number = self.live.read().behind();
            self.grow(&mut self.tail.write(), number).map_err(|_| ChangeError::NotThere { sequence: 0 })?;
            self.keep(&mut head, state).map_err(|error| self.stop(error))?;
        }
        outcome
    }

    /// Makes the log an empty one whose next record is `first`, which is beyond all; `false` where it is not.
    fn restart(&self, head: &mut Head, first: u64) -> Result<bool, ChangeError> {
        let _turn = self.commit.write();
        let mut tail = self.tail.write();
        if first <= tail.next {
            self.commit_locked(&tail).map_err(|error| tail.stop(error))?;
            return Ok(false);
        }
        let state = State { start: tail.end, first, durable: first.wrapping_sub(1), ..head.state };
        let state = self.anchored(state)?;
        self.commit_locked(&tail).and_then(|()| self.keep(head, state)).map_err(|error| tail.stop(error))?;
        tail.next = first;
        let mut live = self.live.write();
        (live.start, live.first) = (tail.end, first);
        (live.end, live.next) = (tail.end, first);
        let number = self.geometry.number(tail.end);
        live.unmark(number, 0);
        Ok(true)
    }

    /// Returns `state` with what it has to say of the segments: which is the oldest one that its start needs, which
    /// were made, and the generation of the oldest one. The newest one stays, whatever is dropped: it says whether
    /// there is a next one.
    pub(crate) fn anchored(&self, state: State) -> Result<State, ChangeError> {
        let number = self.geometry.number(state.start);
        let (made, oldest, address) = {
            let live = self.live.read();
            let oldest = number.min(live.behind().wrapping_sub(1));
            (live.behind(), oldest, live.address(oldest))
        };
        let head = address.map_or(Ok(Ok(None)), |address| self.segment_at(address))?;
        let Ok(Some(head)) = head else { return Err(ChangeError::Damaged { sequence: state.first }) };
        let made = if self.makes(Mistake::MadeUnsaid) { oldest } else { made };
        Ok(State { is_before: oldest < number, made, oldest_generation: head.generation, ..state })
    }

    /// Unmaps the segments before segment `oldest`, and frees their slots.
    fn drop_segments(&self, oldest: u64) -> Result<(), ChangeError> {
        let mut outcome = Ok(());
        loop {
            let (address, slot) = {
                let mut live = self.live.write();
                if live.count == 0 || live.oldest >= oldest {
                    return outcome;
                }
                let place = live.place_of(live.oldest).unwrap_or_default();
                live.oldest = live.oldest.wrapping_add(1);
                live.count = live.count.wrapping_sub(1);
                place
            };
            if let Err(error) = self.free(address, slot) {
                outcome = Err(ChangeError::Remove(error));
            }
        }
    }

    /// Unmaps a segment that nobody finds any more, gives its storage back where that can be done, and frees its slot.
    fn free(&self, address: usize, slot: u32) -> Result<(), RemoveError> {
        self.set.remove_range(address, self.geometry.segment_bytes)?;
        // A failure that matters shows at the next flush: it is the source's.
        let given_back = Span::new(self.geometry.offset(slot), self.geometry.segment_bytes as u64)
            .is_some_and(|range| self.source.give_back(range).is_ok());
        self.live.write().free_slot(slot, given_back);
        Ok(())
    }

    /// Truncates the log behind record `last`, durably: the next record is `last` + 1. `last` may be one before the
    /// oldest.
    ///
    /// After a power cut in the middle the log is as before, or truncated.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn truncate_after(&self, last: u64) -> Result<(), ChangeError> {
        let mut head = self.head.write();
        let _turn = self.commit.write();
        let mut tail = self.tail.write();
        if let Some(stop) = tail.stop {
            return Err(stop.into());
        }
        let sequence = last.saturating_add(1);
        if sequence >= tail.next {
            return Ok(());
        }
        self.commit_locked(&tail).map_err(|error| tail.stop(error))?;
        let position = {
            let live = self.live.read();
            if sequence < live.first {
                return Err(ChangeError::NotThere { sequence: last });
            }
            self.find(&live, sequence)?.0
        };
        self.cut(&mut head, &mut tail, position, sequence)
    }

    /// Erases record `sequence`, which begins at `position`, and all behind it; what is before it is durable.
    pub(crate) fn cut(
        &self,
        head: &mut Head,
        tail: &mut Tail,
        position: u64,
        sequence: u64,
    ) -> Result<(), ChangeError> {
        let state = head.state.cutting(sequence);
        let (late, careless) = (self.makes(Mistake::CutUnannounced), self.makes(Mistake::CutNotErased));
        if self.makes(Mistake::GenerationHasty) {
            self.end_segment(&state, position).map_err(|error| tail.stop(error))?;
        }
        if !late {
            self.keep(head, state).map_err(|error| tail.stop(error))?;
        }
        {
            let mut live = self.live.write();
            (live.end, live.next) = (position, sequence);
            live.cuts = live.cuts.wrapping_add(1);
            live.unmark(self.geometry.number(position), self.geometry.within(position));
        }
        (tail.end, tail.next) = (position, sequence);
        tail.generation = state.generation;
        let outcome = self.cut_segments(tail, position)?;
        let rest = self.piece(&self.live.read(), position, u64::MAX);
        if careless || self.makes(Mistake::GenerationEarly) {
            let ended = self.end_segment(&state, position).map_err(|error| tail.stop(error))?;
            if careless {
                self.keep(head, ended).map_err(|error| tail.stop(error))?;
            }
        }
        // Erased before the segment has the new generation, so that no copy of it has that and what was cut off.
        if let Some((address, length_bytes)) = rest {
            self.erase(address, length_bytes).map_err(|error| tail.stop(error))?;
        }
        let ended = self.end_segment(&state, position).map_err(|error| tail.stop(error))?;
        self.keep(head, ended).map_err(|error| tail.stop(error))?;
        outcome.map_err(ChangeError::Remove)
    }

    /// Has the newest segment, and the one before, say durably that no other follows, and that what it was before is an
    /// older copy of it. Returns the state of the log when the cut that `state` says has been made.
    fn end_segment(&self, state: &State, position: u64) -> Result<State, PersistError> {
        let ended = State { cut: None, ..*state };
        let (oldest, newest, address) = {
            let mut live = self.live.write();
            if live.count == 0 {
                // The next one is the first.
                live.oldest = self.geometry.number(position);
                let (made, oldest_generation) = (live.oldest, state.generation);
                return Ok(State { is_before: false, made, oldest_generation, ..ended });
            }
            let newest = live.behind().wrapping_sub(1);
            (live.oldest, newest, live.address(newest).unwrap_or_default())
        };
        let made = newest.wrapping_add(1);
        if self.makes(Mistake::GenerationKept) {
            self.set.write(address.wrapping_add(MARK_AT), &[0; 8])?;
            return Ok(State { made, ..ended });
        }
        let changing = SegmentHead::changing(newest, state.generation, None);
        let changing = if self.makes(Mistake::MarkKept) { &changing[..8] } else { &changing };
        self.set.write(address.wrapping_add(GENERATION_AT), changing)?;
        if newest == oldest {
            return Ok(State { made, oldest_generation: state.generation, ..ended });
        }
        self.mark_next(newest.wrapping_sub(1), state.generation)?;
        Ok(State { made, ..ended })
    }

    /// Takes the segments behind that of `position` away, the newest first.
    fn cut_segments(&self, tail: &mut Tail, position: u64) -> Result<Result<(), RemoveError>, ChangeError> {
        let mut outcome = Ok(());
        loop {
            let (address, slot) = {
                let live = self.live.read();
                let newest = live.behind().wrapping_sub(1);
                if live.count == 0 || newest <= self.geometry.number(position) {
                    return Ok(outcome);
                }
                live.place_of(newest).unwrap_or_default()
            };
            self.erase(address, SEGMENT_HEAD_BYTES).map_err(|error| tail.stop(error))?;
            {
                let mut live = self.live.write();
                live.count = live.count.wrapping_sub(1);
            }
            if let Err(error) = self.free(address, slot) {
                outcome = Err(error);
            }
        }
    }

    /// Closes the log: everything staged is durable, and known to be, and its set is closed.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn close(self) -> Result<(), OpenError> {
        let next = self.commit()?;
        {
            let mut head = self.head.write();
            let state = State { durable: next.wrapping_sub(1), ..head.state };
            if state != head.state {
                self.keep(&mut head, state)?;
            }
        }
        let Self { set, source, .. } = self;
        drop(source);
        Ok(set.close()?)
    }
}
