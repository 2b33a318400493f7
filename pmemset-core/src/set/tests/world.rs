//! A platform over real memory that writes down what it is asked to do, and sources that fail on demand.
#![allow(unsafe_code, reason = "implements the unsafe traits")]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use super::fake::PAGE;
use crate::arch::{Cpu, StoreKind};
use crate::error::{MapFailure, ReserveError};
use crate::lock::SpinRwLock;
use crate::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, Platform, Source};

/// What the platform or a source was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    WriteBack(Extent),
    Fence,
    Drop(Extent),
    FullFence,
    Store(Extent, StoreKind),
    Sync(Extent, u64),
    DeepFlush(Extent, u64),
}

#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE]);

/// Pages, handed out in ascending order, each reservation right behind the last one.
#[derive(Debug)]
pub(super) struct World {
    arena: Extent,
    next: AtomicUsize,
    cpu: Cpu,
    pub(super) acts: Mutex<Vec<Act>>,
}

impl World {
    pub(super) fn new(pages: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        let cpu = Cpu::detect();
        #[cfg(not(target_arch = "x86_64"))]
        let cpu = Cpu::simulated(64);
        Self::on(cpu, pages)
    }

    /// With another processor.
    pub(super) fn on(cpu: Cpu, pages: usize) -> Self {
        // Never freed: tests are short, and handles may then be as long-lived as they like.
        let memory = Box::leak(vec![Page([0; PAGE]); pages].into_boxed_slice());
        let start = memory.as_mut_ptr().expose_provenance();
        let arena = Extent::new(start, pages * PAGE).unwrap();
        Self { arena, next: AtomicUsize::new(start), cpu, acts: Mutex::new(Vec::new()) }
    }

    /// Leaves a page that nobody has between this reservation and the next.
    pub(super) fn leave_hole(&self) {
        self.next.fetch_add(PAGE, Ordering::Relaxed);
    }

    /// Returns what was done since the last call.
    pub(super) fn take(&self) -> Vec<Act> {
        core::mem::take(&mut *self.acts.lock().unwrap())
    }

    fn note(&self, act: Act) {
        self.acts.lock().unwrap().push(act);
    }

    fn note_store(&self, dest: *mut u8, length_bytes: usize, kind: StoreKind) {
        if let Some(range) = Extent::new(dest.addr(), length_bytes) {
            self.note(Act::Store(range, kind));
        }
    }
}

// SAFETY: hands out each page once.
unsafe impl Platform for World {
    type Lock = SpinRwLock;
    type Space = usize;

    fn space(&self) -> usize {
        self.arena.start()
    }
    fn page_size_bytes(&self) -> usize {
        PAGE
    }
    fn cpu(&self) -> &Cpu {
        &self.cpu
    }
    fn reserve(&self, length_bytes: usize, _alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let start = self.next.fetch_add(length_bytes, Ordering::Relaxed);
        Extent::new(start, length_bytes).filter(|window| self.arena.covers(*window)).ok_or(ReserveError::CannotFit)
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let moved =
            self.next.compare_exchange(window.start(), window.end(), Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if moved && self.arena.covers(window) { Ok(()) } else { Err(ReserveError::Occupied) }
    }
    unsafe fn release(&self, _window: Extent) -> Result<(), Errno> {
        Ok(())
    }
    unsafe fn write_back(&self, range: Extent) {
        self.note(Act::WriteBack(range));
        // SAFETY: the caller's promise.
        unsafe { self.cpu.write_back(range) }
    }
    fn fence(&self) {
        self.note(Act::Fence);
        self.cpu.fence();
    }
    unsafe fn write_back_invalidate(&self, range: Extent) {
        self.note(Act::Drop(range));
        // SAFETY: the caller's promise.
        unsafe { self.cpu.write_back_invalidate(range) }
    }
    fn full_fence(&self) {
        self.note(Act::FullFence);
        self.cpu.full_fence();
    }
    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        self.note_store(dest, length_bytes, kind);
        // SAFETY: the caller's promise.
        unsafe { self.cpu.copy(dest, source, length_bytes, kind) }
    }
    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        self.note_store(dest, length_bytes, kind);
        // SAFETY: the caller's promise.
        unsafe { self.cpu.fill(dest, value, length_bytes, kind) }
    }
}

/// A source of any length, whose mappings are the arena's pages as they are.
#[derive(Debug)]
pub(super) struct Memory<'w> {
    world: &'w World,
    granularity: Granularity,
    /// What the next calls of `sync` answer; `Ok` when there is nothing left.
    pub(super) sync_errors: Mutex<VecDeque<Errno>>,
    /// What the next calls of `deep_flush` answer; `Done` when there is nothing left.
    pub(super) deep_flushes: Mutex<VecDeque<Result<DeepFlush, Errno>>>,
    pub(super) failed: FailedWriteBack,
}

impl<'w> Memory<'w> {
    pub(super) fn new(world: &'w World, granularity: Granularity) -> Self {
        Self {
            world,
            granularity,
            sync_errors: Mutex::default(),
            deep_flushes: Mutex::default(),
            failed: FailedWriteBack::new(),
        }
    }
}

// SAFETY: every window consists of readable and writable pages of the arena.
unsafe impl Source for Memory<'_> {
    type Space = usize;

    fn space(&self) -> usize {
        self.world.space()
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(1 << 40)
    }
    fn alignment_bytes(&self) -> usize {
        PAGE
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(self.granularity)
    }
    unsafe fn map(&self, _window: Extent, _offset: u64) -> Result<(), MapFailure> {
        Ok(())
    }
    unsafe fn unmap(&self, _window: Extent, _offset: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        assert!(range.is_aligned(PAGE));
        self.world.note(Act::Sync(range, offset));
        self.sync_errors.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        self.world.note(Act::DeepFlush(range, offset));
        self.deep_flushes.lock().unwrap().pop_front().unwrap_or(Ok(DeepFlush::Done))
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }
    fn health(&self) -> Option<&dyn Health> {
        None
    }
}
