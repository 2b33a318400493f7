//! Both kinds of storage on a log in persistent memory.

use core::ops::Range;
use pmemset_linux::lock_api::RawRwLock;
use std::path::Path;
use std::sync::Arc;

use pmemset_core::{Config, Granularity, Observer, Platform, Set, Source};
use pmemset_linux::{FileSource, Linux, OpenOptions};
use pmemset_log::{ChangeError, Log, NOTE_BYTES, Options, Table};

use crate::journal::{Journal, JournalError, Note, Snapshots};

/// A Raft log in a log: entry `index` is record `index` + 1, and the notes are its notes.
#[derive(Debug)]
pub struct LogJournal<
    P: Platform<Lock: RawRwLock> + 'static,
    S: Source<Space = P::Space> + Clone + 'static,
    O: Observer<S> + 'static = (),
> {
    log: Log<'static, P, S, O>,
}

/// One in a file.
pub type FileJournal = LogJournal<Linux, Arc<FileSource>>;
/// A snapshot in a file.
pub type FileSnapshots = LogSnapshots<Linux, Arc<FileSource>>;

impl FileJournal {
    /// Opens the Raft log in a file, or makes it.
    ///
    /// # Errors
    ///
    /// The file's, the set's, or the log's.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        open_file(path, 1 << 20, 1024).map(Self::new)
    }
}

impl FileSnapshots {
    /// Opens the snapshot in a file, or makes the file.
    ///
    /// # Errors
    ///
    /// The file's, the set's, or the log's.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        open_file(path, 1 << 20, 256).map(Self::new)
    }
}

fn open_file(
    path: &Path,
    segment_bytes: usize,
    segments: usize,
) -> Result<Log<'static, Linux, Arc<FileSource>>, JournalError> {
    let made = !path.exists();
    // A second process in this place would vote in this one's name, and take its records for torn.
    let options = OpenOptions::new().create_if_needed().exclusive();
    let source = FileSource::open(path.as_os_str().as_encoded_bytes(), options)?;
    if made && let Some(folder) = path.parent() {
        // The name of a new file is durable when its folder is.
        std::fs::File::open(folder)?.sync_all()?;
    }
    let config = Config::new(Granularity::Page).reserve_ahead(segments * segment_bytes);
    let set = Set::with_capacity(Linux::new(), config, segments + 1);
    let options = Options::new().segment_bytes(segment_bytes);
    Ok(Log::open(set, Arc::new(source), &options, Table::on_heap(segments))?)
}

const fn place(note: Note) -> usize {
    match note {
        Note::Vote => 0,
        Note::Committed => 1,
        Note::Purged => 2,
        Note::Identity => 3,
    }
}

/// A segment that could not be unmapped is no harm: the change is made.
fn settled(result: Result<(), ChangeError>) -> Result<(), JournalError> {
    match result {
        Ok(()) | Err(ChangeError::Remove(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn waits<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>>(
    log: &Log<'_, P, S, O>,
) -> bool {
    log.set().granularity().is_none_or(|granularity| granularity == Granularity::Page)
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> LogJournal<P, S, O> {
    /// Makes a log that was opened a journal.
    #[must_use]
    pub const fn new(log: Log<'static, P, S, O>) -> Self {
        Self { log }
    }

    /// Returns the log.
    #[must_use]
    pub const fn log(&self) -> &Log<'static, P, S, O> {
        &self.log
    }
}

impl<P, S, O> Journal for LogJournal<P, S, O>
where
    P: Platform<Lock: RawRwLock> + Send + Sync + 'static,
    S: Source<Space = P::Space> + Clone + Send + Sync + 'static,
    O: Observer<S> + Send + Sync + 'static,
    Log<'static, P, S, O>: Send + Sync,
{
    fn waits(&self) -> bool {
        waits(&self.log)
    }

    fn entries(&self) -> Range<u64> {
        self.log.first() - 1..self.log.next() - 1
    }

    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError> {
        if first + 1 != self.log.next() {
            return Err(format!("entry {first} does not follow on {:?}", self.entries()).into());
        }
        for entry in entries {
            self.log.stage(entry)?;
        }
        // One fence, or one synchronisation, for all of them.
        self.log.commit()?;
        Ok(())
    }

    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError> {
        let (mut entries, mut bytes_read) = (Vec::new(), 0);
        for record in self.log.iter(indices.start + 1) {
            let record = record?;
            if record.sequence > indices.end || bytes_read >= bytes_max {
                break;
            }
            bytes_read += record.payload.len();
            entries.push(record.payload);
        }
        Ok(entries)
    }

    fn truncate(&self, index: u64) -> Result<(), JournalError> {
        settled(self.log.truncate_after(index))
    }

    fn purge(&self, index: u64) -> Result<(), JournalError> {
        settled(self.log.drop_before(index + 1))
    }

    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError> {
        settled(self.log.store_note(place(note), bytes))
    }

    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError> {
        let mut bytes = vec![0; NOTE_BYTES];
        let length_bytes = self.log.load_note(place(note), &mut bytes)?;
        bytes.truncate(length_bytes);
        Ok(bytes)
    }
}

/// A snapshot as the newest record of a log of its own.
#[derive(Debug)]
pub struct LogSnapshots<
    P: Platform<Lock: RawRwLock> + 'static,
    S: Source<Space = P::Space> + Clone + 'static,
    O: Observer<S> + 'static = (),
> {
    log: Log<'static, P, S, O>,
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> LogSnapshots<P, S, O> {
    /// Makes a log that was opened a place for snapshots.
    #[must_use]
    pub const fn new(log: Log<'static, P, S, O>) -> Self {
        Self { log }
    }
}

impl<P, S, O> Snapshots for LogSnapshots<P, S, O>
where
    P: Platform<Lock: RawRwLock> + Send + Sync + 'static,
    S: Source<Space = P::Space> + Clone + Send + Sync + 'static,
    O: Observer<S> + Send + Sync + 'static,
    Log<'static, P, S, O>: Send + Sync,
{
    fn store(&self, snapshot: &[u8]) -> Result<(), JournalError> {
        let sequence = self.log.append(snapshot)?;
        settled(self.log.drop_before(sequence))
    }

    fn load(&self) -> Result<Option<Vec<u8>>, JournalError> {
        let next = self.log.next();
        if self.log.first() == next {
            return Ok(None);
        }
        let mut snapshot = vec![0; self.log.length_of(next - 1)?];
        self.log.read(next - 1, &mut snapshot)?;
        Ok(Some(snapshot))
    }
}
