//! What several tests need.
#![allow(dead_code, reason = "each test needs some of it")]

use std::path::{Path, PathBuf};

use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
use pmemset_raft::{Types, Write};

/// A folder for as long as a test needs it; in memory where there is such a file system.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("pmemset-raft-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

/// Returns an entry that writes its own index.
pub(crate) fn entry(term: u64, index: u64) -> Entry<Types> {
    let write = Write { client: 1, number: index, key: index % 5, value: index };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(write) }
}
