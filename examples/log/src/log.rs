//! A log: what it is made of, and what it says of itself.

use core::fmt;
use lock_api::RawRwLock;

use lock_api::RwLock;
use pmemset_core::error::PersistError;
use pmemset_core::{Extent, Observer, Part, Platform, Set, Source};

use crate::cell::{COPY_BYTES, Cell};
use crate::error::{ChangeError, Stop};
use crate::format::{Geometry, State};
use crate::mistake::Mistake;
use crate::recovered::Recovered;
use crate::table::Live;

/// Number of notes that a log has: see [`Log::store_note`].
pub const NOTES: usize = 4;
/// Length of the longest note in bytes.
pub const NOTE_BYTES: usize = crate::cell::VALUE_BYTES;

/// A write-ahead log in a source: records of any length, numbered from 1 on.
///
/// All calls take `&self`, from any number of threads. Its memory is a [`Set`] that it owns, with room for one segment
/// more than the log is to have; observers, room ahead and acceptable states are that set's.
///
/// # What is promised
///
/// - What [`append`](Self::append) has returned is found after any power cut, and in order. Nothing is found that was
///   not appended; of records whose `append` had not returned, the first few may be found, or none.
/// - After an error nothing is lost that was acknowledged. [`AppendError::Full`](crate::AppendError::Full) changes
///   nothing; after a failed synchronisation the log has stopped, and says so at each call ([`Stop`]).
/// - Opening makes durable what it has found.
///
/// # What is not
///
/// Damage to records that were acknowledged last, by a medium that loses what it said was durable, looks like a record
/// that was cut while it was written. Every later record, truncation and drop, and [`close`](Self::close), says that
/// those before were durable. A segment that is lost as a whole is told, and so is an older copy of one, if records in
/// it were truncated since, or the next one is used and was not made then; if the newest segment is another older copy
/// of itself, the records that were acknowledged last may be missing. The first page of a segment vouches for all of
/// it: an older copy of another page alone may bring records back that were truncated. Header, notes and the log's own
/// state are there twice: damage to one copy loses nothing, and damage to both refuses the log, unless the cell was
/// stored to for the first time just then. A log whose head was made zero is refused if a segment is there
/// ([`OpenError::HeadLost`](crate::OpenError::HeadLost)); a file that was truncated to nothing is a new one.
///
/// The log keeps no second program from opening the same source at a time: that takes what the other has not finished
/// for torn, and erases it. Have the source refuse it, as `OpenOptions::exclusive` of `pmemset-linux` does.
pub struct Log<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S> = ()> {
    pub(crate) set: Set<'m, P, S, O>,
    pub(crate) source: S,
    pub(crate) geometry: Geometry,
    pub(crate) head_at: Extent,
    pub(crate) recovered: Recovered,
    // In the order in which they are locked.
    pub(crate) head: RwLock<P::Lock, Head>,
    pub(crate) commit: RwLock<P::Lock, ()>,
    pub(crate) tail: RwLock<P::Lock, Tail>,
    pub(crate) live: RwLock<P::Lock, Live<'m>>,
    #[cfg(test)]
    pub(crate) mistake: Option<crate::mistake::Mistake>,
}

/// What is in the head of the source.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) state: State,
    pub(crate) state_cell: Cell,
    pub(crate) notes: [Cell; NOTES],
}

/// Where the next record goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) end: u64,
    pub(crate) next: u64,
    /// The generation of a segment that is made now.
    pub(crate) generation: u32,
    pub(crate) stop: Option<Stop>,
}

impl Tail {
    /// Stops the log: the first reason stays.
    pub(crate) fn stop(&mut self, cause: PersistError) -> Stop {
        *self.stop.get_or_insert(cause.into())
    }
}

/// Length of the head: two pages of 4 KiB, which are what bad blocks are cleared by.
pub(crate) const HEAD_BYTES: usize = 8192;
/// Where the copies of the header are in the head: one in each page.
pub(crate) const HEADER_AT: [usize; 2] = [0, HEAD_BYTES / 2];
/// Where the copies of the state are in the head: one in each page.
pub(crate) const STATE_AT: [usize; 2] = [COPY_BYTES, HEAD_BYTES / 2 + COPY_BYTES];

/// Returns where the copies of note `index` are in the head: behind those of the state.
pub(crate) const fn note_at(index: usize) -> [usize; 2] {
    let behind = index.saturating_add(1).saturating_mul(COPY_BYTES);
    [STATE_AT[0].saturating_add(behind), STATE_AT[1].saturating_add(behind)]
}

impl<'m, P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'m, P, S, O> {
    /// Returns what opening has found.
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Returns the set that the log is in.
    pub const fn set(&self) -> &Set<'m, P, S, O> {
        &self.set
    }

    /// Returns the sequence number of the oldest record, or of the next one where there is none.
    pub fn first(&self) -> u64 {
        self.live.read().first
    }

    /// Returns the sequence number behind that of the newest durable record.
    pub fn next(&self) -> u64 {
        self.live.read().next
    }

    /// Returns whether there is no durable record.
    pub fn is_empty(&self) -> bool {
        let live = self.live.read();
        live.first == live.next
    }

    /// Returns how many segments the log has now.
    pub fn segments(&self) -> usize {
        usize::try_from(self.live.read().count).unwrap_or(usize::MAX)
    }

    /// Replaces note `index`, durably and as a whole: after a power cut it is the old one or this one, and once this
    /// has returned never the old one, whatever is damaged. Of use for what a user of the log keeps beside it: a vote,
    /// what is committed. Costs two fences, or two synchronisations.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn store_note(&self, index: usize, note: &[u8]) -> Result<(), ChangeError> {
        let mut head = self.head.write();
        self.is_running()?;
        let cell = head.notes.get_mut(index).ok_or(ChangeError::NotThere { sequence: index as u64 })?;
        match self.pin(self.head_at).and_then(|part| cell.store(&part, note)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChangeError::TooLong { length_bytes: note.len() }),
            Err(error) => Err(self.stop(error).into()),
        }
    }

    /// Reads note `index` into the front of `note`, and returns its length: 0 where none was stored. What does not fit
    /// is cut off.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`].
    pub fn load_note(&self, index: usize, note: &mut [u8]) -> Result<usize, ChangeError> {
        let head = self.head.read();
        let cell = head.notes.get(index).ok_or(ChangeError::NotThere { sequence: index as u64 })?;
        self.pin(self.head_at).and_then(|part| cell.load(&part, note)).map_err(ChangeError::from)
    }

    /// Pins a range of the set.
    pub(crate) fn pin(&self, range: Extent) -> Result<Part<&Set<'m, P, S, O>>, PersistError> {
        Ok(self.set.pin(range)?)
    }

    /// Makes `state` the log's, durably. The caller has the head locked, and hands it in; after an error it stops the
    /// log.
    pub(crate) fn keep(&self, head: &mut Head, state: State) -> Result<(), PersistError> {
        let part = self.pin(self.head_at)?;
        if self.makes(Mistake::CopiesAtOnce) {
            head.state_cell.store_at_once(&part, &state.to_bytes())?;
        } else {
            head.state_cell.store(&part, &state.to_bytes())?;
        }
        head.state = state;
        Ok(())
    }

    /// Returns whether the log has stopped, and why.
    ///
    /// # Errors
    ///
    /// The reason.
    pub fn is_running(&self) -> Result<(), Stop> {
        self.tail.read().stop.map_or(Ok(()), Err)
    }

    /// Stops the log: the first reason stays. The caller has not locked the tail.
    pub(crate) fn stop(&self, cause: PersistError) -> Stop {
        self.tail.write().stop(cause)
    }
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> fmt::Debug
    for Log<'_, P, S, O>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("geometry", &self.geometry)
            .field("live", &*self.live.read())
            .finish_non_exhaustive()
    }
}
