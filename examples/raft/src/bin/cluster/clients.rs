//! Clients that write and read, and remember what they were told.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pmemset_raft::Write;
use pmemset_raft::history::{Act, Call};
use pmemset_raft::wire::{self, Request, Response};

use crate::Outcome;
use crate::nodes::{Cluster, Directory, NODES, PATIENCE};
use crate::random::Random;

const CLIENTS: u64 = 6;
/// Registers: few, so that clients meet.
pub(crate) const KEYS: u64 = 6;
/// Writes, and reads, that a healed cluster has to serve: more than one of each client, which may have been under way.
pub(crate) const SERVED: u64 = 4 * CLIENTS;
/// Between two calls of a client: other things run on the machine.
const PAUSE: Duration = Duration::from_millis(2);
/// After a call that was not done.
const AGAIN: Duration = Duration::from_millis(50);

/// A call, and on which register.
pub(crate) type Entry = (u64, Call);

/// What one client has done.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) client: u64,
    pub(crate) entries: Vec<Entry>,
    /// For each write, by its number: its value, and whether it was acknowledged.
    pub(crate) writes: Vec<(u64, bool)>,
    pub(crate) latencies: Vec<Duration>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    written: AtomicU64,
    read: AtomicU64,
}

/// All clients.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<History>>,
}

impl Clients {
    pub(crate) fn start(cluster: &Cluster, seed: u64) -> Self {
        let (shared, begin) = (Arc::new(Shared::default()), Instant::now());
        let threads = (1..=CLIENTS).map(|client| {
            let client = Client {
                random: Random::new(seed ^ client << 32),
                directory: cluster.directory(),
                shared: shared.clone(),
                begin,
                target: 0,
                stream: None,
                history: History { client, ..History::default() },
            };
            std::thread::spawn(|| client.run())
        });
        Self { threads: threads.collect(), shared }
    }

    /// Returns how many writes were acknowledged, and reads answered.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.written.load(Ordering::Relaxed), self.shared.read.load(Ordering::Relaxed))
    }

    /// Waits until a healed cluster has served [`SERVED`] writes, and as many reads.
    ///
    /// A failover takes seconds, on a busy machine more: harm at a pace of its own would keep a slow cluster from
    /// serving anything, and nothing would be checked.
    pub(crate) fn reach_the_healed(&self) -> Outcome<()> {
        let (begin, before) = (Instant::now(), self.counts());
        loop {
            let now = self.counts();
            if now.0 >= before.0 + SERVED && now.1 >= before.1 + SERVED {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("all is well, and nothing is served in {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(AGAIN);
        }
    }

    pub(crate) fn stop(self) -> Outcome<Vec<History>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = |thread: JoinHandle<History>| thread.join().map_err(|_| "a client has panicked".to_owned());
        self.threads.into_iter().map(ended).collect()
    }
}

struct Client {
    random: Random,
    directory: Directory,
    shared: Arc<Shared>,
    begin: Instant,
    target: usize,
    stream: Option<TcpStream>,
    history: History,
}

impl Client {
    fn run(mut self) -> History {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = self.random.below(KEYS);
            let done = if self.random.below(2) == 0 { self.write(key) } else { self.read(key) };
            std::thread::sleep(if done { PAUSE } else { AGAIN });
        }
        self.history
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn write(&mut self, key: u64) -> bool {
        let number = self.history.writes.len() as u64;
        let value = self.history.client << 40 | number;
        let write = Write { client: self.history.client, number, key, value };
        let start = self.now();
        let done = matches!(self.ask(Request::Write(write)), Some(Response::Written));
        let end = self.now();
        // Without an answer it may happen at any time, or never: it is not sent again.
        let call = Call { start, end: done.then_some(end), act: Act::Write(value) };
        self.history.entries.push((key, call));
        self.history.writes.push((value, done));
        if done {
            self.history.latencies.push(Duration::from_nanos(end - start));
            self.shared.written.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    fn read(&mut self, key: u64) -> bool {
        let start = self.now();
        let Some(Response::Read(value)) = self.ask(Request::Read(key)) else { return false };
        let call = Call { start, end: Some(self.now()), act: Act::Read(value) };
        self.history.entries.push((key, call));
        self.shared.read.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Asks the node that is taken for the leader; if it is not, another one next time.
    fn ask(&mut self, request: Request) -> Option<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => match self.directory.connect(self.target) {
                Ok(stream) => stream,
                Err(_) => {
                    self.target = (self.target + 1) % NODES;
                    return None;
                }
            },
        };
        match wire::ask(&mut stream, 0, request) {
            Ok(Response::Failed(_, leader)) => {
                let known = self.directory.ids().iter().position(|id| Some(*id) == leader);
                self.target = known.filter(|known| *known != self.target).unwrap_or((self.target + 1) % NODES);
                None
            }
            Ok(response) => {
                self.stream = Some(stream);
                Some(response)
            }
            Err(_) => {
                self.target = (self.target + 1) % NODES;
                None
            }
        }
    }
}
