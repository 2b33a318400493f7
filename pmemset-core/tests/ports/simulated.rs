//! A port over the simulator that breaks one duty; the simulator guards itself by panics.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pmemset_core::arch::{Cpu, StoreKind};
use pmemset_core::error::{DeviceError, MapFailure, McsafeError, PrepareError, ReserveError};
use pmemset_core::sim::{Hardware, Machine, Medium, Page, SimPlatform, SimSource, SimSpace};
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, Granularity, Growth, Health, LiveRecordRef,
    Platform, Sharing, Source, Span, forward_source,
};

/// What a port does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    PageSize,
    Alignment,
    ReservesTooMuch,
    IgnoresAlignment,
    ReservesTwice,
    ReserveAtTakesWhatIsTaken,
    ReserveAtSaysInval,
    ReleaseFails,
    ReleasesNothing,
    TailReleasesAll,
    PieceReleasesTail,
    Infinite,
    CopyLosesTheLastByte,
    CopyForwardOnly,
    FillIsLong,
    SourceAlignment,
    GranularityFlips,
    Granule,
    SharingFlips,
    LengthShrinks,
    GrowsBytesThatAreThere,
    GrowsSilently,
    HoldsEverything,
    GrowsWithoutRefusal,
    UndoesAlways,
    UndoesNever,
    GivesBackNothing,
    GivesBackTooMuch,
    IgnoresOffset,
    LosesBytes,
    UnmapLeavesHole,
    ReleaseLeavesMappings,
    SyncOnlyWhole,
    DeepFlushAligned,
    MapsBehindTheEnd,
    DeviceWithoutId,
    BlocksOutOfOrder,
    BlocksElsewhere,
    ReadsPastTheEnd,
    WritesNothing,
}

pub(crate) struct Port {
    fault: Option<Fault>,
    machine: Machine,
    platform: SimPlatform,
    source: SimSource,
    asked: AtomicUsize,
    undone: AtomicU64,
}

impl Port {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let machine = Machine::new(Hardware::new());
        let source = machine.add_source(Medium::new(1 << 15).growing_to(1 << 17));
        Self {
            fault,
            platform: machine.platform(),
            source,
            machine,
            asked: AtomicUsize::new(0),
            undone: AtomicU64::new(u64::MAX),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn asked(&self) -> usize {
        self.asked.fetch_add(1, Ordering::Relaxed)
    }

    fn is_reserved(&self, window: Extent) -> bool {
        self.machine.pages().iter().any(|(run, page)| *page == Page::Reserved && run.covers(window))
    }
}

// SAFETY: none; that is what the tests are about. Nothing is stored where the simulator has nothing mapped.
unsafe impl Platform for Port {
    type Lock = <SimPlatform as Platform>::Lock;
    type Space = SimSpace;

    fn space(&self) -> SimSpace {
        self.platform.space()
    }
    fn page_size_bytes(&self) -> usize {
        if self.is(Fault::PageSize) { 4096 + (self.asked() & 1) * 4096 } else { 4096 }
    }
    fn cpu(&self) -> &Cpu {
        self.platform.cpu()
    }
    fn alignment_for(&self, length_bytes: usize) -> usize {
        if self.is(Fault::Alignment) { length_bytes / 2 } else { 4096 }
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        if self.is(Fault::Infinite) && length_bytes > usize::MAX / 4 {
            return Ok(Extent::new(4096, length_bytes).unwrap());
        }
        if let (true, Some((run, _))) = (self.is(Fault::ReservesTwice), self.machine.pages().first()) {
            return Ok(run.slice(0, 4096).unwrap());
        }
        let more = if self.is(Fault::ReservesTooMuch) { 4096 } else { 0 };
        let alignment_bytes = if self.is(Fault::IgnoresAlignment) { 4096 } else { alignment_bytes };
        self.platform.reserve(length_bytes + more, alignment_bytes)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        match self.platform.reserve_at(window) {
            Err(_) if self.is(Fault::ReserveAtSaysInval) => Err(Errno::INVAL.into()),
            Err(_) if self.is(Fault::ReserveAtTakesWhatIsTaken) => Ok(()),
            other => other,
        }
    }
    fn release_unmaps(&self) -> bool {
        self.is(Fault::ReleaseLeavesMappings)
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let run = self.machine.pages().iter().find(|(run, _)| run.covers(window)).map_or(window, |(run, _)| *run);
        let window = match self.fault {
            Some(Fault::ReleaseFails) => return Err(Errno::NOMEM),
            Some(Fault::ReleasesNothing) => return Ok(()),
            Some(Fault::Infinite) if !self.machine.address_space().covers(window) => return Ok(()),
            Some(
                Fault::ReserveAtTakesWhatIsTaken
                | Fault::ReservesTwice
                | Fault::TailReleasesAll
                | Fault::PieceReleasesTail
                | Fault::UnmapLeavesHole
                | Fault::ReleaseLeavesMappings,
            ) if !self.is_reserved(window) => return Ok(()),
            Some(Fault::TailReleasesAll) => Extent::between(run.start(), window.end()).unwrap_or(window),
            Some(Fault::PieceReleasesTail) => Extent::between(window.start(), run.end()).unwrap_or(window),
            _ => window,
        };
        // SAFETY: passed on; the simulator checks it.
        unsafe { self.platform.release(window) }
    }
    unsafe fn write_back(&self, range: Extent) {
        // SAFETY: passed on.
        unsafe { self.platform.write_back(range) }
    }
    fn fence(&self) {
        self.platform.fence();
    }
    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        let length_bytes = length_bytes.saturating_sub(usize::from(self.is(Fault::CopyLosesTheLastByte)));
        if self.is(Fault::CopyForwardOnly) {
            for at in 0..length_bytes {
                // SAFETY: one byte of the ranges.
                unsafe { self.platform.copy(dest.wrapping_add(at), source.wrapping_add(at), 1, StoreKind::Cached) };
            }
            return;
        }
        // SAFETY: passed on.
        unsafe { self.platform.copy(dest, source, length_bytes, kind) }
    }
    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        let more = usize::from(self.is(Fault::FillIsLong));
        // SAFETY: the suite's buffer has room behind the range.
        unsafe { self.platform.fill(dest, value, length_bytes + more, kind) }
    }
}

// SAFETY: as for the platform.
unsafe impl Source for Port {
    type Space = SimSpace;

    forward_source!(
        self { Self { source, .. } => source } except
            length_bytes, alignment_bytes, granularity, write_granule_bytes, sharing, prepare, holds, undo_growth, give_back, map, unmap, sync,
            deep_flush, health
    );

    fn length_bytes(&self) -> Result<u64, Errno> {
        let less = if self.is(Fault::LengthShrinks) { (self.asked() & 1) as u64 * 4096 } else { 0 };
        Ok(self.source.length_bytes()?.min(self.undone.load(Ordering::Relaxed)) - less)
    }
    fn alignment_bytes(&self) -> usize {
        if self.is(Fault::SourceAlignment) { 4097 } else { 4096 }
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        let flip = self.is(Fault::GranularityFlips) && self.asked() & 1 == 1;
        Ok(if flip { Granularity::Page } else { Granularity::CacheLine })
    }
    fn write_granule_bytes(&self) -> usize {
        if self.is(Fault::Granule) { 0 } else { 1 }
    }
    fn sharing(&self) -> Sharing {
        let flip = self.is(Fault::SharingFlips) && self.asked() & 1 == 1;
        if flip { Sharing::Incoherent } else { Sharing::Private }
    }
    fn holds(&self, range: Span) -> bool {
        self.is(Fault::HoldsEverything) || self.source.holds(range)
    }

    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        self.undone.store(u64::MAX, Ordering::Relaxed);
        let grown = self.source.prepare(range);
        match self.fault {
            Some(Fault::GrowsBytesThatAreThere) if grown == Ok(None) => {
                Ok(Some(Growth { from_bytes: range.end(), to_bytes: range.end() }))
            }
            Some(Fault::GrowsSilently) if grown.is_ok() => Ok(None),
            Some(Fault::GrowsWithoutRefusal) if grown.is_err() => Ok(None),
            _ => grown,
        }
    }
    fn undo_growth(&self, growth: Growth) {
        if self.is(Fault::UndoesAlways) {
            // In words only: the simulator would not let it go.
            self.undone.store(growth.from_bytes, Ordering::Relaxed);
        }
        if !self.is(Fault::UndoesNever) {
            self.source.undo_growth(growth);
        }
    }
    fn give_back(&self, range: Span) -> Result<(), Errno> {
        match self.fault {
            Some(Fault::GivesBackNothing) => Ok(()),
            Some(Fault::GivesBackTooMuch) => {
                self.source.give_back(Span::new(range.start(), range.length_bytes() + 4096).unwrap())
            }
            _ => self.source.give_back(range),
        }
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let length_bytes = self.source.length_bytes()?;
        let offset = match self.fault {
            Some(Fault::IgnoresOffset) => 0,
            Some(Fault::MapsBehindTheEnd) if offset >= length_bytes => 0,
            _ => offset,
        };
        // SAFETY: passed on; the simulator checks it.
        unsafe { self.source.map(window, offset) }
    }
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let offset = match self.fault {
            Some(Fault::IgnoresOffset) => 0,
            Some(Fault::MapsBehindTheEnd) => self
                .source
                .mappings()
                .iter()
                .find(|mapping| mapping.0 == window)
                .map_or(offset, |mapping| mapping.1 as u64),
            _ => offset,
        };
        if self.is(Fault::LosesBytes) {
            // SAFETY: still mapped.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(window.start()).write_volatile(0) };
        }
        // SAFETY: passed on; the simulator checks it.
        unsafe { self.source.unmap(window, offset) }?;
        if self.is(Fault::UnmapLeavesHole) {
            // SAFETY: a placeholder since the call before.
            unsafe { self.platform.release(window) }?;
        }
        Ok(())
    }
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        if self.is(Fault::SyncOnlyWhole) && range.length_bytes() == 4096 {
            return Err(Errno::INVAL);
        }
        self.source.sync(range, offset)
    }
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        if self.is(Fault::DeepFlushAligned) && !range.is_aligned(4096) {
            return Err(Errno::INVAL);
        }
        self.source.deep_flush(range, offset)
    }
    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Port {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        if !self.is(Fault::DeviceWithoutId) {
            id.push(b"dimm")?;
        }
        Ok(1)
    }
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        let listed = match self.fault {
            Some(Fault::BlocksOutOfOrder) if blocks.len() > 1 => [range.slice(128, 64), range.slice(0, 64)],
            Some(Fault::BlocksElsewhere) => [Span::new(range.end() + 4096, 64), None],
            _ => return BadBlocks::None,
        };
        let mut count = 0;
        for (to, block) in blocks.iter_mut().zip(listed.into_iter().flatten()) {
            *to = block;
            count += 1;
        }
        BadBlocks::Listed { count, more: false }
    }
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        match self.source.read_mcsafe(offset, bytes) {
            Err(McsafeError::OutOfRange { .. }) if self.is(Fault::ReadsPastTheEnd) => Ok(()),
            other => other,
        }
    }
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let nothing = if self.is(Fault::WritesNothing) { 0 } else { bytes.len() };
        let written = self.source.write_mcsafe(offset, &bytes[..nothing]);
        if nothing < bytes.len() && offset > 1 << 14 { self.source.write_mcsafe(offset, bytes) } else { written }
    }
}
