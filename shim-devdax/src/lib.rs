#![no_std]
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
#![doc = include_str!("../README.md")]
//! # Where to go from here
//!
//! - [`DaxSource`], [`DaxOptions`], [`DaxDevice`]: devices. [`AnySource`]: a file or a device, as it turns out.
//!   [`doctor`]: what a set gets on this machine, why not more, and which command improves it.
//! - [`pmemset_linux`]: files. [`pmemset_core`]: sets, parts, configurations, crash tests and ports.

#[cfg(any(test, feature = "std"))]
extern crate std;

mod any;
mod clear;
mod dax_error;
mod device;
#[cfg(feature = "std")]
pub mod doctor;
mod mcsafe;
mod open;
mod source;

pub use any::{AnyError, AnySource};
pub use dax_error::DaxError;
pub use device::{DaxDevice, Durability, Mode};
pub use open::DaxOptions;
pub use source::DaxSource;
// A program needs one dependency: files and the core, too.
#[doc(no_inline)]
pub use pmemset_linux::*;

#[cfg(test)]
mod tests;
