//! Reading parts: loads that never tear an aligned word of the part, wherever the bytes go.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
use super::access::{BLOCK_BYTES, LONG_BYTES};
use super::access::{Unit, WORD_BYTES};
use super::cpu::Cpu;

/// Reads bytes of a part; see [`Platform::read`](crate::Platform::read).
///
/// # Safety
///
/// As for [`Platform::read`](crate::Platform::read).
pub(super) unsafe fn read(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize) {
    let mut done = 0_usize;
    while done < length_bytes {
        let left = length_bytes.wrapping_sub(done);
        let (to, from) = (dest.wrapping_add(done), source.wrapping_add(done));
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        if left >= LONG_BYTES && cpu.wide_stores() && from.addr().is_multiple_of(BLOCK_BYTES) {
            let blocks_bytes = left & !BLOCK_BYTES.wrapping_sub(1);
            // SAFETY: the caller promises both ranges, and the processor has these registers.
            unsafe { super::wide::copy::<false>(to, from, blocks_bytes, false) };
            done = done.wrapping_add(blocks_bytes);
            continue;
        }
        if left >= WORD_BYTES && from.addr().is_multiple_of(WORD_BYTES) {
            // SAFETY: the caller promises the word, and it is aligned.
            let word = unsafe { usize::load(from.cast()) };
            // SAFETY: the caller promises the bytes, which are the program's own.
            unsafe { to.cast::<usize>().write_unaligned(word) };
            done = done.wrapping_add(WORD_BYTES);
        } else {
            // SAFETY: the caller promises the byte.
            let byte = unsafe { u8::load(from) };
            // SAFETY: the caller promises the byte, which is the program's own.
            unsafe { to.write(byte) };
            done = done.wrapping_add(1);
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    let _ = cpu;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::access::notes::loads;

    #[test]
    fn whole_words_come_whole_whatever_the_buffer() {
        #[cfg(target_arch = "x86_64")]
        let cpus = [Cpu::detect(), Cpu::NONE];
        #[cfg(not(target_arch = "x86_64"))]
        let cpus = [Cpu::NONE];
        let source: std::vec::Vec<usize> = (0..256).map(|at: usize| at.wrapping_mul(usize::MAX / 251)).collect();
        let bytes: std::vec::Vec<u8> = source.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let start = source.as_ptr().cast::<u8>();
        let lengths = || (0..40).chain([255, 256, 300, 513]);
        for (cpu, from, to) in cpus.iter().flat_map(|cpu| (0..70).flat_map(move |a| (0..9).map(move |b| (cpu, a, b)))) {
            for length_bytes in lengths() {
                let mut buffer = [0_u8; 600];
                let loaded = loads(|| {
                    let dest = buffer.as_mut_ptr().wrapping_add(to);
                    // SAFETY: both ranges lie in their arrays.
                    unsafe { read(cpu, dest, start.wrapping_add(from), length_bytes) };
                });
                assert!(
                    buffer[to..to + length_bytes] == bytes[from..from + length_bytes],
                    "{length_bytes} from {from}"
                );
                assert!(buffer[..to].iter().chain(&buffer[to + length_bytes..]).all(|byte| *byte == 0));
                let base = start.addr();
                let words = (base + from).next_multiple_of(WORD_BYTES)..(base + from + length_bytes);
                let whole = words.step_by(WORD_BYTES).filter(|word| word + WORD_BYTES <= base + from + length_bytes);
                for word in whole {
                    let touch = |(at, length): &&(usize, usize)| *at < word + WORD_BYTES && word < at + length;
                    let by: std::vec::Vec<_> = loaded.iter().filter(touch).collect();
                    assert!(by.len() == 1 && by[0].0 <= word && word + WORD_BYTES <= by[0].0 + by[0].1, "{by:?}");
                }
            }
        }
    }
}
