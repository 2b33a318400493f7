//! The stream of bytes that the records are in, over segments that may lie anywhere.

use lock_api::RawRwLock;
use pmemset_core::error::PersistError;
use pmemset_core::{CopyFlags, Observer, Platform, Source};

use crate::format::{SEGMENT_HEAD_BYTES, digest};
use crate::log::Log;
use crate::mistake::Mistake;
use crate::table::Live;

/// Bytes that are read at a time where only something about them is wanted.
const CHUNK_BYTES: usize = 512;

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Calls `act` for the addresses of `length_bytes` bytes from `position` on, segment by segment; returns whether
    /// all of them are there.
    fn pieces(
        &self,
        live: &Live<'_>,
        position: u64,
        length_bytes: u64,
        mut act: impl FnMut(usize, usize) -> Result<(), PersistError>,
    ) -> Result<bool, PersistError> {
        let (mut position, mut left) = (position, length_bytes);
        while left > 0 {
            let Some((address, piece)) = self.piece(live, position, left) else { return Ok(false) };
            act(address, piece)?;
            position = position.wrapping_add(piece as u64);
            left = left.wrapping_sub(piece as u64);
        }
        Ok(true)
    }

    /// Returns the address of `position`, and how many of `length_bytes` bytes follow there in one segment.
    pub(crate) fn piece(&self, live: &Live<'_>, position: u64, length_bytes: u64) -> Option<(usize, usize)> {
        let (number, within) = (self.geometry.number(position), self.geometry.within(position));
        let address = live.address(number)?.checked_add(SEGMENT_HEAD_BYTES)?;
        let address = address.checked_add(usize::try_from(within).ok()?)?;
        let piece = self.geometry.data_bytes().saturating_sub(within).min(length_bytes);
        Some((address, usize::try_from(piece).ok()?))
    }

    /// Reads the bytes from `position` on; `false` where not all of them are there.
    pub(crate) fn read_at(&self, live: &Live<'_>, position: u64, bytes: &mut [u8]) -> Result<bool, PersistError> {
        let (mut rest, length_bytes) = (bytes, 0_u64);
        let length_bytes = length_bytes.wrapping_add(rest.len() as u64);
        self.pieces(live, position, length_bytes, |address, piece| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut_checked(piece).unwrap_or_default();
            rest = later;
            self.set.read(address, now)
        })
    }

    /// Stores `bytes` from `position` on, without making them durable.
    pub(crate) fn write_at(&self, live: &Live<'_>, position: u64, bytes: &[u8]) -> Result<bool, PersistError> {
        let mut rest = bytes;
        self.pieces(live, position, bytes.len() as u64, |address, piece| {
            let (now, later) = rest.split_at_checked(piece).unwrap_or_default();
            rest = later;
            self.set.write_with(address, now, CopyFlags::NOFLUSH)
        })
    }

    /// Makes the bytes from `from` to `to` durable, with one fence.
    ///
    /// Looks each segment up by itself: while the medium is busy others can add and drop segments.
    pub(crate) fn persist(&self, from: u64, to: u64) -> Result<(), PersistError> {
        let (mut position, mut left) = (from, to.saturating_sub(from));
        while left > 0 {
            let piece = self.piece(&self.live.read(), position, left);
            let Some((address, piece)) = piece else { break };
            let skipped = if self.makes(Mistake::HeadNotFlushed) { piece.min(64) } else { 0 };
            self.set.flush(address.wrapping_add(skipped), piece.wrapping_sub(skipped))?;
            position = position.wrapping_add(piece as u64);
            left = left.wrapping_sub(piece as u64);
        }
        if !self.makes(Mistake::NoFence) {
            self.set.drain();
        }
        Ok(())
    }

    /// Returns the checksum of `length_bytes` bytes from `position` on; `None` where not all of them are there.
    pub(crate) fn sum_at(
        &self,
        live: &Live<'_>,
        position: u64,
        length_bytes: u64,
    ) -> Result<Option<u32>, PersistError> {
        let mut digest = digest();
        let there = self.pieces(live, position, length_bytes, |address, piece| {
            self.chunks(address, piece, |_, bytes| {
                digest.update(bytes);
                Ok(())
            })
        })?;
        Ok(there.then(|| digest.finalize()))
    }

    /// Stores the bytes from `position` to `to` again: they may have been in the cache only, and be taken for clean
    /// there.
    pub(crate) fn store_again(&self, live: &Live<'_>, position: u64, to: u64) -> Result<(), PersistError> {
        self.pieces(live, position, to.saturating_sub(position), |address, piece| {
            self.chunks(address, piece, |at, bytes| self.set.write_with(at, bytes, CopyFlags::NOFLUSH))
        })?;
        Ok(())
    }

    /// Makes the addresses zero, durably.
    ///
    /// Stores all of them: zeros that are read may be in a cache only, and be taken for clean there.
    pub(crate) fn erase(&self, address: usize, length_bytes: usize) -> Result<(), PersistError> {
        self.set.fill(address, 0, length_bytes, CopyFlags::empty())
    }

    /// Returns whether one of the addresses is not zero.
    pub(crate) fn is_used(&self, address: usize, length_bytes: usize) -> Result<bool, PersistError> {
        let mut used = false;
        self.chunks(address, length_bytes, |_, bytes| {
            used |= bytes.iter().any(|byte| *byte != 0);
            Ok(())
        })?;
        Ok(used)
    }

    /// Reads the addresses in pieces.
    pub(crate) fn chunks(
        &self,
        address: usize,
        length_bytes: usize,
        mut act: impl FnMut(usize, &[u8]) -> Result<(), PersistError>,
    ) -> Result<(), PersistError> {
        let mut buffer = [0; CHUNK_BYTES];
        let (mut at, mut left) = (address, length_bytes);
        while left > 0 {
            let bytes = buffer.get_mut(..left.min(CHUNK_BYTES)).unwrap_or_default();
            self.set.read(at, bytes)?;
            act(at, bytes)?;
            at = at.wrapping_add(bytes.len());
            left = left.saturating_sub(bytes.len());
        }
        Ok(())
    }
}
