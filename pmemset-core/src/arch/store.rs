//! Copying and filling with stores that never tear an aligned word (8 bytes; on 32-bit processors 4), around the cache
//! or through it.
//!
//! Integer registers, so that it may run in an interrupt handler and where no vector state is saved; wider ones in
//! [`wide`](super::wide) only.
//!
//! Blocks (cache lines) are streamed whole or not at all: one that is streamed in part and stored through the cache in
//! part costs four times as much as either, and one that is streamed in part again and again costs more than through
//! the cache.

use super::access::{self, Unit, WORD_BYTES};
#[cfg(any(test, target_arch = "x86_64"))]
use super::access::{BLOCK_BYTES, LONG_BYTES};
use super::cpu::{Cpu, StoreKind};
use crate::Extent;

const FOUR_BYTES: usize = 4 * WORD_BYTES;

/// Copies bytes; see [`Platform::copy`](crate::Platform::copy).
///
/// # Safety
///
/// As for [`Platform::copy`](crate::Platform::copy).
pub(super) unsafe fn copy(cpu: &Cpu, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
    let down = dest.addr().wrapping_sub(source.addr()) < length_bytes;
    // SAFETY: the caller promises both ranges.
    unsafe { store(cpu, Run { dest, feed: Bytes(source), length_bytes }, down, kind) }
}

/// Fills bytes; see [`Platform::fill`](crate::Platform::fill).
///
/// # Safety
///
/// As for [`Platform::fill`](crate::Platform::fill).
pub(super) unsafe fn fill(cpu: &Cpu, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
    // SAFETY: the caller promises the range.
    unsafe { store(cpu, Run { dest, feed: Value(value), length_bytes }, false, kind) }
}

/// Where the bytes come from.
pub(super) trait Feed: Copy {
    /// Returns what is stored from `at` on.
    ///
    /// # Safety
    ///
    /// It is readable.
    unsafe fn unit<U: Unit>(self, at: usize) -> U;

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
    unsafe fn unit<U: Unit>(self, at: usize) -> U {
        let from = self.0.wrapping_add(at);
        if access::LOADS_ANYWHERE || from.addr().is_multiple_of(size_of::<U>()) {
            // SAFETY: the caller promises it.
            return unsafe { U::load(from.cast()) };
        }
        // SAFETY: the caller promises each byte of it.
        U::of_bytes(|offset| unsafe { u8::load(from.wrapping_add(offset)) })
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
    unsafe fn unit<U: Unit>(self, _at: usize) -> U {
        U::of_bytes(|_| self.0)
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

/// Bytes that are stored, and where.
#[derive(Clone, Copy)]
struct Run<F> {
    dest: *mut u8,
    feed: F,
    length_bytes: usize,
}

impl<F: Feed> Run<F> {
    /// Returns the piece of `length_bytes` bytes from `at` on.
    #[inline(always)]
    fn piece(self, (at, length_bytes): (usize, usize)) -> Self {
        Self { dest: self.dest.wrapping_add(at), feed: self.feed.skip(at), length_bytes }
    }

    /// Cuts the run where the first and the last boundary of `step_bytes` bytes (a power of two) in it lie.
    ///
    /// Returns what is stored first, the middle, and what is stored last.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn cut(self, step_bytes: usize, down: bool) -> (Self, Self, Self) {
        let mask = step_bytes.wrapping_sub(1);
        let head = (self.dest.addr().wrapping_neg() & mask).min(self.length_bytes);
        let middle = self.length_bytes.wrapping_sub(head) & !mask;
        let tail_at = head.wrapping_add(middle);
        let (head_piece, tail_piece) = ((0, head), (tail_at, self.length_bytes.wrapping_sub(tail_at)));
        let (first, last) = if down { (tail_piece, head_piece) } else { (head_piece, tail_piece) };
        (self.piece(first), self.piece((head, middle)), self.piece(last))
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn is_whole(self, step_bytes: usize) -> bool {
        (self.dest.addr() | self.length_bytes).is_multiple_of(step_bytes)
    }

    /// Stores one unit at the end that comes first, if it ends there at its own boundary and not at that of a longer
    /// one.
    ///
    /// # Safety
    ///
    /// As for [`store`].
    #[inline(always)]
    unsafe fn store_up_to<U: Unit>(&mut self, down: bool) {
        let near = if down { self.dest.addr().wrapping_add(self.length_bytes) } else { self.dest.addr() };
        if near & size_of::<U>() != 0 && self.length_bytes >= size_of::<U>() {
            // SAFETY: the caller promises the run, which has one, and it is aligned.
            unsafe { self.store_one::<U>(down) };
        }
    }

    /// Stores one unit of a run that begins at a word's boundary, or ends there, and is shorter than twice the unit.
    ///
    /// # Safety
    ///
    /// As for [`store`].
    #[inline(always)]
    unsafe fn store_rest<U: Unit>(&mut self, down: bool) {
        if self.length_bytes & size_of::<U>() != 0 {
            // SAFETY: the caller promises the run, which has one, and it is aligned.
            unsafe { self.store_one::<U>(down) };
        }
    }

    /// Stores the unit that comes first.
    ///
    /// # Safety
    ///
    /// As for [`store`]; the run has one, and it is aligned.
    #[inline(always)]
    unsafe fn store_one<U: Unit>(&mut self, down: bool) {
        let left = self.length_bytes.wrapping_sub(size_of::<U>());
        let (at, rest_at) = if down { (left, 0) } else { (0, size_of::<U>()) };
        // SAFETY: the caller promises the unit.
        let value: U = unsafe { self.feed.unit(at) };
        // SAFETY: the caller promises the unit.
        unsafe { U::store(self.dest.wrapping_add(at).cast(), value) };
        *self = self.piece((rest_at, left));
    }
}

/// How blocks are stored where that is otherwise than [`through`] the cache in integer registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Way {
    /// From the last byte to the first.
    down: bool,
    /// Around the cache.
    streams: bool,
    /// In wide registers.
    wide: bool,
}

/// Stores everything.
///
/// What has nothing to be cut off is stored at once: where a fence follows, each instruction before the first store
/// counts.
///
/// # Safety
///
/// The feed is readable and `dest` writable for `length_bytes` bytes; for the functions below too.
#[inline(always)]
unsafe fn store<F: Feed>(cpu: &Cpu, run: Run<F>, down: bool, kind: StoreKind) {
    let Run { dest, feed, length_bytes } = run;
    let streaming = kind == StoreKind::Streaming;
    #[cfg(target_arch = "x86_64")]
    {
        let (whole, long) = (run.is_whole(BLOCK_BYTES), length_bytes >= LONG_BYTES);
        let streams = streaming && cpu.can_write_back() && (long || whole && length_bytes >= cpu.streams_from_bytes());
        let way = Way { down, streams, wide: long && cpu.wide_stores() };
        if (way.streams || way.wide) && whole {
            // SAFETY: the caller promises both ranges.
            return unsafe { blocks(run, way) };
        }
        if (way.streams || way.wide) && down {
            // SAFETY: the caller promises both ranges.
            return unsafe { cut_up::<F, true>(cpu, dest, feed, length_bytes, way) };
        }
        if way.streams || way.wide {
            // SAFETY: the caller promises both ranges.
            return unsafe { cut_up::<F, false>(cpu, dest, feed, length_bytes, way) };
        }
    }
    // SAFETY: the caller promises both ranges.
    unsafe { through(dest, feed, length_bytes, down) }
    if streaming {
        // Other processors have no stores around the cache, and what is short is faster through it.
        // SAFETY: the caller promises the range.
        unsafe { write_back(cpu, dest, length_bytes) }
    }
}

/// Stores a long run that begins or ends inside a block, to its first byte (`DOWN`) or to the last.
///
/// Takes its arguments in registers, like the functions below, and is not part of `copy`, which would save more
/// registers on the stack for it.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn cut_up<F: Feed, const DOWN: bool>(cpu: &Cpu, dest: *mut u8, feed: F, length_bytes: usize, way: Way) {
    let way = Way { down: DOWN, ..way };
    let (first, middle, last) = Run { dest, feed, length_bytes }.cut(BLOCK_BYTES, way.down);
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge(cpu, first, way) };
    // SAFETY: the piece lies in the range that the caller promises, and consists of blocks.
    unsafe { blocks(middle, way) };
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge(cpu, last, way) };
}

/// Stores a piece of one block through the cache.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn edge<F: Feed>(cpu: &Cpu, run: Run<F>, way: Way) {
    if run.length_bytes == 0 {
        return;
    }
    // SAFETY: the caller promises the piece.
    unsafe { through(run.dest, run.feed, run.length_bytes, way.down) };
    if way.streams {
        // SAFETY: the caller promises the piece.
        unsafe { write_back(cpu, run.dest, run.length_bytes) };
    }
}

/// Stores whole blocks, wide or around the cache.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn blocks<F: Feed>(run: Run<F>, way: Way) {
    #[cfg(target_feature = "sse2")]
    if way.wide {
        // SAFETY: the caller promises the blocks, and the processor has these registers.
        return unsafe { wide_blocks(run, way) };
    }
    // SAFETY: the caller promises the words.
    unsafe { words::<F, true>(run.dest, run.feed, run.length_bytes, way.down) }
}

/// Stores whole blocks.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
unsafe fn wide_blocks<F: Feed>(run: Run<F>, way: Way) {
    use super::wide::{copy, fill};
    match (run.feed.source(), way.streams) {
        // SAFETY: the caller promises the blocks.
        (Ok(source), true) => unsafe { copy::<true>(run.dest, source, run.length_bytes, way.down) },
        // SAFETY: the caller promises the blocks.
        (Ok(source), false) => unsafe { copy::<false>(run.dest, source, run.length_bytes, way.down) },
        // SAFETY: the caller promises the blocks.
        (Err(value), true) => unsafe { fill::<true>(run.dest, value, run.length_bytes) },
        // SAFETY: the caller promises the blocks.
        (Err(value), false) => unsafe { fill::<false>(run.dest, value, run.length_bytes) },
    }
}

/// Stores any bytes through the cache: whole aligned words, and the bytes before and behind them in as few pieces as
/// are aligned.
#[inline(always)]
unsafe fn through<F: Feed>(dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    if down {
        // SAFETY: the caller promises the run.
        unsafe { through_to::<F, true>(dest, feed, length_bytes) }
    } else {
        // SAFETY: as above.
        unsafe { through_to::<F, false>(dest, feed, length_bytes) }
    }
}

/// The same, to the first byte (`DOWN`) or to the last: few instructions, where a fence follows.
#[inline(never)]
unsafe fn through_to<F: Feed, const DOWN: bool>(dest: *mut u8, feed: F, length_bytes: usize) {
    let mut run = Run { dest, feed, length_bytes };
    // SAFETY: the caller promises the run.
    unsafe { run.store_up_to::<u8>(DOWN) };
    // SAFETY: as above.
    unsafe { run.store_up_to::<u16>(DOWN) };
    // SAFETY: as above.
    unsafe { run.store_up_to::<u32>(DOWN) };
    let rest_bytes = run.length_bytes & WORD_BYTES.wrapping_sub(1);
    let words_bytes = run.length_bytes.wrapping_sub(rest_bytes);
    let (words_at, rest_at) = if DOWN { (rest_bytes, 0) } else { (0, words_bytes) };
    let middle = run.piece((words_at, words_bytes));
    // SAFETY: these are the whole words of the run.
    unsafe { words::<F, false>(middle.dest, middle.feed, words_bytes, DOWN) };
    run = run.piece((rest_at, rest_bytes));
    // SAFETY: as above.
    unsafe { run.store_rest::<u32>(DOWN) };
    // SAFETY: as above.
    unsafe { run.store_rest::<u16>(DOWN) };
    // SAFETY: as above.
    unsafe { run.store_rest::<u8>(DOWN) };
}

/// Stores whole aligned words, as many as possible 4 at a time: more need more registers than a function has for free.
#[inline]
unsafe fn words<F: Feed, const STREAM: bool>(dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    let mut done = 0_usize;
    while !down && length_bytes.wrapping_sub(done) >= FOUR_BYTES {
        // SAFETY: the caller promises the words.
        unsafe { four::<F, STREAM>(dest.wrapping_add(done), feed.skip(done)) };
        done = done.wrapping_add(FOUR_BYTES);
    }
    while done < length_bytes {
        let at = if down { length_bytes.wrapping_sub(done).wrapping_sub(WORD_BYTES) } else { done };
        // SAFETY: the caller promises the words.
        let value = unsafe { feed.unit(at) };
        // SAFETY: the caller promises the words.
        unsafe { word::<STREAM>(dest.wrapping_add(at), value) };
        done = done.wrapping_add(WORD_BYTES);
    }
}

/// Stores 4 words, all of which are read before any of them may be overwritten.
#[inline(always)]
unsafe fn four<F: Feed, const STREAM: bool>(dest: *mut u8, feed: F) {
    let mut values = [0_usize; FOUR_BYTES / WORD_BYTES];
    for (index, value) in values.iter_mut().enumerate() {
        // SAFETY: the caller promises the words.
        *value = unsafe { feed.unit(index.wrapping_mul(WORD_BYTES)) };
    }
    for (index, value) in values.iter().enumerate() {
        // SAFETY: the caller promises the words.
        unsafe { word::<STREAM>(dest.wrapping_add(index.wrapping_mul(WORD_BYTES)), *value) };
    }
}

#[inline(always)]
unsafe fn word<const STREAM: bool>(dest: *mut u8, value: usize) {
    let dest = dest.cast::<usize>();
    #[cfg(target_arch = "x86_64")]
    if STREAM {
        #[cfg(test)]
        access::notes::stored(dest.addr(), WORD_BYTES);
        // SAFETY: the caller promises the word.
        return unsafe { super::x86_64::movnti(dest, value) };
    }
    // SAFETY: the caller promises the word, which is aligned.
    unsafe { usize::store(dest, value) }
}

#[inline(always)]
unsafe fn write_back(cpu: &Cpu, dest: *mut u8, length_bytes: usize) {
    if let Some(range) = Extent::new(dest.addr(), length_bytes) {
        #[cfg(test)]
        tests::note_written_back(range);
        // SAFETY: the caller promises the range.
        unsafe { cpu.write_back(range) }
    }
}

#[cfg(test)]
mod tests;
