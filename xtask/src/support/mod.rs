//! What the verbs share.

pub(crate) mod controller;
pub(crate) mod counting;
pub(crate) mod downloads;
pub(crate) mod firmware;
pub(crate) mod packages;
pub(crate) mod processes;
pub(crate) mod programs;
pub(crate) mod progress;
pub(crate) mod qemu;
pub(crate) mod random;
pub(crate) mod readme;
pub(crate) mod stage;
pub(crate) mod tally;

pub(crate) mod toolchains;
pub(crate) mod vm;
