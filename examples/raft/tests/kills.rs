//! A process that keeps a Raft log is killed again and again: what it has acknowledged is there.

mod common;

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, Vote};
use pmemset_raft::{FileJournal, LogStore, Types};

use common::{Folder, entry, log_id};

const PATH: &str = "PMEMSET_RAFT_KILLED";
const KILLS: u64 = 20;

fn open(path: &Path) -> LogStore<Types, FileJournal> {
    LogStore::open(FileJournal::open(path).unwrap()).unwrap()
}

/// What the process does that is killed.
async fn be_killed(path: &Path) {
    let mut store = open(path);
    let mut next = store.get_log_state().await.unwrap().last_log_id.map_or(0, |last| last.index + 1);
    loop {
        store.blocking_append((next..next + 3).map(|index| entry(1, index))).await.unwrap();
        next += 3;
        store.save_vote(&Vote::new(next, 1)).await.unwrap();
        if next % 7 == 0 {
            store.truncate(log_id(1, next - 1)).await.unwrap();
            next -= 1;
        }
        if next > 100 {
            store.purge(log_id(1, next - 100)).await.unwrap();
        }
        // The others count from here on.
        println!("acknowledged {next}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kills() {
    if let Some(path) = std::env::var_os(PATH) {
        return be_killed(path.as_ref()).await;
    }
    let folder = Folder::new("kills");
    let path = folder.path().join("log");
    let mut acknowledged = 0;
    for kill in 1..=KILLS {
        let mut killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_acknowledged_survives_kills", "--nocapture", "--test-threads=1"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        let mut left = 3 + kill * 13 % 50;
        let number = |line: &str| line.rsplit_once("acknowledged ").and_then(|(_, number)| number.parse::<u64>().ok());
        while left > 0 {
            let line = lines.next().expect("it has ended by itself").unwrap();
            if let Some(number) = number(&line) {
                (acknowledged, left) = (number, left - 1);
            }
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        // A line that is cut off may say less.
        for line in lines.map_while(Result::ok) {
            acknowledged = number(&line).unwrap_or(0).max(acknowledged);
        }
        let mut store = open(&path);
        let state = store.get_log_state().await.unwrap();
        // Three more may have been appended, one of them truncated.
        let next = state.last_log_id.unwrap().index + 1;
        assert!((acknowledged..=acknowledged + 3).contains(&next), "kill {kill}: {acknowledged} told, {next} found");
        let vote = store.read_vote().await.unwrap().unwrap().leader_id.term;
        assert!((acknowledged..=acknowledged + 3).contains(&vote), "kill {kill}: {acknowledged} told, vote {vote}");
        let first = state.last_purged_log_id.map_or(0, |purged| purged.index + 1);
        let entries = store.try_get_log_entries(..).await.unwrap();
        assert!(entries.iter().eq((first..next).map(|index| entry(1, index)).collect::<Vec<_>>().iter()));
    }
}
