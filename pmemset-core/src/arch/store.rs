//! Copying and filling with stores that never tear an aligned unit of 8 bytes (on 32-bit processors, a half of it), around
//! the cache or through it.
//!
//! Integer registers, so that it may run in an interrupt handler and where no vector state is saved; wider ones in
//! [`wide`](super::wide) only.
//!
//! A range is cut at the boundaries of blocks (cache lines), and each block is stored in one way only: a line that is
//! streamed in part and stored through the cache in part costs four times as much as either.

use super::{Cpu, StoreKind};
use crate::Extent;

pub(super) const UNIT_BYTES: usize = 8;
pub(super) const BLOCK_BYTES: usize = 64;

/// From how many bytes on wider registers are worth it: measured, see `cargo xtask bench copy`.
const WIDE_FROM_BYTES: usize = 256;

/// Copies bytes; see [`Platform::copy`](crate::Platform::copy).
///
/// # Safety
///
/// As for [`Platform::copy`](crate::Platform::copy).
pub unsafe fn copy(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
    let down = dest.addr().wrapping_sub(source.addr()) < length_bytes;
    // SAFETY: the caller promises both ranges.
    unsafe { store(cpu, Run { dest, feed: Bytes(source), length_bytes, down }, kind) }
}

/// Fills bytes; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`Platform::fill`](crate::Platform::fill).
pub unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    // SAFETY: the caller promises the range.
    unsafe { store(cpu, Run { dest, feed: Value(value), length_bytes, down: false }, kind) }
}

/// Where the bytes come from.
pub(super) trait Feed: Copy {
    /// Returns the 8 bytes from `at` on.
    ///
    /// # Safety
    ///
    /// They are readable.
    unsafe fn unit(self, at: usize) -> u64;

    /// Returns the byte at `at`.
    ///
    /// # Safety
    ///
    /// It is readable.
    unsafe fn byte(self, at: usize) -> u8;

    /// Returns the feed without its first `bytes` bytes.
    fn skip(self, bytes: usize) -> Self;

    /// Returns the first byte, or else the value that all bytes have.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_feature = "sse2")),
        allow(dead_code, reason = "wide registers are on x86-64 only")
    )]
    fn source(self) -> Result<*const u8, u8>;
}

#[derive(Clone, Copy)]
struct Bytes(*const u8);

impl Feed for Bytes {
    #[inline(always)]
    unsafe fn unit(self, at: usize) -> u64 {
        // SAFETY: the caller promises the 8 bytes.
        unsafe { self.0.wrapping_add(at).cast::<u64>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn byte(self, at: usize) -> u8 {
        // SAFETY: the caller promises the byte.
        unsafe { self.0.wrapping_add(at).read_volatile() }
    }

    #[inline(always)]
    fn skip(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    #[inline(always)]
    fn source(self) -> Result<*const u8, u8> {
        Ok(self.0)
    }
}

#[derive(Clone, Copy)]
struct Value(u8);

impl Feed for Value {
    #[inline(always)]
    unsafe fn unit(self, _at: usize) -> u64 {
        u64::from_ne_bytes([self.0; UNIT_BYTES])
    }

    #[inline(always)]
    unsafe fn byte(self, _at: usize) -> u8 {
        self.0
    }

    #[inline(always)]
    fn skip(self, _bytes: usize) -> Self {
        self
    }

    #[inline(always)]
    fn source(self) -> Result<*const u8, u8> {
        Err(self.0)
    }
}

/// Bytes that are stored: where, and whether from the last one to the first.
#[derive(Clone, Copy)]
struct Run<F> {
    dest: *mut u8,
    feed: F,
    length_bytes: usize,
    down: bool,
}

impl<F: Feed> Run<F> {
    /// Returns the piece of `length_bytes` bytes from `at` on.
    #[inline(always)]
    fn piece(self, (at, length_bytes): (usize, usize)) -> Self {
        Self { dest: self.dest.wrapping_add(at), feed: self.feed.skip(at), length_bytes, down: self.down }
    }

    /// Cuts the run where the first and the last boundary of `step_bytes` bytes (a power of two) in it lie.
    ///
    /// Returns what is stored first, the middle, and what is stored last.
    #[inline(always)]
    fn cut(self, step_bytes: usize) -> (Self, Self, Self) {
        let mask = step_bytes.wrapping_sub(1);
        let head = (self.dest.addr().wrapping_neg() & mask).min(self.length_bytes);
        let middle = self.length_bytes.wrapping_sub(head) & !mask;
        let tail_at = head.wrapping_add(middle);
        let (head_piece, tail_piece) = ((0, head), (tail_at, self.length_bytes.wrapping_sub(tail_at)));
        let (first, last) = if self.down { (tail_piece, head_piece) } else { (head_piece, tail_piece) };
        (self.piece(first), self.piece((head, middle)), self.piece(last))
    }

    #[inline(always)]
    fn has_whole_units(self) -> bool {
        (self.dest.addr() | self.length_bytes).is_multiple_of(UNIT_BYTES)
    }
}

/// Stores everything.
///
/// # Safety
///
/// The feed is readable and `dest` writable for `length_bytes` bytes; for the functions below too.
#[inline(always)]
unsafe fn store<F: Feed>(cpu: &Cpu, run: Run<F>, kind: StoreKind) {
    let streams = kind == StoreKind::Streaming;
    if streams && cfg!(target_arch = "x86_64") && cpu.can_write_back() {
        // SAFETY: the caller promises both ranges.
        return unsafe { pieces::<F, true>(cpu, run) };
    }
    // SAFETY: the caller promises both ranges.
    unsafe { pieces::<F, false>(cpu, run) };
    if streams && !cfg!(target_arch = "x86_64") {
        // Other processors have no stores around the cache: each line is written back once at the end.
        // SAFETY: the caller promises the range.
        unsafe { write_back(cpu, run.dest, run.length_bytes) }
    }
}

#[inline(always)]
unsafe fn pieces<F: Feed, const STREAM: bool>(cpu: &Cpu, run: Run<F>) {
    let wide = cpu.wide_stores() && run.length_bytes >= WIDE_FROM_BYTES;
    if run.has_whole_units() && !wide {
        // SAFETY: the caller promises both ranges; they are aligned.
        return unsafe { units::<F, STREAM>(run.dest, run.feed, run.length_bytes, run.down) };
    }
    let (first, middle, last) = run.cut(BLOCK_BYTES);
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge::<F, STREAM>(cpu, first.dest, first.feed, first.length_bytes, first.down) };
    // SAFETY: the piece lies in the range that the caller promises, and begins at a block.
    unsafe { blocks::<F, STREAM>(middle, wide) };
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge::<F, STREAM>(cpu, last.dest, last.feed, last.length_bytes, last.down) };
}

/// Stores whole blocks.
#[inline(always)]
unsafe fn blocks<F: Feed, const STREAM: bool>(run: Run<F>, wide: bool) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if wide {
        return match run.feed.source() {
            // SAFETY: the caller promises the blocks, and the processor has these registers.
            Ok(source) => unsafe { super::wide::copy::<STREAM>(run.dest, source, run.length_bytes, run.down) },
            // SAFETY: the caller promises the blocks, and the processor has these registers.
            Err(value) => unsafe { super::wide::fill::<STREAM>(run.dest, value, run.length_bytes) },
        };
    }
    let _ = wide;
    // SAFETY: the caller promises the blocks.
    unsafe { units::<F, STREAM>(run.dest, run.feed, run.length_bytes, run.down) }
}

/// Stores a piece of one block: streamed where it is made of whole units, else through the cache.
///
/// Takes its arguments in registers, and is not always inlined: a build for size has it once.
#[inline]
unsafe fn edge<F: Feed, const STREAM: bool>(cpu: &Cpu, dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    let run = Run { dest, feed, length_bytes, down };
    if run.has_whole_units() {
        // SAFETY: the caller promises the piece; it is aligned.
        return unsafe { units::<F, STREAM>(dest, feed, length_bytes, down) };
    }
    let (first, middle, last) = run.cut(UNIT_BYTES);
    // SAFETY: the caller promises the piece.
    unsafe { bytes(first.dest, first.feed, first.length_bytes, down) };
    // SAFETY: the caller promises the piece.
    unsafe { units::<F, false>(middle.dest, middle.feed, middle.length_bytes, down) };
    // SAFETY: the caller promises the piece.
    unsafe { bytes(last.dest, last.feed, last.length_bytes, down) };
    if STREAM {
        // SAFETY: the caller promises the piece.
        unsafe { write_back(cpu, dest, length_bytes) };
    }
}

/// Stores whole aligned units, as many as possible 8 at a time.
#[inline]
unsafe fn units<F: Feed, const STREAM: bool>(dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    let mut done = 0_usize;
    while !down && length_bytes.wrapping_sub(done) >= BLOCK_BYTES {
        // SAFETY: the caller promises the units.
        unsafe { eight::<F, STREAM>(dest.wrapping_add(done), feed.skip(done)) };
        done = done.wrapping_add(BLOCK_BYTES);
    }
    while done < length_bytes {
        let at = if down { length_bytes.wrapping_sub(done).wrapping_sub(UNIT_BYTES) } else { done };
        // SAFETY: the caller promises the units.
        let value = unsafe { feed.unit(at) };
        // SAFETY: the caller promises the units.
        unsafe { unit::<STREAM>(dest.wrapping_add(at), value) };
        done = done.wrapping_add(UNIT_BYTES);
    }
}

/// Stores 8 units, all of which are read before any of them may be overwritten.
#[inline(always)]
unsafe fn eight<F: Feed, const STREAM: bool>(dest: *mut u8, feed: F) {
    let mut values = [0_u64; BLOCK_BYTES / UNIT_BYTES];
    for (index, value) in values.iter_mut().enumerate() {
        // SAFETY: the caller promises the units.
        *value = unsafe { feed.unit(index.wrapping_mul(UNIT_BYTES)) };
    }
    for (index, value) in values.iter().enumerate() {
        // SAFETY: the caller promises the units.
        unsafe { unit::<STREAM>(dest.wrapping_add(index.wrapping_mul(UNIT_BYTES)), *value) };
    }
}

#[inline(always)]
unsafe fn unit<const STREAM: bool>(dest: *mut u8, value: u64) {
    let dest = dest.cast::<u64>();
    #[cfg(target_arch = "x86_64")]
    if STREAM {
        // SAFETY: the caller promises the unit.
        return unsafe { super::x86_64::movnti(dest, value) };
    }
    // SAFETY: the caller promises the unit; volatile, so that it is one store.
    unsafe { dest.write_volatile(value) }
}

#[inline]
unsafe fn bytes<F: Feed>(dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    for done in 0..length_bytes {
        let at = if down { length_bytes.wrapping_sub(done).wrapping_sub(1) } else { done };
        // SAFETY: the caller promises the bytes.
        let value = unsafe { feed.byte(at) };
        // SAFETY: the caller promises the bytes.
        unsafe { dest.wrapping_add(at).write_volatile(value) };
    }
}

#[inline(always)]
unsafe fn write_back(cpu: &Cpu, dest: *mut u8, length_bytes: usize) {
    if let Some(range) = Extent::new(dest.addr(), length_bytes) {
        // SAFETY: the caller promises the range.
        unsafe { cpu.write_back(range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This processor's ways of storing: streamed in wide registers, in integer registers, and not at all.
    fn here() -> std::vec::Vec<Cpu> {
        #[cfg(target_arch = "x86_64")]
        return std::vec![Cpu::detect(), Cpu { wide: false, ..Cpu::detect() }, Cpu::NONE];
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
}
