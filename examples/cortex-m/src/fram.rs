//! Ferroelectric memory: at one address, durable at once, in words of four bytes; and a platform that keeps account.

use core::cell::Cell;

use critical_section::Mutex;
use pmemset_core::arch::Cpu;
use pmemset_core::lock::CriticalSectionRwLock;
use pmemset_core::shutdown::{DeviceError, DeviceId};
use pmemset_core::{DeepFlush, Errno, Extent, Granularity, Platform, Source};

/// Where the chip has the memory.
pub const FRAM_START: usize = 0x2003_0000;
/// Its length in bytes.
pub const FRAM_BYTES: usize = 0x1_0000;
const UNIT_BYTES: usize = 1024;

/// The controller's address space: which units of the memory are taken, one bit each.
pub struct Controller {
    taken: Mutex<Cell<u64>>,
}

impl Controller {
    /// Returns the controller with nothing taken.
    pub const fn new() -> Self {
        Self { taken: Mutex::new(Cell::new(0)) }
    }

    /// Turns the units of `window` to the opposite of `before`, if all of them are `before`.
    fn mark(&self, window: Extent, before: bool) -> Option<()> {
        let first = window.start().checked_sub(FRAM_START)? / UNIT_BYTES;
        let units = window.length_bytes() / UNIT_BYTES;
        if first.checked_add(units)? > 64 || units == 0 {
            return None;
        }
        let bits = (u64::MAX >> (64 - units)) << first;
        critical_section::with(|section| {
            let taken = self.taken.borrow(section);
            let those = taken.get() & bits;
            (those == if before { bits } else { 0 }).then(|| taken.set(taken.get() ^ bits))
        })
    }
}

// SAFETY: `mark` gives no unit away twice.
unsafe impl Platform for Controller {
    type Lock = CriticalSectionRwLock;

    fn page_size_bytes(&self) -> usize {
        UNIT_BYTES
    }

    fn cpu(&self) -> &Cpu {
        const WORDS: Cpu = Cpu::NONE.storing_whole_words();
        &WORDS
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        (FRAM_START..FRAM_START + FRAM_BYTES)
            .step_by(UNIT_BYTES)
            .filter(|start| start & (alignment_bytes - 1) == 0)
            .filter_map(|start| Extent::new(start, length_bytes))
            .find(|window| self.mark(*window, false).is_some())
            .ok_or(Errno::NOMEM)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
        self.mark(window, false).ok_or(Errno::EXIST)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        self.mark(window, true).ok_or(Errno::INVAL)
    }
}

/// The memory.
pub struct Fram;

// SAFETY: the memory is always there, readable and writable.
unsafe impl Source for Fram {
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(FRAM_BYTES as u64)
    }

    fn alignment_bytes(&self) -> usize {
        UNIT_BYTES
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Byte)
    }

    fn fixed_address(&self) -> Option<usize> {
        Some(FRAM_START)
    }

    fn write_granule_bytes(&self) -> usize {
        4
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let right = usize::try_from(offset).ok().and_then(|offset| FRAM_START.checked_add(offset));
        if right == Some(window.start()) && window.end() <= FRAM_START + FRAM_BYTES { Ok(()) } else { Err(Errno::NXIO) }
    }

    unsafe fn unmap(&self, _window: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::NotNeeded)
    }

    /// What is stored is there: it loses power in no way that loses stores.
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        id.push(b"fram").map(|()| 0)
    }
}
