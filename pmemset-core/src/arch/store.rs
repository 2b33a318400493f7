//! Copying and filling with stores that never tear an aligned word (8 bytes; on 32-bit processors 4), around the cache
//! or through it.
//!
//! Integer registers, so that it may run in an interrupt handler and where no vector state is saved; wider ones in
//! [`wide`](super::wide) only.
//!
//! A range is cut at the boundaries of blocks (cache lines), and each block is stored in one way only: a line that is
//! streamed in part and stored through the cache in part costs four times as much as either.

use super::access::{self, BLOCK_BYTES, WIDE_FROM_BYTES, WORD_BYTES};
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
    /// Returns the word from `at` on.
    ///
    /// # Safety
    ///
    /// They are readable.
    unsafe fn word(self, at: usize) -> usize;

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
    unsafe fn word(self, at: usize) -> usize {
        let from = self.0.wrapping_add(at);
        if access::LOADS_ANYWHERE || from.addr().is_multiple_of(WORD_BYTES) {
            // SAFETY: the caller promises the word.
            return unsafe { access::load_word(from.cast()) };
        }
        let mut bytes = [0; WORD_BYTES];
        for (offset, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: the caller promises the word.
            *byte = unsafe { access::load_byte(from.wrapping_add(offset)) };
        }
        usize::from_ne_bytes(bytes)
    }

    #[inline(always)]
    unsafe fn byte(self, at: usize) -> u8 {
        // SAFETY: the caller promises the byte.
        unsafe { access::load_byte(self.0.wrapping_add(at)) }
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
    unsafe fn word(self, _at: usize) -> usize {
        usize::from_ne_bytes([self.0; WORD_BYTES])
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

    #[inline(always)]
    fn is_whole(self, step_bytes: usize) -> bool {
        (self.dest.addr() | self.length_bytes).is_multiple_of(step_bytes)
    }
}

/// How a run is stored.
#[derive(Clone, Copy)]
struct Way {
    /// From the last byte to the first.
    down: bool,
    /// Around the cache.
    streams: bool,
    /// In wide registers.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_feature = "sse2")),
        allow(dead_code, reason = "wide registers are on x86-64 only")
    )]
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
    let streaming = kind == StoreKind::Streaming;
    let long = run.length_bytes >= cpu.streams_from_bytes();
    let streams = cfg!(target_arch = "x86_64") && streaming && cpu.can_write_back() && long;
    let wide = run.length_bytes >= WIDE_FROM_BYTES && cpu.wide_stores();
    let way = Way { down, streams, wide };
    if (wide && run.is_whole(BLOCK_BYTES)) || (!wide && run.is_whole(WORD_BYTES)) {
        // SAFETY: the caller promises both ranges.
        unsafe { whole(run, way) }
    } else {
        // SAFETY: the caller promises both ranges.
        unsafe { cut_up(cpu, run.dest, run.feed, run.length_bytes, way) }
    }
    if streaming && !streams {
        // Other processors have no stores around the cache, and some are faster through it with a few bytes: each line is
        // written back once at the end.
        // SAFETY: the caller promises the range.
        unsafe { write_back(cpu, run.dest, run.length_bytes) }
    }
}

/// Stores a run that begins or ends inside a block.
///
/// Takes its arguments in registers, like the functions below, and is not part of `copy`, which would save more
/// registers on the stack for it.
#[inline(never)]
unsafe fn cut_up<F: Feed>(cpu: &Cpu, dest: *mut u8, feed: F, length_bytes: usize, way: Way) {
    let (first, middle, last) = Run { dest, feed, length_bytes }.cut(BLOCK_BYTES, way.down);
    // What is streamed meanwhile need not be waited for again.
    #[cfg(target_arch = "x86_64")]
    if way.streams {
        super::x86_64::prefetchw(last.dest);
    }
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge(cpu, first.dest, first.feed, first.length_bytes, way) };
    // SAFETY: the piece lies in the range that the caller promises, and begins at a block.
    unsafe { whole(middle, way) };
    // SAFETY: the piece lies in the range that the caller promises.
    unsafe { edge(cpu, last.dest, last.feed, last.length_bytes, way) };
}

/// Stores whole aligned words, if in wide registers then whole blocks.
#[inline(always)]
unsafe fn whole<F: Feed>(run: Run<F>, way: Way) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if way.wide {
        // SAFETY: the caller promises the blocks, and the processor has these registers.
        return unsafe { wide_blocks(run, way) };
    }
    if way.streams {
        // SAFETY: the caller promises the words.
        unsafe { words::<F, true>(run.dest, run.feed, run.length_bytes, way.down) }
    } else {
        // SAFETY: the caller promises the words.
        unsafe { words::<F, false>(run.dest, run.feed, run.length_bytes, way.down) }
    }
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

/// Stores a piece of one block: streamed where it is made of whole words, else through the cache.
#[inline]
unsafe fn edge<F: Feed>(cpu: &Cpu, dest: *mut u8, feed: F, length_bytes: usize, way: Way) {
    let run = Run { dest, feed, length_bytes };
    if run.is_whole(WORD_BYTES) {
        // SAFETY: the caller promises the piece; it is aligned.
        return unsafe { whole(run, Way { wide: false, ..way }) };
    }
    let (first, middle, last) = run.cut(WORD_BYTES, way.down);
    // SAFETY: the caller promises the piece.
    unsafe { bytes(first.dest, first.feed, first.length_bytes, way.down) };
    // SAFETY: the caller promises the piece.
    unsafe { words::<F, false>(middle.dest, middle.feed, middle.length_bytes, way.down) };
    // SAFETY: the caller promises the piece.
    unsafe { bytes(last.dest, last.feed, last.length_bytes, way.down) };
    if way.streams {
        // SAFETY: the caller promises the piece.
        unsafe { write_back(cpu, dest, length_bytes) };
    }
}

/// Stores whole aligned words, as many as possible 4 at a time: more need more registers than a function has for free.
#[inline(never)]
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
        let value = unsafe { feed.word(at) };
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
        *value = unsafe { feed.word(index.wrapping_mul(WORD_BYTES)) };
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
        // SAFETY: the caller promises the word.
        return unsafe { super::x86_64::movnti(dest, value) };
    }
    // SAFETY: the caller promises the word, which is aligned.
    unsafe { access::store_word(dest, value) }
}

#[inline]
unsafe fn bytes<F: Feed>(dest: *mut u8, feed: F, length_bytes: usize, down: bool) {
    for done in 0..length_bytes {
        let at = if down { length_bytes.wrapping_sub(done).wrapping_sub(1) } else { done };
        // SAFETY: the caller promises the bytes.
        let value = unsafe { feed.byte(at) };
        // SAFETY: the caller promises the bytes.
        unsafe { access::store_byte(dest.wrapping_add(at), value) };
    }
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
