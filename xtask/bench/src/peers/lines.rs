//! Flushing by hand.

use pmemset_core::Platform;
use pmemset_linux::Linux;

/// Writes back the lines of a range: what a program would write by hand.
///
/// # Safety
///
/// The range is mapped, and the processor has the instruction ([`has_clwb`]).
#[inline(always)]
pub(crate) unsafe fn write_back(start: *const u8, length_bytes: usize) {
    let end = start.wrapping_add(length_bytes);
    let mut line = start.map_addr(|address| address & !63);
    while line < end {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller promises the line.
        unsafe {
            core::arch::asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags))
        };
        line = line.wrapping_add(64);
    }
}

/// Waits until that has happened.
#[inline(always)]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: orders stores and does nothing else.
    unsafe {
        core::arch::asm!("sfence", options(nostack, preserves_flags))
    };
}

/// Drops the lines of a range, with a fence before and after: what a program would write by hand.
///
/// # Safety
///
/// The range is mapped, and the processor has CLFLUSHOPT.
#[inline(always)]
pub(crate) unsafe fn refresh(start: *const u8, length_bytes: usize) {
    let fence = || {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: orders loads and stores and does nothing else.
        unsafe {
            core::arch::asm!("mfence", options(nostack, preserves_flags))
        };
    };
    fence();
    let end = start.wrapping_add(length_bytes);
    let mut line = start.map_addr(|address| address & !63);
    while line < end {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller promises the line.
        unsafe {
            core::arch::asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags))
        };
        line = line.wrapping_add(64);
    }
    fence();
}

/// Returns whether the loops can run here.
///
/// # Errors
///
/// What this processor has instead.
pub(crate) fn has_clwb(platform: &Linux) -> Result<(), String> {
    let method = platform.cpu().method();
    if method == pmemset_core::arch::Method::Clwb {
        Ok(())
    } else {
        Err(format!("this processor flushes with {method}"))
    }
}
