//! What a platform's lock is, and two for platforms without threads that sleep: one spins, one masks interrupts.
#![allow(unsafe_code, reason = "the lock traits are unsafe")]

#[cfg(any(feature = "spin-lock", feature = "critical-section"))]
mod holders;
#[cfg(feature = "critical-section")]
mod masked;
mod raw;
#[cfg(feature = "spin-lock")]
mod spinning;
#[cfg(all(test, feature = "spin-lock", feature = "critical-section"))]
mod tests;

#[cfg(feature = "critical-section")]
pub use masked::CriticalSectionRwLock;
pub(crate) use raw::CallLock;
pub use raw::RawLock;
#[cfg(feature = "spin-lock")]
pub use spinning::SpinRwLock;
