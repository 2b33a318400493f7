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
//! ```no_run
//! use pmemset_core::{Config, Granularity, MapConfig, Set};
//! use pmemset_devdax::DaxSource;
//! use pmemset_linux::Linux;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = DaxSource::open("/dev/dax0.0")?;
//! let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 16);
//! let mapped = set.map(&device, &MapConfig::new())?.extent();
//! println!("{} is at {}", device.facts().length_bytes()?, mapped);
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
extern crate std;

mod any;
mod clear;
mod device;
mod error;
mod mcsafe;
mod source;

pub use any::{AnyError, AnySource};
pub use device::{DaxDevice, Durability, Mode};
pub use error::DaxError;
pub use pmemset_linux::nd::Doubt;
pub use source::DaxSource;

#[cfg(test)]
mod tests;
