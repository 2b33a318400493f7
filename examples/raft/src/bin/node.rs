//! One node of the replicated store: `node FOLDER ADDRESS`. Ends when its standard input does, or when its storage fails.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use pmemset_raft::journal::JournalError;
use pmemset_raft::node::Node;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, address] = &arguments[..] else {
        eprintln!("usage: node FOLDER ADDRESS");
        return ExitCode::from(2);
    };
    // Whoever has started it is gone, then.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match run(Path::new(folder), address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(folder: &Path, address: &str) -> Result<(), JournalError> {
    let node = Node::start(folder).await?;
    let listener = TcpListener::bind(address).await?;
    println!("{}", node.id());
    std::io::stdout().flush()?;
    tokio::select! {
        stopped = node.stopped() => Err(stopped.into()),
        served = node.clone().serve(listener) => Ok(served?),
    }
}
