//! Stores reach the medium: flush, drain, persist, deep flush.
#![allow(unsafe_code, reason = "writes back lines of mapped memory")]

use super::Set;
use super::books::Segment;
use super::calls::{called, range_of};
use super::handle::{Operations, SetRef};
use super::part::Part;
use crate::error::{DeepFlushError, PersistError};
use crate::set::event::{Event, Observer};
use crate::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Platform, Source};

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Makes the bytes of a range durable (`pmemset_persist`): [`flush`](Self::flush) and [`drain`](Self::drain) in
    /// one.
    ///
    /// Byte granularity: a fence. Cache line: each line that the range touches is written back once, then a fence.
    /// Page: the source synchronises exactly the pages that the range touches, and there is nothing to drain. Reports
    /// [`Flush`](Event::Flush) before, [`Drain`](Event::Drain) and [`Persist`](Event::Persist) after. A length of 0
    /// does nothing.
    ///
    /// Looks the range up under the read lock; [`Part::persist`] needs no look-up.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.write_with(address, &[7; 128], CopyFlags::NOFLUSH)?;
    /// set.persist(address, 128)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[doc(alias = "pmemset_persist")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn persist(&self, address: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        self.pin(range)?.persist_piece(range)
    }

    /// Starts to make the bytes of a range durable (`pmemset_flush`); they are durable after the next
    /// [`drain`](Self::drain).
    ///
    /// At page granularity they are durable when the call returns. Reports [`Flush`](Event::Flush) before.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// set.write_with(address, &[7; 128], CopyFlags::NOFLUSH)?;
    /// set.flush(address, 128)?;
    /// set.drain(); // durable now
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    #[doc(alias = "pmemset_flush")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn flush(&self, address: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        self.pin(range)?.flush_piece(range)
    }

    /// Waits until everything that this processor flushed or streamed before is durable (`pmemset_drain`): a fence.
    ///
    /// Reports [`Drain`](Event::Drain) after. Does not fail, also in an empty set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, b"one", CopyFlags::NODRAIN)?;
    /// set.drain();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias = "pmemset_drain")]
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn drain(&self) {
        called!();
        self.platform.fence();
        self.notify(&Event::Drain);
    }

    /// Pushes the bytes of a range to the most reliable domain that software can reach (`pmemset_deep_flush`).
    ///
    /// Makes them durable in the ordinary way first. Works at every granularity. For a range over several segments it
    /// returns the worst answer of any segment, from not permitted over done to not needed. Reports no event.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let address = set.map(source, &MapConfig::new())?.extent().start();
    /// use pmemset_core::DeepFlush;
    ///
    /// match set.deep_flush(address, 4096)? {
    ///     DeepFlush::Done | DeepFlush::NotNeeded => {}
    ///     other => println!("durable, and no further: {other:?}"),
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DeepFlushError`].
    #[doc(alias = "pmemset_deep_flush")]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn deep_flush(&self, address: usize, length_bytes: usize) -> Result<DeepFlush, DeepFlushError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(DeepFlush::NotNeeded) };
        self.pin(range)?.deep_flush_piece(range)
    }
}

/// Does to one segment what persisting does, and then what only the source can do. A failure sticks to the source.
///
/// The caller has pinned `segment`; `piece` lies in it.
pub(super) fn deep_flush_segment<P: Platform, S: Source>(
    platform: &P,
    segment: &Segment<S>,
    piece: Extent,
    granularity: Granularity,
) -> Result<DeepFlush, Failed> {
    not_failed(segment)?;
    if granularity == Granularity::Page {
        let pages = piece.align_outward(platform.page_size_bytes()).unwrap_or(piece);
        sync_segment(segment, pages.intersect(segment.extent).unwrap_or(pages))?;
    } else {
        if granularity == Granularity::CacheLine {
            // SAFETY: mapped, and pinned by the caller.
            unsafe { platform.write_back(piece) };
        }
        platform.fence();
    }
    until_it_fails(segment, || segment.source.deep_flush(piece, segment.offset_of(piece)))
}

/// Why a segment's bytes are not durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failed {
    /// This call has failed.
    Now(Errno),
    /// One has before, and this one was not made, or counts for nothing.
    Before(Errno),
}

impl Failed {
    const fn of(self, segment: Extent) -> PersistError {
        match self {
            Self::Now(cause) => PersistError::Sync { segment, cause },
            Self::Before(cause) => PersistError::FailedBefore { segment, cause },
        }
    }
}

/// Refuses a segment whose source has failed.
fn not_failed<S: Source>(segment: &Segment<S>) -> Result<(), Failed> {
    segment.source.failed_write_back().first().map_or(Ok(()), |cause| Err(Failed::Before(cause)))
}

#[inline(never)]
fn sync_segment<S: Source>(segment: &Segment<S>, pages: Extent) -> Result<(), Failed> {
    not_failed(segment)?;
    until_it_fails(segment, || segment.source.sync(pages, segment.offset_of(pages)))
}

/// Makes a call of the segment's source that makes bytes durable; a failure is noted for all that map it.
#[inline(never)]
fn until_it_fails<S: Source, T>(segment: &Segment<S>, call: impl FnMut() -> Result<T, Errno>) -> Result<T, Failed> {
    match uninterrupted(call) {
        // Another thread's call may have learnt meanwhile what was lost of these bytes, too.
        Ok(done) => not_failed(segment).map(|()| done),
        Err(cause) => {
            segment.source.failed_write_back().note(cause);
            Err(Failed::Now(cause))
        }
    }
}

/// Calls again what was interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

impl<R: SetRef> Part<R> {
    /// Makes `length_bytes` bytes from `offset` on durable; see [`Set::persist`].
    ///
    /// Costs what the processor's flush costs: no lock, no look-up.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, &[7; 128], CopyFlags::NOFLUSH)?;
    /// part.persist(0, 128)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn persist(&self, offset: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        match self.extent().slice(offset, length_bytes) {
            Some(range) => self.persist_piece(range),
            None => self.piece(offset, length_bytes)?.map_or(Ok(()), |range| self.persist_piece(range)),
        }
    }

    /// Starts to make `length_bytes` bytes from `offset` on durable; see [`Set::flush`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.flush(0, 4096)?;
    /// part.flush(8192, 4096)?;
    /// set.drain();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped) if they are not all in the part.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn flush(&self, offset: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        self.piece(offset, length_bytes)?.map_or(Ok(()), |range| self.flush_piece(range))
    }

    /// Pushes `length_bytes` bytes from `offset` on as far as software can; see [`Set::deep_flush`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write(0, b"very important")?;
    /// part.deep_flush(0, 14)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`DeepFlushError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn deep_flush(&self, offset: usize, length_bytes: usize) -> Result<DeepFlush, DeepFlushError> {
        called!();
        let Some(range) = self.piece(offset, length_bytes)? else { return Ok(DeepFlush::NotNeeded) };
        self.deep_flush_piece(range)
    }

    /// Returns the addresses of `length_bytes` bytes from `offset` on; `None` where there are none.
    #[inline]
    pub(super) fn piece(&self, offset: usize, length_bytes: usize) -> Result<Option<Extent>, PersistError> {
        match self.extent().slice(offset, length_bytes) {
            Some(range) => Ok(Some(range)),
            None if length_bytes == 0 => Ok(None),
            None => self.grown_piece(offset, length_bytes).map(Some),
        }
    }

    /// As [`piece`](Self::piece), if the part has grown meanwhile.
    #[cold]
    fn grown_piece(&self, offset: usize, length_bytes: usize) -> Result<Extent, PersistError> {
        let part = self.current_extent();
        part.slice(offset, length_bytes).ok_or_else(|| {
            let start = part.start().checked_add(offset);
            match start.and_then(|start| Extent::new(start, length_bytes)) {
                Some(range) => PersistError::NotMapped { address: range.start().max(part.end()) },
                None => PersistError::OutOfRange { start: offset, length_bytes },
            }
        })
    }

    #[inline]
    fn persist_piece(&self, range: Extent) -> Result<(), PersistError> {
        if self.owner().listens() {
            return self.persist_notifying(range);
        }
        self.write_out(range)?;
        if self.granularity() != Granularity::Page {
            self.owner().platform_of().fence();
        }
        Ok(())
    }

    #[cold]
    fn persist_notifying(&self, range: Extent) -> Result<(), PersistError> {
        self.flush_piece(range)?;
        if self.granularity() != Granularity::Page {
            self.owner().platform_of().fence();
        }
        self.owner().notify(&Event::Drain);
        self.owner().notify(&Event::Persist { range });
        Ok(())
    }

    #[inline]
    fn flush_piece(&self, range: Extent) -> Result<(), PersistError> {
        self.owner().notify(&Event::Flush { range });
        self.write_out(range)
    }

    fn deep_flush_piece(&self, range: Extent) -> Result<DeepFlush, DeepFlushError> {
        let mut answer = DeepFlush::NotNeeded;
        self.over_segments::<DeepFlushError>(range, |segment, piece| {
            let extent = segment.extent;
            let flushed = deep_flush_segment(self.owner().platform_of(), segment, piece, self.granularity());
            let flushed = flushed.map_err(|failed| match failed {
                Failed::Now(cause) => DeepFlushError::Failed { segment: extent, cause },
                Failed::Before(cause) => PersistError::FailedBefore { segment: extent, cause }.into(),
            });
            answer = worse(answer, flushed?);
            Ok(())
        })?;
        Ok(answer)
    }

    /// Calls `each` with the segments that `range`, which is pinned, touches, and its piece of each.
    pub(super) fn over_segments<E: From<PersistError>>(
        &self,
        range: Extent,
        mut each: impl FnMut(&Segment<<R::Set as Operations>::Source>, Extent) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = Some(range);
        while let Some(left) = rest {
            let segment = self.owner().segment_from(left.start());
            let found = segment.and_then(|segment| Some((segment.extent.intersect(left)?, segment)));
            let Some((piece, segment)) = found.filter(|(piece, _)| piece.start() == left.start()) else {
                debug_assert!(false, "a pinned segment stays");
                return Err(PersistError::NotMapped { address: left.start() }.into());
            };
            each(&segment, piece)?;
            rest = left.starting_at(piece.end());
        }
        Ok(())
    }

    /// Does to `range`, which is pinned, what comes before the fence.
    #[inline]
    pub(super) fn write_out(&self, range: Extent) -> Result<(), PersistError> {
        if self.granularity() == Granularity::Page {
            return self.sync(range);
        }
        self.refuse_failed(range)?;
        if self.granularity() == Granularity::CacheLine {
            // SAFETY: the range is mapped, and stays so as long as it is pinned.
            unsafe { self.owner().platform_of().write_back(range) };
        }
        Ok(())
    }

    /// Refuses `range`, which lies in this part, where a source of it has failed. One load, while none ever has.
    #[inline]
    pub(super) fn refuse_failed(&self, range: Extent) -> Result<(), PersistError> {
        if FailedWriteBack::any() { self.find_failed(range) } else { Ok(()) }
    }

    #[cold]
    fn find_failed(&self, range: Extent) -> Result<(), PersistError> {
        self.over_segments(range, |segment, _| not_failed(segment).map_err(|failed| failed.of(segment.extent)))
    }

    #[cold]
    pub(super) fn sync(&self, range: Extent) -> Result<(), PersistError> {
        let pages = range.align_outward(self.owner().platform_of().page_size_bytes()).unwrap_or(range);
        self.over_segments(pages, |segment, piece| {
            sync_segment(segment, piece).map_err(|failed| failed.of(segment.extent))
        })
    }
}

const fn worse(one: DeepFlush, other: DeepFlush) -> DeepFlush {
    match (one, other) {
        (DeepFlush::NotPermitted, _) | (_, DeepFlush::NotPermitted) => DeepFlush::NotPermitted,
        (DeepFlush::Done, _) | (_, DeepFlush::Done) => DeepFlush::Done,
        _ => DeepFlush::NotNeeded,
    }
}
