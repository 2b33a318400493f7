//! The address space and the processor: [`Platform`]. A port implements it and [`Source`](crate::Source).
#![allow(unsafe_code, reason = "the trait's duties are what the memory safety of a set rests on")]

mod handles;

pub use handles::WithLock;

use crate::arch::{Cpu, StoreKind};
use crate::error::ReserveError;
use crate::{Errno, Extent};

/// The address space that parts live in, and how stores of this processor reach the medium.
///
/// A platform that is made of another one calls [`forward_platform!`](crate::forward_platform).
///
/// # Safety
///
/// A reservation returned by [`reserve`](Self::reserve) or accepted by [`reserve_at`](Self::reserve_at) belongs to the
/// caller alone until it is released: nothing else is ever placed there.
///
/// Platforms whose [`space`](Self::space) has one type and is equal share one address space, and reserve in it in the
/// same way, so that a source of that space can map into the reservations of each. A platform that reserves in another
/// way needs another type.
///
/// No method panics: what a set was mapping or unmapping then is neither here nor there.
pub unsafe trait Platform: Sync {
    /// The kind of address space. A set maps only sources of the same kind, so that no source maps into addresses of
    /// another space. If there is only one such space, use a type without content; it costs nothing.
    type Space: Copy + Eq + Send + Sync;

    /// The lock that keeps the books of a set consistent.
    ///
    /// The module `lock` has one that spins and one that masks interrupts, each with a feature. If the platform's
    /// threads can sleep, use a lock whose waiters sleep.
    type Lock: crate::lock::RawLock;

    /// The most segments that a set or a reservation here ever has room for, 1 to 65,536. Up to 64, the code for larger
    /// ones is not built.
    const SEGMENTS_MAX: usize = 65_536;

    /// Whether a set lets others look up while it calls the platform, or a source, to map or unmap. Those who look up
    /// what is being unmapped wait then, and all others do not: beside a thread that maps and removes all the time
    /// looking up takes about as long as alone, instead of a hundred times as long.
    ///
    /// It takes a second lock for each set, and code. So by default it is so where there may be more than 64 segments,
    /// unless the [lock](Self::Lock) [keeps others from running](crate::lock::RawLock::LETS_OTHERS_RUN) anyway. Sets
    /// are right with any number of threads either way. Say `false` if one thread uses a set, `true` if a few parts are
    /// looked up by many.
    const UNLOCKED_CALLS: bool = Self::SEGMENTS_MAX > 64 && <Self::Lock as crate::lock::RawLock>::LETS_OTHERS_RUN;

    /// Returns the address space, if there are several of the kind; always the same.
    fn space(&self) -> Self::Space;

    /// Returns the unit of address space in bytes, a power of two that never changes.
    fn page_size_bytes(&self) -> usize;

    /// Returns the processor's way of writing back cache lines.
    fn cpu(&self) -> &Cpu;

    /// Returns the alignment in bytes, a power of two, at which a mapping of `length_bytes` gets the largest pages.
    fn alignment_for(&self, length_bytes: usize) -> usize {
        let _ = length_bytes;
        self.page_size_bytes()
    }

    /// Returns how much of `ahead_bytes` a set is to reserve here behind a new part
    /// ([`Config::reserve_ahead`](crate::Config::reserve_ahead)); all of it by default.
    ///
    /// Return 0 if no other mapping can take the addresses behind a part, as in a [`Reservation`](crate::Reservation):
    /// reserving them would only fill its window sooner.
    #[inline]
    fn room_ahead_bytes(&self, ahead_bytes: usize) -> usize {
        ahead_bytes
    }

    /// Reserves address space: inaccessible, nothing behind it, start on a multiple of `alignment_bytes`.
    ///
    /// The core guarantees: `length_bytes` is a multiple of the page size and not 0; `alignment_bytes` is a power of
    /// two and at least the page size.
    ///
    /// # Errors
    ///
    /// See [`ReserveError`]; nothing is reserved then.
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError>;

    /// Reserves exactly `window`, which is free of anything else; also used to extend a reservation in place.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Occupied`] when something else is there; nothing is reserved then.
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError>;

    /// Returns whether [`reserve`](Self::reserve) would succeed now, if that is cheap to find out. Sets call this
    /// before a source grows.
    ///
    /// # Errors
    ///
    /// What `reserve` would say.
    #[inline]
    fn may_reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ReserveError> {
        let _ = (length_bytes, alignment_bytes);
        Ok(())
    }

    /// Returns whether [`reserve_at`](Self::reserve_at) would succeed now, if that is cheap to find out.
    ///
    /// # Errors
    ///
    /// What `reserve_at` would say.
    #[inline]
    fn may_reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let _ = window;
        Ok(())
    }

    /// Returns whether [`release`](Self::release) also unmaps what is mapped in the window, as `munmap(2)` does.
    ///
    /// A set then unmaps a segment and releases its addresses in one call, if the source
    /// [agrees](crate::Source::goes_with_addresses).
    #[inline]
    fn release_unmaps(&self) -> bool {
        false
    }

    /// Releases `window`, any piece of what was reserved; the rest stays reserved. A platform that cannot release a
    /// piece refuses.
    ///
    /// # Errors
    ///
    /// The platform's reason; all of `window` then stays reserved, and mapped what was mapped in it.
    ///
    /// # Safety
    ///
    /// The caller has reserved all of `window`, in one call or several, and no source is mapped in it. Where it
    /// [unmaps](Self::release_unmaps), whole mappings may be there of sources that [go with their
    /// addresses](crate::Source::goes_with_addresses), which nobody uses any more.
    unsafe fn release(&self, window: Extent) -> Result<(), Errno>;

    /// Writes back every cache line that `range` touches, once each; not ordered until [`fence`](Self::fence).
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    #[inline]
    unsafe fn write_back(&self, range: Extent) {
        // SAFETY: the caller's promise is the one that the processor's instructions need.
        unsafe { self.cpu().write_back(range) }
    }

    /// Waits until everything written back or streamed before is in the power-fail domain.
    #[inline]
    fn fence(&self) {
        self.cpu().fence();
    }

    /// Writes back every cache line that `range` touches where it is dirty, and drops it from the caches, once each;
    /// not ordered until [`full_fence`](Self::full_fence).
    ///
    /// You must not lose what this host has stored there, nor what is beside `range` in its lines. Asked for only where
    /// the processor [can write back](Cpu::can_write_back).
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    #[inline]
    unsafe fn write_back_invalidate(&self, range: Extent) {
        // SAFETY: the caller's promise is the one that the processor's instructions need.
        unsafe { self.cpu().write_back_invalidate(range) }
    }

    /// Orders everything before, loads and dropped lines too, before everything later: what is loaded after it comes
    /// from memory as it was after the lines had been dropped, or later.
    #[inline]
    fn full_fence(&self) {
        self.cpu().full_fence();
    }

    /// Copies bytes, ascending where `dest` is below `source` or the ranges are apart, else descending.
    ///
    /// Words (8 bytes on 64-bit processors, 4 on 32-bit ones) that are aligned in `dest` are stored by one instruction:
    /// they never tear. Memory that takes no narrower stores than words gets [whole words](Cpu::storing_whole_words).
    /// Both ranges may be in parts that others read and store meanwhile: no access is one that could race in the sense
    /// of the language.
    ///
    /// # Safety
    ///
    /// `source` is readable and `dest` writable for `length_bytes` bytes; the ranges may overlap.
    #[inline]
    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        // SAFETY: the caller's promise is passed on as it is; parts consist of whole words.
        unsafe { self.cpu().copy(dest, source, length_bytes, kind) }
    }

    /// Copies `length_bytes` bytes of a part to `dest`, which is ordinary memory of the caller's.
    ///
    /// Words that are aligned in `source` are loaded by one instruction, wherever they go, and others may store to the
    /// part meanwhile, as for [`copy`](Self::copy).
    ///
    /// # Safety
    ///
    /// `source` is mapped and readable and `dest` writable for `length_bytes` bytes.
    #[inline]
    unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { self.cpu().read(dest, source, length_bytes) }
    }

    /// Is called when the program gets a pointer to `range`, through which it may read and store from now on.
    ///
    /// For simulators, which must know what is read. By default it does nothing and costs nothing.
    #[inline]
    fn lend(&self, range: Extent) {
        let _ = range;
    }

    /// Fills bytes with `value`, with stores as for [`copy`](Self::copy).
    ///
    /// # Safety
    ///
    /// `dest` is writable for `length_bytes` bytes.
    #[inline]
    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        // SAFETY: the caller's promise is passed on as it is; parts consist of whole words.
        unsafe { self.cpu().fill(dest, value, length_bytes, kind) }
    }
}
