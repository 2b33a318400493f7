//! openraft's log storage on a [`Journal`].

use core::fmt::Debug;
use core::marker::PhantomData;
use core::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, LogId, LogState, OptionalSend, RaftLogId, RaftLogReader, RaftTypeConfig, StorageError, StorageIOError,
    Vote,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::closing::{Closing, Open};
use crate::journal::{Journal, JournalError, Note};

/// Bytes of entries that a follower is sent at a time, or a little more.
const BATCH_BYTES: usize = 1 << 20;

/// openraft's log, and what goes with it, in a journal.
///
/// What a call has done is durable when it returns, and the flush callback is called then, never before. After an error
/// everything is refused: openraft stops the node, and what was acknowledged is found when it is opened anew.
pub struct LogStore<C, J> {
    shared: Arc<Shared<J>>,
    /// Of a reader: how many truncations there had been when it was made.
    truncations: Option<u64>,
    types: PhantomData<fn() -> C>,
}

struct Shared<J> {
    journal: J,
    failed: Mutex<Option<String>>,
    /// How many truncations there have been.
    truncations: RwLock<u64>,
    /// Goes last, when the journal is closed.
    open: Open,
}

impl<C, J> Clone for LogStore<C, J> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), truncations: self.truncations, types: PhantomData }
    }
}

impl<C, J> Debug for LogStore<C, J> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LogStore").field("failed", &self.shared.failed).finish_non_exhaustive()
    }
}

impl<C: RaftTypeConfig, J: Journal> LogStore<C, J>
where
    C::Entry: Serialize + DeserializeOwned,
{
    /// Opens the log in `journal`, and finishes what a power cut has interrupted.
    ///
    /// # Errors
    ///
    /// The journal's.
    pub fn open(journal: J) -> Result<Self, JournalError> {
        // What is purged is noted first, and dropped then.
        if let Some(purged) = kept::<LogId<C::NodeId>>(&journal, Note::Purged)?
            && journal.entries().start <= purged.index
        {
            journal.purge(purged.index + 1)?;
        }
        let shared = Shared { journal, failed: Mutex::new(None), truncations: RwLock::new(0), open: Open::default() };
        Ok(Self { shared: Arc::new(shared), truncations: None, types: PhantomData })
    }

    /// Returns the journal.
    #[must_use]
    pub fn journal(&self) -> &J {
        &self.shared.journal
    }

    /// Returns what waits until the last copy of this store is gone, and its journal closed.
    pub(crate) fn closing(&self) -> Closing {
        self.shared.open.closing()
    }

    /// Does `act`, where it may wait for a device; nothing any more after an error, or a panic.
    async fn change<F>(&self, act: F) -> Result<(), AnyError>
    where
        F: FnOnce(&J) -> Result<(), JournalError> + Send + 'static,
    {
        let shared = self.shared.clone();
        let act = move || {
            let Ok(mut failed) = shared.failed.lock() else {
                return Err(AnyError::error("an earlier change of the log has panicked"));
            };
            if let Some(reason) = &*failed {
                return Err(AnyError::error(reason));
            }
            act(&shared.journal).map_err(|error| AnyError::error(failed.insert(error.to_string())))
        };
        if !self.shared.journal.waits() {
            return act();
        }
        tokio::task::spawn_blocking(act).await.map_err(|error| AnyError::new(&error))?
    }

    /// Returns the entries of `from..until`, of as many as there are, but no more than about `bytes_max`.
    ///
    /// A leader never truncates: a reader of before a truncation is that of a leader no longer, whose task openraft has
    /// not ended yet. What it would send now, in that leader's name, does not follow on what it sent before, so there
    /// is nothing.
    fn read(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<C::Entry>, JournalError> {
        let truncations = self.shared.truncations.read().unwrap_or_else(PoisonError::into_inner);
        if self.truncations.is_some_and(|before| before != *truncations) {
            return Ok(Vec::new());
        }
        let there = self.shared.journal.entries();
        let (from, until) = (from.max(there.start), until.min(there.end));
        if from >= until {
            return Ok(Vec::new());
        }
        let read = self.shared.journal.read(from..until, bytes_max)?;
        Ok(read.iter().map(|bytes| postcard::from_bytes(bytes)).collect::<Result<_, _>>()?)
    }

    fn kept<T: DeserializeOwned>(&self, note: Note) -> Result<Option<T>, JournalError> {
        kept(&self.shared.journal, note)
    }
}

fn not_read<C: RaftTypeConfig>(error: JournalError) -> StorageError<C::NodeId> {
    StorageIOError::read_logs(AnyError::error(error)).into()
}

fn kept<T: DeserializeOwned>(journal: &impl Journal, note: Note) -> Result<Option<T>, JournalError> {
    let bytes = journal.kept(note)?;
    if bytes.is_empty() { Ok(None) } else { Ok(Some(postcard::from_bytes(&bytes)?)) }
}

impl<C: RaftTypeConfig, J: Journal> RaftLogReader<C> for LogStore<C, J>
where
    C::Entry: Serialize + DeserializeOwned,
{
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, until, usize::MAX).map_err(not_read::<C>)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.read(start, end, BATCH_BYTES).map_err(not_read::<C>)
    }
}

impl<C: RaftTypeConfig, J: Journal> RaftLogStorage<C> for LogStore<C, J>
where
    C::Entry: Serialize + DeserializeOwned,
{
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<C>, StorageError<C::NodeId>> {
        let last_purged_log_id = self.kept(Note::Purged).map_err(not_read::<C>)?;
        let there = self.shared.journal.entries();
        let last = self.read(there.end.saturating_sub(1), there.end, usize::MAX).map_err(not_read::<C>)?;
        let last_log_id = last.last().map(|entry| entry.get_log_id().clone()).or_else(|| last_purged_log_id.clone());
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        let truncations = *self.shared.truncations.read().unwrap_or_else(PoisonError::into_inner);
        Self { truncations: Some(truncations), ..self.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let bytes = postcard::to_stdvec(vote).map_err(|error| StorageIOError::write_vote(AnyError::new(&error)))?;
        let kept = self.change(move |journal| journal.keep(Note::Vote, &bytes)).await;
        kept.map_err(|error| StorageIOError::write_vote(error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, StorageError<C::NodeId>> {
        self.kept(Note::Vote).map_err(|error| StorageIOError::read_vote(AnyError::error(error)).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId<C::NodeId>>) -> Result<(), StorageError<C::NodeId>> {
        let bytes = match committed {
            None => Vec::new(),
            Some(committed) => {
                postcard::to_stdvec(&committed).map_err(|error| StorageIOError::write(AnyError::new(&error)))?
            }
        };
        let kept = self.change(move |journal| journal.keep(Note::Committed, &bytes)).await;
        kept.map_err(|error| StorageIOError::write(error).into())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<C::NodeId>>, StorageError<C::NodeId>> {
        self.kept(Note::Committed).map_err(not_read::<C>)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Result<(), StorageError<C::NodeId>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let purged: Option<LogId<C::NodeId>> = self.kept(Note::Purged).map_err(not_read::<C>)?;
        let (mut first, mut records) = (None, Vec::new());
        for entry in entries {
            let index = entry.get_log_id().index;
            // What was purged is in a snapshot, and stays there.
            if purged.as_ref().is_some_and(|purged| index <= purged.index) {
                continue;
            }
            first.get_or_insert(index);
            let record = postcard::to_stdvec(&entry);
            records.push(record.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?);
        }
        let appended = match first {
            None => Ok(()),
            Some(first) => self.change(move |journal| append(journal, first, &records)).await,
        };
        // Now it is durable, or has failed.
        callback.log_io_completed(appended.clone().map_err(std::io::Error::other));
        appended.map_err(|error| StorageIOError::write_logs(error).into())
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let shared = self.shared.clone();
        let truncated = self.change(move |journal| {
            let mut truncations = shared.truncations.write().unwrap_or_else(PoisonError::into_inner);
            *truncations += 1;
            journal.truncate(log_id.index)
        });
        truncated.await.map_err(|error| StorageIOError::write_logs(error).into())
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let bytes = postcard::to_stdvec(&log_id).map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?;
        let purged = self.change(move |journal| {
            journal.keep(Note::Purged, &bytes)?;
            journal.purge(log_id.index + 1)
        });
        purged.await.map_err(|error| StorageIOError::write_logs(error).into())
    }
}

/// Appends; a log without entries begins where the first one does.
fn append(journal: &impl Journal, first: u64, records: &[Vec<u8>]) -> Result<(), JournalError> {
    if journal.entries().is_empty() && first > journal.entries().end {
        journal.purge(first)?;
    }
    journal.append(first, records)
}
