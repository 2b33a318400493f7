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
//! The books of a set of persistent-memory parts: no allocator, no operating system, no panics.

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

pub mod arch;
pub mod config;
pub mod error;
pub mod event;
mod extent;
mod granularity;
pub mod platform;
pub mod reservation;
mod set;
#[cfg(feature = "sim")]
pub mod sim;
#[allow(dead_code, reason = "the reservation and the set are about to use it")]
mod table;

pub use config::{Coalescing, Config, MapConfig};
pub use error::Errno;
pub use event::{Answer, Event, Observer};
pub use extent::{Extent, Span};
pub use granularity::Granularity;
pub use platform::{DeepFlush, Growth, Platform, Source};
pub use set::Set;
