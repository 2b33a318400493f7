//! NVDIMM ranges as sources: memory that keeps its bytes, written back line by line.
#![allow(unsafe_code, reason = "a source is an unsafe duty, and flush hints are registers")]

use core::sync::atomic::{Ordering, fence};

use heapless::Vec;
use pmemset_core::error::DeviceError;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, Granularity, Health, LiveRecordRef, Source, Span,
    forward_source,
};

use crate::addresses::KernelSpace;
use crate::kernel::{self, Kernel};
use crate::memory::Memory;
use crate::nfit::{MODULES_MAX, Nfit, Range};

/// Length of a flush hint's register.
const HINT_BYTES: u32 = 8;

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
pub struct Nvdimm<K> {
    memory: Memory<K>,
    granularity: Granularity,
    /// Addresses of the flush hints' registers, one for each module that has any, mapped as a device.
    hints: Vec<usize, MODULES_MAX>,
    device: Option<Device>,
}

impl<K: Kernel> Nvdimm<K> {
    /// Returns `range` of `table` as a source that is `device`, if that is known.
    ///
    /// # Errors
    ///
    /// - `EROFS`: a module is not armed, so stores would not survive a power cut.
    /// - `EINVAL`: the range is not on pages, or is beyond what a processor can address; a flush hint is not 8 bytes on
    ///   their boundary.
    /// - `EFAULT`: the range or a flush hint lies in memory that the kernel uses, or a flush hint in persistent memory.
    /// - The reason why a flush hint could not be mapped.
    pub fn new(kernel: K, table: &Nfit, range: Range, device: Option<Device>) -> Result<Self, Errno> {
        if !range.is_usable() {
            return Err(Errno::ROFS);
        }
        let memory = Memory::new(kernel, range.base, range.length_bytes)?;
        let granularity = if table.caches_are_durable { Granularity::Byte } else { Granularity::CacheLine };
        let mut hints = Vec::new();
        for address in table.modules_of(&range).filter_map(|module| module.flush_hint) {
            let hint = Span::new(address, HINT_BYTES.into())
                .filter(|hint| hint.is_aligned(HINT_BYTES.into()))
                .ok_or(Errno::INVAL)?;
            let is_in =
                |range: &Range| Span::new(range.base, range.length_bytes).is_some_and(|range| range.overlaps(hint));
            if table.ranges.iter().any(is_in) {
                return Err(Errno::FAULT);
            }
            hints.extend([kernel::registers(&memory.kernel, address, HINT_BYTES)?]);
        }
        Ok(Self { memory, granularity, hints, device })
    }

    /// Returns where the range's shutdown record is kept.
    pub fn place(&self) -> Option<usize> {
        self.device.as_ref().map(|device| device.place)
    }
}

/// Has stores made before reach the memory controller before those made later.
fn store_fence() {
    fence(Ordering::SeqCst);
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a fence has no precondition on a processor with SSE2, as all 64-bit ones have.
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

// SAFETY: the memory inside keeps the promises.
unsafe impl<K: Kernel + Send> Source for Nvdimm<K> {
    type Space = KernelSpace;

    forward_source!(self { Self { memory, .. } => memory } except granularity, deep_flush, health);

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.granularity)
    }

    /// Writes the flush hints, which empty the queues of the memory controllers (ACPI 6.5, section 5.2.25.8).
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        if self.hints.is_empty() {
            return Ok(DeepFlush::NotNeeded);
        }
        store_fence();
        for hint in &self.hints {
            // SAFETY: the register is mapped, and takes any value.
            unsafe { core::ptr::write_volatile(*hint as *mut u64, 1) };
        }
        store_fence();
        Ok(DeepFlush::Done)
    }

    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

/// Knows the device; looks for no bad blocks.
impl<K: Kernel + Send> Health for Nvdimm<K> {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        None
    }

    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    fn bad_blocks(&self, _range: Span, _blocks: &mut [Span]) -> BadBlocks {
        BadBlocks::UNKNOWN
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let device = self.device.as_ref().ok_or(DeviceError::Unsupported)?;
        id.clone_from(&device.id);
        Ok(device.unsafe_shutdowns)
    }
}

#[cfg(test)]
mod tests;
