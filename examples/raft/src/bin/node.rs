//! One node of the replicated store: `node FOLDER ADDRESS [fdatasync]`. Ends when its standard input does, or when its storage fails.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use pmemset_raft::journal::JournalError;
use pmemset_raft::node::Node;
use pmemset_raft::{FileSnapshots, PlainJournal};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, address, plain) = match &arguments[..] {
        [folder, address] => (folder, address, false),
        [folder, address, word] if word == "fdatasync" => (folder, address, true),
        _ => {
            eprintln!("usage: node FOLDER ADDRESS [fdatasync]");
            return ExitCode::from(2);
        }
    };
    // Whoever has started it is gone, then.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match run(Path::new(folder), address, plain) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(folder: &Path, address: &str, plain: bool) -> Result<(), JournalError> {
    let node = if plain {
        let journal = PlainJournal::make(&folder.join("log"))?;
        Node::on(journal, FileSnapshots::open(&folder.join("snapshot"))?).await?
    } else {
        Node::start(folder).await?
    };
    let listener = TcpListener::bind(address).await?;
    println!("{}", node.id());
    std::io::stdout().flush()?;
    tokio::select! {
        stopped = node.stopped() => Err(stopped.into()),
        served = node.clone().serve(listener) => Ok(served?),
    }
}
