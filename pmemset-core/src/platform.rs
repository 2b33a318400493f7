//! The two roles that a port fills: [`Platform`], the address space and the processor, and [`Source`], where bytes come from.
//!
//! # Porting guide
//! A port is one implementation of each trait, and one test that calls the [contract suite](crate::contract), which
//! names the duty that is not kept. This is a whole one, for a processor without memory management and without caches
//! that has ferroelectric memory (FRAM) at a fixed address. Address space is only kept account of there; where an MMU
//! is, `reserve` claims inaccessible addresses, `map` puts memory over them, and `unmap` the inaccessible addresses back.
//! ```
//! use std::sync::Mutex;
//!
//! use pmemset_core::arch::Cpu;
//! use pmemset_core::lock::SpinRwLock;
//! use pmemset_core::{Config, DeepFlush, Errno, Extent, Granularity, MapConfig, Platform, Set, Source, contract};
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
//! // SAFETY: `mark` gives no page away twice.
//! unsafe impl Platform for Toy {
//!     type Lock = SpinRwLock;
//!
//!     fn page_size_bytes(&self) -> usize {
//!         PAGE
//!     }
//!     fn cpu(&self) -> &Cpu {
//!         &Cpu::NONE // has no cache
//!     }
//!     fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
//!         let starts = (self.memory.start()..self.memory.end()).step_by(PAGE);
//!         let mut windows = starts.filter_map(|start| Extent::new(start, length_bytes));
//!         windows.find(|window| window.start() % alignment_bytes == 0 && self.mark(*window, false).is_some()).ok_or(Errno::NOMEM)
//!     }
//!     fn reserve_at(&self, window: Extent) -> Result<(), Errno> {
//!         self.mark(window, false).ok_or(Errno::EXIST)
//!     }
//!     unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
//!         self.mark(window, true).ok_or(Errno::INVAL)
//!     }
//! }
//!
//! /// The memory: stores are durable at once, at one address only.
//! struct Fram(Extent);
//!
//! // SAFETY: the memory is always there, readable and writable.
//! unsafe impl Source for Fram {
//!     fn length_bytes(&self) -> Result<u64, Errno> {
//!         Ok(self.0.length_bytes() as u64)
//!     }
//!     fn alignment_bytes(&self) -> usize {
//!         PAGE
//!     }
//!     fn granularity(&self) -> Result<Granularity, Errno> {
//!         Ok(Granularity::Byte)
//!     }
//!     fn fixed_address(&self) -> Option<usize> {
//!         Some(self.0.start())
//!     }
//!     unsafe fn map(&self, window: Extent, _: u64) -> Result<(), Errno> {
//!         if self.0.covers(window) { Ok(()) } else { Err(Errno::NXIO) }
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
//! }
//!
//! // Some heap stands in for the chip here.
//! let heap = vec![0_u8; (PAGES + 1) * PAGE].leak().as_mut_ptr().expose_provenance();
//! let memory = Extent::new(heap.next_multiple_of(PAGE), PAGES * PAGE).unwrap();
//! let (toy, fram) = (Toy { memory, taken: Mutex::new([false; PAGES]) }, Fram(memory));
//! let mut report = |duty: &str, finding: contract::Finding| match finding {
//!     Ok(contract::Outcome::Kept) => {}
//!     Ok(contract::Outcome::Skipped(reason)) => println!("{duty} is not checked: {reason}"),
//!     Err(breach) => panic!("{duty}: {breach}"),
//! };
//! contract::platform(&toy, &mut report);
//! contract::source(&toy, &fram, &mut report);
//!
//! let set: Set<'_, _, &Fram, 8> = Set::new(&toy, Config::new(Granularity::Byte));
//! let mapped = set.map(&fram, &MapConfig::new().length(4 * PAGE)).unwrap();
//! assert_eq!(mapped.part, memory.slice(0, 4 * PAGE).unwrap());
//! ```
#![allow(unsafe_code, reason = "the traits' duties are what the memory safety of a set rests on")]

use crate::arch::{self, Cpu, StoreKind};
use crate::badblock::{BadBlockPolicy, BadBlocks, ClearError, McsafeError};
use crate::cell::Shutdown;
use crate::error::{Errno, PrepareError};
use crate::shutdown::{DeviceError, DeviceId};
use crate::{Extent, Granularity, Span};

/// The address space that parts live in, and how stores of this processor reach the medium.
///
/// # Safety
///
/// A reservation returned by [`reserve`](Self::reserve) or accepted by [`reserve_at`](Self::reserve_at) belongs to the
/// caller alone until it is released: nothing else is ever placed there.
pub unsafe trait Platform: Sync {
    /// The lock that keeps the books of a set consistent.
    ///
    /// [`lock`](crate::lock) has one that spins and one that masks interrupts; a platform whose threads can sleep
    /// brings one whose waiters do.
    type Lock: lock_api::RawRwLock;

    /// Returns the unit of address space in bytes, a power of two that never changes.
    fn page_size_bytes(&self) -> usize;

    /// Returns the processor's way of writing back cache lines.
    fn cpu(&self) -> &Cpu;

    /// Returns the alignment in bytes, a power of two, at which a mapping of `length_bytes` gets the largest pages.
    fn alignment_for(&self, length_bytes: usize) -> usize {
        let _ = length_bytes;
        self.page_size_bytes()
    }

    /// Reserves address space: inaccessible, nothing behind it, start on a multiple of `alignment_bytes`.
    ///
    /// The core guarantees: `length_bytes` is a multiple of the page size and not 0; `alignment_bytes` is a power of
    /// two and at least the page size.
    ///
    /// # Errors
    ///
    /// The platform's reason; nothing is reserved then.
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno>;

    /// Reserves exactly `window`, which is free of anything else; also used to extend a reservation in place.
    ///
    /// # Errors
    ///
    /// `Errno::EXIST` when something else is there; nothing is reserved then.
    fn reserve_at(&self, window: Extent) -> Result<(), Errno>;

    /// Gives back `window`: any piece of what was reserved; the rest stays as it is.
    ///
    /// # Errors
    ///
    /// The platform's reason; the address space then stays reserved.
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

/// What [`Source::prepare`] did to the length of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Growth {
    /// Length in bytes before.
    pub from_bytes: u64,
    /// Length in bytes after.
    pub to_bytes: u64,
}

/// What a deep flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeepFlush {
    /// The bytes are in the most reliable domain that software can reach.
    Done,
    /// The medium says that there is nothing beyond an ordinary flush.
    NotNeeded,
    /// The medium has a deep flush, and this program may not use it.
    NotPermitted,
}

/// Where the bytes of parts come from.
///
/// # Safety
///
/// After [`map`](Self::map) has returned `Ok`, every byte of the window is readable and writable memory of the source,
/// until [`unmap`](Self::unmap) returns `Ok` for it. Neither touches an address outside its window.
pub unsafe trait Source: Send + Sync {
    /// Returns the length in bytes, asked anew.
    ///
    /// # Errors
    ///
    /// The platform's reason.
    fn length_bytes(&self) -> Result<u64, Errno>;

    /// Returns the alignment in bytes, a power of two, of offset, length and address of its mappings.
    fn alignment_bytes(&self) -> usize;

    /// Returns how stores to its mappings become durable; never finer than what is proven.
    ///
    /// # Errors
    ///
    /// The platform's reason why it could not be found out.
    fn granularity(&self) -> Result<Granularity, Errno>;

    /// Returns the address of its first byte where the source can be at no other (memory without an MMU).
    fn fixed_address(&self) -> Option<usize> {
        None
    }

    /// Returns the width in bytes, a power of two, of the narrowest store that the medium takes; 1 where any will do.
    ///
    /// A set refuses a source whose granule is wider than the narrowest store of its platform's copies:
    /// [`Cpu::narrowest_store_bytes`]. Stores that the program makes itself, through a pointer or a slice, are its own
    /// duty.
    fn write_granule_bytes(&self) -> usize {
        1
    }

    /// Makes sure that the bytes of `range` exist and are backed, growing the source if it may grow.
    ///
    /// May answer from memory when [`map`](Self::map) checks again. Only ever enlarges, also when called by several
    /// threads at once. After a power cut in the middle the source has the old or the new length.
    ///
    /// # Errors
    ///
    /// See [`PrepareError`]; the length is the old one then.
    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        let length_bytes = self.length_bytes().map_err(PrepareError::Length)?;
        if range.end() <= length_bytes { Ok(None) } else { Err(PrepareError::TooSmall { length_bytes }) }
    }

    /// Returns whether [`prepare`](Self::prepare) of `range` would have nothing to do; may answer from memory, like it.
    ///
    /// `false` where that takes more than a glance. The set then looks whether there is room before it prepares.
    fn holds(&self, range: Span) -> bool {
        let _ = range;
        false
    }

    /// Takes back `growth`, unless something has come to need it since.
    fn undo_growth(&self, growth: Growth) {
        let _ = growth;
    }

    /// Maps the bytes from `offset` on into `window`, in place of the reservation's placeholder.
    ///
    /// The core guarantees: the window lies in a reservation, holds no mapping, and window and offset are multiples of
    /// [`alignment_bytes`](Self::alignment_bytes). On failure the placeholder is there again.
    ///
    /// # Errors
    ///
    /// The platform's reason; also when the source has become too short meanwhile.
    ///
    /// # Safety
    ///
    /// The caller holds the reservation.
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), Errno>;

    /// Takes the mapping out of `window` and puts the placeholder back.
    ///
    /// # Errors
    ///
    /// The platform's reason; the mapping is still there then.
    ///
    /// # Safety
    ///
    /// `window` was mapped by one call of [`map`](Self::map) with this `offset`, and nobody uses it any more.
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno>;

    /// Makes the bytes of `range` durable at page granularity; `range` is on page boundaries, `offset` is its first
    /// byte in the source. Interrupted calls are repeated, failed ones are not.
    ///
    /// # Errors
    ///
    /// The platform's reason; the bytes may be lost then. `EOPNOTSUPP` where the granularity is finer than a page and
    /// the medium has no such call.
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno>;

    /// Pushes the bytes of `range` to the most reliable domain that software can reach.
    ///
    /// The core has already made them durable in the ordinary way: written back cache lines and fenced, or called
    /// [`sync`](Self::sync). `range` lies in one mapping of this source, `offset` is its first byte in the source;
    /// neither need be aligned.
    ///
    /// # Errors
    ///
    /// The platform's reason why the flush failed.
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno>;

    /// Returns the live shutdown record, where one was attached: see [`Checked`](crate::Checked).
    ///
    /// Without one, nobody asks for the [`device`](Self::device).
    fn shutdown(&self) -> Option<Shutdown<'_>> {
        None
    }

    /// Appends to the empty `id` the ids of the memory modules behind the source, in an order that does not change,
    /// and returns how often they have lost power in a way that may have lost stores.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`]. A count that cannot be had is not 0, and a source without modules is not supported.
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let _ = id;
        Err(DeviceError::Unsupported)
    }

    /// Returns when bad blocks keep the source from being mapped: see [`Checked`](crate::Checked).
    fn bad_block_policy(&self) -> BadBlockPolicy {
        BadBlockPolicy::Off
    }

    /// Lists the bad blocks that touch `range`, the lowest first, as many as `blocks` has room for.
    ///
    /// You must list them in ascending order, none touching another; each may reach beyond `range`, since it is
    /// rounded to what can be cleared. [`Collector`](crate::badblock::Collector) does this.
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        let _ = (range, blocks);
        BadBlocks::Unknown(Errno::OPNOTSUPP)
    }

    /// Clears what is bad in `block`, and makes sure that it is: these bytes are 0 then. Good ones keep their contents.
    ///
    /// After a power cut in the middle some of it is cleared.
    ///
    /// # Errors
    ///
    /// See [`ClearError`].
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        let _ = block;
        Err(ClearError::Unsupported)
    }

    /// Copies bytes from `offset` on out of the source, and survives damaged memory
    /// (`pmemset_source_pread_mcsafe`).
    ///
    /// # Errors
    ///
    /// See [`McsafeError`].
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        let _ = (offset, bytes);
        Err(McsafeError::Unsupported)
    }

    /// Copies bytes into the source from `offset` on, and survives damaged memory
    /// (`pmemset_source_pwrite_mcsafe`).
    ///
    /// # Errors
    ///
    /// See [`McsafeError`].
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let _ = (offset, bytes);
        Err(McsafeError::Unsupported)
    }
}
