//! A small machine of heap memory whose source stages: a mapping is a copy of the medium that is written back.
//!
//! Unlike the simulator it guards nothing: a port that breaks its duties gets wrong bytes and no panic.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

use pmemset_core::arch::Cpu;
use pmemset_core::error::{DeviceError, MapFailure, McsafeError, ReserveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, FailedWriteBack, Granularity, Health, LiveRecordRef,
    Platform, Source, Span,
};

pub(crate) const PAGE: usize = 512;
/// The source's alignment: two pages.
pub(crate) const UNIT: usize = 2 * PAGE;
const ARENA_BYTES: usize = 256 << 10;
const MEDIUM_BYTES: usize = 6 * UNIT;

/// What the port does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    LinesLongerThanPages,
    ReadsWholeWords,
    LinesWithoutInstructions,
    BytesOverCopies,
    WideGranule,
    FixedBesideAlignment,
    MapReachesBehind,
    MapReachesBefore,
    UnmapForgets,
    UnmapWritesOnePageMore,
    WriteBackLosesBytes,
    InvalidateForgets,
    SyncDoesNothing,
    SyncAtTheStart,
    SyncAtAnotherPage,
    SyncOfTheFirstPageOnly,
    SyncOfOnePageMore,
    SyncSpoilsTheMapping,
    DeepFlushAtTheStart,
    DeepFlushOfOnePageMore,
    AnotherSpace,
    FailureKeptTwice,
    SyncHidesFailures,
    CopiesAppend,
    CopiesAtTheStart,
    ReadsAtTheStart,
}

/// The machine, and its one source.
pub(crate) struct Board {
    flaw: Option<Flaw>,
    /// Whether a second mapping of the same bytes is refused.
    once: bool,
    memory: Extent,
    taken: Mutex<Vec<Extent>>,
    mapped: Mutex<Vec<(Extent, usize)>>,
    medium: Mutex<Vec<u8>>,
    failed: [FailedWriteBack; 2],
    asked: AtomicUsize,
    /// Whether the medium takes nothing now.
    broken: AtomicBool,
    _arena: Vec<u8>,
}

impl Board {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let mut arena = vec![0_u8; ARENA_BYTES + (64 << 10)];
        let start = arena.as_mut_ptr().expose_provenance().next_multiple_of(64 << 10);
        Self {
            flaw,
            once: false,
            memory: Extent::new(start, ARENA_BYTES).unwrap(),
            taken: Mutex::default(),
            mapped: Mutex::default(),
            medium: Mutex::new(vec![0; MEDIUM_BYTES]),
            failed: [FailedWriteBack::new(), FailedWriteBack::new()],
            asked: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            _arena: arena,
        }
    }

    /// Refuses a second mapping of the same bytes.
    pub(crate) fn mapping_once(self) -> Self {
        Self { once: true, ..self }
    }

    /// Makes the medium fail, or work again.
    pub(crate) fn fail(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Whether nothing is reserved and nothing mapped.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.lock().unwrap().is_empty() && self.mapped.lock().unwrap().is_empty()
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Copies between the memory and the medium, as much as there is of both.
    fn transfer(&self, at: usize, offset: usize, length_bytes: usize, to_medium: bool) {
        let mut medium = self.medium.lock().unwrap();
        let within = self.memory.end().saturating_sub(at).min(medium.len().saturating_sub(offset));
        let Some(range) = Extent::new(at, length_bytes.min(within)) else { return };
        let bytes = &mut medium[offset..offset + range.length_bytes()];
        let memory = core::ptr::with_exposed_provenance_mut::<u8>(at);
        if to_medium {
            // SAFETY: the range lies in the arena, and one thread uses it.
            unsafe { memory.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) }
        } else {
            // SAFETY: as above.
            unsafe { memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
        }
    }
}

// SAFETY: no address is given away twice.
unsafe impl Platform for Board {
    type Lock = SpinRwLock;
    type Space = usize;

    fn space(&self) -> usize {
        self.memory.start()
    }
    fn page_size_bytes(&self) -> usize {
        if self.is(Flaw::LinesLongerThanPages) { 32 } else { PAGE }
    }
    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let starts = (self.memory.start()..self.memory.end()).step_by(alignment_bytes);
        let mut windows = starts.filter_map(|start| Extent::new(start, length_bytes));
        windows.find(|window| self.reserve_at(*window).is_ok()).ok_or(ReserveError::CannotFit)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let mut taken = self.taken.lock().unwrap();
        if !self.memory.covers(window) || taken.iter().any(|other| other.overlaps(window)) {
            return Err(ReserveError::Occupied);
        }
        taken.push(window);
        Ok(())
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let mut taken = self.taken.lock().unwrap();
        let mut end = window.end();
        // From the last piece down: a reservation may have been extended in place.
        while let Some(index) = taken.iter().position(|piece| piece.contains(end.wrapping_sub(1))) {
            let piece = taken.swap_remove(index);
            taken.extend(piece.starting_at(end));
            taken.extend(piece.ending_at(window.start()));
            end = piece.start();
            if end <= window.start() {
                return Ok(());
            }
        }
        Err(Errno::INVAL)
    }
    unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        let length_bytes = if self.is(Flaw::ReadsWholeWords) { length_bytes & !7 } else { length_bytes };
        // SAFETY: passed on.
        unsafe { dest.copy_from(source, length_bytes) }
    }
    unsafe fn write_back(&self, range: Extent) {
        if self.is(Flaw::WriteBackLosesBytes) {
            // SAFETY: mapped by the caller's promise.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(range.start()).write_volatile(0) };
        }
    }
    unsafe fn write_back_invalidate(&self, range: Extent) {
        if self.is(Flaw::InvalidateForgets) {
            // As a processor does that drops lines and does not write them back: the words are what they were.
            for word in (range.start() & !7..range.end()).step_by(8) {
                // SAFETY: mapped by the caller's promise.
                unsafe { core::ptr::with_exposed_provenance_mut::<u64>(word).write_volatile(0) };
            }
        }
    }
}

// SAFETY: windows are memory of the arena; no flaw reaches outside of it.
unsafe impl Source for Board {
    type Space = usize;

    fn space(&self) -> usize {
        self.memory.start() + usize::from(self.is(Flaw::AnotherSpace))
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.medium.lock().unwrap().len() as u64)
    }
    fn alignment_bytes(&self) -> usize {
        UNIT
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(match self.flaw {
            Some(Flaw::LinesWithoutInstructions) => Granularity::CacheLine,
            Some(Flaw::BytesOverCopies) => Granularity::Byte,
            _ => Granularity::Page,
        })
    }
    fn write_granule_bytes(&self) -> usize {
        if self.is(Flaw::WideGranule) { 16 } else { 1 }
    }
    fn fixed_address(&self) -> Option<usize> {
        self.is(Flaw::FixedBesideAlignment).then_some(self.memory.start() + PAGE)
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let offset = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        let end = offset.checked_add(window.length_bytes()).ok_or(Errno::OVERFLOW)?;
        if end > self.medium.lock().unwrap().len() {
            return Err(Errno::NXIO.into());
        }
        let mut mapped = self.mapped.lock().unwrap();
        if !self.memory.covers(window) || mapped.iter().any(|(other, _)| other.overlaps(window)) {
            return Err(Errno::INVAL.into());
        }
        if self.once && mapped.iter().any(|(other, at)| *at < end && offset < at + other.length_bytes()) {
            return Err(Errno::BUSY.into());
        }
        mapped.push((window, offset));
        let more = if self.is(Flaw::MapReachesBehind) { PAGE } else { 0 };
        self.transfer(window.start(), offset, window.length_bytes() + more, false);
        if self.is(Flaw::MapReachesBefore) && window.start() > self.memory.start() {
            self.transfer(window.start() - PAGE, offset, PAGE, false);
        }
        Ok(())
    }
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        let mut mapped = self.mapped.lock().unwrap();
        let index = mapped.iter().position(|mapping| *mapping == (window, offset)).ok_or(Errno::INVAL)?;
        mapped.swap_remove(index);
        let more = if self.is(Flaw::UnmapWritesOnePageMore) { PAGE } else { 0 };
        if !self.is(Flaw::UnmapForgets) {
            self.transfer(window.start(), offset, window.length_bytes() + more, true);
        }
        Ok(())
    }
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        let (start, offset) = (range.start(), usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?);
        if self.broken.load(Ordering::Relaxed) {
            return if self.is(Flaw::SyncHidesFailures) { Ok(()) } else { Err(Errno::IO) };
        }
        let (offset, length_bytes) = match self.flaw {
            Some(Flaw::SyncDoesNothing) => return Ok(()),
            Some(Flaw::SyncAtTheStart) => (0, range.length_bytes()),
            Some(Flaw::SyncAtAnotherPage) if range.length_bytes() == PAGE && offset == 2 * UNIT => {
                (offset + PAGE, PAGE)
            }
            Some(Flaw::SyncOfTheFirstPageOnly) => (offset, PAGE),
            Some(Flaw::SyncOfOnePageMore) => (offset, range.length_bytes() + PAGE),
            _ => (offset, range.length_bytes()),
        };
        if self.is(Flaw::SyncSpoilsTheMapping) {
            // SAFETY: mapped by the caller's promise.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(start).write_volatile(0) };
        }
        self.transfer(start, offset, length_bytes, true);
        Ok(())
    }
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        let (offset, length_bytes) = match self.flaw {
            Some(Flaw::DeepFlushAtTheStart) => (0, range.length_bytes()),
            Some(Flaw::DeepFlushOfOnePageMore) => (offset, range.length_bytes() + PAGE),
            _ => (offset, range.length_bytes()),
        };
        self.transfer(range.start(), offset, length_bytes, true);
        Ok(DeepFlush::Done)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        let asked = self.asked.fetch_add(usize::from(self.is(Flaw::FailureKeptTwice)), Ordering::Relaxed);
        &self.failed[asked % 2]
    }
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Board {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }
    fn device(&self, _: &mut DeviceId) -> Result<u64, DeviceError> {
        Err(DeviceError::Unsupported)
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }
    fn bad_blocks(&self, _: Span, _: &mut [Span]) -> BadBlocks {
        BadBlocks::UNKNOWN
    }
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        let place = self.place(offset, bytes.len())?;
        let place = if self.is(Flaw::ReadsAtTheStart) { 0..bytes.len() } else { place };
        bytes.copy_from_slice(&self.medium.lock().unwrap()[place]);
        Ok(())
    }
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let place = self.place(offset, bytes.len())?;
        if self.is(Flaw::CopiesAppend) {
            self.medium.lock().unwrap().extend_from_slice(bytes);
            return Ok(());
        }
        let place = if self.is(Flaw::CopiesAtTheStart) { 0..bytes.len() } else { place };
        self.medium.lock().unwrap()[place.clone()].copy_from_slice(bytes);
        let mapped = self.mapped.lock().unwrap().clone();
        for (window, at) in mapped {
            let (from, to) = (place.start.max(at), place.end.min(at + window.length_bytes()));
            self.transfer(window.start() + from.saturating_sub(at), from, to.saturating_sub(from), false);
        }
        Ok(())
    }
}

impl Board {
    fn place(&self, offset: u64, length_bytes: usize) -> Result<core::ops::Range<usize>, McsafeError> {
        let whole = self.medium.lock().unwrap().len();
        let out_of_range = McsafeError::OutOfRange { length_bytes: whole as u64 };
        let start = usize::try_from(offset).map_err(|_| out_of_range)?;
        match start.checked_add(length_bytes) {
            Some(end) if end <= whole => Ok(start..end),
            _ => Err(out_of_range),
        }
    }
}
