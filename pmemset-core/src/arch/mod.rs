//! The processor: which instruction writes back a cache line, how stores are fenced and streamed.
#![allow(unsafe_code, reason = "cache instructions and streaming stores have no safe form")]

use crate::Extent;

/// How a copy stores its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StoreKind {
    /// Ordinary stores: the bytes are in the cache afterwards.
    Cached,
    /// Stores around the cache where the processor has them: durable after a fence. Edges that cannot be streamed are
    /// stored through the cache and written back.
    Streaming,
}

/// How this processor writes back cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cpu {
    line_bytes: usize,
}

impl Cpu {
    /// A processor that cannot write back cache lines: page granularity only.
    pub const NONE: Self = Self { line_bytes: 64 };

    /// Returns whether stores can be made durable without the source's help.
    #[must_use]
    pub const fn can_write_back(&self) -> bool {
        false
    }

    /// Returns the size of a cache line in bytes, a power of two.
    #[must_use]
    pub const fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// Writes back every line that `range` touches.
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    pub unsafe fn write_back(&self, range: Extent) {
        let _ = range;
    }

    /// Orders what was written back or streamed before anything later.
    pub fn fence(&self) {}
}

/// Copies bytes; see [`Platform::copy`](crate::Platform::copy).
///
/// # Safety
///
/// As for [`Platform::copy`](crate::Platform::copy).
pub unsafe fn copy(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
    let _ = (cpu, kind);
    // SAFETY: the caller promises both ranges.
    unsafe { core::ptr::copy(source, dest, length_bytes) }
}

/// Fills bytes; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`Platform::fill`](crate::Platform::fill).
pub unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    let _ = (cpu, kind);
    // SAFETY: the caller promises the range.
    unsafe { core::ptr::write_bytes(dest, value, length_bytes) }
}
