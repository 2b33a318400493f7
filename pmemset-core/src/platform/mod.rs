//! The address space and the processor, [`Platform`]: with [`Source`](crate::Source) the two roles that a port fills.
#![allow(unsafe_code, reason = "the trait's duties are what the memory safety of a set rests on")]

mod handles;

pub use handles::WithLock;

use crate::arch::{Cpu, StoreKind};
use crate::error::ReserveError;
use crate::{Errno, Extent};

/// The address space that parts live in, and how stores of this processor reach the medium.
///
/// # Safety
///
/// A reservation returned by [`reserve`](Self::reserve) or accepted by [`reserve_at`](Self::reserve_at) belongs to the
/// caller alone until it is released: nothing else is ever placed there.
///
/// Platforms whose [`space`](Self::space) is of one type and equal have one address space, and reserve in it in one
/// way: sources of that space can map into the reservations of each. A platform that reserves in a way of its own has a
/// type of its own.
pub unsafe trait Platform: Sync {
    /// The kind of address space. A set maps sources of the same kind only, so that bytes are never mapped into
    /// addresses that are not theirs; a type without content, where there is one such space, costs nothing.
    type Space: Copy + Eq + Send + Sync;

    /// The lock that keeps the books of a set consistent.
    ///
    /// The module `lock` has one that spins and one that masks interrupts, each with a feature; a platform whose
    /// threads can sleep brings one whose waiters do.
    type Lock: crate::lock::RawLock;

    /// The most segments that a set or a reservation here ever has room for, 1 to 65,536. Up to 64, the code for larger
    /// ones is not built.
    const SEGMENTS_MAX: usize = 65_536;

    /// Returns which address space it is, where there are several of the kind; always the same.
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

    /// Returns how much of `ahead_bytes`, the room that a set was told to reserve with a new part
    /// ([`Config::reserve_ahead`](crate::Config::reserve_ahead)), it is to reserve here: all of it.
    ///
    /// Nothing where the addresses behind a part are kept for it anyway, as in a [`Reservation`](crate::Reservation),
    /// whose window would only be filled sooner.
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

    /// Returns whether [`reserve`](Self::reserve) would succeed now, where a glance tells; asked before a source grows.
    ///
    /// # Errors
    ///
    /// What `reserve` would say.
    #[inline]
    fn may_reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ReserveError> {
        let _ = (length_bytes, alignment_bytes);
        Ok(())
    }

    /// Returns whether [`reserve_at`](Self::reserve_at) would succeed now, where a glance tells.
    ///
    /// # Errors
    ///
    /// What `reserve_at` would say.
    #[inline]
    fn may_reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let _ = window;
        Ok(())
    }

    /// Returns whether [`release`](Self::release) takes out what is mapped in the window, too, as `munmap(2)` does.
    ///
    /// A segment whose addresses go with it then goes in one call, if its source [agrees](crate::Source::goes_with_addresses).
    #[inline]
    fn release_unmaps(&self) -> bool {
        false
    }

    /// Gives back `window`: any piece of what was reserved; the rest stays as it is. A platform that cannot take a
    /// piece refuses it.
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

    /// Writes back every cache line that `range` touches where it is dirty, and drops it from the caches, once each; not
    /// ordered until [`full_fence`](Self::full_fence).
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

    /// Learns that the program gets a pointer to `range`, and may read and store there from now on.
    ///
    /// Of use to simulators, which have to know what is read; does nothing elsewhere, and costs nothing.
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
