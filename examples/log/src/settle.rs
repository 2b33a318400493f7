//! What opening does with what it has found: makes durable what is kept, and erases the rest.

use lock_api::RawRwLock;
use pmemset_core::error::PersistError;
use pmemset_core::{Observer, Platform, Source};

use crate::error::{AppendError, ChangeError, OpenError, ReadError};
use crate::format::{SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES};
use crate::log::Log;
use crate::mistake::Mistake;
use crate::options::{OnDamage, Options};
use crate::recovered::Recovered;
use crate::walk::{Broken, Walk};

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Decides what the walk has come to, makes durable what is kept, and erases the rest.
    pub(crate) fn settle(&mut self, walk: Walk, options: &Options) -> Result<(), OpenError> {
        let damaged = walk.gap || walk.durable >= walk.sequence;
        if damaged && options.on_damage == OnDamage::Refuse {
            return Err(OpenError::Damaged { sequence: walk.sequence });
        }
        self.make_durable(&walk)?;
        self.erase_strays(&walk)?;
        let mut head = self.head.write();
        let mut tail = self.tail.write();
        (tail.end, tail.next, tail.generation) = (walk.position, walk.sequence, head.state.generation);
        if (walk.rest || damaged) && !self.makes(Mistake::RemainsLeft) {
            self.cut(&mut head, &mut tail, walk.position, walk.sequence).map_err(not_changed)?;
        }
        let (first, made) = (head.state.first, self.recovered.made);
        drop((head, tail));
        let damaged = damaged.then_some(walk.sequence);
        self.recovered = Recovered { made, first, next: walk.sequence, erased: walk.rest, damaged };
        Ok(())
    }

    /// Erases the heads of segments that come behind one that is missing, and broken ones. A power cut in the middle
    /// finds that they are to go.
    fn erase_strays(&self, walk: &Walk) -> Result<(), OpenError> {
        let behind = self.live.read().behind();
        if walk.strays <= behind && !walk.broken || self.makes(Mistake::StraysLeft) {
            return Ok(());
        }
        let mut head = self.head.write();
        let state = head.state.cutting(walk.sequence);
        self.keep(&mut head, state)?;
        if walk.broken {
            self.each_slot(|log, _, address| {
                if log.segment_at(address)? == Err(Broken) {
                    log.erase(address, SEGMENT_HEAD_BYTES)?;
                }
                Ok(false)
            })?;
        }
        for number in behind..walk.strays {
            let Some(slot) = self.live.read().found_in(number) else { continue };
            let (address, _) = self.live.read().place_of(number).unwrap_or_default();
            self.erase(address, SEGMENT_HEAD_BYTES)?;
            self.set.remove_range(address, self.geometry.segment_bytes)?;
            self.live.write().free_slot(slot, false);
        }
        Ok(())
    }

    /// Stores again, and makes durable, what may have been in a cache only: by a program that was killed before it
    /// waited for the medium, or whose synchronisation has failed.
    fn make_durable(&self, walk: &Walk) -> Result<(), OpenError> {
        if self.makes(Mistake::FoundNotDurable) {
            return Ok(());
        }
        let sure = walk.durable.min(walk.sequence.wrapping_sub(1));
        let (from, newest) = {
            let live = self.live.read();
            let unsure = sure.wrapping_add(1).max(live.first);
            let from = match self.find(&live, unsure) {
                Ok((position, _)) => position,
                Err(ReadError::Failed(error)) => return Err(error.into()),
                Err(ReadError::Damaged { sequence }) => return Err(OpenError::Damaged { sequence }),
                Err(_) => walk.position,
            };
            if !self.makes(Mistake::FoundNotStored) {
                self.store_again(&live, from, walk.position)?;
            }
            (from, live.behind())
        };
        // The one before says that this one was made.
        for number in self.geometry.number(from).saturating_sub(1)..newest {
            let Some(address) = self.live.read().address(number) else { continue };
            let mut bytes = [0; SEGMENT_HEAD_USED_BYTES];
            self.set.read(address, &mut bytes)?;
            self.set.write(address, &bytes)?;
        }
        self.mend_marks()?;
        self.persist(from, walk.position)?;
        let head = self.head.read();
        let part = self.pin(self.head_at)?;
        self.refresh_header(&part)?;
        head.state_cell.refresh(&part)?;
        for note in &head.notes {
            note.refresh(&part)?;
        }
        Ok(())
    }

    /// Has each segment say that there is the next one: the power may have gone when that had been made.
    fn mend_marks(&self) -> Result<(), PersistError> {
        let (oldest, behind) = {
            let live = self.live.read();
            (live.oldest, live.behind())
        };
        if oldest == behind || self.makes(Mistake::MarkNotMended) {
            return Ok(());
        }
        let head_of = |number: u64| {
            let address = self.live.read().address(number).unwrap_or_default();
            self.segment_at(address).map(|head| head.ok().flatten())
        };
        let mut before = head_of(oldest)?;
        for number in oldest.wrapping_add(1)..behind {
            let head = head_of(number)?;
            if before.is_some_and(|before| before.next.is_none())
                && let Some(head) = head
            {
                self.mark_next(number.wrapping_sub(1), head.generation)?;
            }
            before = head;
        }
        Ok(())
    }

    /// Sees to it that there is a segment, and that the log says so: each later one is said to be there by the one
    /// before.
    pub(crate) fn begin_first(&self) -> Result<(), OpenError> {
        let mut head = self.head.write();
        let mut tail = self.tail.write();
        if self.live.read().count == 0 {
            let number = self.geometry.number(tail.end);
            self.grow(&mut tail, number).map_err(|error| match error {
                AppendError::Full(error) => OpenError::Map(error),
                AppendError::Stopped(stop) => OpenError::Failed(stop.cause),
                AppendError::TooManySegments { room } => OpenError::TooManySegments { room },
                AppendError::TooLong { .. } => OpenError::DamagedState,
            })?;
        }
        if head.state.made == self.geometry.oldest(&head.state) && !self.makes(Mistake::MadeUnsaid) {
            let state = self.anchored(head.state).map_err(not_changed)?;
            self.keep(&mut head, state)?;
        }
        Ok(())
    }
}

/// Returns why a log was not opened where a change of it has failed.
fn not_changed(error: ChangeError) -> OpenError {
    match error {
        ChangeError::Remove(error) => OpenError::Remove(error),
        ChangeError::Stopped(stop) => OpenError::Failed(stop.cause),
        ChangeError::Damaged { sequence } => OpenError::Damaged { sequence },
        ChangeError::NotThere { .. } | ChangeError::TooLong { .. } => OpenError::DamagedState,
    }
}
