//! What nodes and clients say to each other: a length of 4 bytes, little-endian, and a message of that length.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Read, Result, Write as _};
use std::net::{SocketAddr, TcpStream};

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, SnapshotMeta, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Types, Values, Write};

/// Longest message in bytes.
const LENGTH_MAX_BYTES: u64 = 256 << 20;

/// What every connection begins with: which cluster it is meant for. Nothing that comes without it is read, or
/// answered.
///
/// It keeps clusters apart, and other programs out. It is no secret: whoever can connect and wants to can do all that a
/// node can, so nodes listen on loopback, or on a network of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting([u8; 32]);

impl Greeting {
    /// Returns that of a cluster; of a name, the first 24 bytes count.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(b"pmemraft");
        bytes[8..].iter_mut().zip(cluster.bytes()).for_each(|(place, byte)| *place = byte);
        Self(bytes)
    }

    /// Connects to a node of this cluster, and waits up to `patience` for it and for each of its answers.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn connect(&self, address: &SocketAddr, patience: Duration) -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.0)?;
        Ok(stream)
    }

    /// As [`connect`](Self::connect), for a peer: who asks does not wait longer than it wants.
    pub(crate) async fn reach(&self, address: &str) -> Result<tokio::net::TcpStream> {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.0).await?;
        Ok(stream)
    }

    /// Makes sure that who has connected means this cluster.
    pub(crate) async fn expect(&self, stream: &mut tokio::net::TcpStream) -> Result<()> {
        let mut bytes = [0; 32];
        stream.read_exact(&mut bytes).await?;
        if bytes == self.0 { Ok(()) } else { Err(wrong("meant for another cluster")) }
    }
}

/// A question, and for whom it is: a node answers what is for itself only.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// The node that asks; 0 for clients.
    pub from: u64,
    /// The node that is asked; 0 for whichever is there.
    pub to: u64,
    /// What is asked.
    pub request: Request,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Raft's.
    Append(AppendEntriesRequest<Types>),
    /// Raft's.
    Vote(VoteRequest<u64>),
    /// Raft's: a snapshot as a whole.
    Snapshot {
        /// The leader's.
        vote: Vote<u64>,
        /// What it has.
        meta: SnapshotMeta<u64, BasicNode>,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Write to a register.
    Write(Write),
    /// Read a register, as the last write has left it.
    Read(u64),
    /// Say how you are.
    Status,
    /// Say all that you have applied.
    Values,
    /// Found a cluster of these nodes.
    Found(BTreeMap<u64, String>),
    /// Have this node learn.
    AddLearner(u64, String),
    /// Have these nodes vote, and no others.
    SetVoters(BTreeSet<u64>),
    /// Talk to these nodes no more, until you are told otherwise.
    CutOff(BTreeSet<u64>),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Raft's.
    Append(AppendEntriesResponse<u64>),
    /// Raft's.
    Vote(VoteResponse<u64>),
    /// Raft's.
    Snapshot(SnapshotResponse<u64>),
    /// It is written, on a majority.
    Written,
    /// This is read.
    Read(Option<u64>),
    /// How the node is.
    Status(Status),
    /// What it has applied, and up to which entry.
    Values(Option<u64>, Values),
    /// It is done.
    Done,
    /// The node that is asked for is not here: this one is.
    NotMe(u64),
    /// It is not done, or perhaps later, for this reason; and who is taken for the leader.
    Failed(String, Option<u64>),
}

/// How a node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Who it is.
    pub id: u64,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry that it has applied.
    pub applied: Option<u64>,
    /// Who votes.
    pub voters: BTreeSet<u64>,
    /// Everybody.
    pub nodes: BTreeSet<u64>,
}

fn wrong(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(wrong)?;
    let length = u32::try_from(bytes.len() - 4).map_err(wrong)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Returns the length of a message. Memory is taken for what has come of it, not for what was said.
fn length_of(length: [u8; 4]) -> Result<u64> {
    let length = u32::from_le_bytes(length).into();
    if length > LENGTH_MAX_BYTES { Err(wrong("a message too long")) } else { Ok(length) }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], length: u64) -> Result<T> {
    if bytes.len() as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(bytes).map_err(wrong)
}

/// Sends a message.
///
/// # Errors
///
/// The connection's: it is of no use any more.
pub async fn send(stream: &mut tokio::net::TcpStream, message: &(impl Serialize + Sync)) -> Result<()> {
    stream.write_all(&encode(message)?).await
}

/// Receives a message.
///
/// # Errors
///
/// The connection's: it is of no use any more.
pub async fn receive<T: DeserializeOwned>(stream: &mut tokio::net::TcpStream) -> Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let (length, mut bytes) = (length_of(length)?, Vec::new());
    stream.take(length).read_to_end(&mut bytes).await?;
    decode(&bytes, length)
}

/// Asks as a client does, and waits for the answer.
///
/// # Errors
///
/// The connection's: it is of no use any more, and what was asked may happen all the same.
pub fn ask(stream: &mut TcpStream, to: u64, request: Request) -> Result<Response> {
    stream.write_all(&encode(&Message { from: 0, to, request })?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let (length, mut bytes) = (length_of(length)?, Vec::new());
    stream.take(length).read_to_end(&mut bytes)?;
    decode(&bytes, length)
}
