//! Copying and filling with stores that never tear an aligned unit of 8 bytes, around the cache or through it.
//!
//! Integer registers only: may run in an interrupt handler, and where no vector state is saved.

use super::{Cpu, StoreKind};
use crate::Extent;

const UNIT_BYTES: usize = 8;
const BLOCK_BYTES: usize = 64;

/// Copies bytes; see [`Platform::copy`](crate::Platform::copy).
///
/// # Safety
///
/// As for [`Platform::copy`](crate::Platform::copy).
#[inline]
pub unsafe fn copy(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
    match kind {
        // SAFETY: the caller promises both ranges.
        StoreKind::Cached => unsafe { copy_with::<Cached>(cpu, dest, source, length_bytes) },
        // SAFETY: the caller promises both ranges.
        StoreKind::Streaming => unsafe { copy_with::<Streaming>(cpu, dest, source, length_bytes) },
    }
}

/// Fills bytes; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`Platform::fill`](crate::Platform::fill).
#[inline]
pub unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    match kind {
        // SAFETY: the caller promises the range.
        StoreKind::Cached => unsafe { fill_with::<Cached>(cpu, dest, value, length_bytes) },
        // SAFETY: the caller promises the range.
        StoreKind::Streaming => unsafe { fill_with::<Streaming>(cpu, dest, value, length_bytes) },
    }
}

/// How whole units, and edges that are none, are stored.
trait Stores {
    /// Stores one unit.
    ///
    /// # Safety
    ///
    /// `dest` is writable and aligned.
    unsafe fn unit(dest: *mut u64, value: u64);

    /// Makes bytes durable after a fence that were stored one by one.
    ///
    /// # Safety
    ///
    /// The bytes are mapped.
    unsafe fn edge(cpu: &Cpu, dest: *mut u8, length_bytes: usize);

    /// Makes all units durable after a fence, if [`unit`](Self::unit) has not.
    ///
    /// # Safety
    ///
    /// The bytes are mapped.
    unsafe fn finish(cpu: &Cpu, dest: *mut u8, length_bytes: usize);
}

struct Cached;

impl Stores for Cached {
    #[inline(always)]
    unsafe fn unit(dest: *mut u64, value: u64) {
        // SAFETY: the caller promises the unit. Volatile, so that it is one store.
        unsafe { dest.write_volatile(value) }
    }

    #[inline(always)]
    unsafe fn edge(_: &Cpu, _: *mut u8, _: usize) {}

    #[inline(always)]
    unsafe fn finish(_: &Cpu, _: *mut u8, _: usize) {}
}

struct Streaming;

#[cfg(target_arch = "x86_64")]
impl Stores for Streaming {
    #[inline(always)]
    unsafe fn unit(dest: *mut u64, value: u64) {
        // SAFETY: the caller promises the unit.
        unsafe { super::x86_64::movnti(dest, value) }
    }

    #[inline(always)]
    unsafe fn edge(cpu: &Cpu, dest: *mut u8, length_bytes: usize) {
        if let Some(range) = Extent::new(dest.addr(), length_bytes) {
            // SAFETY: the caller promises the bytes.
            unsafe { cpu.write_back(range) }
        }
    }

    #[inline(always)]
    unsafe fn finish(_: &Cpu, _: *mut u8, _: usize) {}
}

/// Other processors have no stores around the cache: each line is written back once at the end.
#[cfg(not(target_arch = "x86_64"))]
impl Stores for Streaming {
    #[inline(always)]
    unsafe fn unit(dest: *mut u64, value: u64) {
        // SAFETY: the caller promises the unit. Volatile, so that it is one store.
        unsafe { dest.write_volatile(value) }
    }

    #[inline(always)]
    unsafe fn edge(_: &Cpu, _: *mut u8, _: usize) {}

    #[inline(always)]
    unsafe fn finish(cpu: &Cpu, dest: *mut u8, length_bytes: usize) {
        if let Some(range) = Extent::new(dest.addr(), length_bytes) {
            // SAFETY: the caller promises the bytes.
            unsafe { cpu.write_back(range) }
        }
    }
}

/// A range cut into bytes before the first aligned unit, blocks of units, single units and bytes behind the last one.
struct Cut {
    head_bytes: usize,
    block_bytes: usize,
    unit_bytes: usize,
    tail_bytes: usize,
}

impl Cut {
    #[inline(always)]
    fn new(dest: *mut u8, length_bytes: usize) -> Self {
        let head_bytes = (dest.addr().wrapping_neg() % UNIT_BYTES).min(length_bytes);
        let rest = length_bytes.wrapping_sub(head_bytes);
        let block_bytes = rest & !(BLOCK_BYTES - 1);
        let unit_bytes = (rest & (BLOCK_BYTES - 1)) & !(UNIT_BYTES - 1);
        Self { head_bytes, block_bytes, unit_bytes, tail_bytes: rest % UNIT_BYTES }
    }
}

/// Copies `length_bytes` bytes, so that overlapping ranges come out right.
///
/// # Safety
///
/// `source` is readable and `dest` writable for `length_bytes` bytes.
#[inline(always)]
unsafe fn copy_with<T: Stores>(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize) {
    let cut = Cut::new(dest, length_bytes);
    let units_at = cut.head_bytes.wrapping_add(cut.block_bytes);
    let tail_at = units_at.wrapping_add(cut.unit_bytes);
    let piece = |at: usize| (dest.wrapping_add(at), source.wrapping_add(at));
    if dest.addr().wrapping_sub(source.addr()) >= length_bytes {
        // SAFETY: the pieces lie in the ranges that the caller promises; the same holds for the ones below.
        unsafe { bytes_up(dest, source, cut.head_bytes) };
        let (to, from) = piece(cut.head_bytes);
        // SAFETY: as above.
        unsafe { blocks_up::<T>(to, from, cut.block_bytes) };
        let (to, from) = piece(units_at);
        // SAFETY: as above.
        unsafe { units_up::<T>(to, from, cut.unit_bytes) };
        let (to, from) = piece(tail_at);
        // SAFETY: as above.
        unsafe { bytes_up(to, from, cut.tail_bytes) };
    } else {
        let (to, from) = piece(tail_at);
        // SAFETY: as above.
        unsafe { bytes_down(to, from, cut.tail_bytes) };
        let (to, from) = piece(cut.head_bytes);
        // SAFETY: as above.
        unsafe { units_down::<T>(to, from, cut.block_bytes.wrapping_add(cut.unit_bytes)) };
        // SAFETY: as above.
        unsafe { bytes_down(dest, source, cut.head_bytes) };
    }
    // SAFETY: as above.
    unsafe { finish::<T>(cpu, dest, length_bytes, &cut) }
}

/// Fills `length_bytes` bytes.
///
/// # Safety
///
/// `dest` is writable for `length_bytes` bytes.
#[inline(always)]
unsafe fn fill_with<T: Stores>(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize) {
    let cut = Cut::new(dest, length_bytes);
    let unit = u64::from_ne_bytes([value; UNIT_BYTES]);
    let units_end = length_bytes.wrapping_sub(cut.tail_bytes);
    for at in (0..cut.head_bytes).chain(units_end..length_bytes) {
        // SAFETY: the caller promises the range.
        unsafe { dest.wrapping_add(at).write_volatile(value) };
    }
    let mut at = cut.head_bytes;
    while at < units_end {
        // SAFETY: the caller promises the range; `at` is behind the head, so the unit is aligned.
        unsafe { T::unit(dest.wrapping_add(at).cast(), unit) };
        at = at.wrapping_add(UNIT_BYTES);
    }
    // SAFETY: the caller promises the range.
    unsafe { finish::<T>(cpu, dest, length_bytes, &cut) }
}

/// # Safety
///
/// `dest` is mapped for `length_bytes` bytes.
#[inline(always)]
unsafe fn finish<T: Stores>(cpu: &Cpu, dest: *mut u8, length_bytes: usize, cut: &Cut) {
    // SAFETY: the head lies in the range that the caller promises.
    unsafe { T::edge(cpu, dest, cut.head_bytes) };
    let tail = dest.wrapping_add(length_bytes.wrapping_sub(cut.tail_bytes));
    // SAFETY: the tail lies in the range that the caller promises.
    unsafe { T::edge(cpu, tail, cut.tail_bytes) };
    // SAFETY: the caller promises the range.
    unsafe { T::finish(cpu, dest, length_bytes) }
}

/// # Safety
///
/// `source` is readable for 8 bytes from `at` on.
#[inline(always)]
unsafe fn load(source: *const u8, at: usize) -> u64 {
    // SAFETY: the caller promises the 8 bytes.
    unsafe { source.wrapping_add(at).cast::<u64>().read_unaligned() }
}

/// # Safety
///
/// As for [`copy_with`]; the same holds for the functions below, of which `blocks_up` and `units_*` want `dest` aligned.
#[inline(always)]
unsafe fn byte(dest: *mut u8, source: *const u8, at: usize) {
    // SAFETY: the caller promises the byte.
    let value = unsafe { source.wrapping_add(at).read_volatile() };
    // SAFETY: the caller promises the byte.
    unsafe { dest.wrapping_add(at).write_volatile(value) }
}

#[inline(always)]
unsafe fn bytes_up(dest: *mut u8, source: *const u8, length_bytes: usize) {
    for at in 0..length_bytes {
        // SAFETY: the caller promises the range.
        unsafe { byte(dest, source, at) };
    }
}

#[inline(always)]
unsafe fn bytes_down(dest: *mut u8, source: *const u8, length_bytes: usize) {
    for at in (0..length_bytes).rev() {
        // SAFETY: the caller promises the range.
        unsafe { byte(dest, source, at) };
    }
}

#[inline(always)]
unsafe fn blocks_up<T: Stores>(dest: *mut u8, source: *const u8, length_bytes: usize) {
    let mut at = 0_usize;
    while at < length_bytes {
        let mut values = [0_u64; BLOCK_BYTES / UNIT_BYTES];
        for (index, value) in values.iter_mut().enumerate() {
            // SAFETY: the caller promises the block. All of it is read before any of it may be overwritten.
            *value = unsafe { load(source, at.wrapping_add(index.wrapping_mul(UNIT_BYTES))) };
        }
        for (index, value) in values.into_iter().enumerate() {
            let to = dest.wrapping_add(at.wrapping_add(index.wrapping_mul(UNIT_BYTES)));
            // SAFETY: the caller promises the block.
            unsafe { T::unit(to.cast(), value) };
        }
        at = at.wrapping_add(BLOCK_BYTES);
    }
}

#[inline(always)]
unsafe fn units_up<T: Stores>(dest: *mut u8, source: *const u8, length_bytes: usize) {
    let mut at = 0_usize;
    while at < length_bytes {
        // SAFETY: the caller promises the unit.
        let value = unsafe { load(source, at) };
        // SAFETY: the caller promises the unit.
        unsafe { T::unit(dest.wrapping_add(at).cast(), value) };
        at = at.wrapping_add(UNIT_BYTES);
    }
}

#[inline(always)]
unsafe fn units_down<T: Stores>(dest: *mut u8, source: *const u8, length_bytes: usize) {
    let mut at = length_bytes;
    while at > 0 {
        at = at.wrapping_sub(UNIT_BYTES);
        // SAFETY: the caller promises the unit.
        let value = unsafe { load(source, at) };
        // SAFETY: the caller promises the unit.
        unsafe { T::unit(dest.wrapping_add(at).cast(), value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Cpu {
        #[cfg(target_arch = "x86_64")]
        return Cpu::detect();
        #[cfg(not(target_arch = "x86_64"))]
        Cpu::NONE
    }

    fn pattern(length_bytes: usize) -> std::vec::Vec<u8> {
        (0..length_bytes).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    #[test]
    fn copies_agree_with_a_byte_model() {
        let cpu = here();
        for kind in [StoreKind::Cached, StoreKind::Streaming] {
            for length_bytes in (0..160).chain([255, 256, 257, 1000, 1024, 4096]) {
                for (to, from) in (0..9).flat_map(|to| (0..9).map(move |from| (to * 9, from * 9))) {
                    let mut bytes = pattern(5000);
                    let mut model = bytes.clone();
                    model.copy_within(from..from + length_bytes, to);
                    let base = bytes.as_mut_ptr();
                    // SAFETY: both ranges lie in the vector.
                    unsafe { copy(&cpu, base.wrapping_add(to), base.wrapping_add(from), length_bytes, kind) };
                    cpu.fence();
                    assert!(bytes == model, "{kind:?} {length_bytes} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn fills_agree_with_a_byte_model() {
        let cpu = here();
        for kind in [StoreKind::Cached, StoreKind::Streaming] {
            for (to, length_bytes) in (0..20).flat_map(|to| (0..200).map(move |length| (to, length))) {
                let mut bytes = pattern(256);
                let mut model = bytes.clone();
                model[to..to + length_bytes].fill(0xa5);
                // SAFETY: the range lies in the vector.
                unsafe { fill(&cpu, bytes.as_mut_ptr().wrapping_add(to), 0xa5, length_bytes, kind) };
                cpu.fence();
                assert!(bytes == model, "{kind:?} {length_bytes} bytes to {to}");
            }
        }
    }
}
