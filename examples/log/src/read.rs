//! Records come out: one by its number, or all of them in order.

use core::fmt;
use lock_api::RawRwLock;

use pmemset_core::error::PersistError;
use pmemset_core::{Observer, Platform, Source};

use crate::error::ReadError;
use crate::format::{RECORD_HEAD_BYTES, RecordHead, checksum};
use crate::log::Log;
use crate::mistake::Mistake;
use crate::table::Live;

impl<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
    /// Reads record `sequence` into the front of `payload`, and returns its length in bytes.
    ///
    /// Its segment is found by halving, its place by at most a sixteenth of the segment's heads of records.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read(&self, sequence: u64, payload: &mut [u8]) -> Result<usize, ReadError> {
        let live = self.live.read();
        let (position, head) = self.find(&live, sequence)?;
        self.read_payload(&live, position, head, payload)
    }

    /// Returns the length of record `sequence` in bytes.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn length_of(&self, sequence: u64) -> Result<usize, ReadError> {
        let (_, head) = self.find(&self.live.read(), sequence)?;
        Ok(usize::try_from(head.length_bytes).unwrap_or(usize::MAX))
    }

    /// Reads records in order, from `sequence` on, or the oldest one if that is younger.
    pub fn cursor(&self, sequence: u64) -> Cursor<'_, 'm, P, S, O> {
        Cursor { log: self, sequence, position: None }
    }

    /// Returns the records in order, from `sequence` on, or the oldest one if that is younger.
    #[cfg(feature = "alloc")]
    pub fn iter(&self, sequence: u64) -> Iter<'_, 'm, P, S, O> {
        Iter { cursor: self.cursor(sequence), ended: false }
    }

    /// Returns where record `sequence`, one of those that may be read, begins, and its head.
    pub(crate) fn find(&self, live: &Live<'_>, sequence: u64) -> Result<(u64, RecordHead), ReadError> {
        if !(live.first..live.next).contains(&sequence) {
            return Err(ReadError::NotThere { sequence });
        }
        let hint = live.hint(sequence).map(|(number, within, at)| (self.geometry.start_of(number), within, at));
        let hint = hint.map(|(start, within, at)| (start.wrapping_add(within), at));
        let (mut position, mut at) =
            hint.filter(|(position, _)| *position >= live.start).unwrap_or((live.start, live.first));
        loop {
            let head = self.head_at(live, position)?.filter(|head| head.sequence == at);
            let head = head.ok_or(ReadError::Damaged { sequence: at })?;
            if at >= sequence {
                return Ok((position, head));
            }
            position = self.geometry.behind(position, head.length_bytes);
            at = at.wrapping_add(1);
        }
    }

    /// Returns the head of a record at `position`, if there is a whole one.
    pub(crate) fn head_at(&self, live: &Live<'_>, position: u64) -> Result<Option<RecordHead>, PersistError> {
        let mut bytes = [0; RECORD_HEAD_BYTES];
        let there = self.read_at(live, position, &mut bytes)?;
        let number = self.geometry.number(position);
        let head = if self.makes(Mistake::HeadUnchecked) {
            RecordHead::unchecked(&bytes)
        } else {
            RecordHead::from_bytes(&bytes, number)
        };
        Ok(head.filter(|_| there))
    }

    fn read_payload(
        &self,
        live: &Live<'_>,
        position: u64,
        head: RecordHead,
        payload: &mut [u8],
    ) -> Result<usize, ReadError> {
        let length_bytes = usize::try_from(head.length_bytes).unwrap_or(usize::MAX);
        let payload = payload.get_mut(..length_bytes).ok_or(ReadError::TooShort { length_bytes })?;
        let there = self.read_at(live, position.wrapping_add(RECORD_HEAD_BYTES as u64), payload)?;
        if there && (checksum(&[payload]) == head.payload_sum || self.makes(Mistake::PayloadUnchecked)) {
            Ok(length_bytes)
        } else {
            Err(ReadError::Damaged { sequence: head.sequence })
        }
    }
}

/// Reads the records of a log in order: see [`Log::cursor`].
pub struct Cursor<'l, 'm, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    log: &'l Log<'m, P, S, O>,
    sequence: u64,
    /// Where that record begins, if the one before it was read, and how often records had been truncated then.
    position: Option<(u64, u64)>,
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Cursor<'_, '_, P, S, O> {
    /// Reads the next record into the front of `payload`: its sequence number and its length in bytes; `None` behind
    /// the newest durable one, where it goes on once there are more.
    ///
    /// # Errors
    ///
    /// See [`ReadError`]; the same record is the next one again.
    pub fn read_next(&mut self, payload: &mut [u8]) -> Result<Option<(u64, usize)>, ReadError> {
        let live = self.log.live.read();
        if self.sequence < live.first {
            (self.sequence, self.position) = (live.first, None);
        }
        if self.sequence >= live.next {
            return Ok(None);
        }
        // What was read may have been truncated meanwhile, and a payload be there now that looks like the head of a
        // record.
        let known = match self.position {
            Some((position, cuts)) if cuts == live.cuts => {
                self.log.head_at(&live, position)?.map(|head| (position, head))
            }
            _ => None,
        };
        let (position, head) = match known.filter(|(_, head)| head.sequence == self.sequence) {
            Some(known) => known,
            None => self.log.find(&live, self.sequence)?,
        };
        let length_bytes = self.log.read_payload(&live, position, head, payload)?;
        let read = self.sequence;
        self.sequence = read.wrapping_add(1);
        self.position = Some((self.log.geometry.behind(position, head.length_bytes), live.cuts));
        Ok(Some((read, length_bytes)))
    }
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug
    for Cursor<'_, '_, P, S, O>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// A record, on the heap.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: u64,
    /// What it carries.
    pub payload: alloc::vec::Vec<u8>,
}

/// The records of a log in order: see [`Log::iter`]. Ends after an error.
#[cfg(feature = "alloc")]
pub struct Iter<'l, 'm, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> {
    cursor: Cursor<'l, 'm, P, S, O>,
    ended: bool,
}

#[cfg(feature = "alloc")]
impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Iterator
    for Iter<'_, '_, P, S, O>
{
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut payload = alloc::vec::Vec::new();
        while !self.ended {
            match self.cursor.read_next(&mut payload) {
                Ok(Some((sequence, length_bytes))) => {
                    payload.truncate(length_bytes);
                    return Some(Ok(Record { sequence, payload }));
                }
                Ok(None) => break,
                Err(ReadError::TooShort { length_bytes }) => payload.resize(length_bytes, 0),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(feature = "alloc")]
impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug
    for Iter<'_, '_, P, S, O>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
