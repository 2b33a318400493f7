//! Copying and filling memory that takes no store narrower than a word: ferroelectric or magnetic memory, memory with
//! ECC.
//!
//! A word is as wide as a register. What lies beside the range in its first and last word is read and stored again.

use super::access::{Unit, WORD_BYTES};
use super::cpu::{Cpu, StoreKind};
use crate::Extent;

/// Copies bytes in whole words; see [`Platform::copy`](crate::Platform::copy).
///
/// # Safety
///
/// As for [`Platform::copy`](crate::Platform::copy). The words that `dest` touches are readable and writable, and
/// nobody else stores to any of their bytes meanwhile, an interrupt handler included: it would be undone.
pub(super) unsafe fn copy(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
    let down = dest.addr().wrapping_sub(source.addr()) < length_bytes;
    // SAFETY: the caller promises the byte.
    let byte = |at| unsafe { u8::load(source.wrapping_add(at)) };
    // SAFETY: the caller promises the words.
    unsafe { store(cpu, dest, length_bytes, kind, down, byte) }
}

/// Fills bytes in whole words; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`copy`].
pub(super) unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    // SAFETY: the caller promises the words.
    unsafe { store(cpu, dest, length_bytes, kind, false, |_| value) }
}

/// Stores the words that a range touches, from the last to the first if `down`; `byte` is what the range gets.
///
/// # Safety
///
/// As for [`copy`].
unsafe fn store(
    cpu: &Cpu,
    dest: *mut u8,
    length_bytes: usize,
    kind: StoreKind,
    down: bool,
    byte: impl Fn(usize) -> u8,
) {
    let Some(range) = Extent::new(dest.addr(), length_bytes) else { return };
    let before = range.start() % WORD_BYTES;
    let words = before.wrapping_add(length_bytes).div_ceil(WORD_BYTES);
    for done in 0..words {
        let index = if down { words.wrapping_sub(done).wrapping_sub(1) } else { done };
        let at = index.wrapping_mul(WORD_BYTES).wrapping_sub(before);
        let word = dest.wrapping_add(at).cast::<usize>();
        // SAFETY: the caller promises the word; `at` is such that it is aligned.
        let mut bytes = unsafe { usize::load(word) }.to_ne_bytes();
        for (offset, place) in bytes.iter_mut().enumerate() {
            let at = at.wrapping_add(offset);
            if at < length_bytes {
                *place = byte(at);
            }
        }
        // SAFETY: as above.
        unsafe { usize::store(word, usize::from_ne_bytes(bytes)) };
    }
    if kind == StoreKind::Streaming {
        // SAFETY: the caller promises the range.
        unsafe { cpu.write_back(range) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [StoreKind; 2] = [StoreKind::Cached, StoreKind::Streaming];

    fn pattern() -> std::vec::Vec<usize> {
        (0..64).map(|at: usize| at.wrapping_mul(usize::MAX / 251)).collect()
    }

    #[test]
    fn agree_with_a_byte_model() {
        for (to, from, length_bytes) in
            (0..17).flat_map(|to| (0..17).flat_map(move |from| (0..40).map(move |length| (64 + to, 56 + from, length))))
        {
            let (mut words, model) = (pattern(), pattern());
            let mut model: std::vec::Vec<u8> = model.into_iter().flat_map(usize::to_ne_bytes).collect();
            let base = words.as_mut_ptr().cast::<u8>();
            for kind in KINDS {
                model.copy_within(from..from + length_bytes, to);
                // SAFETY: both ranges lie in the vector.
                unsafe {
                    copy(&Cpu::NONE, base.wrapping_add(to), base.wrapping_add(from), length_bytes, kind);
                };
                model[from..from + length_bytes].fill(0x5a);
                // SAFETY: the range lies in the vector.
                unsafe { fill(&Cpu::NONE, base.wrapping_add(from), 0x5a, length_bytes, kind) };
            }
            let bytes: std::vec::Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            assert!(bytes == model, "{length_bytes} bytes from {from} to {to}");
        }
    }

    #[test]
    fn no_store_is_narrower_than_a_word() {
        let mut words = [0_usize; 3];
        let base = words.as_mut_ptr().cast::<u8>();
        let beside = base.wrapping_add(WORD_BYTES - 1);
        let poke = |at: usize| {
            // Beside the range, and after the word was read: only a store of the whole word undoes it.
            // SAFETY: a byte of the array.
            unsafe { beside.write_volatile(77) };
            at as u8 + 1
        };
        // SAFETY: the words are those of the array.
        unsafe { store(&Cpu::NONE, base, WORD_BYTES - 1, StoreKind::Cached, false, poke) };
        let bytes = words[0].to_ne_bytes();
        assert_eq!((bytes[0], bytes[WORD_BYTES - 2], bytes[WORD_BYTES - 1]), (1, WORD_BYTES as u8 - 1, 0));
    }
}
