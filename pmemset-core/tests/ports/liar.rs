//! A port whose answers are right, or any others: nothing that a port says may make the suite itself fail.

use std::sync::Mutex;

use pmemset_core::arch::Cpu;
use pmemset_core::error::{DeviceError, MapFailure, McsafeError, PrepareError, ReserveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::support::Random;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, FailedWriteBack, Granularity, Growth, Health,
    LiveRecordRef, Platform, Source, Span,
};

use super::board::{Board, PAGE};

const NUMBERS: [u64; 12] = [0, 1, 3, 4, 64, 511, 4096, 4097, 1 << 20, 1 << 62, i64::MAX as u64, u64::MAX];

/// Lies one time in `1 << truth`, never about memory that it says is mapped.
pub(crate) struct Liar<'b> {
    board: &'b Board,
    random: Mutex<Random>,
    truth: u32,
}

impl<'b> Liar<'b> {
    pub(crate) fn new(board: &'b Board, seed: u64) -> Self {
        Self { board, random: Mutex::new(Random::new(seed)), truth: 1 + (seed % 6) as u32 }
    }

    /// Returns a number instead of the right answer, now and then.
    fn lie(&self) -> Option<u64> {
        let number = self.random.lock().unwrap().word();
        let lies = number & ((1 << self.truth) - 1) == 0;
        lies.then(|| NUMBERS[(number >> 32) as usize % NUMBERS.len()])
    }

    fn fails(&self) -> Result<(), Errno> {
        match self.lie() {
            Some(number) if number % 2 == 0 => Err(Errno::BUSY),
            Some(_) => Err(Errno::IO),
            None => Ok(()),
        }
    }

    fn size(&self) -> Option<usize> {
        self.lie().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }
}

// SAFETY: none; memory that is said to be mapped is the board's.
unsafe impl Platform for Liar<'_> {
    type Lock = SpinRwLock;
    type Space = usize;

    fn space(&self) -> usize {
        Platform::space(self.board)
    }
    fn page_size_bytes(&self) -> usize {
        self.size().unwrap_or(PAGE)
    }
    fn cpu(&self) -> &Cpu {
        const WORDS: Cpu = Cpu::NONE.storing_whole_words();
        if self.lie().is_some() { &WORDS } else { &Cpu::NONE }
    }
    fn alignment_for(&self, _length_bytes: usize) -> usize {
        self.size().unwrap_or(PAGE)
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        self.fails()?;
        if let Some(start) = self.size() {
            // Of a length that the suite can look at page by page.
            return Extent::new(start, length_bytes.min(1 << 20)).ok_or(ReserveError::CannotFit);
        }
        self.board.reserve(length_bytes, alignment_bytes.max(1))
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.fails()?;
        if self.lie().is_some() { Ok(()) } else { self.board.reserve_at(window) }
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        self.fails()?;
        // SAFETY: passed on; the board checks it.
        unsafe { self.board.release(window) }
    }
}

// SAFETY: none; a window that is said to be mapped is the board's memory.
unsafe impl Source for Liar<'_> {
    type Space = usize;

    fn space(&self) -> usize {
        Source::space(self.board)
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        self.fails()?;
        self.lie().map_or_else(|| self.board.length_bytes(), Ok)
    }
    fn alignment_bytes(&self) -> usize {
        self.size().unwrap_or(PAGE)
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        self.fails()?;
        Ok(self.lie().and_then(|number| Granularity::from_raw((number % 3) as u8)).unwrap_or(Granularity::Page))
    }
    fn fixed_address(&self) -> Option<usize> {
        self.size()
    }
    fn write_granule_bytes(&self) -> usize {
        self.size().unwrap_or(1)
    }
    fn holds(&self, _range: Span) -> bool {
        self.lie().is_some()
    }
    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        match (self.lie(), self.lie()) {
            (Some(from_bytes), Some(to_bytes)) => Ok(Some(Growth { from_bytes, to_bytes })),
            (Some(length_bytes), None) => Err(PrepareError::TooSmall { length_bytes }),
            (None, Some(_)) => Ok(None),
            (None, None) => self.board.prepare(range),
        }
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        self.fails()?;
        // SAFETY: passed on; the board checks it.
        unsafe { self.board.map(window, offset) }
    }
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        self.fails()?;
        // SAFETY: passed on; the board checks it.
        unsafe { self.board.unmap(window, offset) }
    }
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        self.fails()?;
        self.board.sync(range, offset)
    }
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        self.fails()?;
        self.board.deep_flush(range, offset)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        self.board.failed_write_back()
    }
    fn health(&self) -> Option<&dyn Health> {
        self.lie().is_none_or(|number| number % 2 == 0).then_some(self)
    }
}

impl Health for Liar<'_> {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        id.push(b"liar")?;
        self.lie().ok_or(DeviceError::Unsupported)
    }
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        for block in &mut *blocks {
            *block = self.lie().and_then(|start| Span::new(start, 64)).unwrap_or(range);
        }
        match self.size() {
            Some(count) => BadBlocks::Listed { count, more: count % 2 == 0 },
            None => BadBlocks::None,
        }
    }
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        self.fails().map_err(McsafeError::Failed)?;
        if self.lie().is_some() { Ok(()) } else { self.board.read_mcsafe(offset, bytes) }
    }
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        self.fails().map_err(McsafeError::Failed)?;
        if self.lie().is_some() { Ok(()) } else { self.board.write_mcsafe(offset, bytes) }
    }
}
