//! A source with a device and bad blocks behind it, that writes down what it is asked in the order of the questions.
#![allow(unsafe_code, reason = "implements the unsafe trait by handing on to the fake source")]

use std::sync::{Barrier, Mutex};

use super::fake::{Fake, FakeSource};
use crate::error::{MapFailure, PrepareError};
use crate::health::LiveRecordRef;
use crate::health::{BadBlockPolicy, BadBlocks, ClearError, Collector, McsafeError};
use crate::health::{DeviceError, DeviceId, PartState, ShutdownRecord};
use crate::lock::SpinRwLock;
use crate::{Checked, DeepFlush, Errno, Event, Extent, Growth, Health, Source, Span, forward_source};

/// A call of the source, or an event that the observer got.
pub(super) type Step = (&'static str, i32);

#[derive(Debug)]
pub(super) struct Memory<'p> {
    pub(super) fake: FakeSource<'p>,
    /// What `device` answers; `None` makes every question about broken memory a panic.
    pub(super) device: Mutex<Option<Result<u64, DeviceError>>>,
    pub(super) id: &'static [u8],
    pub(super) bad: Mutex<Vec<Span>>,
    /// The answer instead of the list.
    pub(super) unknown: Mutex<Option<Errno>>,
    pub(super) clears: Mutex<Result<(), ClearError>>,
    pub(super) flush: Mutex<Result<DeepFlush, Errno>>,
    /// The call, counted from 0, that fails.
    pub(super) fail_at: Mutex<Option<usize>>,
    pub(super) steps: Mutex<Vec<Step>>,
    /// What the observer has kept.
    pub(super) kept: Mutex<(ShutdownRecord, u64)>,
    /// Whether it lists blocks that nobody asked for.
    pub(super) lists_all: bool,
    /// Where the first flush waits for another thread, twice.
    pub(super) gate: Option<Barrier>,
    /// Whether the observer keeps records.
    pub(super) keeps: bool,
    /// Mappings there are, and mappings that went without their stores having been flushed.
    exposed: Mutex<(u32, u32, bool)>,
}

pub(super) type Handle<'p> = &'p Checked<Memory<'p>, SpinRwLock>;

impl<'p> Memory<'p> {
    pub(super) fn new(platform: &'p Fake, length_bytes: u64) -> Self {
        Self {
            fake: FakeSource { grows: true, ..FakeSource::new(platform, length_bytes) },
            device: Mutex::new(Some(Ok(5))),
            id: b"8089-a2-1834-00001234",
            bad: Mutex::new(Vec::new()),
            unknown: Mutex::new(None),
            clears: Mutex::new(Ok(())),
            flush: Mutex::new(Ok(DeepFlush::Done)),
            fail_at: Mutex::new(None),
            steps: Mutex::new(Vec::new()),
            kept: Mutex::new((ShutdownRecord::new(), 0)),
            lists_all: false,
            gate: None,
            keeps: false,
            exposed: Mutex::new((0, 0, false)),
        }
    }

    fn flushes(&self) -> usize {
        self.steps.lock().unwrap().iter().filter(|step| step.0 == "flush").count()
    }

    /// Takes a step: what a crash right now comes to must be seen by the next run.
    fn step(&self, name: &'static str, value: i32) -> Result<(), Errno> {
        self.check_crash(name);
        let mut steps = self.steps.lock().unwrap();
        steps.push((name, value));
        if *self.fail_at.lock().unwrap() == Some(steps.len() - 1) { Err(Errno::IO) } else { Ok(()) }
    }

    /// Cuts power with loss of stores: "OK" is wrong while there are stores that could be lost.
    fn check_crash(&self, when: &str) {
        let (mapped, unflushed, _) = *self.exposed.lock().unwrap();
        let lost = self.keeps && mapped + unflushed > 0;
        assert!(!lost || self.after_crash() != PartState::Ok, "crash at {when}");
    }

    /// Returns what the next run finds after a power cut that lost stores.
    pub(super) fn after_crash(&self) -> PartState {
        let mut id = DeviceId::new();
        id.push(self.id).unwrap();
        self.kept.lock().unwrap().0.judge(0, &id, u64::MAX).state
    }

    /// Takes note of an event, and keeps the record as a file would.
    pub(super) fn note(&self, event: &Event<'_, Handle<'_>>) {
        match event {
            Event::PartAdd { .. } => self.steps.lock().unwrap().push(("add", 0)),
            Event::PartRemove { .. } => self.steps.lock().unwrap().push(("remove", 0)),
            Event::RemoveRange { .. } => self.steps.lock().unwrap().push(("range", 0)),
            Event::BadBlock { block, .. } => self.steps.lock().unwrap().push(("bad", (block.start() >> 12) as i32)),
            Event::BadBlocksCleared { .. } => self.steps.lock().unwrap().push(("cleared", 0)),
            Event::SdsUpdate { record, sequence, .. } => {
                self.check_crash("publication");
                self.steps.lock().unwrap().push(("sds", record.references()));
                let mut kept = self.kept.lock().unwrap();
                if *sequence > kept.1 {
                    *kept = (**record, *sequence);
                }
            }
            _ => {}
        }
    }

    /// Says that the stores of mappings that are gone do not matter any more.
    pub(super) fn give_up_stores(&self) {
        self.exposed.lock().unwrap().1 = 0;
    }

    pub(super) fn take_steps(&self) -> Vec<Step> {
        core::mem::take(&mut *self.steps.lock().unwrap())
    }
}

// SAFETY: the fake source keeps the promises.
unsafe impl Source for Memory<'_> {
    type Space = usize;

    forward_source!(
        self { Self { fake, .. } => fake } except prepare, undo_growth, map, unmap, deep_flush, health
    );

    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        self.step("prepare", 0).map_err(PrepareError::CannotGrow)?;
        self.fake.prepare(range)
    }
    fn undo_growth(&self, growth: Growth) {
        let _ = self.step("shrink", 0);
        self.fake.undo_growth(growth);
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        self.step("map", 0)?;
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { self.fake.map(window, offset) }?;
        let mut exposed = self.exposed.lock().unwrap();
        *exposed = (exposed.0 + 1, exposed.1, false);
        Ok(())
    }
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        self.step("unmap", 0)?;
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { self.fake.unmap(window, offset) }?;
        let mut exposed = self.exposed.lock().unwrap();
        *exposed = (exposed.0 - 1, exposed.1 + u32::from(!exposed.2), exposed.2);
        Ok(())
    }
    fn deep_flush(&self, _range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        self.step("flush", (offset >> 12) as i32)?;
        if let Some(gate) = self.gate.as_ref().filter(|_| self.flushes() == 1) {
            gate.wait();
            gate.wait();
        }
        let answer = *self.flush.lock().unwrap();
        self.exposed.lock().unwrap().2 = matches!(answer, Ok(DeepFlush::Done | DeepFlush::NotNeeded));
        answer
    }
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Memory<'_> {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let device = self.device.lock().unwrap().expect("asked for the device of a source without a record");
        self.step("device", 0).map_err(DeviceError::Failed)?;
        id.push(self.id)?;
        device
    }
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        assert!(self.device.lock().unwrap().is_some(), "asked for bad blocks with the detection off");
        if let Err(cause) = self.step("list", (range.start() >> 12) as i32) {
            return BadBlocks::Unknown(cause.into());
        }
        if let Some(cause) = *self.unknown.lock().unwrap() {
            return BadBlocks::Unknown(cause.into());
        }
        let mut collector = Collector::new(blocks);
        // Memory that a source has not got yet is nobody's.
        let length_bytes = self.length_bytes().unwrap();
        let bad = self.bad.lock().unwrap();
        let listed = bad.iter().filter(|bad| bad.start() < length_bytes && (self.lists_all || bad.overlaps(range)));
        listed.for_each(|bad| collector.add(*bad));
        collector.finish()
    }
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        (*self.clears.lock().unwrap())?;
        self.bad.lock().unwrap().retain(|bad| !bad.overlaps(block));
        Ok(())
    }
    fn read_mcsafe(&self, _offset: u64, _bytes: &mut [u8]) -> Result<(), McsafeError> {
        panic!("nobody but the user reads");
    }
    fn write_mcsafe(&self, _offset: u64, _bytes: &[u8]) -> Result<(), McsafeError> {
        panic!("nobody but the user writes");
    }
}
