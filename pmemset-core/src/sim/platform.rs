//! The platform of a simulated machine.
#![allow(unsafe_code, reason = "an implementation of an unsafe trait")]

use super::medium::Image;
use super::{Call, Machine, Page, State};
use crate::arch::{Cpu, StoreKind};
use crate::{Errno, Extent, Platform};

/// The address space and the processor of a [`Machine`].
#[derive(Clone, Debug)]
pub struct SimPlatform {
    machine: Machine,
    cpu: Cpu,
}

impl SimPlatform {
    pub(super) fn new(machine: &Machine) -> Self {
        Self { machine: machine.clone(), cpu: Cpu::simulated(machine.inner.hardware.line_bytes) }
    }

    /// Returns the machine that the platform belongs to.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Tells `act` of every source that is mapped in `range`, and of the bytes of it there.
    fn images(state: &mut State, range: Extent, mut act: impl FnMut(&mut Image, core::ops::Range<usize>)) {
        for source in &mut state.sources {
            for (window, offset) in source.mappings.clone() {
                if let Some(piece) = window.intersect(range) {
                    let start = offset + (piece.start() - window.start());
                    act(&mut source.image, start..start + piece.length_bytes());
                }
            }
        }
    }

    /// Stores through `store`, one step before and one after.
    fn stored(&self, call: Call, dest: *mut u8, length_bytes: usize, kind: StoreKind, store: impl FnOnce()) {
        drop(self.machine.step(call));
        store();
        if let (StoreKind::Streaming, Some(range)) = (kind, Extent::new(dest.addr(), length_bytes)) {
            let mut state = self.machine.lock();
            self.machine.observe(&mut state);
            let step = state.steps;
            Self::images(&mut state, range, |image, bytes| image.stream(bytes, step));
        }
    }
}

// SAFETY: `Space` hands out free pages only, and keeps them until they are released.
unsafe impl Platform for SimPlatform {
    type Lock = crate::lock::SpinRwLock;

    fn page_size_bytes(&self) -> usize {
        self.machine.inner.hardware.page_bytes
    }

    fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        self.machine.step(Call::Reserve)?.space.reserve(length_bytes, alignment_bytes)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
        self.machine.step(Call::ReserveAt)?.space.reserve_at(window)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let mut state = self.machine.step(Call::Release)?;
        duty!(
            state.space.all(window, Page::Reserved),
            "{window} is released, and is not a reservation without mappings"
        );
        duty!(self.machine.inner.memory.is_clear(window), "somebody has stored to {window}, where nothing is mapped");
        state.space.set(window, Page::Free);
        Ok(())
    }

    unsafe fn write_back(&self, range: Extent) {
        if let Ok(mut state) = self.machine.step(Call::WriteBack) {
            let pages = range.align_outward(self.page_size_bytes()).expect("a range in the address space");
            duty!(state.space.all(pages, Page::Mapped), "{range} is written back, and is not all mapped");
            Self::images(&mut state, range, Image::write_back);
        }
    }

    fn fence(&self) {
        if let Ok(mut state) = self.machine.step(Call::Fence) {
            state.sources.iter_mut().for_each(|source| source.image.fence());
        }
    }

    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        self.stored(Call::Copy, dest, length_bytes, kind, || {
            // SAFETY: the caller promises both ranges.
            unsafe { core::ptr::copy(source, dest, length_bytes) }
        });
    }

    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        self.stored(Call::Fill, dest, length_bytes, kind, || {
            // SAFETY: the caller promises the range.
            unsafe { core::ptr::write_bytes(dest, value, length_bytes) }
        });
    }
}
