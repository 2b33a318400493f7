//! Blocks stored in AVX registers, for programs that use vector registers anyway.
//!
//! Not compiled for targets without vector registers; taken only where the processor has AVX and the operating system
//! says in XCR0 that it saves the registers. The upper halves are zero afterwards, as the rest of the program expects:
//! where they are not, instructions of SSE wait for them. Gains a tenth at 1 KiB and more from 4 KiB on. Neither
//! AVX-512 nor several blocks in one turn of the loop are used, because no machine showed a gain.

use core::arch::asm;
use core::arch::x86_64::{__m256i, _mm256_set1_epi8, _mm256_zeroupper};

use super::access::BLOCK_BYTES;

/// Copies whole blocks, each of which is read before it may be overwritten.
///
/// # Safety
///
/// AVX can be used; what must not tear, `dest` or `source`, is on a block's boundary; `length_bytes` is a multiple of
/// the block size; both ranges are accessible.
#[target_feature(enable = "avx")]
pub(super) unsafe fn copy<const STREAM: bool>(dest: *mut u8, source: *const u8, length_bytes: usize, down: bool) {
    if down {
        let mut left = length_bytes;
        while left > 0 {
            left = left.wrapping_sub(BLOCK_BYTES);
            // SAFETY: the caller promises the block.
            unsafe { copy_block::<STREAM>(dest.wrapping_add(left), source.wrapping_add(left)) };
        }
        return _mm256_zeroupper();
    }
    let end = dest.wrapping_add(length_bytes);
    let (mut dest, mut source) = (dest, source);
    while dest != end {
        // SAFETY: the caller promises the block.
        unsafe { copy_block::<STREAM>(dest, source) };
        (dest, source) = (dest.wrapping_add(BLOCK_BYTES), source.wrapping_add(BLOCK_BYTES));
    }
    _mm256_zeroupper();
}

/// # Safety
///
/// As for [`copy`], for one block.
#[inline]
#[target_feature(enable = "avx")]
unsafe fn copy_block<const STREAM: bool>(dest: *mut u8, source: *const u8) {
    #[cfg(test)]
    (0..BLOCK_BYTES).step_by(32).for_each(|at| super::access::notes::loaded(source.addr() + at, 32));
    #[cfg(test)]
    note_stored(dest);
    macro_rules! copy {
        ($store:literal) => {
            asm!(
                "vmovdqu {first}, [{source}]",
                "vmovdqu {second}, [{source} + 32]",
                concat!($store, " [{dest}], {first}"),
                concat!($store, " [{dest} + 32], {second}"),
                source = in(reg) source, dest = in(reg) dest, first = out(ymm_reg) _, second = out(ymm_reg) _,
                options(nostack, preserves_flags)
            )
        };
    }
    if STREAM {
        // SAFETY: the caller promises the block. The fence follows in the caller of `copy`.
        unsafe { copy!("vmovntdq") }
    } else {
        // SAFETY: the caller promises the block.
        unsafe { copy!("vmovdqu") }
    }
}

/// Fills whole blocks.
///
/// # Safety
///
/// As for [`copy`].
#[target_feature(enable = "avx")]
pub(super) unsafe fn fill<const STREAM: bool>(dest: *mut u8, value: u8, length_bytes: usize) {
    let value = _mm256_set1_epi8(value.cast_signed());
    let mut at = 0_usize;
    while at < length_bytes {
        // SAFETY: the caller promises the block.
        unsafe { fill_block::<STREAM>(dest.wrapping_add(at), value) };
        at = at.wrapping_add(BLOCK_BYTES);
    }
    _mm256_zeroupper();
}

/// # Safety
///
/// As for [`copy`], for one block.
#[inline]
#[target_feature(enable = "avx")]
unsafe fn fill_block<const STREAM: bool>(dest: *mut u8, value: __m256i) {
    #[cfg(test)]
    note_stored(dest);
    macro_rules! fill {
        ($store:literal) => {
            asm!(
                concat!($store, " [{dest}], {value}"),
                concat!($store, " [{dest} + 32], {value}"),
                dest = in(reg) dest, value = in(ymm_reg) value, options(nostack, preserves_flags)
            )
        };
    }
    if STREAM {
        // SAFETY: the caller promises the block. The fence follows in the caller of `fill`.
        unsafe { fill!("vmovntdq") }
    } else {
        // SAFETY: the caller promises the block.
        unsafe { fill!("vmovdqu") }
    }
}

#[cfg(test)]
fn note_stored(dest: *mut u8) {
    (0..BLOCK_BYTES).step_by(32).for_each(|at| super::access::notes::stored(dest.addr() + at, 32));
}
