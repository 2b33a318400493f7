//! NVDIMM ranges as sources: memory that keeps its bytes, written back line by line.

use firmware::nfit::{MODULES_MAX, Nfit, Range};
use heapless::Vec;
use pmemset_core::shutdown::{DeviceError, DeviceId};
use pmemset_core::{DeepFlush, Errno, Extent, Granularity, Source};

use crate::paging::{Cache, PAGE_BYTES};
use crate::platform::{self, Machine};

/// What is known of the modules behind a range whose shutdown record is kept.
#[derive(Debug)]
pub struct Device {
    /// Where the record is kept.
    pub place: usize,
    /// The ids of the modules.
    pub id: DeviceId,
    /// How often they may have lost stores; does not change while the kernel runs.
    pub unsafe_shutdowns: u64,
}

/// A range of persistent memory that the firmware has named.
#[derive(Debug)]
pub struct Nvdimm {
    range: Range,
    granularity: Granularity,
    /// Addresses of the flush hints' registers, one for each module that has any, mapped as a device.
    hints: Vec<usize, MODULES_MAX>,
    device: Option<Device>,
}

impl Nvdimm {
    /// Returns `range` of `table` as a source that is `device`, if that is known.
    ///
    /// # Errors
    ///
    /// - `EROFS`: a module is not armed, so stores would not survive a power cut.
    /// - `EINVAL`: the range does not start on a page.
    /// - The reason why a flush hint could not be mapped.
    pub fn new(table: &Nfit, range: Range, device: Option<Device>) -> Result<Self, Errno> {
        if !range.is_usable() {
            return Err(Errno::ROFS);
        }
        if range.base % PAGE_BYTES as u64 != 0 {
            return Err(Errno::INVAL);
        }
        let granularity = if table.caches_are_durable { Granularity::Byte } else { Granularity::CacheLine };
        let mut hints = Vec::new();
        for address in table.modules_of(&range).filter_map(|module| module.flush_hint) {
            hints.extend([Machine::map_device(address, 8)?]);
        }
        Ok(Self { range, granularity, hints, device })
    }

    /// Returns where the range's shutdown record is kept.
    pub fn place(&self) -> Option<usize> {
        self.device.as_ref().map(|device| device.place)
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

    /// Writes the flush hints, which empty the queues of the memory controllers (ACPI 6.5, section 5.2.25.8).
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        if self.hints.is_empty() {
            return Ok(DeepFlush::NotNeeded);
        }
        // SAFETY: a fence has no precondition on a processor with SSE2, as all 64-bit ones have.
        unsafe { core::arch::x86_64::_mm_sfence() };
        for hint in &self.hints {
            // SAFETY: the register is mapped, and takes any value.
            unsafe { core::ptr::write_volatile(*hint as *mut u64, 1) };
        }
        // SAFETY: as above.
        unsafe { core::arch::x86_64::_mm_sfence() };
        Ok(DeepFlush::Done)
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let device = self.device.as_ref().ok_or(DeviceError::Unsupported)?;
        id.clone_from(&device.id);
        Ok(device.unsafe_shutdowns)
    }
}
