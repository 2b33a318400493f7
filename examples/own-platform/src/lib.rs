//! A port to copy: an operating system with addresses to reserve, and a disk whose blocks cannot be mapped.
//!
//! Step 1, the platform: addresses, the processor's cache instructions, a lock. Step 2, a source: here parts are memory
//! that is read from the disk when it is mapped and written back when it is synchronised, so stores become durable page
//! by page. Step 3, one test file that calls the contract suite: `tests/contract.rs`.

pub mod os;

use os::{Disk, PAGE_BYTES};
use pmemset_core::arch::Cpu;
use pmemset_core::error::{MapFailure, ReserveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, Platform, Source};

/// The operating system's addresses.
#[derive(Clone, Copy, Debug)]
pub struct Os;

/// The kind of address space: the system has one, so there is nothing to tell apart.
///
/// A type of your own, so that sources of another platform do not compile here, nor yours elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses;

// SAFETY: the system gives no address away twice.
unsafe impl Platform for Os {
    /// Where threads can sleep, bring a lock whose waiters do.
    type Lock = SpinRwLock;
    type Space = Addresses;

    fn space(&self) -> Addresses {
        Addresses
    }

    fn page_size_bytes(&self) -> usize {
        PAGE_BYTES
    }

    /// `Cpu::detect()` and its like, where a source is memory that keeps its bytes; nothing here is.
    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let start = os::reserve(length_bytes, alignment_bytes).ok_or(Errno::NOMEM)?;
        Extent::new(start, length_bytes).ok_or(ReserveError::CannotFit)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        if os::reserve_at(window.start(), window.length_bytes()) { Ok(()) } else { Err(ReserveError::Occupied) }
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        if os::release(window.start(), window.length_bytes()) { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// A disk as a source that stages: each mapping is a copy in memory, which `sync` and `unmap` write back in whole
/// blocks.
///
/// So the granule is that of the memory, 1, though no store is as wide as a block; and bytes that are mapped twice are
/// two copies, of which the one written back last is what the disk keeps. Map any bytes only once at a time.
#[derive(Debug)]
pub struct DiskSource {
    /// The disk.
    pub disk: Disk,
    failed: FailedWriteBack,
}

impl DiskSource {
    /// Returns the disk as a source that has not failed yet.
    #[must_use]
    pub const fn new(disk: Disk) -> Self {
        Self { disk, failed: FailedWriteBack::new() }
    }

    fn write(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        let at = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the range is mapped: memory that this source has filled.
        let bytes = unsafe { core::slice::from_raw_parts(range.start() as *const u8, range.length_bytes()) };
        if self.disk.write(at, bytes) { Ok(()) } else { Err(Errno::IO) }
    }
}

// SAFETY: the system's addresses have memory behind them; this source touches that of its windows only.
unsafe impl Source for DiskSource {
    type Space = Addresses;

    fn space(&self) -> Addresses {
        Addresses
    }

    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.disk.length_bytes() as u64)
    }

    fn alignment_bytes(&self) -> usize {
        PAGE_BYTES
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Page)
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let at = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        // SAFETY: the window is reserved and not in use: its memory is this call's.
        let bytes = unsafe { core::slice::from_raw_parts_mut(window.start() as *mut u8, window.length_bytes()) };
        if self.disk.read(at, bytes) { Ok(()) } else { Err(Errno::NXIO.into()) }
    }

    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        self.write(window, offset)
    }

    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        self.write(range, offset)
    }

    /// Comes after `sync`, and knows no page boundaries; a disk that writes through has nothing left to do.
    fn deep_flush(&self, _range: Extent, _offset: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::NotNeeded)
    }

    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }

    /// The disk keeps its broken blocks to itself, and counts no power cuts.
    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
