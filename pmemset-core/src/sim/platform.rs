//! The platform of a simulated machine.
#![allow(unsafe_code, reason = "an implementation of an unsafe trait")]

use alloc::vec::Vec;

use super::caller::{Origin, caller};
use super::fault::Call;
use super::machine::{Machine, SimSpace, State};
use super::report::Hint;
use super::space::Page;
use super::tape::{Act, At};
use super::threads::SimLock;
use crate::arch::{Cpu, StoreKind};
use crate::error::ReserveError;
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

    /// Stores through `store`, one step before and one after; `byte` says what.
    fn stored(
        &self,
        call: Call,
        dest: Option<Extent>,
        kind: StoreKind,
        byte: impl Fn(usize) -> u8,
        store: impl FnOnce(),
    ) {
        let Some(dest) = dest else { return };
        if let Ok(mut state) = self.machine.step(call) {
            for (index, bytes) in state.mapped(dest) {
                // A piece of what is stored, where several sources are mapped.
                let skipped = state.sources[index].address(bytes.start).map_or(0, |at| at - dest.start());
                // Bytes that are stored as they were make a page dirty, too.
                state.sources[index].image.dirty(bytes.clone());
                let streamed = kind == StoreKind::Streaming;
                self.machine.before_store(&mut state, index, bytes, |at| byte(skipped + at), streamed);
            }
        }
        store();
        if kind == StoreKind::Streaming {
            let mut state = self.machine.lock();
            self.machine.observe(&mut state);
            let step = state.steps;
            for (index, bytes) in state.mapped(dest) {
                state.sources[index].image.stream(bytes, step);
            }
        }
    }

    /// Notes that lines are on their way; returns whether that was of use.
    fn write_back_lines(&self, state: &mut State, range: Extent) -> bool {
        let pages = range.align_outward(self.page_size_bytes()).expect("a range in the address space");
        duty!(state.space.all(pages, Page::Mapped), "{range} is written back, and is not all mapped");
        let mut of_use = false;
        for (index, bytes) in state.mapped(range) {
            of_use |= state.sources[index].image.write_back(bytes);
        }
        of_use
    }

    /// Writes down what one of several hosts does to the lines that `range` touches.
    fn note(&self, state: &mut State, range: Extent, act: impl Fn(Vec<At>) -> Act) {
        let line_bytes = self.cpu.line_bytes();
        let lines = |(index, bytes): (usize, core::ops::Range<usize>)| {
            (bytes.start & !(line_bytes - 1)..bytes.end).step_by(line_bytes).map(move |line| (index, line))
        };
        let lines = state.mapped(range).into_iter().flat_map(lines).collect();
        if let Some(tape) = &mut state.tape {
            tape.note(act(lines));
        }
    }

    fn hint(state: &mut State, call: Call, hint: impl FnOnce(Origin) -> Hint) {
        if state.cuts.is_some() {
            state.hints.push(hint(caller(call)));
        }
    }
}

impl Machine {
    /// Returns the machine's platform.
    #[must_use]
    pub fn platform(&self) -> SimPlatform {
        SimPlatform::new(self)
    }
}

// SAFETY: `Space` hands out free pages only, and keeps them until they are released.
unsafe impl Platform for SimPlatform {
    type Lock = SimLock;
    type Space = SimSpace;

    fn space(&self) -> SimSpace {
        self.machine.space()
    }

    fn page_size_bytes(&self) -> usize {
        self.machine.inner.hardware.page_bytes
    }

    fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        Ok(self.machine.step(Call::Reserve)?.space.reserve(length_bytes, alignment_bytes)?)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        Ok(self.machine.step(Call::ReserveAt)?.space.reserve_at(window)?)
    }

    fn release_unmaps(&self) -> bool {
        true
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let mut state = self.machine.step(Call::Release)?;
        let State { sources, space, .. } = &mut *state;
        for mappings in sources.iter_mut().map(|source| &mut source.mappings) {
            for (gone, _) in mappings.extract_if(.., |(mapping, _)| window.covers(*mapping)) {
                self.machine.inner.memory.clear(gone);
                space.set(gone, Page::Reserved);
            }
        }
        duty!(
            state.space.all(window, Page::Reserved),
            "{window} is released, and is no reservation with whole mappings"
        );
        duty!(self.machine.inner.memory.is_clear(window), "somebody has stored to {window}, where nothing is mapped");
        state.space.set(window, Page::Free);
        Ok(())
    }

    unsafe fn write_back(&self, range: Extent) {
        if let Ok(mut state) = self.machine.step(Call::WriteBack) {
            self.note(&mut state, range, Act::WriteBack);
            if !self.write_back_lines(&mut state, range) {
                Self::hint(&mut state, Call::WriteBack, Hint::FlushedTwice);
            }
        }
    }

    fn fence(&self) {
        if let Ok(mut state) = self.machine.step(Call::Fence) {
            state.tape.iter_mut().for_each(|tape| tape.note(Act::Fence));
            if !state.sources.iter().any(|source| source.image.waits_for_fence()) {
                Self::hint(&mut state, Call::Fence, Hint::NothingToFence);
            }
            state.sources.iter_mut().for_each(|source| source.image.fence());
        }
    }

    unsafe fn write_back_invalidate(&self, range: Extent) {
        if let Ok(mut state) = self.machine.step(Call::WriteBackInvalidate) {
            self.note(&mut state, range, Act::Drop);
            self.write_back_lines(&mut state, range);
        }
    }

    fn full_fence(&self) {
        if let Ok(mut state) = self.machine.step(Call::FullFence) {
            state.tape.iter_mut().for_each(|tape| tape.note(Act::FullFence));
            state.sources.iter_mut().for_each(|source| source.image.fence());
        }
    }

    unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        if let Some(range) = Extent::new(source.addr(), length_bytes) {
            self.machine.look_at(&mut self.machine.lock(), range);
        }
        // SAFETY: the caller promises both ranges.
        unsafe { Cpu::NONE.read(dest, source, length_bytes) }
    }

    fn lend(&self, range: Extent) {
        let mut state = self.machine.lock();
        duty!(state.tape.is_none(), "{range} is lent, and shared: read it, since it may be another one each time");
        self.machine.look_at(&mut state, range);
    }

    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        if let Some(range) = Extent::new(source.addr(), length_bytes) {
            self.machine.look_at(&mut self.machine.lock(), range);
        }
        // SAFETY: the caller promises the source, and `at` is below its length.
        let byte = |at| unsafe { source.wrapping_add(at).read() };
        self.stored(Call::Copy, Extent::new(dest.addr(), length_bytes), kind, byte, || {
            // SAFETY: the caller promises both ranges.
            unsafe { Cpu::NONE.copy(dest, source, length_bytes, StoreKind::Cached) }
        });
    }

    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        self.stored(
            Call::Fill,
            Extent::new(dest.addr(), length_bytes),
            kind,
            |_| value,
            || {
                // SAFETY: the caller promises the range.
                unsafe { Cpu::NONE.fill(dest, value, length_bytes, StoreKind::Cached) }
            },
        );
    }
}
