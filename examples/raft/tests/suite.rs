//! openraft's own suite for storage.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use pmemset_raft::{FileJournal, FileSnapshots, LogStore, StateStore, Types};

struct Builder;

/// A folder for as long as a test needs it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pmemset-raft-suite-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

impl StoreBuilder<Types, LogStore<Types, FileJournal>, StateStore, Folder> for Builder {
    async fn build(&self) -> Result<(Folder, LogStore<Types, FileJournal>, StateStore), StorageError<u64>> {
        let folder = Folder::new();
        let log = LogStore::open(FileJournal::open(&folder.0.join("log")).unwrap()).unwrap();
        let state = StateStore::open(1, FileSnapshots::open(&folder.0.join("snapshot")).unwrap()).unwrap();
        Ok((folder, log, state))
    }
}

#[test]
fn openrafts_suite_passes() {
    Suite::test_all(Builder).unwrap();
}
