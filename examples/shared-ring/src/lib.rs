#![cfg_attr(not(test), no_std)]
#![doc = include_str!("../README.md")]

mod consumer;
mod error;
mod layout;
mod mistake;
mod producer;
mod record;
#[cfg(test)]
mod tests;

pub use consumer::Consumer;
pub use error::Error;
pub use layout::{format, length_for};
pub use producer::Producer;
pub use record::{PAYLOAD_BYTES, Record};
