//! A range of physical memory as a source: what NVDIMMs and virtio-pmem disks have in common.
#![allow(unsafe_code, reason = "a source is an unsafe duty")]

use pmemset_core::error::MapFailure;
use pmemset_core::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, Source, Span};

use crate::addresses::{KernelSpace, PAGE_BYTES};
use crate::kernel::{self, Kernel};

/// Memory that keeps its bytes, mapped by the kernel and written back line by line; nothing is known of its health.
#[derive(Debug)]
pub(crate) struct Memory<K> {
    pub(crate) kernel: K,
    span: Span,
    failed: FailedWriteBack,
}

impl<K: Kernel> Memory<K> {
    /// Returns memory that a table or a device names.
    ///
    /// # Errors
    ///
    /// See [`kernel::foreign_memory`].
    pub(crate) fn new(kernel: K, start: u64, length_bytes: u64) -> Result<Self, Errno> {
        let span = kernel::foreign_memory(&kernel, start, length_bytes)?;
        Ok(Self { kernel, span, failed: FailedWriteBack::new() })
    }
}

// SAFETY: `map` puts exactly the window's pages onto the range, which is memory that nobody else uses.
unsafe impl<K: Kernel + Send> Source for Memory<K> {
    type Space = KernelSpace;

    fn space(&self) -> KernelSpace {
        KernelSpace
    }

    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.span.length_bytes())
    }

    fn alignment_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::CacheLine)
    }

    fn fixed_address(&self) -> Option<usize> {
        self.kernel.fixed_address(self.span.start())
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        // SAFETY: the caller has reserved the window, and nothing is mapped there.
        Ok(unsafe { kernel::map(&self.kernel, self.span, window, offset) }?)
    }

    unsafe fn unmap(&self, window: Extent, _offset: u64) -> Result<(), Errno> {
        // SAFETY: nobody uses the window any more.
        unsafe { self.kernel.unmap(window) }
    }

    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::NotNeeded)
    }

    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }

    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
