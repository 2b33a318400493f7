//! Storage that fails, or takes its time: openraft hears of it, and of nothing before its time.

mod common;

use core::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::Fatal;
use openraft::raft::VoteRequest;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{BasicNode, RaftLogReader, Vote};
use pmemset_raft::journal::{Journal, JournalError, Note};
use pmemset_raft::node::Node;
use pmemset_raft::wire::Greeting;
use pmemset_raft::{FileJournal, FileSnapshots, LogStore, Types, Write};

use common::{Folder, entry, log_id};

/// Takes its time to go, as a last reference that another task has does.
struct GoesSlowly;

impl Drop for GoesSlowly {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A journal that a test has its hands in.
struct Tampered {
    _goes_slowly: GoesSlowly,
    journal: FileJournal,
    /// Appends that go well before all fail.
    good: AtomicU64,
    /// Told when an append has begun; it goes on when told to.
    gate: Option<(Sender<()>, Mutex<Receiver<()>>)>,
    forgets_vote: bool,
    panics: AtomicBool,
}

impl Tampered {
    fn new(folder: &Folder) -> Self {
        let journal = FileJournal::open(&folder.path().join("log")).unwrap();
        Self {
            _goes_slowly: GoesSlowly,
            journal,
            good: AtomicU64::new(u64::MAX),
            gate: None,
            forgets_vote: false,
            panics: AtomicBool::new(false),
        }
    }
}

impl Journal for Tampered {
    fn waits(&self) -> bool {
        true
    }

    fn entries(&self) -> Range<u64> {
        self.journal.entries()
    }

    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError> {
        if let Some((begun, go_on)) = &self.gate {
            begun.send(())?;
            go_on.lock().unwrap().recv()?;
        }
        assert!(!self.panics.swap(false, Ordering::SeqCst), "the journal has a bug");
        if self.good.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.good.store(0, Ordering::SeqCst);
            return Err("the disk is on fire".into());
        }
        self.journal.append(first, entries)
    }

    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError> {
        self.journal.read(indices, bytes_max)
    }

    fn truncate(&self, index: u64) -> Result<(), JournalError> {
        self.journal.truncate(index)
    }

    fn purge(&self, index: u64) -> Result<(), JournalError> {
        self.journal.purge(index)
    }

    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError> {
        if self.forgets_vote && note == Note::Vote { Ok(()) } else { self.journal.keep(note, bytes) }
    }

    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError> {
        self.journal.kept(note)
    }
}

async fn start(folder: &Folder, journal: Tampered) -> Node {
    let snapshots = FileSnapshots::open(&folder.path().join("snapshot")).unwrap();
    Node::on(Greeting::of("errors"), journal, snapshots).await.unwrap()
}

#[tokio::test]
async fn the_callback_is_called_after_the_append_and_not_before() {
    let folder = Folder::new("callback");
    let (begun, has_begun) = channel();
    let (go_on, goes_on) = channel();
    let journal = Tampered { gate: Some((begun, Mutex::new(goes_on))), ..Tampered::new(&folder) };
    let mut store = LogStore::<Types, _>::open(journal).unwrap();
    let appending = tokio::spawn(async move { store.blocking_append([entry(1, 0)]).await.map(|()| store) });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
    // Whatever else can run has run.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert!(!appending.is_finished());
    }
    go_on.send(()).unwrap();
    let store = appending.await.unwrap().unwrap();
    assert_eq!(store.journal().entries(), 0..1);
}

#[tokio::test]
async fn a_journal_that_has_panicked_is_not_used_any_more() {
    let folder = Folder::new("panic");
    let mut store = LogStore::<Types, _>::open(Tampered::new(&folder)).unwrap();
    store.blocking_append([entry(1, 0)]).await.unwrap();
    store.journal().panics.store(true, Ordering::SeqCst);
    store.blocking_append([entry(1, 1)]).await.unwrap_err();
    let error = store.blocking_append([entry(1, 1)]).await.unwrap_err();
    assert!(error.to_string().contains("has panicked"), "{error}");
    assert_eq!(store.journal().entries(), 0..1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_error_stops_the_node_and_loses_nothing() {
    let folder = Folder::new("error");
    // One is the membership, one the leader's own.
    let journal = Tampered { good: AtomicU64::new(7), ..Tampered::new(&folder) };
    let node = start(&folder, journal).await;
    let id = node.id();
    node.raft()
        .initialize([(id, BasicNode::new("nowhere"))].into_iter().collect::<std::collections::BTreeMap<_, _>>())
        .await
        .unwrap();
    node.raft().wait(None).state(openraft::ServerState::Leader, "leads").await.unwrap();
    let mut written = 0;
    let error = loop {
        let write = Write { client: 1, number: written, key: written, value: written };
        match node.raft().client_write(write).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(written, 5);
    let stopped = node.stopped().await;
    assert!(matches!(&stopped, Fatal::StorageError(error) if error.to_string().contains("on fire")), "{stopped}");
    assert!(matches!(error.fatal(), Some(Fatal::StorageError(_) | Fatal::Stopped)), "{error}");
    node.shutdown().await.unwrap();
    drop(node);

    let node = start(&folder, Tampered::new(&folder)).await;
    assert_eq!(node.id(), id);
    node.raft().wait(None).state(openraft::ServerState::Leader, "leads").await.unwrap();
    node.raft().ensure_linearizable().await.unwrap();
    let (_, values) = node.values();
    assert!(values.applied().eq((0..written).map(|number| (1, number))), "{values:?}");
    node.shutdown().await.unwrap();
}

/// Has a node vote for one candidate, starts it again, and asks for its vote for a lesser one, in the same term.
async fn votes_twice(name: &str, forgets_vote: bool) -> bool {
    let folder = Folder::new(name);
    let mut granted = Vec::new();
    for candidate in [12, 11] {
        let journal = Tampered { forgets_vote, ..Tampered::new(&folder) };
        let node = start(&folder, journal).await;
        let answer = node.raft().vote(VoteRequest::new(Vote::new(5, candidate), None)).await.unwrap();
        granted.push(answer.vote_granted);
        node.shutdown().await.unwrap();
    }
    assert!(granted[0]);
    granted[1]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_is_given_once_whatever_is_restarted() {
    assert!(!votes_twice("votes", false).await);
    // The test would see it.
    assert!(votes_twice("forgets", true).await);
}

#[tokio::test]
async fn everything_is_refused_after_an_error() {
    let folder = Folder::new("refused");
    let journal = Tampered { good: AtomicU64::new(1), ..Tampered::new(&folder) };
    let good = Arc::new(journal);
    let mut store = LogStore::<Types, _>::open(Shared(good.clone())).unwrap();
    store.blocking_append([entry(1, 0)]).await.unwrap();
    store.blocking_append([entry(1, 1)]).await.unwrap_err();
    good.good.store(u64::MAX, Ordering::SeqCst);
    let refused = store.save_vote(&Vote::new(1, 1)).await;
    assert!(refused.unwrap_err().to_string().contains("on fire"));
    assert!(good.kept(Note::Vote).unwrap().is_empty());
}

#[tokio::test]
async fn a_reader_from_before_a_truncation_reads_nothing() {
    let folder = Folder::new("readers");
    let mut store = LogStore::<Types, _>::open(Tampered::new(&folder)).unwrap();
    store.blocking_append((0..4).map(|index| entry(1, index))).await.unwrap();
    let mut before = store.get_log_reader().await;
    assert_eq!(before.limited_get_log_entries(2, 4).await.unwrap().len(), 2);
    store.truncate(log_id(1, 3)).await.unwrap();
    store.blocking_append([entry(2, 3)]).await.unwrap();
    assert!(before.limited_get_log_entries(2, 4).await.unwrap().is_empty());
    let mut after = store.get_log_reader().await;
    assert_eq!(after.limited_get_log_entries(2, 4).await.unwrap(), [entry(1, 2), entry(2, 3)]);
}

/// A journal that the test holds as well.
struct Shared(Arc<Tampered>);

impl Journal for Shared {
    fn waits(&self) -> bool {
        self.0.waits()
    }

    fn entries(&self) -> Range<u64> {
        self.0.entries()
    }

    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError> {
        self.0.append(first, entries)
    }

    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError> {
        self.0.read(indices, bytes_max)
    }

    fn truncate(&self, index: u64) -> Result<(), JournalError> {
        self.0.truncate(index)
    }

    fn purge(&self, index: u64) -> Result<(), JournalError> {
        self.0.purge(index)
    }

    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError> {
        self.0.keep(note, bytes)
    }

    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError> {
        self.0.kept(note)
    }
}
