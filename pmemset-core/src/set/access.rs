//! The bytes of parts: reading, storing, copying, filling, and slices of them.
#![allow(unsafe_code, reason = "reads and stores bytes of mapped memory, and hands it out")]

use core::ops::Range;
use core::ptr;
use core::slice;

use super::Set;
use super::calls::{called, range_of};
use super::handle::{Operations, SetRef};
use super::part::Part;
use crate::arch::StoreKind;
use crate::error::PersistError;
use crate::set::copy::{CopyFlags, Strategy};
use crate::set::event::{Event, Observer};
use crate::{Extent, FailedWriteBack, Platform, Source};

pub(super) fn pointer(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Stores `bytes` from `dest` on (`pmemset_memcpy`); they are durable when it returns.
    ///
    /// Aligned words are stored whole: see [`Part`](Part#the-bytes-of-a-part). Reports [`Write`](Event::Write) before
    /// and [`Drain`](Event::Drain) after.
    ///
    /// Looks the destination up under the read lock; [`Part::write`] needs no look-up.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.write(address, b"remember me")?; // durable
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write(&self, dest: usize, bytes: &[u8]) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(dest, bytes.len())? else { return Ok(()) };
        self.pin(range)?.write_piece(range, bytes, CopyFlags::empty())
    }

    /// Stores `bytes` like [`write`](Self::write), in the way that `flags` say, and as durably. With flags that do not
    /// wait or do not flush, it does not report [`Drain`](Event::Drain).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.write_with(address, b"one", CopyFlags::NODRAIN)?;
    /// set.write_with(address + 64, b"two", CopyFlags::NODRAIN)?;
    /// set.drain(); // both are durable
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[doc(alias = "pmemset_memcpy")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write_with(&self, dest: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(dest, bytes.len())? else { return Ok(()) };
        self.pin(range)?.write_piece(range, bytes, flags)
    }

    /// Copies the bytes at the addresses `source` to `dest` on, which may overlap (`pmemset_memmove`).
    ///
    /// Otherwise like [`write_with`](Self::write_with); emits [`CopyWithin`](Event::CopyWithin) before.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.write(address, b"abc")?;
    /// set.copy_within(address..address + 3, address + 1, CopyFlags::empty())?; // "aabc"
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[doc(alias = "pmemset_memmove")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn copy_within(&self, source: Range<usize>, dest: usize, flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let length_bytes = source.len();
        let Some(source) = range_of(source.start, length_bytes)? else { return Ok(()) };
        let Some(dest) = range_of(dest, length_bytes)? else { return Ok(()) };
        let _from = self.pin(source)?;
        self.pin(dest)?.move_piece(dest, source, flags)
    }

    /// Fills `length_bytes` bytes from `dest` on with `value`, by default durably (`pmemset_memset`).
    ///
    /// Otherwise like [`write_with`](Self::write_with); emits [`Fill`](Event::Fill) before.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.fill(address, 0, 4096, CopyFlags::empty())?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[doc(alias = "pmemset_memset")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn fill(&self, dest: usize, value: u8, length_bytes: usize, flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(dest, length_bytes)? else { return Ok(()) };
        self.pin(range)?.fill_piece(range, value, flags)
    }

    /// Reads the bytes from `source` on.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// let mut bytes = [1; 8];
    /// set.read(address, &mut bytes)?;
    /// assert_eq!(bytes, [0; 8]);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    pub fn read(&self, source: usize, bytes: &mut [u8]) -> Result<(), PersistError> {
        let Some(range) = range_of(source, bytes.len())? else { return Ok(()) };
        self.pin(range)?.read_piece(range, bytes);
        Ok(())
    }
}

/// # The bytes of a part
///
/// The memory of a part is shared: other handles, other threads, other mappings of the same bytes and other processes
/// may store to it at any time. [`read`](Part::read), [`write`](Part::write), [`fill`](Part::fill) and
/// [`copy_within`](Part::copy_within) may be called at the same time, on the same bytes too. The result is defined. It
/// is no data race in the sense of the language, because each access is an instruction of the processor, or a volatile
/// access of memory that is not an allocation of the language:
///
/// - A *word* is 8 bytes on 64-bit processors and 4 on 32-bit ones. Aligned words that lie wholly in the range are
///   stored whole, and [`read`](Part::read) gets them whole, wherever the buffer lies: all of an old word or all of a
///   new one. What is left at the edges of a range is stored in aligned pieces of 4, 2 and 1 bytes.
/// - Of different words, some may be old and others new, in any mixture. `copy_within` reads whole words only if source
///   and destination have the same alignment.
/// - Reading a word does not synchronise with other memory: to pass data to another thread, use a lock or an atomic of
///   your own.
/// - Where [memory takes whole words only](crate::arch::Cpu::storing_whole_words), a store at the edge of a range
///   stores the rest of its word again, and undoes what another thread stores there at the same time.
///
/// [`as_slice`](Part::as_slice), [`as_mut_slice`](Part::as_mut_slice) and accesses through [`as_ptr`](Part::as_ptr)
/// follow the rules of the language: their callers promise that nobody else stores.
///
/// No library can prevent this: a file that is truncated under its mapping, and damaged memory (a bad block), raise a
/// signal or a machine check at the access, with and without slices.
impl<R: SetRef> Part<R> {
    /// Stores `bytes` from `offset` on; they are durable when it returns. See [`Set::write`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write(100, b"remember me")?; // durable
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they do not all fit in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), PersistError> {
        called!();
        self.write_flagged(offset, bytes, CopyFlags::empty())
    }

    /// As [`write`](Self::write), in the way that the flags want, and as durably.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, &[7; 4096], CopyFlags::NOFLUSH)?;
    /// part.persist(0, 4096)?; // now it is durable
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they do not all fit in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write_with(&self, offset: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        self.write_flagged(offset, bytes, flags)
    }

    #[inline]
    pub(super) fn write_flagged(&self, offset: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        let (set, strategy) = (self.owner(), Strategy::new(self.granularity(), flags));
        match self.extent().slice(offset, bytes.len()) {
            Some(range) if strategy.needs_only_fence() && !set.listens() && !FailedWriteBack::any() => {
                // SAFETY: the range lies in this part, which is pinned, and is as long as the slice.
                unsafe { set.platform_of().copy(pointer(range.start()), bytes.as_ptr(), bytes.len(), strategy.kind) };
                if strategy.fence {
                    set.platform_of().fence();
                }
                Ok(())
            }
            _ => self.write_any(offset, bytes, flags),
        }
    }

    /// As [`write_flagged`](Self::write_flagged), whoever listens, wherever the bytes go, and whatever has to follow.
    ///
    /// Apart, so that the common case is short enough to become part of the caller.
    #[inline(never)]
    fn write_any(&self, offset: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        let Some(range) = self.piece(offset, bytes.len())? else { return Ok(()) };
        self.write_piece(range, bytes, flags)
    }

    /// Copies the bytes at the offsets `source` to offset `dest` on, which may overlap; see [`Set::copy_within`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.copy_within(0..4096, 8192, CopyFlags::empty())?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn copy_within(&self, source: Range<usize>, dest: usize, flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let length_bytes = source.len();
        let Some(source) = self.piece(source.start, length_bytes)? else { return Ok(()) };
        let Some(dest) = self.piece(dest, length_bytes)? else { return Ok(()) };
        self.move_piece(dest, source, flags)
    }

    /// Fills `length_bytes` bytes from `offset` on with `value`, by default durably; see [`Set::fill`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.fill(4096, 0xff, 4096, CopyFlags::empty())?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn fill(&self, offset: usize, value: u8, length_bytes: usize, flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let Some(range) = self.piece(offset, length_bytes)? else { return Ok(()) };
        self.fill_piece(range, value, flags)
    }

    /// Reads the bytes from `offset` on.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write(0, b"abc")?;
    /// let mut bytes = [0; 3];
    /// part.read(0, &mut bytes)?;
    /// assert_eq!(&bytes, b"abc");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), PersistError> {
        let Some(range) = self.piece(offset, bytes.len())? else { return Ok(()) };
        self.read_piece(range, bytes);
        Ok(())
    }

    /// Returns the address of `length_bytes` bytes from `offset` on, valid while the part is pinned.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// let word: *mut u64 = part.as_ptr(0, 8)?.cast();
    /// // SAFETY: mapped as long as `part` lives, aligned, and nobody else has the source.
    /// unsafe { word.write(42) };
    /// part.persist(0, 8)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    pub fn as_ptr(&self, offset: usize, length_bytes: usize) -> Result<*mut u8, PersistError> {
        let range = self.piece(offset, length_bytes)?;
        if let Some(range) = range {
            self.owner().platform_of().lend(range);
        }
        Ok(range.map_or(ptr::dangling_mut(), |range| pointer(range.start())))
    }

    /// Returns `length_bytes` bytes from `offset` on, as they lie in the part.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    ///
    /// # Safety
    ///
    /// While the slice lives nobody stores to these bytes: not this program through another handle, part or mapping
    /// of the same bytes of the source, and no other process. The source is not shortened under the mapping.
    ///
    /// # Example
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write(0, b"a sorted table")?;
    /// // SAFETY: nobody else has the source, and nothing is stored while `table` is there.
    /// let table = unsafe { part.as_slice(0, 14) }?;
    /// assert!(table.ends_with(b"table"));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// The slice cannot outlive the handle, and the part cannot be removed while there is one:
    ///
    /// ```compile_fail,E0505
    /// use pmemset_core::{Part, Platform, Set, Source};
    ///
    /// fn last_words<P: Platform, S: Source<Space = P::Space> + Clone>(set: &Set<P, S>, part: Part<&Set<P, S>>) -> u8 {
    ///     // SAFETY: nobody else has the source.
    ///     let bytes = unsafe { part.as_slice(0, 8) }.unwrap();
    ///     let removed = set.remove(part);
    ///     bytes[0]
    /// }
    /// ```
    ///
    /// ```compile_fail,E0505
    /// use pmemset_core::{Part, SetRef};
    ///
    /// fn dropped<R: SetRef>(part: Part<R>) -> u8 {
    ///     // SAFETY: nobody else has the source.
    ///     let bytes = unsafe { part.as_slice(0, 8) }.unwrap();
    ///     drop(part);
    ///     bytes[0]
    /// }
    /// ```
    pub unsafe fn as_slice(&self, offset: usize, length_bytes: usize) -> Result<&[u8], PersistError> {
        let start = self.as_ptr(offset, length_bytes)?;
        // SAFETY: in this part, which is pinned as long as `self` is borrowed; the caller promises that nobody stores.
        Ok(unsafe { slice::from_raw_parts(start, length_bytes) })
    }

    /// Returns `length_bytes` bytes from `offset` on, as they lie in the part, to be stored to.
    ///
    /// What is stored is durable after [`persist`](Self::persist), and until then may reach the medium in any order.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    ///
    /// # Safety
    ///
    /// While the slice lives nobody else reads or stores to these bytes: not this program through another handle, part
    /// or mapping of the same bytes of the source, and no other process. The source is not shortened under the mapping.
    ///
    /// # Example
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let mut part = set.map(source, &MapConfig::new())?;
    /// // SAFETY: nobody else has the source.
    /// unsafe { part.as_mut_slice(0, 4) }?.copy_from_slice(b"data");
    /// part.persist(0, 4)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// Persisting waits until the slice is gone:
    ///
    /// ```compile_fail,E0502
    /// use pmemset_core::{Part, SetRef};
    ///
    /// fn too_early<R: SetRef>(part: &mut Part<R>) {
    ///     // SAFETY: nobody else has the source.
    ///     let bytes = unsafe { part.as_mut_slice(0, 8) }.unwrap();
    ///     part.persist(0, 8).unwrap();
    ///     bytes[0] = 1;
    /// }
    /// ```
    pub unsafe fn as_mut_slice(&mut self, offset: usize, length_bytes: usize) -> Result<&mut [u8], PersistError> {
        let start = self.as_ptr(offset, length_bytes)?;
        // SAFETY: in this part, which is pinned as long as `self` is borrowed; the caller promises that nobody else
        // uses the bytes.
        Ok(unsafe { slice::from_raw_parts_mut(start, length_bytes) })
    }

    /// Reads all of `range`, which is pinned and as long as `bytes`.
    fn read_piece(&self, range: Extent, bytes: &mut [u8]) {
        let source = pointer(range.start()).cast_const();
        // SAFETY: the range is mapped, and stays so as long as it is pinned, and it is as long as the slice.
        unsafe { self.owner().platform_of().read(bytes.as_mut_ptr(), source, bytes.len()) };
    }

    #[inline]
    fn write_piece(&self, range: Extent, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        let set = self.owner();
        if set.listens() {
            set.notify(&Event::Write { dest: range, bytes, flags });
        }
        self.store(range, flags, move |dest, kind| {
            // SAFETY: the range is pinned, and as long as the slice.
            unsafe { set.platform_of().copy(dest, bytes.as_ptr(), bytes.len(), kind) };
        })
    }

    #[inline]
    fn fill_piece(&self, range: Extent, value: u8, flags: CopyFlags) -> Result<(), PersistError> {
        let set = self.owner();
        if set.listens() {
            set.notify(&Event::Fill { dest: range, value, flags });
        }
        self.store(range, flags, move |dest, kind| {
            // SAFETY: the range is pinned.
            unsafe { set.platform_of().fill(dest, value, range.length_bytes(), kind) };
        })
    }

    /// Copies to `dest` from `source`, which is as long; both are pinned.
    fn move_piece(&self, dest: Extent, source: Extent, flags: CopyFlags) -> Result<(), PersistError> {
        let set = self.owner();
        set.notify(&Event::CopyWithin { dest, source, flags });
        self.store(dest, flags, |dest, kind| {
            let from = pointer(source.start()).cast_const();
            // SAFETY: both ranges are pinned, and of one length.
            unsafe { set.platform_of().copy(dest, from, source.length_bytes(), kind) };
        })
    }

    /// Stores to `range`, which is pinned, through `store`, and makes it as durable as the flags want.
    #[inline]
    fn store(
        &self,
        range: Extent,
        flags: CopyFlags,
        store: impl FnOnce(*mut u8, StoreKind),
    ) -> Result<(), PersistError> {
        let strategy = Strategy::new(self.granularity(), flags);
        store(pointer(range.start()), strategy.kind);
        if strategy.flush {
            if strategy.needs_only_fence() { self.refuse_failed(range)? } else { self.write_out(range)? }
        }
        if strategy.fence {
            self.owner().platform_of().fence();
        }
        if strategy.drained {
            self.owner().notify(&Event::Drain);
        }
        Ok(())
    }
}
