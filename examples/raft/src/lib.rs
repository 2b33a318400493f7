#![forbid(unsafe_code)]
//! A replicated key-value store: openraft, whose log and snapshots are in persistent memory.

mod closing;
pub mod history;
pub mod journal;
mod log_store;
mod memory;
pub mod network;
pub mod node;
mod plain;
mod state;
mod types;
pub mod wire;

pub use log_store::LogStore;
pub use memory::{FileJournal, FileSnapshots, LogJournal, LogSnapshots};
pub use plain::PlainJournal;
pub use state::{StateStore, Values};
pub use types::{Types, Write};
