//! What is replicated: writes to registers.

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types of this store: requests are [`Write`]s, a snapshot is bytes.
    pub Types:
        D = Write,
        R = (),
        Node = openraft::BasicNode,
        SnapshotData = Vec<u8>,
);

/// A write of a client: the value of `key` becomes `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Write {
    /// Who writes.
    pub client: u64,
    /// The number of this write among that client's: each is sent once.
    pub number: u64,
    /// The register.
    pub key: u64,
    /// What it holds then.
    pub value: u64,
}
