#![no_std]
//! pmemset on Linux without libc.

pub mod nd;
mod sysfs;
pub mod text;
