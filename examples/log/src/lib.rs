#![cfg_attr(not(test), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), forbid(unsafe_code))]
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
//! - [`Log`]: what is promised, and what is not. [`Options`], [`Table`]: how a log is laid out, and its memory.
//! - [`Recovered`]: what opening has found. [`OpenError`], [`AppendError`], [`Stop`]: what may go wrong.

#[cfg(feature = "alloc")]
extern crate alloc;

mod append;
pub mod cell;
mod change;
mod error;
mod format;
mod head;
pub mod header;
mod log;
mod mistake;
mod options;
mod read;
mod recover;
mod recovered;
mod settle;
mod space;
mod table;
#[cfg(test)]
mod tests;
mod walk;

pub use append::LENGTH_MAX_BYTES;
pub use error::{AppendError, ChangeError, OpenError, ReadError, Stop};
pub use log::{Log, NOTE_BYTES, NOTES};
pub use options::{OnDamage, Options};
pub use read::Cursor;
#[cfg(feature = "alloc")]
pub use read::{Iter, Record};
pub use recovered::Recovered;
pub use table::{Entry, Table};
