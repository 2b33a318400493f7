//! A node that has lost its memory is another node, and storage of which a part is lost is refused.

mod common;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use openraft::raft::VoteRequest;
use openraft::{BasicNode, ServerState, Vote};
use pmemset_raft::journal::{Journal, Note};
use pmemset_raft::node::{self, Node};
use pmemset_raft::wire::{self, Greeting, Request, Response};
use pmemset_raft::{FileJournal, FileSnapshots, Write};
use tokio::net::TcpListener;

use common::Folder;

/// How long an answer is waited for: no machine is so slow.
const PATIENCE: Duration = Duration::from_secs(300);

fn greeting() -> Greeting {
    Greeting::of("identity")
}

async fn lead(folder: &Folder) -> Node {
    let node = Node::start(greeting(), folder.path()).await.unwrap();
    if !node.raft().is_initialized().await.unwrap() {
        let nodes = BTreeMap::from([(node.id(), BasicNode::new("nowhere"))]);
        node.raft().initialize(nodes).await.unwrap();
    }
    node.raft().wait(None).state(ServerState::Leader, "leads").await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_lost_its_memory_does_not_vote_in_its_old_name() {
    let folder = Folder::new("memory");
    let before = Node::start(greeting(), folder.path()).await.unwrap();
    let old = before.id();
    assert!(before.raft().vote(VoteRequest::new(Vote::new(5, 13), None)).await.unwrap().vote_granted);
    before.shutdown().await.unwrap();
    drop(before);
    let again = Node::start(greeting(), folder.path()).await.unwrap();
    assert_eq!(again.id(), old);
    again.shutdown().await.unwrap();
    drop(again);

    std::fs::remove_file(folder.path().join("log")).unwrap();
    let after = Node::start(greeting(), folder.path()).await.unwrap();
    assert_ne!(after.id(), old);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let id = after.id();
    tokio::spawn(after.clone().serve(listener));
    // Another candidate of that term asks the node that it knows.
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = greeting().connect(&address, PATIENCE).unwrap();
        let request = || Request::Vote(VoteRequest::new(Vote::new(5, 12), None));
        [old, id].map(|to| wire::ask(&mut stream, to, request()).unwrap())
    });
    let [to_old, to_new] = asked.await.unwrap();
    assert!(matches!(to_old, Response::NotMe(other) if other == id), "{to_old:?}");
    assert!(matches!(to_new, Response::Vote(answer) if answer.vote_granted));
    after.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_snapshot_and_a_snapshot_without_its_log_are_refused() {
    let folder = Folder::new("parts");
    let leader = lead(&folder).await;
    for number in 0..10 {
        leader.raft().client_write(Write { client: 1, number, key: number, value: number }).await.unwrap();
    }
    leader.raft().trigger().snapshot().await.unwrap();
    let snapshot = leader.raft().wait(None).metrics(|metrics| metrics.snapshot.is_some(), "snapshot").await.unwrap();
    let last = snapshot.snapshot.unwrap().index;
    leader.raft().trigger().purge_log(last).await.unwrap();
    let is_purged = |purged: Option<u64>| purged == Some(last);
    leader.raft().wait(None).metrics(|metrics| is_purged(metrics.purged.map(|id| id.index)), "purged").await.unwrap();
    let (id, values) = (leader.id(), leader.values().1);
    leader.shutdown().await.unwrap();
    drop(leader);

    // With both, all is there.
    let leader = lead(&folder).await;
    assert_eq!((leader.id(), leader.values().1), (id, values));
    leader.shutdown().await.unwrap();
    drop(leader);

    let [log, snapshot, aside] = ["log", "snapshot", "aside"].map(|name| folder.path().join(name));
    std::fs::rename(&snapshot, &aside).unwrap();
    let refused = Node::start(greeting(), folder.path()).await.unwrap_err().to_string();
    assert!(refused.contains("snapshot is missing"), "{refused}");
    std::fs::rename(&aside, &snapshot).unwrap();

    std::fs::rename(&log, &aside).unwrap();
    let refused = Node::start(greeting(), folder.path()).await.unwrap_err().to_string();
    assert!(refused.contains("the snapshot is of node"), "{refused}");
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(lead(&folder).await.id(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_shut_down_can_be_started_at_once_while_copies_of_it_stay() {
    let folder = Folder::new("again");
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..50 {
        let node = Node::start(greeting(), folder.path()).await.unwrap();
        assert!(nodes.first().is_none_or(|first| first.id() == node.id()));
        node.shutdown().await.unwrap();
        assert!(node.raft().ensure_linearizable().await.is_err());
        nodes.push(node);
    }
}

#[test]
fn a_log_in_use_without_an_identity_is_refused() {
    let folder = Folder::new("nobody");
    let journal = FileJournal::open(&folder.path().join("log")).unwrap();
    journal.keep(Note::Vote, b"somebody").unwrap();
    assert!(node::identity(&journal).is_err());
    let other = FileJournal::open(&folder.path().join("other")).unwrap();
    let id = node::identity(&other).unwrap();
    assert_eq!(node::identity(&other).unwrap(), id);
    drop(FileSnapshots::open(&folder.path().join("snapshot")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_name_the_cluster_is_not_answered() {
    let folder = Folder::new("greeting");
    let node = Node::start(greeting(), folder.path()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(node.serve(listener));
    let asked = tokio::task::spawn_blocking(move || {
        let mut ours = greeting().connect(&address, PATIENCE).unwrap();
        assert!(matches!(wire::ask(&mut ours, 0, Request::Status), Ok(Response::Status(_))));
        let mut another = Greeting::of("another cluster").connect(&address, PATIENCE).unwrap();
        assert!(wire::ask(&mut another, 0, Request::Status).is_err());
        // Nor is what is no greeting: the connection ends.
        let mut stray = TcpStream::connect(address).unwrap();
        stray.write_all(&[0; 64]).unwrap();
        let ended = stray.read(&mut [0; 64]);
        assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    });
    asked.await.unwrap();
}
