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

mod base;
mod caller;
mod cause;
mod cut;
mod eager;
mod explore;
mod fault;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod hardware;
mod hosts;
mod image;
mod line;
mod machine;
mod medium;
mod open;
mod oracle;
mod platform;
pub(crate) mod random;
mod reading;
mod replay;
mod report;
mod run;
mod source;
mod space;
mod tape;
mod threads;
mod walk;

pub(crate) use self::caller::called_by;
pub use self::eager::Eagerly;
pub use self::explore::Explore;
pub use self::fault::{Call, Fault};
pub use self::hardware::Hardware;
pub use self::hosts::{Host, Hosts, HostsExplored, HostsFailure};
pub use self::machine::{Machine, SimSpace};
pub use self::medium::Medium;
pub use self::platform::SimPlatform;
pub use self::replay::SimReplay;
pub use self::report::{Explored, Failure, Hint, Lost, LostUnit, Place, Progress, Unordered};
pub use self::source::SimSource;
pub use self::space::Page;
pub use self::threads::SimLock;
