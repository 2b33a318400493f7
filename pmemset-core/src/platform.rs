//! The address space and the processor, [`Platform`]: with [`Source`](crate::Source) the two roles that a port fills.
//!
//! # Porting guide
//! A port is one implementation of each trait, and one test that calls the suite `contract` (a feature), which
//! names the duty that is not kept. This is a whole one, for a processor without memory management and without caches
//! that has ferroelectric memory (FRAM) at a fixed address. Address space is only kept account of there; where an MMU
//! is, `reserve` claims inaccessible addresses, `map` puts memory over them, and `unmap` the inaccessible addresses back.
//! ```
//! use std::sync::Mutex;
//!
//! use pmemset_core::arch::Cpu;
//! use pmemset_core::error::{MapFailure, ReserveError};
//! use pmemset_core::lock::SpinRwLock;
//! use pmemset_core::{Config, DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health};
//! use pmemset_core::{MapConfig, Platform, Set, Slab, Source, contract};
//!
//! const PAGE: usize = 512;
//! const PAGES: usize = 64;
//!
//! /// The address space: which pages of it are taken.
//! struct Toy {
//!     memory: Extent,
//!     taken: Mutex<[bool; PAGES]>,
//! }
//!
//! impl Toy {
//!     /// Marks the pages of `window`, if all of them were `before`.
//!     fn mark(&self, window: Extent, before: bool) -> Option<()> {
//!         let first = window.start().checked_sub(self.memory.start())? / PAGE;
//!         let mut taken = self.taken.lock().unwrap();
//!         let pages = taken.get_mut(first..first + window.length_bytes() / PAGE)?;
//!         pages.iter().all(|taken| *taken == before).then(|| pages.fill(!before))
//!     }
//! }
//!
//! /// The chip's addresses: sources of other address spaces do not compile.
//! #[derive(Clone, Copy, PartialEq, Eq)]
//! struct Addresses;
//!
//! // SAFETY: `mark` gives no page away twice.
//! unsafe impl Platform for Toy {
//!     type Lock = SpinRwLock;
//!     type Space = Addresses;
//!
//!     fn space(&self) -> Addresses {
//!         Addresses
//!     }
//!     fn page_size_bytes(&self) -> usize {
//!         PAGE
//!     }
//!     fn cpu(&self) -> &Cpu {
//!         &Cpu::NONE // has no cache
//!     }
//!     fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
//!         let starts = (self.memory.start()..self.memory.end()).step_by(PAGE);
//!         let mut windows = starts.filter_map(|start| Extent::new(start, length_bytes));
//!         let mut aligned = windows.by_ref().filter(|window| window.start() % alignment_bytes == 0);
//!         aligned.find(|window| self.mark(*window, false).is_some()).ok_or(ReserveError::CannotFit)
//!     }
//!     fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
//!         self.mark(window, false).ok_or(ReserveError::Occupied)
//!     }
//!     unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
//!         self.mark(window, true).ok_or(Errno::INVAL)
//!     }
//! }
//!
//! /// The memory: stores are durable at once, at one address only.
//! struct Fram {
//!     memory: Extent,
//!     failed: FailedWriteBack,
//! }
//!
//! // SAFETY: the memory is always there, readable and writable.
//! unsafe impl Source for Fram {
//!     type Space = Addresses;
//!
//!     fn space(&self) -> Addresses {
//!         Addresses
//!     }
//!     fn length_bytes(&self) -> Result<u64, Errno> {
//!         Ok(self.memory.length_bytes() as u64)
//!     }
//!     fn alignment_bytes(&self) -> usize {
//!         PAGE
//!     }
//!     fn granularity(&self) -> Result<Granularity, Errno> {
//!         Ok(Granularity::Byte)
//!     }
//!     fn fixed_address(&self) -> Option<usize> {
//!         Some(self.memory.start())
//!     }
//!     unsafe fn map(&self, window: Extent, _: u64) -> Result<(), MapFailure> {
//!         if self.memory.covers(window) { Ok(()) } else { Err(MapFailure::Refused(Errno::NXIO)) }
//!     }
//!     unsafe fn unmap(&self, _: Extent, _: u64) -> Result<(), Errno> {
//!         Ok(())
//!     }
//!     fn sync(&self, _: Extent, _: u64) -> Result<(), Errno> {
//!         Ok(())
//!     }
//!     fn deep_flush(&self, _: Extent, _: u64) -> Result<DeepFlush, Errno> {
//!         Ok(DeepFlush::NotNeeded)
//!     }
//!     fn failed_write_back(&self) -> &FailedWriteBack {
//!         &self.failed
//!     }
//!     fn health(&self) -> Option<&dyn Health> {
//!         None // has no bad blocks, and no power cut loses a store
//!     }
//! }
//!
//! // Some heap stands in for the chip here.
//! let heap = vec![0_u8; (PAGES + 1) * PAGE].leak().as_mut_ptr().expose_provenance();
//! let memory = Extent::new(heap.next_multiple_of(PAGE), PAGES * PAGE).unwrap();
//! let toy = Toy { memory, taken: Mutex::new([false; PAGES]) };
//! let fram = Fram { memory, failed: FailedWriteBack::new() };
//! let mut report = |duty: &str, finding: contract::Finding| match finding {
//!     Ok(contract::Outcome::Kept) => {}
//!     Ok(contract::Outcome::Skipped(reason)) => println!("{duty} is not checked: {reason}"),
//!     Err(breach) => panic!("{duty}: {breach}"),
//! };
//! contract::platform(&toy, &mut report);
//! contract::source(&toy, &fram, &mut report);
//!
//! let mut slab = Slab::<&Fram, 8>::new();
//! let set = Set::new(&toy, Config::new(Granularity::Byte), &mut slab);
//! let part = set.map(&fram, &MapConfig::new().length(4 * PAGE)).unwrap();
//! assert_eq!(part.extent(), memory.slice(0, 4 * PAGE).unwrap());
//! ```
//! Keep the list of the duties that are skipped in your test, and have it fail when there is another: what is no longer
//! checked is easily missed. `examples/own-platform` does so. A page may be as small as a machine word, and need not be the
//! processor's. The lock is any of [`lock_api`] 0.4.
//!
//! # Memory that takes no narrow stores
//! [`write_granule_bytes`](crate::Source::write_granule_bytes) is about the memory that is *mapped*: what a store of the
//! processor must not be narrower than.
//!
//! - Memory in words, such as FRAM with error correction: the granule is 4, and the platform's processor
//!   [stores whole words](Cpu::storing_whole_words); `examples/cortex-m` has it.
//! - A medium that is written in units wider than any store, 8 to 32 bytes of flash or MRAM, or blocks of a disk, cannot be
//!   mapped: no copy is as wide, and a set refuses such a granule. *Stage* it: `map` reads the bytes into memory, `sync` and
//!   `unmap` write whole units back from there. The granule is then 1, that of the memory; the granularity is `Page`; the page
//!   is a multiple of the unit; `deep_flush`, whose ranges know no pages, comes after `sync` and need do nothing. So
//!   `reserve` has to hand out addresses with memory behind them. `examples/own-platform` is a whole port of this kind.
//!
//! Each mapping of a source that stages is a copy. Bytes that are mapped twice differ until one is written back, and then
//! the last one written back stays. Say so to your users, or answer `EBUSY` where the bytes are mapped already; the suite
//! cannot see what `sync` does then, and skips that duty.
#![allow(unsafe_code, reason = "the trait's duties are what the memory safety of a set rests on")]

use crate::Extent;
use crate::arch::{self, Cpu, StoreKind};
use crate::error::{Errno, ReserveError};

/// The address space that parts live in, and how stores of this processor reach the medium.
///
/// # Safety
///
/// A reservation returned by [`reserve`](Self::reserve) or accepted by [`reserve_at`](Self::reserve_at) belongs to the
/// caller alone until it is released: nothing else is ever placed there.
///
/// Platforms whose [`space`](Self::space) is of one type and equal have one address space, and reserve in it in one way:
/// sources of that space can map into the reservations of each. A platform that reserves in a way of its own has a type
/// of its own.
pub unsafe trait Platform: Sync {
    /// The kind of address space. A set maps sources of the same kind only, so that bytes are never mapped into addresses
    /// that are not theirs; a type without content, where there is one such space, costs nothing.
    type Space: Copy + Eq + Send + Sync;

    /// The lock that keeps the books of a set consistent.
    ///
    /// The module `lock` has one that spins and one that masks interrupts, each with a feature; a platform whose threads
    /// can sleep brings one whose waiters do.
    type Lock: lock_api::RawRwLock;

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
    /// Nothing where the addresses behind a part are kept for it anyway, as in a [`Reservation`](crate::Reservation), whose
    /// window would only be filled sooner.
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

    /// Gives back `window`: any piece of what was reserved; the rest stays as it is. A platform that cannot take a piece
    /// refuses it.
    ///
    /// # Errors
    ///
    /// The platform's reason; all of `window` then stays reserved.
    ///
    /// # Safety
    ///
    /// The caller has reserved all of `window`, in one call or several, and no source is mapped in it.
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
        let cpu = self.cpu();
        if cpu.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on; parts consist of whole words.
            return unsafe { arch::copy_words(cpu, dest, source, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { arch::copy(cpu, dest, source, length_bytes, kind) }
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
        unsafe { arch::read(self.cpu(), dest, source, length_bytes) }
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
        let cpu = self.cpu();
        if cpu.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on; parts consist of whole words.
            return unsafe { arch::fill_words(cpu, dest, value, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on as it is.
        unsafe { arch::fill(cpu, dest, value, length_bytes, kind) }
    }
}
