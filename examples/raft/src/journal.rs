//! What a Raft log needs of storage: entries in order, and a few small values beside them, durable when a call returns.

use core::ops::Range;

/// Why storage failed.
pub type JournalError = Box<dyn core::error::Error + Send + Sync>;

/// A small value that is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Whom this node has voted for.
    Vote,
    /// The last entry that is known to be committed.
    Committed,
    /// The last entry that was purged.
    Purged,
    /// Which node this is.
    Identity,
}

/// Storage of a Raft log. What a call has done is durable when it returns; after an error it may have been done or not,
/// and the journal is not to be used any more.
pub trait Journal: Send + Sync + 'static {
    /// Returns whether calls wait for a device: then they are made where waiting harms nobody.
    fn waits(&self) -> bool;

    /// Returns the indices of the entries that there are.
    fn entries(&self) -> Range<u64>;

    /// Puts entries behind the last one; `first` is the index of the first of them.
    ///
    /// # Errors
    ///
    /// The storage's, or that there would be a hole.
    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError>;

    /// Returns the entries `indices`, of which there may be fewer: none that are purged meanwhile, and no more once
    /// they are `bytes_max` long. What finding an entry costs is paid once.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError>;

    /// Drops the entries from `index` on.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn truncate(&self, index: u64) -> Result<(), JournalError>;

    /// Drops the entries before `index`, which may be beyond all: then it is that of the next one.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn purge(&self, index: u64) -> Result<(), JournalError>;

    /// Replaces a note.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError>;

    /// Returns a note: nothing, if it was never kept.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError>;
}

/// Storage of one snapshot.
pub trait Snapshots: Send + Sync + 'static {
    /// Replaces the snapshot; durable when it returns. After a power cut it is the old one or this one.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn store(&self, snapshot: &[u8]) -> Result<(), JournalError>;

    /// Returns the snapshot, if there is one.
    ///
    /// # Errors
    ///
    /// The storage's.
    fn load(&self) -> Result<Option<Vec<u8>>, JournalError>;
}
