//! The live shutdown record of a source: counts mappings under a lock of its own, and hands out copies to be kept.

use core::fmt;

use lock_api::RwLock;

use super::shutdown::{DeviceId, PartState, PartStates, ShutdownRecord, ShutdownVerdict};
use crate::lock::{CallLock, RawLock};

/// A record to store, and its place in the order of all records of the source.
///
/// Records are reported outside of any lock, so one may arrive after a newer one. Ignore a record whose number is lower
/// than that of the one you have stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Published {
    /// The record.
    pub record: ShutdownRecord,
    /// Higher than that of every older record of the source.
    pub sequence: u64,
}

/// What changes the number of mappings, or makes it known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The memory is about to be stored to: the record has to be kept before.
    Announce,
    /// A staged mapping is not made: the record has to be kept if one was handed out.
    RollBack,
    /// A mapping is gone: the record has to be kept if its stores were deep-flushed.
    Unmap {
        /// Whether they were to be.
        flushed: bool,
    },
}

#[derive(Debug)]
struct Live {
    record: ShutdownRecord,
    /// What `record` was before the first of the present mappings, until one of them is committed; or before a repair.
    before: Option<ShutdownRecord>,
    /// Mappings of this process, those under way included.
    mapped: u32,
    /// Mappings that ended without their stores having been deep-flushed.
    unflushed: u32,
    /// Whether the last deep flush was carried out.
    flushed: bool,
    /// Whether somebody may keep a record that counts a mapping.
    dirty_kept: bool,
    /// What the first of the present mappings found.
    opened: Option<ShutdownVerdict>,
    sequence: u64,
}

impl Live {
    fn count(&mut self) {
        self.record.set_references(self.mapped.saturating_add(self.unflushed));
        self.sequence = self.sequence.saturating_add(1);
    }

    /// Copies the record to `into`, straight: two more on the stack would be half of what a map call may take.
    fn publish(&self, into: &mut ShutdownRecord) -> u64 {
        into.clone_from(&self.record);
        self.sequence
    }

    /// Judges the record and counts one more mapping, or leaves everything as it was. Without states to accept it
    /// counts nothing, and accepts only the device that the record is of.
    fn stage(
        &mut self,
        id: &DeviceId,
        count: u64,
        acceptable: Option<PartStates>,
    ) -> Result<ShutdownVerdict, ShutdownVerdict> {
        let verdict = self.record.judge(self.mapped, id, count);
        let is_another = verdict.id_changed || verdict.stored_count != count;
        let Some(acceptable) = acceptable else { return if is_another { Err(verdict) } else { Ok(verdict) } };
        if !acceptable.accepts(verdict.state) {
            return Err(verdict);
        }
        if self.mapped == 0 {
            self.before = Some(self.record);
            self.unflushed = 0;
            self.opened = Some(verdict);
        }
        // An accepted state is where counting starts again: neither the old device nor the old count is held against
        // it.
        if is_another {
            self.record.become_that_of(id, count);
        }
        self.mapped = self.mapped.saturating_add(1);
        self.count();
        Ok(verdict)
    }

    /// Makes the record what it was before.
    fn go_back(&mut self) {
        if let Some(before) = &self.before {
            self.record.clone_from(before);
        }
        self.before = None;
    }

    fn step(&mut self, step: Step, into: &mut ShutdownRecord) -> Option<u64> {
        match step {
            Step::Announce => {
                self.dirty_kept = true;
                Some(self.publish(into))
            }
            Step::RollBack => self.roll_back(into),
            Step::Unmap { flushed } => self.unmapped(flushed, into),
        }
    }

    fn roll_back(&mut self, into: &mut ShutdownRecord) -> Option<u64> {
        self.mapped = self.mapped.saturating_sub(1);
        self.count();
        if self.mapped == 0 {
            self.opened = None;
            self.go_back();
        }
        let published = self.dirty_kept.then(|| self.publish(into));
        self.dirty_kept &= self.mapped > 0;
        published
    }

    fn unmapped(&mut self, flushed: bool, into: &mut ShutdownRecord) -> Option<u64> {
        self.mapped = self.mapped.saturating_sub(1);
        let clean = flushed && self.flushed;
        if !clean {
            self.unflushed = self.unflushed.saturating_add(1);
        }
        self.count();
        if self.mapped == 0 {
            self.opened = None;
            self.dirty_kept = self.unflushed > 0;
        }
        clean.then(|| self.publish(into))
    }
}

/// The live shutdown record of one source.
///
/// `L` is a lock that the platform has, such as its [`Platform::Lock`](crate::Platform::Lock). About 1.2 KiB.
pub struct LiveRecord<L: RawLock> {
    live: RwLock<CallLock<L>, Live>,
}

impl<L: RawLock> LiveRecord<L> {
    /// Returns the live record of a source that this process has not mapped, from the record that the last run has
    /// stored.
    #[must_use]
    pub const fn new(record: ShutdownRecord) -> Self {
        let live = Live {
            record,
            before: None,
            mapped: 0,
            unflushed: 0,
            flushed: true,
            dirty_kept: false,
            opened: None,
            sequence: 0,
        };
        Self { live: RwLock::const_new(CallLock::INIT, live) }
    }
}

impl<L: RawLock + Sync> LiveRecord<L> {
    /// Returns the record as [`Health::shutdown`](crate::Health::shutdown) returns it.
    #[must_use]
    pub const fn handle(&self) -> LiveRecordRef<'_> {
        LiveRecordRef(self)
    }
}

impl<L: RawLock> fmt::Debug for LiveRecord<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveRecord").field("live", &*self.live.read()).finish()
    }
}

/// What a set does with a cell, whatever its lock.
trait Keep: Sync {
    fn with(&self, act: &mut dyn FnMut(&mut Live));
}

impl<L: RawLock + Sync> Keep for LiveRecord<L> {
    fn with(&self, act: &mut dyn FnMut(&mut Live)) {
        act(&mut self.live.write());
    }
}

/// A reference to the live shutdown record of a source, whatever the type of its lock.
#[derive(Clone, Copy)]
pub struct LiveRecordRef<'c>(&'c dyn Keep);

impl LiveRecordRef<'_> {
    /// Returns what `act` makes of the record; `none` if it were not called, which cannot be.
    fn with<T>(self, none: T, mut act: impl FnMut(&mut Live) -> T) -> T {
        let mut result = none;
        self.0.with(&mut |live| result = act(live));
        result
    }

    /// Returns the record as it is now, and its place in the order of all records of the source.
    #[must_use]
    pub fn record(self) -> Published {
        let mut record = ShutdownRecord::new();
        let sequence = self.with(0, |live| live.publish(&mut record));
        Published { record, sequence }
    }

    /// Returns the state that the first of the present mappings has found; `None` while there are none.
    #[must_use]
    pub fn part_state(self) -> Option<PartState> {
        self.verdict().map(|verdict| verdict.state)
    }

    /// Returns what the record was judged to be when the first of the present mappings was made.
    pub(crate) fn verdict(self) -> Option<ShutdownVerdict> {
        self.with(None, |live| live.opened)
    }

    /// Judges the record, and counts a mapping that is about to be made. `None` for `acceptable` counts nothing, and
    /// accepts only the device that the record is of.
    pub(crate) fn stage(
        self,
        id: &DeviceId,
        count: u64,
        acceptable: Option<PartStates>,
    ) -> Option<Result<ShutdownVerdict, ShutdownVerdict>> {
        self.with(None, |live| Some(live.stage(id, count, acceptable)))
    }

    /// Takes note of `step`; returns the number of the record that has to be kept then, and the record in `into`.
    pub(crate) fn step(self, step: Step, into: &mut ShutdownRecord) -> Option<u64> {
        self.with(None, |live| live.step(step, into))
    }

    /// Makes a staged mapping one that counts.
    pub(crate) fn commit(self) {
        self.with((), |live| live.before = None);
    }

    /// Takes note of whether a deep flush of the source was carried out.
    pub(crate) fn deep_flushed(self, done: bool) {
        self.with((), |live| live.flushed = done);
    }

    /// Makes the record that of the device with nothing mapped; returns what it was judged to be, and the number of the
    /// new one.
    pub(crate) fn repair(
        self,
        id: &DeviceId,
        count: u64,
        into: &mut ShutdownRecord,
    ) -> Result<(ShutdownVerdict, u64), InUse> {
        self.with(Err(InUse { mapped: 0 }), |live| {
            if live.mapped > 0 {
                return Err(InUse { mapped: live.mapped });
            }
            let verdict = live.record.judge(0, id, count);
            live.before = Some(live.record);
            live.record.become_that_of(id, count);
            live.unflushed = 0;
            live.count();
            Ok((verdict, live.publish(into)))
        })
    }

    /// Takes back a repair, unless the record has changed since.
    pub(crate) fn undo_repair(self, sequence: u64) {
        self.with((), |live| {
            if live.sequence == sequence {
                live.go_back();
            }
        });
    }
}

/// The source has mappings in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) mapped: u32,
}

impl fmt::Debug for LiveRecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveRecordRef").field(&self.record()).finish()
    }
}

#[cfg(test)]
mod tests;
