//! Ports that keep their duties, or break one each.

pub(crate) mod adapter;
pub(crate) mod board;
pub(crate) mod fabric;
pub(crate) mod liar;
pub(crate) mod simulated;
