//! Copies and fills against a byte model, and what of them is written back.

use core::cell::RefCell;

use super::*;
use crate::arch::access::notes::stores;

std::thread_local! {
    /// What this thread has written back to store it, while somebody wants to know.
    static WRITTEN_BACK: RefCell<Option<std::vec::Vec<Extent>>> = const { RefCell::new(None) };
}

pub(super) fn note_written_back(range: Extent) {
    WRITTEN_BACK.with_borrow_mut(|ranges| ranges.iter_mut().for_each(|ranges| ranges.push(range)));
}

/// This processor's ways of storing: streamed in wide registers, in integer registers, and not at all.
fn here() -> std::vec::Vec<Cpu> {
    #[cfg(target_arch = "x86_64")]
    return std::vec![
        Cpu { streams_from_bytes: 0, ..Cpu::detect() },
        Cpu { streams_from_bytes: 256, ..Cpu::detect() },
        Cpu { wide: false, streams_from_bytes: 0, ..Cpu::detect() },
        Cpu::NONE
    ];
    #[cfg(not(target_arch = "x86_64"))]
    std::vec![Cpu::NONE]
}

fn pattern(length_bytes: usize) -> std::vec::Vec<u8> {
    (0..length_bytes).map(|at| (at * 7 + at / 256) as u8).collect()
}

fn agree(cpu: &Cpu, kind: StoreKind, to: usize, from: usize, length_bytes: usize) {
    let size = to.max(from) + length_bytes + 64;
    let (mut bytes, mut model) = (pattern(size), pattern(size));
    model.copy_within(from..from + length_bytes, to);
    let base = bytes.as_mut_ptr();
    // SAFETY: both ranges lie in the vector.
    unsafe { copy(cpu, base.wrapping_add(to), base.wrapping_add(from), length_bytes, kind) };
    cpu.fence();
    assert!(bytes == model, "{kind:?} {length_bytes} bytes from {from} to {to}, {cpu:?}");
}

#[test]
fn copies_agree_with_a_byte_model() {
    for (cpu, kind) in here().iter().flat_map(|cpu| [(cpu, StoreKind::Cached), (cpu, StoreKind::Streaming)]) {
        for length_bytes in (0..160).step_by(1).chain([255, 256, 257, 320, 1000]) {
            for (to, from) in (0..9).flat_map(|to| (0..9).map(move |from| (to * 9, from * 9))) {
                agree(cpu, kind, to, from, length_bytes);
            }
        }
    }
}

#[test]
fn fills_agree_with_a_byte_model() {
    for (cpu, kind) in here().iter().flat_map(|cpu| [(cpu, StoreKind::Cached), (cpu, StoreKind::Streaming)]) {
        for (to, length_bytes) in (0..20).flat_map(|to| (0..330).step_by(3).map(move |length| (to * 7, length))) {
            let mut bytes = pattern(512);
            let mut model = bytes.clone();
            model[to..to + length_bytes].fill(0xa5);
            // SAFETY: the range lies in the vector.
            unsafe { fill(cpu, bytes.as_mut_ptr().wrapping_add(to), 0xa5, length_bytes, kind) };
            cpu.fence();
            assert!(bytes == model, "{kind:?} {length_bytes} bytes to {to}, {cpu:?}");
        }
    }
}

/// Returns what has to be written back of `length_bytes` bytes at `dest` that are streamed: pieces of a block, or all
/// bytes where they are too few to stream.
#[cfg(target_arch = "x86_64")]
fn not_streamed(dest: usize, length_bytes: usize, cpu: &Cpu) -> std::vec::Vec<Extent> {
    let Some(all) = Extent::new(dest, length_bytes) else { return std::vec::Vec::new() };
    if length_bytes < if all.is_aligned(BLOCK_BYTES) { cpu.streams_from_bytes } else { LONG_BYTES } {
        return std::vec![all];
    }
    let blocks = (dest / BLOCK_BYTES..=(dest + length_bytes) / BLOCK_BYTES).map(|block| block * BLOCK_BYTES);
    let pieces = blocks.filter_map(|block| Extent::new(block, BLOCK_BYTES)?.intersect(all));
    pieces.filter(|piece| !piece.is_aligned(BLOCK_BYTES)).collect()
}

#[test]
fn whole_words_are_stored_whole_and_each_byte_once() {
    for (cpu, kind) in here().iter().flat_map(|cpu| [(cpu, StoreKind::Cached), (cpu, StoreKind::Streaming)]) {
        let lengths = || (0..24).chain(60..72).chain([129, 255, 256, 257, 300]);
        for (offset, length_bytes) in (0..16).chain(57..66).flat_map(|offset| lengths().map(move |n| (offset, n))) {
            let mut bytes = pattern(1024);
            let start = bytes.as_mut_ptr();
            let dest = start.wrapping_add(start.align_offset(BLOCK_BYTES) + 64 + offset);
            // From above, from below, and a fill.
            for source in [Some(3), Some(5_usize.wrapping_neg()), None] {
                let stored = stores(|| match source {
                    // SAFETY: both ranges lie in the vector.
                    Some(at) => unsafe { copy(cpu, dest, dest.wrapping_add(at), length_bytes, kind) },
                    // SAFETY: the range lies in the vector.
                    None => unsafe { fill(cpu, dest, 1, length_bytes, kind) },
                });
                let what =
                    || std::format!("{kind:?} {length_bytes} bytes {offset} into a block, from {source:?}, {cpu:?}");
                let whole = |&(at, length): &(usize, usize)| length.is_power_of_two() && at % length == 0;
                assert!(stored.iter().all(whole), "{}: {stored:?}", what());
                let mut all: std::vec::Vec<usize> = stored.iter().flat_map(|(at, length)| *at..at + length).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(dest.addr()..dest.addr() + length_bytes), "{}: {stored:?}", what());
                // A word that lies in the range is in one store: its bytes are as many as stores of less than a word
                // have not.
                let short: usize = stored.iter().map(|(_, length)| length).filter(|length| **length < WORD_BYTES).sum();
                let (first, end) = (dest.addr(), dest.addr() + length_bytes);
                let words = (end / WORD_BYTES * WORD_BYTES).saturating_sub(first.next_multiple_of(WORD_BYTES));
                assert_eq!(short, length_bytes - words, "{}: {stored:?}", what());
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_cannot_be_streamed_is_written_back_once() {
    for cpu in here().iter().filter(|cpu| cpu.can_write_back()) {
        let lengths = || (0..150).chain(250..330);
        for (offset, length_bytes) in (0..70).flat_map(|offset| lengths().map(move |length| (offset, length))) {
            let mut bytes = pattern(2048);
            let start = bytes.as_mut_ptr();
            let dest = start.wrapping_add(start.align_offset(BLOCK_BYTES) + 128 + offset);
            // Apart, overlapping in either direction, and a fill.
            for source in [Some(512), Some(5), Some(128_usize.wrapping_neg()), None] {
                WRITTEN_BACK.set(Some(std::vec::Vec::new()));
                match source {
                    // SAFETY: both ranges lie in the vector.
                    Some(at) => unsafe { copy(cpu, dest, dest.wrapping_add(at), length_bytes, StoreKind::Streaming) },
                    // SAFETY: the range lies in the vector.
                    None => unsafe { fill(cpu, dest, 1, length_bytes, StoreKind::Streaming) },
                }
                let mut written_back = WRITTEN_BACK.take().unwrap_or_default();
                written_back.sort();
                let expected = not_streamed(dest.addr(), length_bytes, cpu);
                assert_eq!(
                    written_back, expected,
                    "{length_bytes} bytes {offset} into a block, from {source:?}, {cpu:?}"
                );
            }
        }
    }
}
