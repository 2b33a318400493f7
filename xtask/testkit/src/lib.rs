//! What tests of several packages share: nothing of it is published.

#[cfg(feature = "core")]
pub mod campaign;
pub mod examples;
#[cfg(feature = "fuzzers")]
pub mod fuzzers;
pub mod house;
#[cfg(feature = "machines")]
pub mod machines;
pub mod nfit;
pub mod readme;
pub mod sysfs;
#[cfg(feature = "core")]
pub mod world;
