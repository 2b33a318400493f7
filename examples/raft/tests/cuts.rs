//! The power is cut at every step of a Raft log's life, in simulated memory: what openraft was told is there.
#![allow(clippy::cast_possible_truncation, reason = "numbers of small worlds")]

mod common;

use core::ops::Range;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{Entry, LogId, RaftLogReader, Vote};
use pmemset_core::sim::{Explore, Explored, Failure, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, Granularity, Set};
use pmemset_log::{Log, Options, Table};
use pmemset_raft::journal::{Journal, JournalError, Note};
use pmemset_raft::{LogJournal, LogStore, Types};

use common::{entry, log_id};

const PAGE: usize = 512;
const SEGMENTS: usize = 6;

/// What a store may do wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    /// It calls the flush callback before entries are durable.
    CallsBackEarly,
    /// It keeps the vote in ordinary memory.
    ForgetsVote,
    /// It drops entries before it has noted which.
    PurgesUnnoted,
    /// It leaves entries where they are that are to be truncated.
    TruncatesInMemory,
}

/// A journal in simulated memory, with a mistake or without; it is called in place, whatever the memory.
struct SimJournal {
    journal: LogJournal<SimPlatform, SimSource>,
    mistake: Option<Mistake>,
    pending: Mutex<Option<Vec<u8>>>,
}

impl Journal for SimJournal {
    fn waits(&self) -> bool {
        false
    }

    fn entries(&self) -> Range<u64> {
        self.journal.entries()
    }

    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError> {
        if self.mistake == Some(Mistake::CallsBackEarly) {
            for entry in entries {
                self.journal.log().stage(entry)?;
            }
            return Ok(());
        }
        self.journal.append(first, entries)
    }

    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError> {
        self.journal.read(indices, bytes_max)
    }

    fn truncate(&self, index: u64) -> Result<(), JournalError> {
        if self.mistake == Some(Mistake::TruncatesInMemory) { Ok(()) } else { self.journal.truncate(index) }
    }

    fn purge(&self, index: u64) -> Result<(), JournalError> {
        self.journal.purge(index)?;
        match self.pending.lock().unwrap().take() {
            Some(note) => self.journal.keep(Note::Purged, &note),
            None => Ok(()),
        }
    }

    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError> {
        match (self.mistake, note) {
            (Some(Mistake::ForgetsVote), Note::Vote) => Ok(()),
            (Some(Mistake::PurgesUnnoted), Note::Purged) => {
                *self.pending.lock().unwrap() = Some(bytes.to_vec());
                Ok(())
            }
            _ => self.journal.keep(note, bytes),
        }
    }

    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError> {
        self.journal.kept(note)
    }
}

type Store = LogStore<Types, SimJournal>;

fn open(machine: &Machine, mistake: Option<Mistake>) -> Store {
    let set =
        Set::with_capacity(machine.platform(), Config::new(Granularity::Page).reserve_ahead(8 * PAGE), SEGMENTS + 1);
    let options = Options::new().segment_bytes(PAGE);
    let log = Log::open(set, machine.source(0).reopen(), &options, Table::on_heap(SEGMENTS)).unwrap();
    LogStore::open(SimJournal { journal: LogJournal::new(log), mistake, pending: Mutex::default() }).unwrap()
}

/// Returns what a call in place returns.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// A call of openraft's.
#[derive(Clone, Copy, Debug)]
enum Call {
    SaveVote(u64),
    SaveCommitted(u64, u64),
    /// Term, first index, and how many.
    Append(u64, u64, u64),
    Truncate(u64),
    Purge(u64, u64),
}

fn call(store: &mut Store, call: Call) {
    let done = match call {
        Call::SaveVote(term) => now(store.save_vote(&Vote::new(term, 1))),
        Call::SaveCommitted(term, index) => now(store.save_committed(Some(log_id(term, index)))),
        Call::Append(term, first, count) => {
            let entries: Vec<_> = (first..first + count).map(|index| entry(term, index)).collect();
            now(store.blocking_append(entries))
        }
        Call::Truncate(index) => now(store.truncate(log_id(1, index))),
        Call::Purge(term, index) => now(store.purge(log_id(term, index))),
    };
    done.unwrap();
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Holds {
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
    last: Option<LogId<u64>>,
    entries: Vec<Entry<Types>>,
}

impl Holds {
    fn of(store: &mut Store) -> Self {
        let state = now(store.get_log_state()).unwrap();
        Self {
            vote: now(store.read_vote()).unwrap(),
            committed: now(store.read_committed()).unwrap(),
            purged: state.last_purged_log_id,
            last: state.last_log_id,
            entries: now(store.try_get_log_entries(..)).unwrap(),
        }
    }

    /// Returns what it may hold while the call is under way, and in the end what it must hold.
    fn after(&self, call: Call) -> Vec<Self> {
        let mut steps = vec![self.clone()];
        match call {
            Call::SaveVote(term) => steps[0].vote = Some(Vote::new(term, 1)),
            Call::SaveCommitted(term, index) => steps[0].committed = Some(log_id(term, index)),
            Call::Append(term, first, count) => {
                for index in first..first + count {
                    let mut next = steps[steps.len() - 1].clone();
                    next.entries.push(entry(term, index));
                    steps.push(next);
                }
            }
            Call::Truncate(index) => steps[0].entries.retain(|entry| entry.log_id.index < index),
            Call::Purge(term, index) => {
                steps[0].entries.retain(|entry| entry.log_id.index > index);
                steps[0].purged = Some(log_id(term, index));
            }
        }
        for step in &mut steps {
            step.last = step.entries.last().map(|entry| entry.log_id).or(step.purged);
        }
        steps
    }
}

const LIFE: [Call; 9] = [
    Call::SaveVote(1),
    Call::Append(1, 0, 1),
    Call::Append(1, 1, 4),
    Call::SaveCommitted(1, 2),
    Call::SaveVote(2),
    Call::Truncate(3),
    Call::Append(2, 3, 2),
    Call::Purge(1, 2),
    Call::Append(2, 5, 1),
];
/// A snapshot is installed that is far ahead of the log.
const JUMP: [Call; 4] = [Call::SaveVote(3), Call::Append(1, 0, 2), Call::Purge(3, 40), Call::Append(3, 41, 2)];

fn explore(granularity: Granularity, life: &[Call], mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let mut told = vec![Holds::default()];
    let mut allowed = Vec::new();
    for call in life {
        let steps = told[told.len() - 1].after(*call);
        told.push(steps[steps.len() - 1].clone());
        allowed.push(steps);
    }
    let work = |machine: &Machine| {
        let length_bytes = (8192 + SEGMENTS * PAGE) as u64;
        let _ = machine.add_source(Medium::new(0).growing_to(length_bytes).granularity(granularity));
        let mut store = open(machine, mistake);
        machine.settle();
        for (number, what) in life.iter().enumerate() {
            call(&mut store, *what);
            machine.acknowledge(number as u64 + 1);
        }
    };
    let check = |machine: &Machine| {
        let done = machine.acknowledged() as usize;
        let found = Holds::of(&mut open(machine, None));
        let under_way = allowed.get(done).is_some_and(|steps| steps.contains(&found));
        if found == told[done] || under_way { Ok(()) } else { Err(format!("after call {done}: {found:?}")) }
    };
    let hardware = Hardware::new().page_bytes(PAGE).address_space_bytes(96 * PAGE);
    Explore::new(hardware).run(work, check)
}

#[test]
fn a_cut_leaves_what_openraft_was_told() {
    for granularity in [Granularity::CacheLine, Granularity::Page] {
        for life in [&LIFE[..], &JUMP] {
            let explored = explore(granularity, life, None).unwrap_or_else(|failure| panic!("{failure}"));
            explored.assert_complete();
            println!("{granularity:?}: {explored}");
        }
    }
}

#[test]
fn each_mistake_is_found() {
    use Mistake::{CallsBackEarly, ForgetsVote, PurgesUnnoted, TruncatesInMemory};
    for mistake in [CallsBackEarly, ForgetsVote, PurgesUnnoted, TruncatesInMemory] {
        // A life in which the mistake makes the difference, and nothing else.
        let life: &[Call] = match mistake {
            CallsBackEarly => &[Call::Append(1, 0, 2)],
            ForgetsVote => &[Call::SaveVote(1)],
            PurgesUnnoted => &[Call::Append(1, 0, 2), Call::Purge(1, 0)],
            TruncatesInMemory => &[Call::Append(1, 0, 2), Call::Truncate(1)],
        };
        assert!(explore(Granularity::CacheLine, life, None).is_ok(), "{mistake:?}");
        let failure = explore(Granularity::CacheLine, life, Some(mistake)).expect_err(&format!("{mistake:?}"));
        println!("{mistake:?}: {}", failure.message);
    }
}
