#![cfg_attr(not(test), no_std)]
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
//! A write-ahead log in persistent memory: what [`Log::append`] has returned is found again, whatever was cut off.

#[cfg(feature = "alloc")]
extern crate alloc;

mod append;
pub mod cell;
mod change;
mod error;
mod format;
pub mod header;
mod log;
mod mistake;
mod options;
mod read;
mod recover;
mod space;
mod table;
#[cfg(test)]
mod tests;

pub use append::LENGTH_MAX_BYTES;
pub use error::{AppendError, ChangeError, OpenError, ReadError, Stop};
pub use log::{Log, NOTE_BYTES, NOTES};
pub use options::{OnDamage, Options};
pub use read::Cursor;
#[cfg(feature = "alloc")]
pub use read::{Iter, Record};
pub use recover::Recovered;
pub use table::{Entry, Table};
