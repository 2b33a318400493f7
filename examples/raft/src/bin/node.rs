//! One node of the replicated store: `node FOLDER ADDRESS CLUSTER [exposed] [fdatasync]`. Ends when its standard input
//! does, or when its storage fails.
//!
//! Nobody proves who he is, so it listens on loopback only: `exposed` says that the network is the cluster's own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use pmemset_raft::journal::JournalError;
use pmemset_raft::node::Node;
use pmemset_raft::wire::Greeting;
use pmemset_raft::{FileSnapshots, PlainJournal};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let known = |words: &[String]| words.iter().all(|word| ["exposed", "fdatasync"].contains(&word.as_str()));
    let [folder, address, cluster, words @ ..] = &arguments[..] else { return usage() };
    let Ok(address) = address.parse::<SocketAddr>() else { return usage() };
    let has = |word: &str| words.iter().any(|one| one == word);
    if !known(words) {
        return usage();
    }
    if !address.ip().is_loopback() && !has("exposed") {
        eprintln!("{address}: whoever connects there could do all that a node can; say `exposed` if only nodes can");
        return ExitCode::from(2);
    }
    // Whoever has started it is gone, then.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match run(Path::new(folder), address, Greeting::of(cluster), has("fdatasync")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: node FOLDER ADDRESS CLUSTER [exposed] [fdatasync]");
    ExitCode::from(2)
}

#[tokio::main(worker_threads = 2)]
async fn run(folder: &Path, address: SocketAddr, greeting: Greeting, plain: bool) -> Result<(), JournalError> {
    let node = if plain {
        let journal = PlainJournal::make(&folder.join("log"))?;
        Node::on(greeting, journal, FileSnapshots::open(&folder.join("snapshot"))?).await?
    } else {
        Node::start(greeting, folder).await?
    };
    let listener = TcpListener::bind(address).await?;
    println!("{}", node.id());
    std::io::stdout().flush()?;
    tokio::select! {
        stopped = node.stopped() => Err(stopped.into()),
        never = node.clone().serve(listener) => match never {},
    }
}
