//! NVDIMM ranges as sources: memory that keeps its bytes, written back line by line.

use firmware::nfit::Range;
use pmemset_core::{DeepFlush, Errno, Extent, Granularity, Source};

use crate::paging::{Cache, PAGE_BYTES};
use crate::platform::{self, Machine};

/// A range of persistent memory that the firmware has named.
#[derive(Debug)]
pub struct Nvdimm {
    range: Range,
    granularity: Granularity,
    /// Address of the flush hint's register, mapped as a device.
    hint: Option<usize>,
}

impl Nvdimm {
    /// Returns `range` as a source.
    ///
    /// # Errors
    ///
    /// - `EROFS`: a module is not armed, so stores would not survive a power cut.
    /// - The reason why the flush hint could not be mapped.
    pub fn new(range: Range, caches_are_durable: bool) -> Result<Self, Errno> {
        if !range.is_usable() {
            return Err(Errno::ROFS);
        }
        let granularity = if caches_are_durable { Granularity::Byte } else { Granularity::CacheLine };
        let hint = range.flush_hint.map(|address| Machine::map_device(address, 8)).transpose()?;
        Ok(Self { range, granularity, hint })
    }
}

// SAFETY: `map` puts exactly the window's pages onto the range's memory, which the firmware says is memory.
unsafe impl Source for Nvdimm {
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.range.length_bytes)
    }

    fn alignment_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.granularity)
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let end = offset.checked_add(window.length_bytes() as u64).ok_or(Errno::OVERFLOW)?;
        if end > self.range.length_bytes {
            return Err(Errno::NXIO);
        }
        platform::map(window, self.range.base + offset, Cache::Memory)
    }

    unsafe fn unmap(&self, window: Extent, _offset: u64) -> Result<(), Errno> {
        platform::unmap(window);
        Ok(())
    }

    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    /// Writes the flush hint, which empties the memory controller's queues (ACPI 6.5, section 5.2.25.9).
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        let Some(hint) = self.hint else { return Ok(DeepFlush::NotNeeded) };
        // SAFETY: a fence has no precondition on a processor with SSE2, as all 64-bit ones have.
        unsafe { core::arch::x86_64::_mm_sfence() };
        // SAFETY: the register is mapped, and takes any value.
        unsafe { core::ptr::write_volatile(hint as *mut u64, 1) };
        // SAFETY: as above.
        unsafe { core::arch::x86_64::_mm_sfence() };
        Ok(DeepFlush::Done)
    }
}
