//! Whoever connects and is no node or client: takes no memory, and stops nobody.

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pmemset_raft::node::Node;
use pmemset_raft::wire::{self, Greeting, Request, Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use common::Folder;

/// How long an answer is waited for: no machine is so slow.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest message, and how many strangers say that they have one.
const LONGEST: u32 = 256 << 20;
const STRANGERS: usize = 64;

fn greeting() -> Greeting {
    Greeting::of("strangers")
}

/// Returns the most address space that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn is_answered(address: &SocketAddr) {
    let mut stream = greeting().connect(address, PATIENCE).unwrap();
    assert!(matches!(wire::ask(&mut stream, 0, Request::Status), Ok(Response::Status(_))));
}

fn say(mut stream: TcpStream, bytes: &[u8]) -> TcpStream {
    stream.write_all(bytes).unwrap();
    stream
}

/// What is no message ends the connection, half of one waits, and long ones take no memory before they are there.
fn strangers(address: &SocketAddr) {
    let before = peak_kib();
    let half = say(TcpStream::connect(address).unwrap(), b"pmemraft");
    let nobody = TcpStream::connect(address).unwrap();
    let connect = || greeting().connect(address, PATIENCE).unwrap();
    let half_a_length = say(connect(), &[1, 0]);
    let waiting: Vec<TcpStream> =
        (0..STRANGERS).map(|_| say(say(connect(), &LONGEST.to_le_bytes()), &[0; 3])).collect();
    let garbage = [9, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255];
    for bytes in [&u32::MAX.to_le_bytes()[..], &(LONGEST + 1).to_le_bytes(), &garbage, &[0; 4]] {
        let ended = say(connect(), bytes).read(&mut [0; 64]);
        assert!(!matches!(ended, Ok(1..)), "{bytes:?}: {ended:?}");
    }
    is_answered(address);
    let taken = peak_kib() - before;
    assert!(taken < 4 << 20, "{STRANGERS} strangers have had a node take {taken} KiB");
    drop((half, nobody, half_a_length, waiting));
    is_answered(address);
}

/// A connection for which there is no descriptor does not stop the server.
async fn no_descriptor_is_left(address: &SocketAddr) {
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limits }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // The last one is the stranger's; there is none for the node's end.
    drop(files.pop());
    let stranger = TcpStream::connect(address).unwrap();
    // Whatever else can run has run, on this one thread.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    drop((files, stranger));
    setrlimit(Resource::Nofile, limits).unwrap();
}

#[tokio::test]
async fn strangers_neither_stop_a_node_nor_take_its_memory() {
    let folder = Folder::new("strangers");
    let node = Node::start(greeting(), folder.path()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(node.clone().serve(listener));
    tokio::task::spawn_blocking(move || strangers(&address)).await.unwrap();
    no_descriptor_is_left(&address).await;
    tokio::task::spawn_blocking(move || is_answered(&address)).await.unwrap();
    node.shutdown().await.unwrap();
}
