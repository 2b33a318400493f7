#![no_std]
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
//! Device DAX as a source of pmemset's parts: `/dev/daxR.N`, without libc.
//!
//! All names of `pmemset-linux` are here as well, and with them the core's, so that a program needs this one dependency.
//!
//! ```no_run
//! use pmemset_devdax::{Config, DaxOptions, DaxSource, Granularity, Linux, MapConfig, Set};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = DaxSource::open("/dev/dax0.0", DaxOptions::new())?;
//! let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 16);
//! let mapped = set.map(&device, &MapConfig::new())?.extent();
//! println!("{} is at {}", device.facts().length_bytes()?, mapped);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `std` | yes | `std`'s paths and descriptors where a path or a descriptor is taken; `alloc` |
//! | `alloc` | with `std` | sets on the heap, and sources behind `Arc` |

#[cfg(test)]
extern crate std;

mod any;
mod clear;
mod dax_error;
mod device;
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
