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
#![cfg_attr(not(feature = "_internal"), allow(dead_code, unreachable_pub, reason = "`pmemset-devdax` uses the rest"))]
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests cut numbers to make patterns"))]
//! pmemset on Linux without libc: the address space of the process, files as sources, and the nd bus in sysfs.
//!
//! All names of `pmemset-core` are here as well, so that a program needs this one dependency.
//!
//! ```no_run
//! use pmemset_linux::{Config, FileSource, Granularity, Linux, MapConfig, OpenOptions, Set};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = FileSource::open("records.bin", OpenOptions::new().create_if_needed())?;
//! let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 16);
//! let part = set.map(&file, &MapConfig::new().length(64 << 10))?;
//! part.write(0, b"remember me")?;
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
//! | `vm-memory` | no | `GuestPart`, a part as memory of a virtual machine for the crate `vm-memory`; needs libc |
//!
//! Without `std`, paths are `&str`, `&CStr` or bytes, and nothing is linked but `core`.

#[cfg(test)]
extern crate std;

mod address_space;
mod auxv;
mod errno;
mod errors;
mod fd;
mod file;
#[cfg(feature = "vm-memory")]
mod guest_part;
#[cfg(feature = "_internal")]
#[doc(hidden)]
pub mod internal;
mod lost;
pub mod nd;
mod record_file;
#[cfg(target_arch = "x86_64")]
mod return_buffer;
mod striped_lock;

/// Other processors predict returns as they always do.
#[cfg(not(target_arch = "x86_64"))]
mod return_buffer {
    pub(crate) const fn fill() {}
}

pub use address_space::{Linux, Process};
pub use fd::Fd;
pub use file::{Backing, FileFacts, FileSource, FileSystem, GranularityReason, OpenError, OpenOptions};
#[cfg(feature = "vm-memory")]
pub use guest_part::GuestPart;
pub use record_file::{RecordError, RecordFile};
pub use striped_lock::StripedRwLock;
// A program needs one dependency: the core, and the packages whose types are in signatures.
#[doc(no_inline)]
pub use pmemset_core::*;
pub use {lock_api, rustix};
