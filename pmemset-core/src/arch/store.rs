//! Copying and filling with stores that never tear an aligned unit of 8 bytes, around the cache or through it.
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
    let run = Run { cpu, dest, feed: Bytes(source), length_bytes, down };
    // SAFETY: the caller promises both ranges.
    unsafe { run.store(kind) }
}

/// Fills bytes; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`Platform::fill`](crate::Platform::fill).
pub unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    let run = Run { cpu, dest, feed: Value(value), length_bytes, down: false };
    // SAFETY: the caller promises the range.
    unsafe { run.store(kind) }
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

    /// Returns the first byte, or else the value that all bytes have.
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
    fn source(self) -> Result<*const u8, u8> {
        Err(self.0)
    }
}

/// One call: what is stored where, and whether from the last byte to the first.
#[derive(Clone, Copy)]
struct Run<'c, F> {
    cpu: &'c Cpu,
    dest: *mut u8,
    feed: F,
    length_bytes: usize,
    down: bool,
}

impl<F: Feed> Run<'_, F> {
    /// Stores everything.
    ///
    /// # Safety
    ///
    /// The feed is readable and `dest` writable for `length_bytes` bytes.
    #[inline(always)]
    unsafe fn store(self, kind: StoreKind) {
        match kind {
            // SAFETY: the caller promises both ranges.
            StoreKind::Cached => unsafe { self.pieces::<false>() },
            // SAFETY: the caller promises both ranges.
            StoreKind::Streaming if cfg!(target_arch = "x86_64") && self.cpu.can_write_back() => unsafe {
                self.pieces::<true>();
            },
            // Other processors have no stores around the cache: each line is written back once at the end.
            StoreKind::Streaming => {
                // SAFETY: the caller promises both ranges.
                unsafe { self.pieces::<false>() };
                // SAFETY: the caller promises the range.
                unsafe { self.write_back(0, self.length_bytes) }
            }
        }
    }

    /// # Safety
    ///
    /// As for [`store`](Self::store), also for the functions below, whose pieces lie in that range.
    #[inline(always)]
    unsafe fn pieces<const STREAM: bool>(self) {
        let whole_units = (self.dest.addr() | self.length_bytes).is_multiple_of(UNIT_BYTES);
        let wide = self.cpu.wide_stores() && self.length_bytes >= WIDE_FROM_BYTES;
        if whole_units && !wide {
            // SAFETY: the caller promises both ranges; they are aligned.
            return unsafe { self.units::<STREAM>(0, self.length_bytes) };
        }
        let head = (self.dest.addr().wrapping_neg() % BLOCK_BYTES).min(self.length_bytes);
        let blocks = self.length_bytes.wrapping_sub(head) & !(BLOCK_BYTES - 1);
        let tail_at = head.wrapping_add(blocks);
        let tail = self.length_bytes.wrapping_sub(tail_at);
        let (first, last) = if self.down { ((tail_at, tail), (0, head)) } else { ((0, head), (tail_at, tail)) };
        // SAFETY: the piece lies in the range that the caller promises.
        unsafe { self.edge::<STREAM>(first.0, first.1) };
        // SAFETY: the piece lies in the range that the caller promises, and begins at a block.
        unsafe { self.blocks::<STREAM>(head, blocks, wide) };
        // SAFETY: the piece lies in the range that the caller promises.
        unsafe { self.edge::<STREAM>(last.0, last.1) };
    }

    /// Stores whole blocks.
    #[inline(always)]
    unsafe fn blocks<const STREAM: bool>(self, at: usize, length_bytes: usize, wide: bool) {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        if wide {
            let dest = self.dest.wrapping_add(at);
            return match self.feed.source() {
                // SAFETY: the caller promises the blocks, and the processor has these registers.
                Ok(source) => unsafe {
                    super::wide::copy::<STREAM>(dest, source.wrapping_add(at), length_bytes, self.down);
                },
                // SAFETY: the caller promises the blocks, and the processor has these registers.
                Err(value) => unsafe { super::wide::fill::<STREAM>(dest, value, length_bytes) },
            };
        }
        let _ = wide;
        // SAFETY: the caller promises the blocks.
        unsafe { self.units::<STREAM>(at, length_bytes) }
    }

    /// Stores a piece of one block: streamed where it is made of whole units, else through the cache.
    #[inline(always)]
    unsafe fn edge<const STREAM: bool>(self, at: usize, length_bytes: usize) {
        let start = self.dest.addr().wrapping_add(at);
        if (start | length_bytes).is_multiple_of(UNIT_BYTES) {
            // SAFETY: the caller promises the piece; it is aligned.
            return unsafe { self.units::<STREAM>(at, length_bytes) };
        }
        let head = (start.wrapping_neg() % UNIT_BYTES).min(length_bytes);
        let units = length_bytes.wrapping_sub(head) & !(UNIT_BYTES - 1);
        let tail_at = at.wrapping_add(head).wrapping_add(units);
        let tail = (tail_at, length_bytes.wrapping_sub(head).wrapping_sub(units));
        let (first, last) = if self.down { (tail, (at, head)) } else { ((at, head), tail) };
        // SAFETY: the caller promises the piece.
        unsafe { self.bytes(first.0, first.1) };
        // SAFETY: the caller promises the piece.
        unsafe { self.units::<false>(at.wrapping_add(head), units) };
        // SAFETY: the caller promises the piece.
        unsafe { self.bytes(last.0, last.1) };
        if STREAM {
            // SAFETY: the caller promises the piece.
            unsafe { self.write_back(at, length_bytes) };
        }
    }

    /// Stores whole aligned units, as many as possible 8 at a time.
    #[inline(always)]
    unsafe fn units<const STREAM: bool>(self, at: usize, length_bytes: usize) {
        let mut done = 0_usize;
        while !self.down && length_bytes.wrapping_sub(done) >= BLOCK_BYTES {
            // SAFETY: the caller promises the units.
            unsafe { self.eight::<STREAM>(at.wrapping_add(done)) };
            done = done.wrapping_add(BLOCK_BYTES);
        }
        while done < length_bytes {
            let unit = if self.down { length_bytes.wrapping_sub(done).wrapping_sub(UNIT_BYTES) } else { done };
            // SAFETY: the caller promises the units.
            let value = unsafe { self.feed.unit(at.wrapping_add(unit)) };
            // SAFETY: the caller promises the units.
            unsafe { self.unit::<STREAM>(at.wrapping_add(unit), value) };
            done = done.wrapping_add(UNIT_BYTES);
        }
    }

    /// Stores 8 units, all of which are read before any of them may be overwritten.
    #[inline(always)]
    unsafe fn eight<const STREAM: bool>(self, at: usize) {
        let mut values = [0_u64; BLOCK_BYTES / UNIT_BYTES];
        for (index, value) in values.iter_mut().enumerate() {
            // SAFETY: the caller promises the units.
            *value = unsafe { self.feed.unit(at.wrapping_add(index.wrapping_mul(UNIT_BYTES))) };
        }
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: the caller promises the units.
            unsafe { self.unit::<STREAM>(at.wrapping_add(index.wrapping_mul(UNIT_BYTES)), value) };
        }
    }

    #[inline(always)]
    unsafe fn unit<const STREAM: bool>(self, at: usize, value: u64) {
        let dest = self.dest.wrapping_add(at).cast::<u64>();
        #[cfg(target_arch = "x86_64")]
        if STREAM {
            // SAFETY: the caller promises the unit.
            return unsafe { super::x86_64::movnti(dest, value) };
        }
        // SAFETY: the caller promises the unit; volatile, so that it is one store.
        unsafe { dest.write_volatile(value) }
    }

    #[inline(always)]
    unsafe fn bytes(self, at: usize, length_bytes: usize) {
        for done in 0..length_bytes {
            let byte = if self.down { length_bytes.wrapping_sub(done).wrapping_sub(1) } else { done };
            // SAFETY: the caller promises the bytes.
            let value = unsafe { self.feed.byte(at.wrapping_add(byte)) };
            // SAFETY: the caller promises the bytes.
            unsafe { self.dest.wrapping_add(at).wrapping_add(byte).write_volatile(value) };
        }
    }

    #[inline(always)]
    unsafe fn write_back(self, at: usize, length_bytes: usize) {
        if let Some(range) = Extent::new(self.dest.addr().wrapping_add(at), length_bytes) {
            // SAFETY: the caller promises the range.
            unsafe { self.cpu.write_back(range) }
        }
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
    fn every_length_at_every_alignment() {
        for (cpu, kind) in here().iter().flat_map(|cpu| [(cpu, StoreKind::Cached), (cpu, StoreKind::Streaming)]) {
            // Lengths and alignments in steps that have no common factor: each alignment meets each length modulo 64.
            for (index, length_bytes) in (0..=4096).step_by(3).enumerate() {
                let (to, from) = (index * 5 % 64, index * 7 % 61);
                agree(cpu, kind, to, from, length_bytes);
                agree(cpu, kind, to, 4200 + from, length_bytes);
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
