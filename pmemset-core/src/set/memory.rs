//! The bytes of parts: reading, storing, copying, filling, and slices of them.
#![allow(unsafe_code, reason = "reads and stores bytes of mapped memory, and hands it out")]

use core::ptr;
use core::slice;

use super::Set;
use super::part::Part;
use super::persist::range_of;
use crate::arch::StoreKind;
use crate::copy::{CopyFlags, Strategy};
use crate::error::PersistError;
use crate::event::Event;
use crate::{Extent, FailedWriteBack, Granularity, Platform, Source};

/// Tells the simulator, where it is compiled, who stores or flushes next.
macro_rules! called {
    () => {
        #[cfg(feature = "sim")]
        crate::sim::called_by(core::panic::Location::caller());
    };
}
pub(super) use called;

fn pointer(address: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(address)
}

impl<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Set<'_, P, S, N> {
    /// Copies `bytes` to `dest` on, by default durably (`pmemset_memcpy`).
    ///
    /// Aligned words are stored whole: see [`Part`](Part#the-bytes-of-a-part). Tells [`Copy`](Event::Copy) before and, unless the flags say not to
    /// wait or not to flush, [`Drain`](Event::Drain) after.
    ///
    /// Looks the destination up under the read lock; [`Part::write`] does without.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn copy(&self, dest: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(dest, bytes.len())? else { return Ok(()) };
        self.pinned(range)?.write_piece(range, bytes, flags)
    }

    /// Copies bytes of the set to another place in it, which may overlap the first (`pmemset_memmove`).
    ///
    /// Otherwise like [`copy`](Self::copy); tells [`Move`](Event::Move) before.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn copy_within(
        &self,
        dest: usize,
        source: usize,
        length_bytes: usize,
        flags: CopyFlags,
    ) -> Result<(), PersistError> {
        called!();
        let Some(source) = range_of(source, length_bytes)? else { return Ok(()) };
        let Some(dest) = range_of(dest, length_bytes)? else { return Ok(()) };
        let from = self.pinned(source)?;
        let to = self.pinned(dest)?;
        self.tell(&Event::Move { dest, source, flags });
        if from.extent().covers(source) && to.extent().covers(dest) {
            return to.store(dest, flags, |piece, kind| to.move_piece(piece, source.start(), kind));
        }
        self.move_across(dest, source, flags)
    }

    /// Moves bytes of several parts, piece by piece in the order that overlapping ranges need.
    #[cold]
    fn move_across(&self, dest: Extent, source: Extent, flags: CopyFlags) -> Result<(), PersistError> {
        let length_bytes = dest.length_bytes();
        let down = dest.start().wrapping_sub(source.start()) < length_bytes;
        let strategy = Strategy::new(self.granularity().unwrap_or(Granularity::Page), flags);
        let mut done = 0_usize;
        while done < length_bytes {
            let left = length_bytes.wrapping_sub(done);
            let last = left.wrapping_sub(1);
            let at = |range: Extent| range.start().wrapping_add(if down { last } else { done });
            let (to, from) = (self.part_at(at(dest))?, self.part_at(at(source))?);
            let room = |part: Extent, at: usize| {
                if down { at.wrapping_sub(part.start()).wrapping_add(1) } else { part.end().wrapping_sub(at) }
            };
            let now = left.min(room(to.extent(), at(dest))).min(room(from.extent(), at(source)));
            let offset = if down { left.wrapping_sub(now) } else { done };
            let piece = dest.slice(offset, now).ok_or(PersistError::NotMapped { address: at(dest) })?;
            to.move_piece(piece, source.start().wrapping_add(offset), strategy.kind);
            done = done.wrapping_add(now);
        }
        self.pinned(dest)?.finish(dest, strategy)
    }

    /// Fills `length_bytes` bytes from `dest` on with `value`, by default durably (`pmemset_memset`).
    ///
    /// Otherwise like [`copy`](Self::copy); tells [`Set`](Event::Set) before.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn fill(&self, dest: usize, value: u8, length_bytes: usize, flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(dest, length_bytes)? else { return Ok(()) };
        self.pinned(range)?.fill_piece(range, value, flags)
    }

    /// Reads the bytes from `source` on.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    pub fn read(&self, source: usize, bytes: &mut [u8]) -> Result<(), PersistError> {
        let Some(range) = range_of(source, bytes.len())? else { return Ok(()) };
        self.pinned(range)?.over(range, |part, piece| {
            let start = piece.start().wrapping_sub(range.start());
            let end = start.saturating_add(piece.length_bytes());
            bytes.get_mut(start..end).map_or(Ok(()), |bytes| part.read(part.offset_of(piece), bytes))
        })
    }
}

/// # The bytes of a part
///
/// The memory of a part is shared: other handles, other threads, other mappings of the same bytes and other processes
/// may store to it at any time. [`read`](Part::read), [`write`](Part::write), [`fill`](Part::fill) and
/// [`copy_within`](Part::copy_within) may be called at the same time, on the same bytes too. What comes of it is defined;
/// it is no data race in the sense of the language, because each access is an instruction of the processor or a volatile
/// access of memory that is no allocation of the language:
///
/// - A *word* is 8 bytes on 64-bit processors and 4 on 32-bit ones. Aligned words that lie wholly in the range are stored
///   whole, and [`read`](Part::read) gets them whole, wherever the buffer lies: all of an old word or all of a new one.
///   Single bytes at the edges of a range are stored one by one.
/// - Different words may come in any mixture of old and new, and in any order. `copy_within` reads whole words only where
///   source and destination are aligned alike.
/// - Having read a word says nothing of any other memory: to hand something over to another thread, use a lock or an
///   atomic of the program's own.
/// - Where [memory takes whole words only](crate::arch::Cpu::storing_whole_words), a store at the edge of a range stores
///   the rest of its word again, and undoes what another thread stores there at the same time.
///
/// [`as_slice`](Part::as_slice), [`as_mut_slice`](Part::as_mut_slice) and accesses through [`as_ptr`](Part::as_ptr) are
/// the language's own: whoever uses them promises that nobody else stores.
///
/// What nobody can make safe: a file that is truncated under its mapping, and memory that is damaged (a bad block),
/// raise a signal or a machine check at the access, slice or not.
impl<'s, P: Platform, S: Source<Space = P::Space> + Clone, const N: usize> Part<'s, P, S, N> {
    /// Stores `bytes` from `offset` on, by default durably; see [`Set::copy`].
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they do not all fit in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn write(&self, offset: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        called!();
        let (set, strategy) = (self.set(), Strategy::new(self.granularity(), flags));
        match self.extent().slice(offset, bytes.len()) {
            Some(range) if strategy.needs_only_fence() && !set.has_observer() && !FailedWriteBack::any() => {
                // SAFETY: the range lies in this part, which is pinned, and is as long as the slice.
                unsafe { set.platform.copy(pointer(range.start()), bytes.as_ptr(), bytes.len(), strategy.kind) };
                if strategy.fence {
                    set.platform.fence();
                }
                Ok(())
            }
            _ => self.write_any(offset, bytes, flags),
        }
    }

    /// As [`write`](Self::write), whoever listens, wherever the bytes go, and whatever has to follow.
    ///
    /// Apart, so that the common case is short enough to become part of the caller.
    #[inline(never)]
    fn write_any(&self, offset: usize, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        let Some(range) = self.piece(offset, bytes.len())? else { return Ok(()) };
        self.write_piece(range, bytes, flags)
    }

    /// Copies bytes of the part to another place in it, which may overlap the first; see [`Set::copy_within`].
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn copy_within(
        &self,
        dest: usize,
        source: usize,
        length_bytes: usize,
        flags: CopyFlags,
    ) -> Result<(), PersistError> {
        called!();
        let Some(source) = self.piece(source, length_bytes)? else { return Ok(()) };
        let Some(dest) = self.piece(dest, length_bytes)? else { return Ok(()) };
        self.set().tell(&Event::Move { dest, source, flags });
        self.store(dest, flags, |piece, kind| self.move_piece(piece, source.start(), kind))
    }

    /// Fills `length_bytes` bytes from `offset` on with `value`, by default durably; see [`Set::fill`].
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
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), PersistError> {
        let Some(range) = self.piece(offset, bytes.len())? else { return Ok(()) };
        let source = pointer(range.start()).cast_const();
        // SAFETY: the range lies in this part, which is mapped as long as it is pinned, and is as long as the slice.
        unsafe { self.set().platform.read(bytes.as_mut_ptr(), source, bytes.len()) };
        Ok(())
    }

    /// Returns the address of `length_bytes` bytes from `offset` on, valid while the part is pinned.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    pub fn as_ptr(&self, offset: usize, length_bytes: usize) -> Result<*mut u8, PersistError> {
        let range = self.piece(offset, length_bytes)?;
        if let Some(range) = range {
            self.set().platform.lend(range);
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
    /// The slice cannot outlive the handle, and the part cannot be removed while there is one:
    ///
    /// ```compile_fail,E0505
    /// use pmemset_core::{Part, Platform, Set, Source};
    ///
    /// fn last_words<P: Platform, S: Source<Space = P::Space> + Clone>(set: &Set<'_, P, S, 8>, part: Part<'_, P, S, 8>) -> u8 {
    ///     // SAFETY: nobody else has the source.
    ///     let bytes = unsafe { part.as_slice(0, 8) }.unwrap();
    ///     let removed = set.remove(part);
    ///     bytes[0]
    /// }
    /// ```
    ///
    /// ```compile_fail,E0505
    /// use pmemset_core::{Part, Platform, Source};
    ///
    /// fn dropped<P: Platform, S: Source<Space = P::Space> + Clone>(part: Part<'_, P, S, 8>) -> u8 {
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
    /// Persisting waits until the slice is gone:
    ///
    /// ```compile_fail,E0502
    /// use pmemset_core::{Part, Platform, Source};
    ///
    /// fn too_early<P: Platform, S: Source<Space = P::Space> + Clone>(part: &mut Part<'_, P, S, 8>) {
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

    fn offset_of(&self, piece: Extent) -> usize {
        piece.start().wrapping_sub(self.extent().start())
    }

    #[inline]
    fn write_piece(&self, range: Extent, bytes: &[u8], flags: CopyFlags) -> Result<(), PersistError> {
        let set = self.set();
        if set.has_observer() {
            set.tell(&Event::Copy { dest: range, bytes, flags });
        }
        let (start, source) = (range.start(), bytes.as_ptr());
        self.store(range, flags, move |piece, kind| {
            let source = source.wrapping_add(piece.start().wrapping_sub(start));
            // SAFETY: the piece lies in a pinned part, and at the same place in the range as in the slice.
            unsafe { set.platform.copy(pointer(piece.start()), source, piece.length_bytes(), kind) };
        })
    }

    #[inline]
    fn fill_piece(&self, range: Extent, value: u8, flags: CopyFlags) -> Result<(), PersistError> {
        let set = self.set();
        if set.has_observer() {
            set.tell(&Event::Set { dest: range, value, flags });
        }
        self.store(range, flags, move |piece, kind| {
            // SAFETY: the piece lies in a pinned part.
            unsafe { set.platform.fill(pointer(piece.start()), value, piece.length_bytes(), kind) };
        })
    }

    /// Copies to `piece`, which lies in this part, from `source`, which lies in a pinned part for as many bytes.
    fn move_piece(&self, piece: Extent, source: usize, kind: StoreKind) {
        let source = pointer(source).cast_const();
        // SAFETY: both ranges lie in pinned parts.
        unsafe { self.set().platform.copy(pointer(piece.start()), source, piece.length_bytes(), kind) };
    }

    /// Stores to the pieces of `range`, which begins in this part, through `store`, and makes them as durable as the
    /// flags want.
    #[inline]
    fn store(
        &self,
        range: Extent,
        flags: CopyFlags,
        mut store: impl FnMut(Extent, StoreKind),
    ) -> Result<(), PersistError> {
        let strategy = Strategy::new(self.granularity(), flags);
        self.over::<PersistError>(range, move |_, piece| {
            store(piece, strategy.kind);
            Ok(())
        })?;
        self.finish(range, strategy)
    }

    #[inline]
    fn finish(&self, range: Extent, strategy: Strategy) -> Result<(), PersistError> {
        if strategy.flush {
            let only_fence = strategy.needs_only_fence();
            self.over(
                range,
                move |part, piece| {
                    if only_fence { part.refuse_failed(piece) } else { part.write_out(piece) }
                },
            )?;
        }
        if strategy.fence {
            self.set().platform.fence();
        }
        if strategy.drained {
            self.set().tell(&Event::Drain);
        }
        Ok(())
    }
}
