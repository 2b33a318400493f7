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
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "tests cut numbers to make patterns"))]
//! pmemset on Linux without libc: the address space of the process, files as sources, and the nd bus in sysfs.

#[cfg(test)]
extern crate self as pmemset_linux;
#[cfg(test)]
extern crate std;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod tree;

mod address_space;
mod auxv;
mod badlist;
pub mod dm;
mod extents;
mod fd;
mod file;
#[cfg(feature = "_fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod grow;
pub mod ioctl;
mod limit;
mod lock;
mod lost;
mod media;
pub mod nd;
mod open;
mod place;
mod probe;
mod record;
mod return_buffer;
mod sysfs;
pub mod text;

pub use address_space::{Linux, Mapper, Process, put_placeholder};
pub use fd::Fd;
pub use file::{Backing, FileFacts, FileSource};
pub use lock::StripedRwLock;
pub use open::{FileSystem, OpenError, OpenOptions, open_any};
pub use probe::GranularityReason;
pub use record::{RecordError, RecordFile};
