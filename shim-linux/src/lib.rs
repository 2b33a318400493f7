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
#![cfg_attr(not(feature = "_internal"), allow(dead_code, unreachable_pub, reason = "`pmemset-devdax` uses the rest"))]
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests cut numbers to make patterns"))]
#![doc = include_str!("../README.md")]
//! # Where to go from here
//!
//! - [`FileSource`] and [`OpenOptions`]: files. [`Linux`]: the address space of the process. [`RecordFile`]: shutdown
//!   records. [`LinuxSet`]: the pages and the node that a set is mapped on. [`nd`]: persistent memory in sysfs.
//! - [`doctor`]: what a set gets on this machine, why not more, and which command improves it.
//! - [`pmemset_core`]: sets, parts, configurations, and the guides to crash tests (`sim::guide`) and to ports
//!   ([`porting`]).
//! - [`from_memmap2`], [`from_libpmemset`]: how to change an existing program.

#[cfg(any(test, feature = "std"))]
extern crate std;

mod address_space;
mod auxv;
#[cfg(feature = "std")]
pub mod doctor;
mod errno;
mod errors;
mod facts;
mod fd;
mod file;
#[doc = include_str!("from_memmap2.md")]
pub mod from_memmap2 {}
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
pub use facts::{BindError, FactError, Facts, Hindrance, LinuxSet, Memory, Node, Pages, PopulateError, SegmentFacts};
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
