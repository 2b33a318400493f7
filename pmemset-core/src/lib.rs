#![cfg_attr(not(any(test, feature = "sim")), no_std)]
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
//! The books of a set of persistent-memory parts: no allocator, no operating system, no panics.

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

pub mod arch;
pub mod badblock;
pub mod cell;
mod checked;
pub mod config;
#[cfg(feature = "contract")]
pub mod contract;
pub mod copy;
pub mod error;
pub mod event;
mod extent;
mod failed;
#[cfg(any(feature = "defmt", test))]
mod format;
mod forward;
mod granularity;
mod health;
#[cfg(any(feature = "spin", feature = "critical-section"))]
pub mod lock;
mod pins;
pub mod platform;
pub mod reservation;
pub mod set;
pub mod shutdown;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
mod table;

// By this name, so that a model of `pins.rs` can put others in their place.
use portable_atomic as atomic;

pub use badblock::{BadBlockPolicy, BadBlocks};
pub use cell::ShutdownCell;
pub use checked::Checked;
pub use config::{Coalescing, Config, MapConfig};
pub use copy::CopyFlags;
pub use error::Errno;
pub use event::{Answer, Event, Observer};
pub use extent::{Extent, Span};
pub use failed::FailedWriteBack;
pub use forward::WithLock;
pub use granularity::Granularity;
pub use health::Health;
pub use platform::Platform;
pub use reservation::{Reservation, ReservationError};
pub use set::{Mapped, Part, Set};
pub use shutdown::{PartState, PartStates, ShutdownRecord};
pub use source::{DeepFlush, Growth, Source};
