#![cfg_attr(not(any(test, feature = "sim")), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]
#![cfg_attr(
    test,
    allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tests cut numbers to make patterns")
)]
#![doc = include_str!("../README.md")]
//! # Where to go from here
//!
//! - [`Set`], [`Part`], [`Config`] and [`MapConfig`]: every program uses these. [`Reservation`]: address space of your
//!   own. [`Checked`]: sources that are checked before they are mapped. [`error`]: why a call has failed.
//! - [`porting`]: another operating system, or none, in 100 lines. `contract`: the suite that a port must pass.
//! - `sim::guide`: crash tests for your own structure, beginning with one that fails.
//! - [`from_libpmemset`], [`from_raw_pointers`], `pmemset_linux::from_memmap2`: how to change an existing program.

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

pub mod arch;
pub mod code;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "embedded-io")]
mod cursor;
mod errno;
#[doc(alias("pmemset_errormsg", "pmemset_perror"))]
pub mod error;
mod extent;
#[cfg(feature = "embedded-storage")]
mod flash;
#[doc = include_str!("from_libpmemset.md")]
pub mod from_libpmemset {}
#[doc = include_str!("from_raw_pointers.md")]
pub mod from_raw_pointers {}
#[cfg(any(feature = "defmt", test))]
mod format;
mod granularity;
mod health;
pub mod lock;
mod platform;
#[doc = include_str!("porting.md")]
pub mod porting {}
mod reservation;
mod set;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
mod table;

// By this name, so that a model of `pins.rs` can put others in their place.
use portable_atomic as atomic;

#[cfg(feature = "embedded-io")]
pub use cursor::Cursor;
pub use errno::Errno;
pub use extent::{Extent, Span};
#[cfg(feature = "embedded-storage")]
pub use flash::Flash;
pub use granularity::{Granularity, GranularityLimit};
pub use health::{BadBlockPolicy, BadBlocks, FailedWriteBack, Health};
pub use health::{
    DeviceId, LiveRecord, LiveRecordRef, PartState, PartStates, Published, ShutdownRecord, ShutdownVerdict,
};
pub use platform::{Platform, WithLock};
pub use reservation::{Reservation, ReservationSlab};
pub use set::{Answer, Coalescing, Config, CopyFlags, Event, MapConfig, Observer};
pub use set::{Extents, Part, Parts, Refused, Segment, Segments, Set, SetRef, SharedPart, Slab};
pub use source::{Checked, DeepFlush, Growth, Shared, Sharing, Source};

/// Closures as observers.
pub mod observer {
    pub use crate::set::{FromFn, from_fn};
}

/// What the project's own crates share: no part of the interface, and subject to change at any time.
#[doc(hidden)]
pub mod support {
    pub use crate::__errors as errors;
    pub use crate::health::{Collector, check_bounds, in_extent};
    #[cfg(feature = "sim")]
    pub use crate::sim::random::Random;
}

/// Declares a set that is a static, with its memory: `static_set! { static NAME: Set<PLATFORM, SOURCE>[CAPACITY] =
/// (platform, config); }`. Attributes and a visibility may stand in front, as in a static. A third type parameter is
/// the observer.
///
/// The memory is in `.bss` if `None` of the source handle is zero bytes, as it is for a reference and an `Arc`.
///
/// ```
/// use pmemset_core::{Config, Granularity, static_set};
/// # use pmemset_core::lock::SpinRwLock;
/// # use pmemset_core::{Errno, Extent, Platform, arch::Cpu, error::ReserveError};
/// # struct Board;
/// # // SAFETY: gives no addresses away.
/// # unsafe impl Platform for Board {
/// #     type Lock = SpinRwLock;
/// #     type Space = ();
/// #     fn space(&self) {}
/// #     fn page_size_bytes(&self) -> usize { 512 }
/// #     fn cpu(&self) -> &Cpu { &Cpu::NONE }
/// #     fn reserve(&self, _: usize, _: usize) -> Result<Extent, ReserveError> { Err(ReserveError::CannotFit) }
/// #     fn reserve_at(&self, _: Extent) -> Result<(), ReserveError> { Err(ReserveError::CannotFit) }
/// #     unsafe fn release(&self, _: Extent) -> Result<(), Errno> { Ok(()) }
/// # }
/// # type Fram = dyn pmemset_core::Source<Space = ()>;
///
/// static_set! {
///     /// What the program and its interrupt handlers share.
///     pub static SET: Set<Board, &'static Fram>[8] = (Board, Config::new(Granularity::Byte));
/// }
/// assert_eq!(SET.capacity(), 8);
/// ```
#[macro_export]
macro_rules! static_set {
    ($(#[$meta:meta])* $visibility:vis static $name:ident: Set<$platform:ty, $source:ty $(, $observer:ty)? $(,)?>[
        $capacity:expr
    ] = ($($parts:expr),+ $(,)?);) => {
        $(#[$meta])*
        $visibility static $name: $crate::Set<'static, $platform, $source $(, $observer)?> = {
            static mut SLAB: $crate::Slab<$source, { $capacity }> = $crate::Slab::new();
            // SAFETY: nobody else can name it, and a static is initialised once.
            let slab = unsafe { &mut *(&raw mut SLAB) };
            $crate::Set::new($($parts,)+ slab)
        };
    };
}
