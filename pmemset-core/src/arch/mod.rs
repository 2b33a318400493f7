//! The processor: which instruction writes back a cache line, which drops it, how stores are fenced and streamed.
#![allow(unsafe_code, reason = "cache instructions and streaming stores have no safe form")]

mod aarch64;
pub(crate) mod access;
mod cpu;
mod instructions;
mod load;
mod riscv64;
mod store;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod wide;
mod words;
mod x86_64;

pub(crate) use access::{prefetch, prefetch_all};
pub use cpu::{Cpu, Method, StoreKind};
#[cfg(test)]
pub(crate) use x86_64::CpuidFacts;
