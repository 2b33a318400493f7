//! openraft's network: one connection to each peer, made anew after an error.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{AnyError, BasicNode, OptionalSend, Snapshot, Vote};
use tokio::net::TcpStream;

use crate::Types;
use crate::wire::{self, Greeting, Message, Request, Response};

/// How long a peer that cannot be reached is left alone.
const AGAIN: Duration = Duration::from_millis(100);

/// The nodes that this one does not talk to: a switch for tests, where a network cannot be cut.
#[derive(Clone, Debug, Default)]
pub struct CutOff(Arc<Mutex<BTreeSet<u64>>>);

impl CutOff {
    /// Cuts these off, and no others.
    pub fn set(&self, nodes: BTreeSet<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Returns whether this one is cut off.
    #[must_use]
    pub fn has(&self, node: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&node)
    }
}

/// Makes connections from one node to its peers.
#[derive(Clone, Debug)]
pub struct Peers {
    me: u64,
    greeting: Greeting,
    cut_off: CutOff,
}

impl Peers {
    /// Makes them for node `me` of a cluster.
    #[must_use]
    pub const fn new(me: u64, greeting: Greeting, cut_off: CutOff) -> Self {
        Self { me, greeting, cut_off }
    }
}

/// A connection to a peer.
#[derive(Debug)]
pub struct Connection {
    me: u64,
    greeting: Greeting,
    cut_off: CutOff,
    peer: u64,
    address: String,
    stream: Option<TcpStream>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Connection;

    async fn new_client(&mut self, peer: u64, node: &BasicNode) -> Connection {
        let (me, greeting, cut_off) = (self.me, self.greeting, self.cut_off.clone());
        Connection { me, greeting, cut_off, peer, address: node.addr.clone(), stream: None }
    }
}

impl Connection {
    /// Asks, and returns the answer of just that peer.
    async fn ask(&mut self, request: Request, option: &RPCOption) -> io::Result<Response> {
        if self.cut_off.has(self.peer) {
            self.stream = None;
            return Err(io::Error::other("cut off"));
        }
        // If this future is dropped in the middle, so is the connection.
        let stream = self.stream.take();
        let message = Message { from: self.me, to: self.peer, request };
        let asked = async {
            let mut stream = match stream {
                Some(stream) => stream,
                None => self.greeting.reach(&self.address).await?,
            };
            wire::send(&mut stream, &message).await?;
            io::Result::Ok((wire::receive(&mut stream).await?, stream))
        };
        let (response, stream) = match tokio::time::timeout(option.hard_ttl(), asked).await {
            Ok(asked) => asked?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        match response {
            Response::NotMe(id) => Err(io::Error::other(format!("{id:x} is there, not {:x}", self.peer))),
            Response::Failed(reason, _) => Err(io::Error::other(reason)),
            response => {
                self.stream = Some(stream);
                Ok(response)
            }
        }
    }
}

fn unexpected(response: &Response) -> NetworkError {
    NetworkError::new(&AnyError::error(format!("not an answer: {response:?}")))
}

type Answer<T> = Result<T, RPCError<u64, BasicNode, RaftError<u64>>>;

impl RaftNetwork<Types> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Answer<AppendEntriesResponse<u64>> {
        match self.ask(Request::Append(rpc), &option).await {
            Ok(Response::Append(answer)) => Ok(answer),
            Ok(other) => Err(unexpected(&other).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Answer<VoteResponse<u64>> {
        match self.ask(Request::Vote(rpc), &option).await {
            Ok(Response::Vote(answer)) => Ok(answer),
            Ok(other) => Err(unexpected(&other).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let (peer, mut cancel) = (self.peer, pin!(cancel));
        let request = Request::Snapshot { vote, meta: snapshot.meta, bytes: *snapshot.snapshot };
        let asked = tokio::select! {
            closed = &mut cancel => return Err(closed.into()),
            asked = self.ask(request, &option) => asked,
        };
        match asked {
            Ok(Response::Snapshot(answer)) => Ok(answer),
            Ok(_) => Err(RemoteError::new(peer, Fatal::Stopped).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(core::iter::repeat(AGAIN))
    }
}
