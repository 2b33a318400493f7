//! The machine: its memory, its sources, and its steps.

use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::RwLock;

use super::caller::caller;
use super::cut::{Cut, SourceCut};
use super::fault::{Call, Fault, Script};
use super::hardware::Hardware;
use super::medium::SourceState;
use super::oracle::Oracle;
use super::random::Random;
use super::report::Hint;
use super::space::{Memory, Page, Space};
use super::tape::{Act, Tape};
use super::threads;
use crate::lock::SpinRwLock;
use crate::{Errno, Extent};

/// Every instruction of this lock is compiled with its user, so that `ThreadSanitizer` sees it.
pub(super) type Guard<'m> = lock_api::RwLockWriteGuard<'m, SpinRwLock, State>;

/// A simulated machine; clones are the same machine.
///
/// ```
#[doc = include_str!("example.md")]
/// part.write(0, b"abc")?;
/// assert_eq!(machine.source(0).bytes(0, 3), b"abc");
/// assert!(machine.steps() > 0);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) inner: Arc<Inner>,
}

/// The address space of one [`Machine`]; no two machines have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimSpace(usize);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) hardware: Hardware,
    pub(super) memory: Memory,
    state: RwLock<SpinRwLock, State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) space: Space,
    pub(super) sources: Vec<SourceState>,
    pub(super) script: Script,
    pub(super) steps: usize,
    pub(super) acknowledged: u64,
    pub(super) kept: Vec<u8>,
    /// What every step could leave behind, while somebody explores.
    pub(super) cuts: Option<Vec<Cut>>,
    /// What decides what a power cut has left when it is read, while somebody explores.
    pub(super) oracle: Option<Oracle>,
    /// What is written down of one of several hosts, while somebody explores those.
    pub(super) tape: Option<Tape>,
    /// What was done for nothing since the last [`Machine::settle`].
    pub(super) hints: Vec<Hint>,
    /// The seed of the interleaving of threads.
    pub(super) schedule: u64,
}

impl State {
    /// Counts a step, and notes what a power cut could leave now.
    pub(super) fn cut(&mut self, call: Call) {
        if self.cuts.is_some() {
            let cut = Cut {
                step: self.steps,
                call,
                origin: caller(call),
                acknowledged: self.acknowledged,
                kept: self.kept.clone(),
                reads: self.oracle.as_ref().map_or(0, Oracle::reads),
                sources: self.sources.iter().map(SourceCut::of).collect(),
            };
            self.cuts.iter_mut().for_each(|cuts| cuts.push(cut.clone()));
        }
        self.steps += 1;
    }

    /// Returns the sources that are mapped in `range`, and which bytes of them are.
    pub(super) fn mapped(&self, range: Extent) -> Vec<(usize, core::ops::Range<usize>)> {
        let mut all = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            for (window, offset) in &source.mappings {
                if let Some(piece) = window.intersect(range) {
                    let start = offset + (piece.start() - window.start());
                    all.push((index, start..start + piece.length_bytes()));
                }
            }
        }
        all
    }
}

impl Machine {
    /// Starts a machine without sources.
    #[must_use]
    pub fn new(hardware: Hardware) -> Self {
        let length_bytes = hardware.address_space_bytes.next_multiple_of(hardware.page_bytes);
        let memory = Memory::new(length_bytes);
        let state = State {
            space: Space::new(memory.extent(), hardware.page_bytes),
            sources: Vec::new(),
            script: Script::default(),
            steps: 0,
            acknowledged: 0,
            kept: Vec::new(),
            cuts: None,
            oracle: None,
            tape: None,
            hints: Vec::new(),
            schedule: 0,
        };
        Self { inner: Arc::new(Inner { hardware, memory, state: RwLock::new(state) }) }
    }

    /// Returns the machine's address space; machines that live at the same time have different ones.
    #[must_use]
    pub fn space(&self) -> SimSpace {
        SimSpace(Arc::as_ptr(&self.inner).addr())
    }

    /// Returns all of the address space.
    #[must_use]
    pub fn address_space(&self) -> Extent {
        self.inner.memory.extent()
    }

    /// Returns the pages that are not free, as runs in address order, and what is there.
    #[must_use]
    pub fn pages(&self) -> Vec<(Extent, Page)> {
        self.lock().space.runs()
    }

    /// Marks `window`, which must be free, as used by other memory of the program.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::error::MapError;
    ///
    /// let behind = Extent::new(part.extent().end(), 4096).ok_or("the last page")?;
    /// machine.occupy(behind); // another mapping of the program, say
    /// let next = MapConfig::new().length(4096).after(part.extent().start());
    /// # let source = machine.add_source(Medium::new(4096));
    /// assert!(matches!(set.map(source, &next), Err(MapError::CannotCoalesce { .. })));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn occupy(&self, window: Extent) {
        let mut state = self.lock();
        assert!(state.space.all(window, Page::Free), "{window} is not free");
        state.space.set(window, Page::Occupied);
    }

    /// Frees `window` again, after [`occupy`](Self::occupy).
    pub fn vacate(&self, window: Extent) {
        let mut state = self.lock();
        assert!(state.space.all(window, Page::Occupied), "{window} is not all occupied");
        state.space.set(window, Page::Free);
    }

    /// Makes calls fail as `fault` says, from the next call on.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::error::MapError;
    ///
    /// machine.fail(Fault::nth(0).only(Call::Map));
    /// set.remove(part)?;
    /// assert!(matches!(set.map(source, &MapConfig::new()), Err(MapError::Map { .. })));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn fail(&self, fault: Fault) {
        self.lock().script.add(fault);
    }

    /// Cancels all faults that have not happened yet.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.fail(Fault::nth(0).for_good());
    /// machine.repair();
    /// set.remove(part)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn repair(&self) {
        self.lock().script.clear();
    }

    /// Returns the number of calls so far that could have failed.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let before = machine.calls();
    /// part.deep_flush(0, 64)?;
    /// assert_eq!(machine.calls() - before, 1); // so many faults are worth trying
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().script.calls
    }

    /// Returns the number of calls so far that a [`Fault`] made fail.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.fail(Fault::nth(0).only(Call::DeepFlush));
    /// assert!(part.deep_flush(0, 64).is_err());
    /// assert_eq!((machine.failed_calls(), machine.last_failed_call()), (1, Some(Call::DeepFlush)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn failed_calls(&self) -> u64 {
        self.lock().script.failed
    }

    /// Returns the call that a [`Fault`] made fail last.
    #[must_use]
    pub fn last_failed_call(&self) -> Option<Call> {
        self.lock().script.last_failed
    }

    /// Returns the number of steps so far: calls that do something.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let before = machine.steps();
    /// part.write(0, &[7; 64])?;
    /// assert_eq!(machine.steps() - before, 2); // a copy, and a fence
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn steps(&self) -> usize {
        self.lock().steps
    }

    /// Makes everything stored so far durable, and starts the exploration here.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// part.write_with(0, b"abc", CopyFlags::NOFLUSH)?;
    /// assert_eq!(source.unsure_lines(), [0]);
    /// machine.settle();
    /// assert!(source.unsure_lines().is_empty());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn settle(&self) {
        let mut state = self.lock();
        self.observe(&mut state);
        for source in &mut state.sources {
            source.image.settle();
        }
        if let Some(cuts) = &mut state.cuts {
            cuts.clear();
        }
        state.hints.clear();
    }

    /// Records what the work has promised its user so far. The check after a cut reads it with
    /// [`acknowledged`](Self::acknowledged).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// part.write(0, b"abc")?;
    /// machine.acknowledge(1); // the first record is promised
    /// assert_eq!(machine.acknowledged(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn acknowledge(&self, value: u64) {
        let mut state = self.lock();
        state.acknowledged = value;
        if let Some(tape) = &mut state.tape {
            tape.note(Act::Acknowledge(value));
        }
    }

    /// Returns the last value given to [`acknowledge`](Self::acknowledge), by now or before the cut; 0 if there was
    /// none.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// Stores `bytes` in a small file outside of all sources, as if by writing, synchronising and renaming it: after a
    /// cut the file is the old one or the new one.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.keep(b"a shutdown record");
    /// assert_eq!(machine.kept(), b"a shutdown record");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn keep(&self, bytes: &[u8]) {
        if let Ok(mut state) = self.step(Call::Keep) {
            state.kept = bytes.to_vec();
        }
    }

    /// Returns the bytes of the last [`keep`](Self::keep); empty if there was none.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        self.lock().kept.clone()
    }

    /// Runs threads until all have ended, one at a time. At every step the seed of the exploration decides which thread
    /// runs next, so that the power can be cut between steps of different threads. The same seed gives the same order.
    ///
    /// Threads may wait for each other only with the lock of the simulated platform, [`SimLock`](super::SimLock).
    ///
    /// # Panics
    ///
    /// If one of the threads does.
    pub fn threads<const N: usize>(&self, threads: [&(dyn Fn() + Sync); N]) {
        let mut random = Random::new(self.lock().schedule);
        self.lock().schedule = random.word();
        threads::run(random, threads);
    }

    pub(super) fn lock(&self) -> Guard<'_> {
        self.inner.state.write()
    }

    /// Takes one step: notes what has been stored before it, and fails where the script says so.
    pub(super) fn step(&self, call: Call) -> Result<Guard<'_>, Errno> {
        threads::pass(false);
        let mut state = self.lock();
        self.observe(&mut state);
        state.cut(call);
        state.script.next(call)?;
        Ok(state)
    }

    pub(super) fn observe(&self, state: &mut State) {
        if !self.inner.hardware.tracking {
            return;
        }
        for source in &mut state.sources {
            for (window, offset) in source.mappings.clone() {
                let now = &source.image.now[offset..offset + window.length_bytes()];
                if !self.inner.memory.equals(window, now) {
                    source.image.observe(offset, &self.inner.memory.read(window), state.steps);
                }
            }
        }
    }
}
