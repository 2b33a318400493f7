//! The sources of a simulated machine.
#![allow(unsafe_code, reason = "an implementation of an unsafe trait")]

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::fault::Call;
use super::line::UNIT_BYTES;
use super::machine::{Machine, SimSpace, State};
use super::medium::{Medium, SourceState};
use super::space::Page;
use crate::error::{MapFailure, PrepareError};
use crate::health::LiveRecordRef;
use crate::health::{BadBlockPolicy, BadBlocks, ClearError, Collector, McsafeError, check_bounds};
use crate::health::{DeviceError, DeviceId};
use crate::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, GranularityLimit, Growth, Health, Sharing};
use crate::{Source, Span};

/// A handle to a source of a [`Machine`]; clones are the same source.
#[derive(Clone, Debug)]
pub struct SimSource {
    machine: Machine,
    index: usize,
    failed: Arc<FailedWriteBack>,
}

impl PartialEq for SimSource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.machine.inner, &other.machine.inner) && self.index == other.index
    }
}

impl SimSource {
    pub(super) fn new(machine: &Machine, index: usize) -> Self {
        let failed = machine.lock().sources[index].failed.clone();
        Self { machine: machine.clone(), index, failed }
    }

    /// Opens the source again: the new handle has no record of earlier failures of synchronisations.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.fail(Fault::nth(0).only(Call::DeepFlush));
    /// assert!(part.deep_flush(0, 64).is_err());
    /// set.discard(part)?;
    /// assert!(set.map(source.clone(), &MapConfig::new()).is_err()); // bytes may be lost
    /// assert!(set.map(source.reopen(), &MapConfig::new()).is_ok());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.machine.lock().sources[self.index].failed = Arc::new(FailedWriteBack::new());
        Self::new(&self.machine, self.index)
    }

    /// Returns the source's number in its machine.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns `length_bytes` bytes from `offset` on as a program would read them now.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// part.write(100, b"abc")?;
    /// assert_eq!(source.bytes(100, 3), b"abc");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes(&self, offset: usize, length_bytes: usize) -> Vec<u8> {
        let mut state = self.machine.lock();
        self.machine.observe(&mut state);
        self.machine.look(&mut state, self.index, offset..offset + length_bytes);
        state.sources[self.index].image.now[offset..offset + length_bytes].to_vec()
    }

    /// Returns `count` words from `offset` on as a program would read them now.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// part.write(8, &42_u64.to_le_bytes())?;
    /// assert_eq!(source.words(0, 2), [0, 42]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn words(&self, offset: usize, count: usize) -> Vec<u64> {
        let bytes = self.bytes(offset, count * UNIT_BYTES);
        bytes
            .chunks_exact(UNIT_BYTES)
            .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            .collect()
    }

    /// Returns the offsets in bytes of the lines that a power cut could lose now.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// part.write_with(64, b"not flushed", CopyFlags::NOFLUSH)?;
    /// assert_eq!(source.unsure_lines(), [64]);
    /// part.persist(64, 11)?;
    /// assert!(source.unsure_lines().is_empty());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn unsure_lines(&self) -> Vec<usize> {
        let mut state = self.machine.lock();
        self.machine.observe(&mut state);
        state.sources[self.index].image.lines.keys().copied().collect()
    }

    /// Sets the length, as another process could. Nothing of the source may be mapped.
    pub fn truncate(&self, length_bytes: u64) {
        let mut state = self.machine.lock();
        let source = &mut state.sources[self.index];
        assert!(source.mappings.is_empty(), "the simulator cannot cut away what is mapped");
        source.resize(length_bytes, self.machine.inner.hardware.page_bytes);
    }

    /// Returns the windows that the source is mapped at, each with the offset of its first byte.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(source.mappings(), [(part.extent(), 0)]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mappings(&self) -> Vec<(Extent, usize)> {
        self.machine.lock().sources[self.index].mappings.clone()
    }

    /// Damages a block: it is a bad block from now on.
    pub fn damage(&self, block: Span) {
        self.machine.lock().sources[self.index].bad.push(block);
    }

    /// Stores `bytes` at `offset`, durably in the end; a power cut may come before that.
    fn overwrite(&self, state: &mut State, call: Call, offset: usize, bytes: &[u8]) {
        self.machine.before_store(state, self.index, offset..offset + bytes.len(), |at| bytes[at], false);
        let step = state.steps;
        let source = &mut state.sources[self.index];
        let memory = &self.machine.inner.memory;
        for (window, start) in &source.mappings {
            let mapped = *start..start + window.length_bytes();
            for (at, byte) in (offset..).zip(bytes).filter(|(at, _)| mapped.contains(at)) {
                memory.write(window.slice(at - start, 1).expect("inside of the window"), &[*byte]);
            }
        }
        let line_bytes = self.machine.inner.hardware.line_bytes;
        let whole = offset & !(line_bytes - 1)..(offset + bytes.len()).next_multiple_of(line_bytes);
        let mut content = source.image.now[whole.clone()].to_vec();
        content[offset - whole.start..][..bytes.len()].copy_from_slice(bytes);
        source.image.observe(whole.start, &content, step);
        state.cut(call);
        state.sources[self.index].image.sync(whole);
    }

    fn check_flush(state: &SourceState, range: Extent, offset: u64) {
        let inside = state.mappings.iter().any(|(window, start)| {
            window.covers(range) && offset == (*start + (range.start() - window.start())) as u64
        });
        duty!(inside, "{range} is flushed at offset {offset}, which is not in one mapping of the source");
    }
}

impl Machine {
    /// Adds a source, whose number is the number of sources before it.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(machine.add_source(Medium::new(4096)).index(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn add_source(&self, medium: Medium) -> SimSource {
        let mut state = self.lock();
        let index = state.sources.len();
        state.sources.push(SourceState::new(medium, &self.inner.hardware));
        drop(state);
        SimSource::new(self, index)
    }

    /// Returns source number `index`.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(machine.source(0), source);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn source(&self, index: usize) -> SimSource {
        assert!(index < self.lock().sources.len(), "there is no source {index}");
        SimSource::new(self, index)
    }
}

// SAFETY: a window is memory of the machine, which holds the source's bytes from `map` to `unmap`.
unsafe impl Source for SimSource {
    type Space = SimSpace;

    fn space(&self) -> SimSpace {
        self.machine.space()
    }

    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.machine.step(Call::Length)?.sources[self.index].medium.length_bytes)
    }

    fn alignment_bytes(&self) -> usize {
        self.machine.lock().sources[self.index].medium.alignment_bytes
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.machine.step(Call::Granularity)?.sources[self.index].medium.granularity)
    }

    /// The program has said so: see [`Medium::granularity`].
    fn granularity_limit(&self) -> GranularityLimit {
        GranularityLimit::Declared
    }

    fn fixed_address(&self) -> Option<usize> {
        self.machine.lock().sources[self.index].medium.fixed_address
    }

    fn sharing(&self) -> Sharing {
        self.machine.lock().sources[self.index].medium.sharing
    }

    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        let mut state = self.machine.step(Call::Prepare).map_err(PrepareError::CannotGrow)?;
        let source = &mut state.sources[self.index];
        let (from_bytes, to_bytes) = (source.medium.length_bytes, range.end());
        match source.medium.capacity_bytes {
            _ if to_bytes <= from_bytes => {
                source.relied += 1;
                Ok(None)
            }
            None => Err(PrepareError::TooSmall { length_bytes: from_bytes }),
            Some(capacity) if to_bytes > capacity => Err(PrepareError::CannotGrow(Errno::NOSPC)),
            Some(_) => {
                source.resize(to_bytes, self.machine.inner.hardware.page_bytes);
                source.relied += 1;
                source.grown = source.relied;
                Ok(Some(Growth { from_bytes, to_bytes }))
            }
        }
    }

    fn undo_growth(&self, growth: Growth) {
        let Ok(mut state) = self.machine.step(Call::UndoGrowth) else { return };
        let source = &mut state.sources[self.index];
        if source.medium.length_bytes == growth.to_bytes && source.grown == source.relied {
            source.resize(growth.from_bytes, self.machine.inner.hardware.page_bytes);
        }
    }

    fn give_back(&self, range: Span) -> Result<(), Errno> {
        let mut state = self.machine.step(Call::GiveBack)?;
        let bytes = range.start() as usize..range.end() as usize;
        let source = &state.sources[self.index];
        if source.medium.capacity_bytes.is_none() {
            return Err(Errno::OPNOTSUPP);
        }
        duty!(bytes.end <= source.image.now.len(), "{range} is given back, and ends behind the source");
        let mapped = |(window, at): &(Extent, usize)| *at < bytes.end && bytes.start < *at + window.length_bytes();
        duty!(!source.mappings.iter().any(mapped), "{range} is given back, and is mapped");
        self.machine.before_store(&mut state, self.index, bytes.clone(), |_| 0, false);
        let step = state.steps;
        state.sources[self.index].image.erase(bytes, step);
        Ok(())
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let mut state = self.machine.step(Call::Map)?;
        let memory = &self.machine.inner.memory;
        duty!(state.space.all(window, Page::Reserved), "{window} is mapped, and is not a reservation without mappings");
        duty!(memory.is_clear(window), "somebody has stored to {window}, where nothing was mapped");
        let source = &mut state.sources[self.index];
        let alignment = source.medium.alignment_bytes;
        duty!(
            window.is_aligned(alignment) && offset.is_multiple_of(alignment as u64),
            "{window} at {offset}: alignment"
        );
        let fixed = source.medium.fixed_address.map(|address| address + offset as usize);
        duty!(fixed.is_none_or(|address| address == window.start()), "the source is fixed, and not at {window}");
        let bytes = offset as usize..offset as usize + window.length_bytes();
        if bytes.end as u64 > source.medium.length_bytes.next_multiple_of(self.machine.inner.hardware.page_bytes as u64)
        {
            return Err(Errno::NXIO.into());
        }
        if source.mappings.iter().any(|(other, at)| *at < bytes.end && bytes.start < at + other.length_bytes()) {
            return Err(Errno::BUSY.into());
        }
        memory.write(window, &source.image.now[bytes.clone()]);
        source.mappings.push((window, bytes.start));
        state.space.set(window, Page::Mapped);
        Ok(())
    }

    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let mut state = self.machine.step(Call::Unmap)?;
        let mappings = &mut state.sources[self.index].mappings;
        let Some(at) = mappings.iter().position(|mapping| *mapping == (window, offset as usize)) else {
            duty!(false, "{window} is unmapped at offset {offset}, and no call has mapped it so");
            return Err(Errno::INVAL);
        };
        mappings.swap_remove(at);
        self.machine.inner.memory.clear(window);
        state.space.set(window, Page::Reserved);
        Ok(())
    }

    fn goes_with_addresses(&self) -> bool {
        true
    }

    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        let page_bytes = self.machine.inner.hardware.page_bytes;
        let mut state = self.machine.step(Call::Sync).inspect_err(|errno| {
            if *errno != Errno::INTR {
                self.machine.lock().sources[self.index].image.fail_sync();
            }
        })?;
        duty!(range.is_aligned(page_bytes), "{range} is synchronised, and is not on page boundaries");
        let source = &mut state.sources[self.index];
        Self::check_flush(source, range, offset);
        source.image.sync(offset as usize..offset as usize + range.length_bytes());
        Ok(())
    }

    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        let state = self.machine.step(Call::DeepFlush)?;
        let source = &state.sources[self.index];
        Self::check_flush(source, range, offset);
        Ok(source.medium.deep_flush)
    }

    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }

    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for SimSource {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }

    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let state = self.machine.step(Call::Device).map_err(DeviceError::Failed)?;
        let medium = &state.sources[self.index].medium;
        id.push(medium.device.ok_or(DeviceError::Unsupported)?)?;
        Ok(medium.unsafe_shutdowns)
    }

    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        match self.machine.step(Call::BadBlocks) {
            Err(errno) => BadBlocks::Unknown(errno.into()),
            Ok(state) => {
                let mut bad: Vec<Span> = state.sources[self.index].bad.clone();
                bad.sort_unstable();
                let mut collector = Collector::new(blocks);
                bad.into_iter().filter(|block| block.overlaps(range)).for_each(|block| collector.add(block));
                collector.finish()
            }
        }
    }

    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        let mut state = self.machine.step(Call::ClearBadBlock).map_err(ClearError::Failed)?;
        let length_bytes = state.sources[self.index].medium.length_bytes;
        if block.end() > length_bytes {
            return Err(ClearError::OutOfRange { length_bytes });
        }
        for bad in core::mem::take(&mut state.sources[self.index].bad) {
            match bad.intersect(block) {
                None => state.sources[self.index].bad.push(bad),
                Some(cleared) => {
                    let zeroes = [0].repeat(cleared.length_bytes() as usize);
                    self.overwrite(&mut state, Call::ClearBadBlock, cleared.start() as usize, &zeroes);
                    state.sources[self.index].bad.extend(bad.ending_at(cleared.start()));
                    state.sources[self.index].bad.extend(bad.starting_at(cleared.end()));
                }
            }
        }
        Ok(())
    }

    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        let mut state = self.machine.step(Call::ReadMcsafe).map_err(McsafeError::Failed)?;
        self.machine.observe(&mut state);
        let source = &state.sources[self.index];
        let Some(range) = check_bounds(offset, bytes.len(), source.medium.length_bytes)? else { return Ok(()) };
        if source.bad.iter().any(|bad| bad.overlaps(range)) {
            return Err(McsafeError::IoFail);
        }
        self.machine.look(&mut state, self.index, range.start() as usize..range.end() as usize);
        let source = &state.sources[self.index];
        bytes.copy_from_slice(&source.image.now[range.start() as usize..range.end() as usize]);
        Ok(())
    }

    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let mut state = self.machine.step(Call::WriteMcsafe).map_err(McsafeError::Failed)?;
        let source = &state.sources[self.index];
        let Some(range) = check_bounds(offset, bytes.len(), source.medium.length_bytes)? else { return Ok(()) };
        if source.bad.iter().any(|bad| bad.overlaps(range)) {
            return Err(McsafeError::IoFail);
        }
        self.overwrite(&mut state, Call::WriteMcsafe, range.start() as usize, bytes);
        Ok(())
    }
}
