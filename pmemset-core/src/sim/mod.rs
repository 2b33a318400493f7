//! Simulated persistent memory: a machine whose power can be cut at any step, to find the flush or fence that is
//! missing.
//!
//! Emulated and real machines keep every store, so a test on them cannot see that a flush is missing. A [`Machine`]
//! keeps what the hardware guarantees and nothing else: [`Explore`] cuts its power at every step of some work and hands
//! every state that can be left to a check.
//!
//! # Model
//! - Every call of the platform or a source is a step; ordinary stores happen between steps. The power may go at any
//!   step and between any two stores.
//! - 8-byte units, aligned, never tear. Between two steps, the order of stores is not known: any subset of the units
//!   of a line may have been stored. Stores on two sides of a step reach *one line* in that order; of two lines nothing
//!   is known until a fence, because each may be evicted by itself at any time, or not. Stores around the cache
//!   reach their line in any order until a fence.
//! - Cache-line granularity: what a line was when it was written back (or, for streaming stores, what was stored) is
//!   sure after the next fence. Page granularity: only [`sync`](crate::Source::sync) makes sure. Byte granularity: the
//!   fence alone does.
//! - A `sync` that fails, and was not just interrupted, is the kernel's: what was dirty anywhere in the source may be
//!   lost, and its pages are taken for clean. The next one skips them and succeeds; a store makes its page dirty again.
//! - A source grows at once and durably.
//! - One processor: a fence makes sure of everything that was written back, no matter in which thread.
//! - The same bytes of a source can be mapped once only at any time.
//!
//! The simulator is stricter than hardware: it panics when its caller breaks a duty of the traits, where a real machine
//! would corrupt something, and when somebody has stored to addresses that no source is mapped at.
//!
//! # Example
//! A record and its mark, persisted together: the mark may arrive alone.
//! ```
//! use pmemset_core::sim::{Explore, Hardware, Machine, Medium};
//! use pmemset_core::{Extent, Platform, Source};
//!
//! let work = |machine: &Machine| {
//!     let (platform, source) = (machine.platform(), machine.add_source(Medium::new(4096)));
//!     machine.settle();
//!     let window = platform.reserve(4096, 4096).unwrap();
//!     // SAFETY: the window was reserved just now.
//!     unsafe { source.map(window, 0) }.unwrap();
//!     let record = core::ptr::with_exposed_provenance_mut::<u64>(window.start());
//!     // SAFETY: the page is mapped.
//!     unsafe { record.write(42) };
//!     // SAFETY: as above.
//!     unsafe { record.add(1).write(1) };
//!     // SAFETY: as above.
//!     unsafe { platform.write_back(Extent::new(window.start(), 16).unwrap()) };
//!     platform.fence();
//! };
//! let check = |machine: &Machine| match machine.source(0).words(0, 2)[..] {
//!     [42, 1] | [_, 0] => Ok(()),
//!     ref words => Err(format!("the mark is set, and the record is {words:?}")),
//! };
//! let failure = Explore::new(Hardware::new()).run(work, check).unwrap_err();
//! println!("{failure}"); // seed, step, lost lines, and the replay
//! assert!(Explore::new(Hardware::new()).replay(&failure.replay, work, check).is_err());
//! ```
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_core,
    reason = "a tool for tests, which panics where a machine would corrupt"
)]

/// Panics when the caller has broken a duty, unless a panic is already on its way: its destructors may call once more.
macro_rules! duty {
    ($holds:expr, $($message:tt)*) => {
        if !$holds && !std::thread::panicking() {
            panic!($($message)*);
        }
    };
}

mod cause;
mod cut;
mod eager;
mod explore;
mod fault;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod line;
mod medium;
mod open;
mod oracle;
mod platform;
pub(crate) mod random;
mod replay;
mod report;
mod source;
mod space;
mod threads;
mod walk;

use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::RwLock;

pub use self::eager::Eagerly;
pub use self::explore::Explore;
pub use self::fault::{Call, Fault};
pub use self::platform::SimPlatform;
use self::random::Random;
pub use self::replay::SimReplay;
pub use self::report::{Explored, Failure, Hint, Lost, LostUnit, Place, Progress, Unordered};
pub use self::source::{Medium, SimSource};
pub use self::space::Page;
use self::space::{Memory, Space};
pub use self::threads::SimLock;
use crate::lock::SpinRwLock;
use crate::{Errno, Extent};

/// Where something was called, if through a set or a part.
type Origin = Option<&'static core::panic::Location<'static>>;

std::thread_local! {
    static CALLER: core::cell::Cell<Origin> = const { core::cell::Cell::new(None) };
}

/// Remembers who stores or flushes next.
pub(crate) fn called_by(caller: &'static core::panic::Location<'static>) {
    CALLER.set(Some(caller));
}

/// Returns who makes `call`.
fn caller(call: Call) -> Origin {
    CALLER.get().filter(|_| call.is_made_by_a_part())
}

/// Every instruction of this lock is compiled with its user, so that `ThreadSanitizer` sees it.
type Guard<'m> = lock_api::RwLockWriteGuard<'m, SpinRwLock, State>;

/// What a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    pub(crate) page_bytes: usize,
    pub(crate) line_bytes: usize,
    pub(crate) address_space_bytes: usize,
    pub(crate) tracking: bool,
}

impl Hardware {
    /// Returns a machine with pages of 4096 bytes, lines of 64, and 16 MiB of address space.
    #[must_use]
    pub const fn new() -> Self {
        Self { page_bytes: 4096, line_bytes: 64, address_space_bytes: 16 << 20, tracking: true }
    }

    /// Has pages of `page_bytes` bytes, a power of two from 64 up; small ones make small worlds.
    ///
    /// ```
    /// use pmemset_core::sim::{Hardware, Machine};
    ///
    /// let small = Machine::new(Hardware::new().page_bytes(256).address_space_bytes(64 << 10));
    /// assert_eq!(small.address_space().length_bytes(), 64 << 10);
    /// ```
    #[must_use]
    pub const fn page_bytes(mut self, page_bytes: usize) -> Self {
        assert!(page_bytes.is_power_of_two() && page_bytes >= 64, "a page is a power of two and holds a line");
        self.page_bytes = page_bytes;
        self
    }

    /// Has an address space of `length_bytes` bytes, rounded up to pages; all of it costs memory once touched.
    #[must_use]
    pub const fn address_space_bytes(mut self, length_bytes: usize) -> Self {
        self.address_space_bytes = length_bytes;
        self
    }

    /// Does not look at what is stored: nothing can be explored, and threads may store while others call.
    #[must_use]
    pub const fn without_tracking(mut self) -> Self {
        self.tracking = false;
        self
    }
}

impl Default for Hardware {
    fn default() -> Self {
        Self::new()
    }
}

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
    inner: Arc<Inner>,
}

/// The address space of one [`Machine`]: that of two differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimSpace(usize);

#[derive(Debug)]
struct Inner {
    hardware: Hardware,
    memory: Memory,
    state: RwLock<SpinRwLock, State>,
}

#[derive(Debug)]
struct State {
    space: Space,
    sources: Vec<source::State>,
    script: fault::Script,
    steps: usize,
    acknowledged: u64,
    kept: Vec<u8>,
    /// What every step could leave behind, while somebody explores.
    cuts: Option<Vec<cut::Cut>>,
    /// What decides what a power cut has left when it is read, while somebody explores.
    oracle: Option<oracle::Oracle>,
    /// What was done for nothing since the last [`Machine::settle`].
    hints: Vec<Hint>,
    /// The seed of the interleaving of threads.
    schedule: u64,
}

impl State {
    /// Counts a step, and notes what a power cut could leave now.
    fn cut(&mut self, call: Call) {
        if self.cuts.is_some() {
            let cut = cut::Cut::new(call, self);
            self.cuts.iter_mut().for_each(|cuts| cuts.push(cut.clone()));
        }
        self.steps += 1;
    }

    /// Returns the sources that are mapped in `range`, and which bytes of them are.
    fn mapped(&self, range: Extent) -> Vec<(usize, core::ops::Range<usize>)> {
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
            script: fault::Script::default(),
            steps: 0,
            acknowledged: 0,
            kept: Vec::new(),
            cuts: None,
            oracle: None,
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

    /// Returns the machine's platform.
    #[must_use]
    pub fn platform(&self) -> SimPlatform {
        SimPlatform::new(self)
    }

    /// Adds a source, whose number is the number of sources before it.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(machine.add_source(Medium::new(4096)).index(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn add_source(&self, medium: Medium) -> SimSource {
        let mut state = self.lock();
        let index = state.sources.len();
        state.sources.push(source::State::new(medium, &self.inner.hardware));
        drop(state);
        SimSource::new(self, index)
    }

    /// Returns source number `index`.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert_eq!(machine.source(0), source);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn source(&self, index: usize) -> SimSource {
        assert!(index < self.lock().sources.len(), "there is no source {index}");
        SimSource::new(self, index)
    }

    /// Returns all of the address space.
    #[must_use]
    pub fn address_space(&self) -> Extent {
        self.inner.memory.extent()
    }

    /// Returns what is at every address that is not free: runs of pages in address order.
    #[must_use]
    pub fn pages(&self) -> Vec<(Extent, Page)> {
        self.lock().space.runs()
    }

    /// Puts somebody else's memory at `window`, which is free.
    pub fn occupy(&self, window: Extent) {
        let mut state = self.lock();
        assert!(state.space.all(window, Page::Free), "{window} is not free");
        state.space.set(window, Page::Occupied);
    }

    /// Takes somebody else's memory away again.
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

    /// Forgets all faults that are still to come.
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
    #[must_use]
    pub fn steps(&self) -> usize {
        self.lock().steps
    }

    /// Makes everything stored so far durable, and forgets the cuts before: where exploration begins.
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

    /// Notes what the work has promised its user by now; the check after a cut sees it in
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
        self.lock().acknowledged = value;
    }

    /// Returns the last value given to [`acknowledge`](Self::acknowledge), by now or before the cut; 0 if there was
    /// none.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// Keeps `bytes` in a small file outside of all sources, as writing, synchronising and renaming it does: after a
    /// cut it is the old one or this one.
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

    /// Returns what was kept last; empty if nothing was.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        self.lock().kept.clone()
    }

    fn lock(&self) -> Guard<'_> {
        self.inner.state.write()
    }

    /// Takes one step: notes what has been stored before it, and fails where the script says so.
    fn step(&self, call: Call) -> Result<Guard<'_>, Errno> {
        threads::pass(false);
        let mut state = self.lock();
        self.observe(&mut state);
        state.cut(call);
        state.script.next(call)?;
        Ok(state)
    }

    fn observe(&self, state: &mut State) {
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
