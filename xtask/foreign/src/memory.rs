//! Some pages that play persistent memory, and a platform that hands them out.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pmemset_core::arch::Cpu;
use pmemset_core::error::MapFailure;
use pmemset_core::error::ReserveError;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, Platform, Source};

/// The unit of address space in bytes.
pub const PAGE: usize = 4096;
const PAGES: usize = 8;

#[repr(align(4096))]
struct Pages(UnsafeCell<[u8; PAGE * PAGES]>);

// SAFETY: the program has one thread.
unsafe impl Sync for Pages {}

static PERSISTENT: Pages = Pages(UnsafeCell::new([0; PAGE * PAGES]));

/// Address space that is handed out once.
pub struct Board {
    taken_bytes: AtomicUsize,
    cpu: Cpu,
}

impl Board {
    /// Returns the board with a processor.
    pub const fn new(cpu: Cpu) -> Self {
        Self { taken_bytes: AtomicUsize::new(0), cpu }
    }

    fn window(&self, from: usize, length_bytes: usize) -> Option<Extent> {
        let whole = Extent::new(PERSISTENT.0.get().expose_provenance(), PAGE * PAGES)?;
        whole.slice(from, length_bytes)
    }
}

// SAFETY: gives no address away twice.
unsafe impl Platform for Board {
    type Lock = SpinRwLock;
    type Space = ();

    fn space(&self) {}
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &self.cpu
    }
    fn reserve(&self, length_bytes: usize, _alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let from = self.taken_bytes.fetch_add(length_bytes, Ordering::Relaxed);
        self.window(from, length_bytes).ok_or(ReserveError::CannotFit)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let from = self.taken_bytes.load(Ordering::Relaxed);
        if self.window(from, window.length_bytes()) != Some(window) {
            return Err(ReserveError::Occupied);
        }
        self.taken_bytes.fetch_add(window.length_bytes(), Ordering::Relaxed);
        Ok(())
    }
    unsafe fn release(&self, _window: Extent) -> Result<(), Errno> {
        Ok(())
    }
}

/// The memory, as a source that is longer than 4 GiB and notes where it was mapped from.
pub struct Dimm {
    /// The offset of the last mapping.
    pub offset: AtomicU64,
    /// That it has failed.
    pub failed: FailedWriteBack,
}

// SAFETY: every window is memory of the board.
unsafe impl Source for Dimm {
    type Space = ();

    fn space(&self) {}
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(1 << 40)
    }
    fn alignment_bytes(&self) -> usize {
        PAGE
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::CacheLine)
    }
    unsafe fn map(&self, _window: Extent, offset: u64) -> Result<(), MapFailure> {
        self.offset.store(offset, Ordering::Relaxed);
        Ok(())
    }
    unsafe fn unmap(&self, _window: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn sync(&self, _range: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::Done)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }
    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
