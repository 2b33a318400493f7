//! A node: Raft on durable storage, and a server for peers and clients.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use openraft::error::{Fatal, RaftError};
use openraft::{BasicNode, Config, Raft, Snapshot, SnapshotPolicy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinError;

use crate::closing::Closing;
use crate::journal::{Journal, JournalError, Note, Snapshots};
use crate::network::{CutOff, Peers};
use crate::state::Registers;
use crate::wire::{self, Greeting, Message, Request, Response, Status};
use crate::{FileJournal, FileSnapshots, LogStore, StateStore, Types, Values};

/// How long a greeting is waited for.
const GREETING: Duration = Duration::from_secs(10);
/// How long no connection is accepted after one could not be.
const AGAIN: Duration = Duration::from_millis(100);

/// A node of a cluster.
#[derive(Clone)]
pub struct Node {
    id: u64,
    greeting: Greeting,
    raft: Raft<Types>,
    registers: Registers,
    /// Of the log and of the snapshots.
    closing: [Closing; 2],
    cut_off: CutOff,
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Returns who the owner of this journal is; a new journal gets a number that nobody else has.
///
/// A node that has lost its memory is another node by that: it knows nothing of votes that it has given, and must not
/// give any in its old name. The others put it in the lost one's place by a change of membership.
///
/// # Errors
///
/// The journal's; or it has been used, and says not by whom.
pub fn identity(journal: &impl Journal) -> Result<u64, JournalError> {
    let kept = journal.kept(Note::Identity)?;
    if let Ok(bytes) = kept.as_slice().try_into() {
        return Ok(u64::from_le_bytes(bytes));
    }
    let notes = [Note::Identity, Note::Vote, Note::Committed, Note::Purged];
    for note in notes {
        if !journal.kept(note)?.is_empty() {
            return Err("the log is in use, and says not by which node".into());
        }
    }
    if journal.entries() != (0..0) {
        return Err("the log has entries, and says not of which node".into());
    }
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[0] |= 1; // never 0, which is nobody
    journal.keep(Note::Identity, &bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Returns how nodes of this store are set up: heartbeats and elections slow enough for busy machines.
#[must_use]
pub fn config() -> Config {
    Config {
        cluster_name: "pmemset".to_owned(),
        heartbeat_interval: 200,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        install_snapshot_timeout: 10_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(2000),
        max_in_snapshot_log_to_keep: 500,
        ..Config::default()
    }
}

impl Node {
    /// Starts the node of a cluster whose memory is in `folder`, or a new one.
    ///
    /// # Errors
    ///
    /// The storage's; the snapshot is another node's, or is missing.
    pub async fn start(greeting: Greeting, folder: &Path) -> Result<Self, JournalError> {
        let journal = FileJournal::open(&folder.join("log"))?;
        Self::on(greeting, journal, FileSnapshots::open(&folder.join("snapshot"))?).await
    }

    /// Starts a node on other storage.
    ///
    /// # Errors
    ///
    /// As those of [`start`](Self::start).
    pub async fn on(
        greeting: Greeting,
        journal: impl Journal,
        snapshots: impl Snapshots,
    ) -> Result<Self, JournalError> {
        let id = identity(&journal)?;
        let log = LogStore::<Types, _>::open(journal)?;
        let state = StateStore::open(id, snapshots)?;
        let registers = state.registers();
        let applied = registers.last_applied().map_or(0, |applied| applied.index + 1);
        if log.journal().entries().start > applied {
            return Err("the snapshot is missing, and the log does not begin before it".into());
        }
        let config = Arc::new(config().validate()?);
        let cut_off = CutOff::default();
        let closing = [log.closing(), state.closing()];
        let raft = Raft::new(id, config, Peers::new(id, greeting, cut_off.clone()), log, state).await?;
        Ok(Self { id, greeting, raft, registers, closing, cut_off })
    }

    /// Returns who it is.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns openraft's handle.
    #[must_use]
    pub const fn raft(&self) -> &Raft<Types> {
        &self.raft
    }

    /// Returns the values that are applied, and up to which entry.
    #[must_use]
    pub fn values(&self) -> (Option<u64>, Values) {
        let (applied, values) = self.registers.values();
        (applied.map(|applied| applied.index), values)
    }

    /// Stops the node, and returns when its storage is closed: it can be started again in its folder then.
    ///
    /// openraft's own `shutdown` returns earlier, while tasks of it still hold the storage. Copies of this node may
    /// stay; whoever asks them is told that it has stopped.
    ///
    /// # Errors
    ///
    /// A task of openraft has panicked.
    pub async fn shutdown(&self) -> Result<(), JoinError> {
        let ended = self.raft.shutdown().await;
        for closing in self.closing.clone() {
            closing.closed().await;
        }
        ended
    }

    /// Waits until the node has stopped, and returns why.
    pub async fn stopped(&self) -> Fatal<u64> {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(reason) = &metrics.borrow().running_state {
                return reason.clone();
            }
            if metrics.changed().await.is_err() {
                return Fatal::Stopped;
            }
        }
    }

    /// Answers whoever connects with the greeting of the cluster, for ever.
    ///
    /// A connection that cannot be accepted, because the process has no descriptor left for it say, is one that comes
    /// later.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let node = self.clone();
            tokio::spawn(async move { node.answer_all(stream).await });
        }
    }

    async fn answer_all(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        tokio::time::timeout(GREETING, self.greeting.expect(&mut stream)).await??;
        loop {
            let Message { from, to, request } = wire::receive(&mut stream).await?;
            if self.cut_off.has(from) {
                return Ok(());
            }
            let response = if to == self.id || to == 0 { self.answer(request).await } else { Response::NotMe(self.id) };
            if self.cut_off.has(from) {
                return Ok(());
            }
            wire::send(&mut stream, &response).await?;
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let raft = &self.raft;
        match request {
            Request::Append(rpc) => or_failed(raft.append_entries(rpc).await, Response::Append),
            Request::Vote(rpc) => or_failed(raft.vote(rpc).await, Response::Vote),
            Request::Snapshot { vote, meta, bytes } => {
                let snapshot = Snapshot { meta, snapshot: Box::new(bytes) };
                or_failed(raft.install_full_snapshot(vote, snapshot).await, Response::Snapshot)
            }
            Request::Write(write) => self.led(raft.client_write(write).await, |_| Response::Written).await,
            Request::Read(key) => {
                self.led(raft.ensure_linearizable().await, |_| Response::Read(self.registers.get(key))).await
            }
            Request::Status => Response::Status(self.status()),
            Request::Values => {
                let (applied, values) = self.values();
                Response::Values(applied, values)
            }
            Request::Found(nodes) => {
                let nodes: BTreeMap<u64, BasicNode> =
                    nodes.into_iter().map(|(id, address)| (id, BasicNode::new(address))).collect();
                or_failed(raft.initialize(nodes).await, |()| Response::Done)
            }
            Request::AddLearner(id, address) => {
                self.led(raft.add_learner(id, BasicNode::new(address), false).await, |_| Response::Done).await
            }
            Request::SetVoters(voters) => {
                self.led(raft.change_membership(voters, false).await, |_| Response::Done).await
            }
            Request::CutOff(nodes) => {
                self.cut_off.set(nodes);
                Response::Done
            }
        }
    }

    fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow().clone();
        Status {
            id: self.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: metrics.last_applied.map(|applied| applied.index),
            voters: metrics.membership_config.membership().voter_ids().collect(),
            nodes: metrics.membership_config.membership().nodes().map(|(id, _)| *id).collect(),
        }
    }

    /// Returns the answer to what only a leader can do.
    async fn led<T, E: core::error::Error>(
        &self,
        result: Result<T, RaftError<u64, E>>,
        answer: impl FnOnce(T) -> Response,
    ) -> Response {
        match result {
            Ok(value) => answer(value),
            Err(error) => Response::Failed(error.to_string(), self.raft.current_leader().await),
        }
    }
}

fn or_failed<T, E: core::error::Error>(result: Result<T, E>, answer: impl FnOnce(T) -> Response) -> Response {
    result.map_or_else(|error| Response::Failed(error.to_string(), None), answer)
}
