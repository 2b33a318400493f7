//! Two hosts on one memory, each with a cache of its own in which a line stays until it is dropped.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use pmemset_core::arch::Cpu;
use pmemset_core::error::{MapFailure, ReserveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, Platform, Sharing, Source};

const PAGE: usize = 512;
const LINE: usize = 64;
const BYTES: usize = 4 * PAGE;

/// What a host does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    SaysPrivate,
    SaysCoherent,
    WritesNothingBack,
    WritesAllBack,
    DropsNothing,
    DropsWhatIsDirty,
}

/// The memory that the hosts share.
#[derive(Debug)]
pub(crate) struct Fabric(Mutex<Vec<u8>>);

impl Fabric {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(vec![0; BYTES]))
    }
}

/// A window: where its first byte is in the memory, and its lines as they came from there.
#[derive(Debug)]
struct Cached {
    window: Extent,
    offset: usize,
    clean: Vec<u8>,
}

/// A host: what it has mapped is its cache.
#[derive(Debug)]
pub(crate) struct Host<'f> {
    fabric: &'f Fabric,
    misdeed: Option<Misdeed>,
    arena: Extent,
    next: AtomicUsize,
    cached: Mutex<Vec<Cached>>,
    failed: FailedWriteBack,
}

impl<'f> Host<'f> {
    pub(crate) fn new(fabric: &'f Fabric, misdeed: Option<Misdeed>) -> Self {
        // Never freed: some kilobytes of a test.
        let heap = vec![0_u64; (64 + 1) * PAGE / 8].leak().as_mut_ptr().expose_provenance();
        let arena = Extent::new(heap.next_multiple_of(PAGE), 64 * PAGE).unwrap();
        let next = AtomicUsize::new(arena.start());
        Self { fabric, misdeed, arena, next, cached: Mutex::default(), failed: FailedWriteBack::new() }
    }

    fn is(&self, misdeed: Misdeed) -> bool {
        self.misdeed == Some(misdeed)
    }

    /// Calls `act` for each line of `range`, with what is in the cache, as it came, and in the memory.
    fn lines(&self, range: Extent, act: impl Fn(&mut [u8], &mut [u8], &mut [u8])) {
        let (mut cached, mut memory) = (self.cached.lock().unwrap(), self.fabric.0.lock().unwrap());
        for Cached { window, offset, clean } in &mut *cached {
            for at in (0..window.length_bytes()).step_by(LINE) {
                let line = window.slice(at, LINE).unwrap();
                if line.overlaps(range) {
                    let pointer = core::ptr::with_exposed_provenance_mut::<u8>(line.start());
                    // SAFETY: the window is in the arena, and the tests have one thread.
                    let now = unsafe { core::slice::from_raw_parts_mut(pointer, LINE) };
                    act(now, &mut clean[at..at + LINE], &mut memory[*offset + at..*offset + at + LINE]);
                }
            }
        }
    }
}

// SAFETY: hands out each page once, and takes none back.
unsafe impl Platform for Host<'_> {
    type Lock = SpinRwLock;
    type Space = usize;

    fn space(&self) -> usize {
        self.arena.start()
    }
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }
    fn reserve(&self, length_bytes: usize, _: usize) -> Result<Extent, ReserveError> {
        let start = self.next.fetch_add(length_bytes, Ordering::Relaxed);
        Extent::new(start, length_bytes).filter(|window| self.arena.covers(*window)).ok_or(ReserveError::CannotFit)
    }
    fn reserve_at(&self, _: Extent) -> Result<(), ReserveError> {
        Err(ReserveError::Occupied)
    }
    unsafe fn release(&self, _: Extent) -> Result<(), Errno> {
        Ok(())
    }
    unsafe fn write_back(&self, range: Extent) {
        let range = if self.is(Misdeed::WritesAllBack) { self.arena } else { range };
        self.lines(range, |now, clean, memory| {
            if self.is(Misdeed::WritesAllBack) || now != clean && !self.is(Misdeed::WritesNothingBack) {
                memory.copy_from_slice(now);
                clean.copy_from_slice(now);
            }
        });
    }
    unsafe fn write_back_invalidate(&self, range: Extent) {
        self.lines(range, |now, clean, memory| {
            if now != clean && !self.is(Misdeed::DropsWhatIsDirty) {
                memory.copy_from_slice(now);
            }
            if !self.is(Misdeed::DropsNothing) {
                now.copy_from_slice(memory);
            }
            clean.copy_from_slice(now);
        });
    }
}

// SAFETY: every window is memory of the arena.
unsafe impl Source for Host<'_> {
    type Space = usize;

    fn space(&self) -> usize {
        self.arena.start()
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(BYTES as u64)
    }
    fn alignment_bytes(&self) -> usize {
        PAGE
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::CacheLine)
    }
    fn sharing(&self) -> Sharing {
        match self.misdeed {
            Some(Misdeed::SaysPrivate) => Sharing::Private,
            Some(Misdeed::SaysCoherent) => Sharing::Coherent,
            _ => Sharing::Incoherent,
        }
    }
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let offset = usize::try_from(offset).unwrap();
        let clean = self.fabric.0.lock().unwrap()[offset..offset + window.length_bytes()].to_vec();
        let pointer = core::ptr::with_exposed_provenance_mut::<u8>(window.start());
        // SAFETY: the window is in the arena, and holds nothing.
        unsafe { pointer.copy_from(clean.as_ptr(), clean.len()) };
        self.cached.lock().unwrap().push(Cached { window, offset, clean });
        Ok(())
    }
    unsafe fn unmap(&self, window: Extent, _: u64) -> Result<(), Errno> {
        // Lines leave the cache some time.
        self.lines(window, |now, clean, memory| {
            if now != clean {
                memory.copy_from_slice(now);
            }
        });
        self.cached.lock().unwrap().retain(|cached| cached.window != window);
        Ok(())
    }
    fn sync(&self, _: Extent, _: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn deep_flush(&self, _: Extent, _: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::NotNeeded)
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }
    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
