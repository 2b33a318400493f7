//! What keeps broken memory out of a set: shutdown state and bad blocks, judged at each map and settled at each
//! removal.

use super::Set;
use crate::error::{MapError, RepairError};
use crate::health::{BadBlockPolicy, BadBlocks, BadBlocksError};
use crate::health::{DeviceError, DeviceId, PartState, ShutdownVerdict};
use crate::health::{LiveRecordRef, Step};
use crate::set::event::{Answer, Event, Observer};
use crate::{DeepFlush, Errno, Growth, Platform, ShutdownRecord, Source, Span};

/// The number of bad blocks asked for at a time.
const BLOCKS_AT_A_TIME: usize = 8;

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Judges the shutdown state of a source that has a record, and counts the mapping about to be made; `again` counts
    /// nothing, and refuses another device than the one that was judged.
    #[inline]
    pub(super) fn judge(&self, source: &S, again: bool) -> Result<(), MapError> {
        shutdown_of(source).map_or(Ok(()), |shutdown| self.judge_by(source, shutdown, again))
    }

    #[inline(never)]
    fn judge_by(&self, source: &S, shutdown: LiveRecordRef<'_>, again: bool) -> Result<(), MapError> {
        let mut id = DeviceId::new();
        let count = device(source, &mut id).map_err(|error| match error {
            DeviceError::Unsupported => MapError::ShutdownUnsupported,
            DeviceError::IdTooLong => MapError::DeviceIdTooLong,
            DeviceError::Failed(cause) => MapError::Source { cause },
        })?;
        match shutdown.stage(&id, count, if again { None } else { Some(self.config.acceptable) }) {
            Some(Ok(_)) => Ok(()),
            Some(Err(verdict)) => Err(MapError::UndesirablePartState { verdict }),
            None => Err(MapError::ShutdownUnsupported),
        }
    }

    /// Has the dirty record kept, before anything can be stored to; looks at new memory before that.
    #[inline]
    pub(super) fn announce(&self, source: &S, growth: Option<Growth>, range: Span) -> Result<(), MapError> {
        self.refuse_bad_growth(source, growth, range)?;
        match self.step(source, Step::Announce) {
            Answer::Proceed => Ok(()),
            Answer::Refuse => Err(MapError::RecordNotKept),
        }
    }

    /// Refuses bad blocks in what `growth` has added to `range`.
    pub(super) fn refuse_bad_growth(&self, source: &S, growth: Option<Growth>, range: Span) -> Result<(), MapError> {
        let new = growth.and_then(|growth| range.starting_at(growth.from_bytes));
        new.map_or(Ok(()), |new| self.refuse_bad_blocks(source, new))
    }

    /// Takes back what [`judge`](Self::judge) has counted.
    pub(super) fn roll_back(&self, source: &S) {
        self.step(source, Step::RollBack);
    }

    /// Counts a mapping that is gone, and has the clean record kept if its stores were deep-flushed, and nothing of the
    /// source has been lost since.
    #[inline]
    pub(super) fn unmapped(&self, source: &S, flushed: bool) {
        let flushed = flushed && source.failed_write_back().first().is_none();
        self.step(source, Step::Unmap { flushed });
    }

    /// Takes `step` with the record of a source that has one, and has the record kept where it has to be.
    #[inline]
    fn step(&self, source: &S, step: Step) -> Answer {
        shutdown_of(source).map_or(Answer::Proceed, |shutdown| self.step_by(source, shutdown, step))
    }

    #[inline(never)]
    fn step_by(&self, source: &S, shutdown: LiveRecordRef<'_>, step: Step) -> Answer {
        let mut record = ShutdownRecord::new();
        match shutdown.step(step, &mut record) {
            Some(sequence) => self.publish_record(source, &record, sequence),
            None => Answer::Proceed,
        }
    }

    fn publish_record(&self, source: &S, record: &ShutdownRecord, sequence: u64) -> Answer {
        self.notify(&Event::SdsUpdate { source, record, sequence })
    }

    /// Returns the worst shutdown state of the set's parts; `None` where no part has a shutdown record.
    ///
    /// For each source it uses the state that the first of its present mappings has found, whichever set made it. Takes
    /// O(segments × log N).
    ///
    /// ```
    /// # use pmemset_core::lock::SpinRwLock;
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096).device(b"module", 0));
    /// use pmemset_core::{Checked, PartState, ShutdownRecord};
    ///
    /// let pool = &Checked::<_, SpinRwLock>::new(source).shutdown_record(ShutdownRecord::new());
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// assert_eq!(set.part_state(), None);
    /// let part = set.map(pool, &MapConfig::new())?;
    /// assert_eq!(set.part_state(), Some(PartState::Ok));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn part_state(&self) -> Option<PartState> {
        let (mut worst, mut at) = (None, 0);
        loop {
            let segment = self.books.read().segment_from(at);
            let Some(segment) = segment else { return worst };
            if let Some(state) = shutdown_of(&segment.source).and_then(LiveRecordRef::part_state) {
                worst = Some(worst.map_or(state, |other: PartState| other.worse(state)));
            }
            at = segment.extent.end();
        }
    }

    /// Resets the shutdown record of `source`, after the caller has checked or restored its bytes.
    ///
    /// The record becomes that of the present device with nothing mapped, and is reported to the observer with
    /// [`SdsUpdate`](Event::SdsUpdate). Returns how the record was judged before.
    ///
    /// ```
    /// # use pmemset_core::lock::SpinRwLock;
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, Granularity, MapConfig, Set};
    /// # let machine = Machine::new(Hardware::new());
    /// # let source = machine.add_source(Medium::new(4096).device(b"module", 7));
    /// use pmemset_core::{Checked, PartState, ShutdownRecord};
    ///
    /// # let mut bytes = [0; 536];
    /// # bytes[..6].copy_from_slice(b"module");
    /// # (bytes[520], bytes[528]) = (6, 1);
    /// let record = ShutdownRecord::from_bytes(&bytes); // kept by a run that has ended in a power cut
    /// let pool = &Checked::<_, SpinRwLock>::new(source).shutdown_record(record);
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// assert!(set.map(pool, &MapConfig::new()).is_err()); // stores may have been lost
    ///
    /// // ... once the bytes have been checked, or restored from a copy:
    /// assert_eq!(set.repair_shutdown_state(&pool)?.state, PartState::Corrupted);
    /// assert!(set.map(pool, &MapConfig::new()).is_ok());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RepairError`]. Nothing has changed then.
    pub fn repair_shutdown_state(&self, source: &S) -> Result<ShutdownVerdict, RepairError> {
        let shutdown = shutdown_of(source).ok_or(RepairError::NoRecord)?;
        let mut id = DeviceId::new();
        let count = device(source, &mut id).map_err(RepairError::Device)?;
        let mut record = ShutdownRecord::new();
        let repaired = shutdown.repair(&id, count, &mut record);
        let (verdict, sequence) = repaired.map_err(|in_use| RepairError::InUse { mapped: in_use.mapped })?;
        if self.publish_record(source, &record, sequence) == Answer::Refuse {
            shutdown.undo_repair(sequence);
            return Err(RepairError::RecordNotKept);
        }
        Ok(verdict)
    }

    /// Refuses a range in which a bad block is left after the observer has seen each.
    pub(super) fn refuse_bad_blocks(&self, source: &S, range: Span) -> Result<(), MapError> {
        let Some(health) = source.health() else { return Ok(()) };
        let policy = health.bad_block_policy();
        if policy == BadBlockPolicy::Off {
            return Ok(());
        }
        let (mut seen, mut rest) = (false, Some(range));
        while let Some(asked) = rest {
            let mut blocks = [asked; BLOCKS_AT_A_TIME];
            let (count, more) = match health.bad_blocks(asked, &mut blocks) {
                BadBlocks::None => break,
                BadBlocks::Unknown(_) if policy == BadBlockPolicy::IfKnown && !seen => break,
                BadBlocks::Unknown(reason) => return Err(MapError::BadBlocksUnknown { reason }),
                BadBlocks::Listed { count, more } => (count, more),
            };
            let mut end = 0;
            for block in blocks.iter().take(count).copied() {
                end = block.end().max(end);
                if block.overlaps(range) {
                    seen = true;
                    if self.notify(&Event::BadBlock { source, block }) == Answer::Refuse {
                        return Err(MapError::BadBlock { block });
                    }
                }
            }
            rest = match asked.starting_at(end) {
                _ if !more => None,
                rest if end > asked.start() => rest,
                _ => return Err(MapError::BadBlocksUnknown { reason: BadBlocksError::Failed(Errno::RANGE) }),
            };
        }
        if seen { self.refuse_what_is_left(source, range) } else { Ok(()) }
    }

    fn refuse_what_is_left(&self, source: &S, range: Span) -> Result<(), MapError> {
        let mut blocks = [range; 1];
        match source.health().map_or(BadBlocks::UNKNOWN, |health| health.bad_blocks(range, &mut blocks)) {
            BadBlocks::None => {}
            BadBlocks::Listed { .. } => {
                let [block] = blocks;
                return Err(MapError::BadBlock { block });
            }
            BadBlocks::Unknown(reason) => return Err(MapError::BadBlocksUnknown { reason }),
        }
        if self.notify(&Event::BadBlocksCleared { source, range }) == Answer::Refuse {
            return Err(MapError::ClearedBlocksRefused);
        }
        // Somebody may have made another device of the memory meanwhile, and the list be that of the other one.
        self.judge(source, true)
    }
}

/// Returns the live shutdown record of a source that has one.
#[inline]
pub(super) fn shutdown_of<S: Source>(source: &S) -> Option<LiveRecordRef<'_>> {
    source.health()?.shutdown()
}

/// Asks for the device behind a source; one without an id is none.
fn device<S: Source>(source: &S, id: &mut DeviceId) -> Result<u64, DeviceError> {
    let count = source.health().ok_or(DeviceError::Unsupported)?.device(id)?;
    if id.as_bytes().is_empty() { Err(DeviceError::Unsupported) } else { Ok(count) }
}

/// Makes the mapping that was counted one that counts.
pub(super) fn commit_staged<S: Source>(source: &S) {
    if let Some(shutdown) = shutdown_of(source) {
        shutdown.commit();
    }
}

/// Takes note of how far a deep flush got: stores that it left behind keep the record dirty.
pub(super) fn deep_flushed<S: Source>(source: &S, answer: DeepFlush) {
    if let Some(shutdown) = shutdown_of(source) {
        shutdown.deep_flushed(answer != DeepFlush::NotPermitted);
    }
}

/// Counts a mapping that is gone without a flush: the record stays dirty.
pub(super) fn dropped<S: Source>(source: &S) {
    if let Some(shutdown) = shutdown_of(source) {
        shutdown.step(Step::Unmap { flushed: false }, &mut ShutdownRecord::new());
    }
}
