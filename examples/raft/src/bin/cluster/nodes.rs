//! Three processes, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pmemset_raft::Values;
use pmemset_raft::wire::{self, Greeting, Request, Response, Status};

use crate::Outcome;
use crate::spaces::Spaces;

/// Nodes of a cluster.
pub(crate) const NODES: usize = 3;
/// How long what must happen once all is well may take: no machine is so slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// A name of this run's own: a node that another one has left behind does not answer.
fn cluster_name() -> String {
    format!("run {}", std::process::id())
}

/// Who is where: clients look it up.
#[derive(Clone)]
pub(crate) struct Directory {
    addresses: Vec<SocketAddr>,
    ids: Arc<Mutex<Vec<u64>>>,
}

impl Directory {
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn connect(&self, number: usize) -> std::io::Result<TcpStream> {
        Greeting::of(&cluster_name()).connect(&self.addresses[number], ANSWER)
    }

    /// Asks node `number` once.
    pub(crate) fn ask(&self, number: usize, request: Request) -> Outcome<Response> {
        let asked = self.connect(number).and_then(|mut stream| wire::ask(&mut stream, 0, request));
        asked.map_err(|error| format!("node {number}: {error}"))
    }

    fn status(&self, number: usize) -> Outcome<Status> {
        match self.ask(number, Request::Status)? {
            Response::Status(status) => Ok(status),
            other => Err(format!("{other:?}")),
        }
    }
}

/// The cluster.
pub(crate) struct Cluster {
    spaces: Spaces,
    directory: Directory,
    folders: Vec<PathBuf>,
    children: Vec<Option<Child>>,
    /// What nodes are told beside where they are.
    words: Vec<String>,
}

impl Cluster {
    /// Starts three new nodes, and makes them one cluster.
    pub(crate) fn found(folder: &Path, spaces: Spaces, words: &[&str]) -> Outcome<Self> {
        let folders: Vec<PathBuf> = (0..NODES).map(|number| folder.join(format!("node{number}"))).collect();
        let addresses = (0..NODES).map(|number| spaces.address(number).parse().map_err(|error| format!("{error}")));
        let directory =
            Directory { addresses: addresses.collect::<Outcome<_>>()?, ids: Arc::new(Mutex::new(vec![0; NODES])) };
        let mut cluster = Self {
            spaces,
            directory,
            folders,
            children: (0..NODES).map(|_| None).collect(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        for number in 0..NODES {
            std::fs::create_dir_all(&cluster.folders[number]).map_err(|error| error.to_string())?;
            cluster.start(number)?;
        }
        let addresses = cluster.directory.addresses.iter().map(SocketAddr::to_string);
        let nodes: BTreeMap<u64, String> = cluster.directory.ids().into_iter().zip(addresses).collect();
        cluster.wait("a first leader", |cluster| {
            if cluster.leader().is_err() {
                cluster.directory.ask(0, Request::Found(nodes.clone()))?;
            }
            cluster.leader().map(drop)
        })?;
        Ok(cluster)
    }

    pub(crate) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    pub(crate) const fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    /// Starts a node, unless it runs; it listens when this returns.
    pub(crate) fn start(&mut self, number: usize) -> Outcome<()> {
        if let Some(child) = &mut self.children[number] {
            return match child.try_wait() {
                Ok(None) => Ok(()),
                other => Err(format!("node {number} has ended by itself: {other:?}")),
            };
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("node");
        let mut command = self.spaces.command(number, &program);
        command.arg(&self.folders[number]).arg(self.directory.addresses[number].to_string()).arg(cluster_name());
        command.args(self.spaces.missing().is_none().then_some("exposed")).args(&self.words);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", program.display()))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let Ok(id) = line.trim().parse() else {
            return Err(format!("node {number} has not started: {:?}", child.wait()));
        };
        self.children[number] = Some(child);
        self.directory.ids.lock().unwrap_or_else(PoisonError::into_inner)[number] = id;
        Ok(())
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) -> Outcome<()> {
        let Some(mut child) = self.children[number].take() else { return Ok(()) };
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("node {number} has ended by itself: {status}"));
        }
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| error.to_string())
    }

    /// Returns the number of the leader that most of the nodes know.
    pub(crate) fn leader(&self) -> Outcome<usize> {
        let ids = self.directory.ids();
        let statuses = (0..NODES).filter_map(|number| self.directory.status(number).ok());
        let leaders: Vec<u64> = statuses.filter_map(|status| status.leader).collect();
        let known = ids.iter().position(|id| leaders.iter().filter(|leader| *leader == id).count() * 2 > NODES);
        known.ok_or_else(|| "no leader".to_owned())
    }

    /// Has the nodes `numbers` and the others talk no more to each other; clients reach all.
    pub(crate) fn separate(&self, numbers: &[usize]) -> Outcome<()> {
        self.wait("all nodes are told to whom to talk", |cluster| cluster.tell(numbers))
    }

    fn tell(&self, numbers: &[usize]) -> Outcome<()> {
        let ids = self.directory.ids();
        for number in 0..NODES {
            let side = numbers.contains(&number);
            let others = (0..NODES).filter(|other| numbers.contains(other) != side);
            let cut: BTreeSet<u64> = others.map(|other| ids[other]).collect();
            if self.children[number].is_some() {
                self.directory.ask(number, Request::CutOff(cut))?;
            }
        }
        Ok(())
    }

    /// Takes the memory of a node away, starts it, and has the others take it in as the new node that it is.
    pub(crate) fn replace(&mut self, number: usize) -> Outcome<()> {
        let before = self.directory.ids();
        self.kill(number)?;
        for name in ["log", "snapshot"] {
            std::fs::remove_file(self.folders[number].join(name)).map_err(|error| error.to_string())?;
        }
        self.start(number)?;
        let ids = self.directory.ids();
        if ids[number] == before[number] {
            return Err(format!("node {number} has lost its memory, and calls itself {} still", ids[number]));
        }
        self.wait("the new node answers for itself only", |cluster| {
            let asked = cluster.directory.connect(number);
            let asked = asked.and_then(|mut stream| wire::ask(&mut stream, before[number], Request::Status));
            match asked {
                Ok(Response::NotMe(id)) if id == ids[number] => Ok(()),
                other => Err(format!("asked for {}, which is lost: {other:?}", before[number])),
            }
        })?;
        self.wait("the new node votes", |cluster| cluster.take_in(number))
    }

    /// Makes the next step towards the present nodes being those that vote; fails until the last is done.
    ///
    /// It is done when a majority of the new voters has all that was committed: another may lose its memory then.
    fn take_in(&self, number: usize) -> Outcome<()> {
        let ids = self.directory.ids();
        let leader = self.leader()?;
        if !self.directory.status(leader)?.nodes.contains(&ids[number]) {
            let address = self.directory.addresses[number].to_string();
            return Err(format!("{:?}", self.directory.ask(leader, Request::AddLearner(ids[number], address))?));
        }
        match self.directory.ask(leader, Request::SetVoters(ids.into_iter().collect()))? {
            Response::Done => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Ends all that was done to the nodes.
    pub(crate) fn heal(&mut self) -> Outcome<()> {
        for number in 0..NODES {
            self.spaces.plug(number, true)?;
            self.start(number)?;
        }
        self.separate(&[])
    }

    /// Waits until all nodes have applied the same, and returns what.
    pub(crate) fn settle(&self) -> Outcome<Vec<Values>> {
        let mut all = Vec::new();
        self.wait("all nodes have applied the same", |cluster| {
            all.clear();
            for number in 0..NODES {
                match cluster.directory.ask(number, Request::Values)? {
                    Response::Values(applied, values) => all.push((applied, values)),
                    other => return Err(format!("{other:?}")),
                }
            }
            let same = all.iter().all(|(applied, _)| applied.is_some() && *applied == all[0].0);
            same.then_some(()).ok_or_else(|| format!("{:?}", all.iter().map(|one| one.0).collect::<Vec<_>>()))
        })?;
        Ok(all.into_iter().map(|(_, values)| values).collect())
    }

    fn wait(&self, what: &str, mut act: impl FnMut(&Self) -> Outcome<()>) -> Outcome<()> {
        let begin = Instant::now();
        loop {
            match act(self) {
                Ok(()) => return Ok(()),
                Err(reason) if begin.elapsed() > PATIENCE => {
                    return Err(format!("{what}: not after {} s: {reason}", PATIENCE.as_secs()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
