//! The replicated registers, and their durable snapshot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};

use crate::closing::{Closing, Open};
use crate::journal::{JournalError, Snapshots};
use crate::{Types, Write};

type Meta = SnapshotMeta<u64, openraft::BasicNode>;
type Failure = StorageError<u64>;

/// The registers, and which writes have come to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    registers: BTreeMap<u64, u64>,
    /// For each client, and each 64 of its writes, a bit for each that was applied. A number may be any: a node that an
    /// entry ended would be ended by it again and again.
    applied: BTreeMap<(u64, u64), u64>,
}

impl Values {
    fn apply(&mut self, write: Write) {
        self.registers.insert(write.key, write.value);
        *self.applied.entry((write.client, write.number / 64)).or_default() |= 1 << (write.number % 64);
    }

    /// Returns the value of a register.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<u64> {
        self.registers.get(&key).copied()
    }

    /// Returns the registers and their values.
    #[must_use]
    pub const fn registers(&self) -> &BTreeMap<u64, u64> {
        &self.registers
    }

    /// Returns whether a client's write was applied.
    #[must_use]
    pub fn has(&self, client: u64, number: u64) -> bool {
        self.applied.get(&(client, number / 64)).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    /// Returns client and number of every write that was applied.
    pub fn applied(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.applied.iter().flat_map(|((client, word), bits)| {
            (0..64_u64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (*client, word * 64 + bit))
        })
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    last_applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, openraft::BasicNode>,
    values: Values,
}

/// A snapshot as it is stored: whose it is, what it has, and the values.
#[derive(Serialize, Deserialize)]
struct Stored {
    node: u64,
    meta: Meta,
    values: Vec<u8>,
}

/// The state machine: registers in ordinary memory, rebuilt from the snapshot and the log behind it.
///
/// A snapshot is durable before openraft hears of it, so that entries are purged only after.
#[derive(Clone)]
pub struct StateStore {
    node: u64,
    registers: Registers,
    medium: Arc<Medium>,
}

struct Medium {
    snapshots: Mutex<Box<dyn Snapshots>>,
    /// Goes last, when the snapshots are closed.
    open: Open,
}

/// The registers as they are applied, without their storage: may stay when the node has ended.
#[derive(Clone, Debug)]
pub(crate) struct Registers(Arc<Mutex<State>>);

impl core::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StateStore").field("registers", &self.registers).finish_non_exhaustive()
    }
}

impl StateStore {
    /// Opens the state of node `node`, as the snapshot has it.
    ///
    /// # Errors
    ///
    /// The storage's, or that the snapshot is another node's.
    pub fn open(node: u64, snapshots: impl Snapshots) -> Result<Self, JournalError> {
        let mut state = State::default();
        if let Some(bytes) = snapshots.load()? {
            let stored: Stored = postcard::from_bytes(&bytes)?;
            if stored.node != node {
                return Err(format!("the snapshot is of node {:x}, and this is {node:x}", stored.node).into());
            }
            state = State::of(&stored.meta, &stored.values)?;
        }
        let medium = Medium { snapshots: Mutex::new(Box::new(snapshots)), open: Open::default() };
        Ok(Self { node, registers: Registers(Arc::new(Mutex::new(state))), medium: Arc::new(medium) })
    }

    pub(crate) fn registers(&self) -> Registers {
        self.registers.clone()
    }

    /// Returns what waits until the last copy of this store is gone, and its storage closed.
    pub(crate) fn closing(&self) -> Closing {
        self.medium.open.closing()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.registers.state()
    }

    fn snapshots(&self) -> MutexGuard<'_, Box<dyn Snapshots>> {
        self.medium.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a snapshot durably, unless there is one already that has more.
    fn store(&self, meta: &Meta, values: &[u8]) -> Result<(), JournalError> {
        let snapshots = self.snapshots();
        if let Some(bytes) = snapshots.load()?
            && postcard::from_bytes::<Stored>(&bytes)?.meta.last_log_id > meta.last_log_id
        {
            return Ok(());
        }
        let stored = Stored { node: self.node, meta: meta.clone(), values: values.to_vec() };
        snapshots.store(&postcard::to_stdvec(&stored)?)
    }

    /// Does `act`, which may wait for a device, where that harms nobody.
    async fn waiting<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Self) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, AnyError> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || act(&store)).await.map_err(|error| AnyError::new(&error))?;
        done.map_err(AnyError::error)
    }
}

impl Registers {
    /// Returns what is applied up to.
    pub(crate) fn last_applied(&self) -> Option<LogId<u64>> {
        self.state().last_applied
    }

    /// Returns the values now, and what is applied up to.
    pub(crate) fn values(&self) -> (Option<LogId<u64>>, Values) {
        let state = self.state();
        (state.last_applied, state.values.clone())
    }

    /// Returns the value of a register now.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        self.state().values.get(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(meta: &Meta, values: &[u8]) -> Result<Self, JournalError> {
        let values = postcard::from_bytes(values)?;
        Ok(Self { last_applied: meta.last_log_id, membership: meta.last_membership.clone(), values })
    }
}

impl RaftSnapshotBuilder<Types> for StateStore {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let built = self.waiting(|store| {
            let state = store.state().clone();
            let values = postcard::to_stdvec(&state.values)?;
            let snapshot_id = state.last_applied.map_or_else(|| "empty".to_owned(), |last| last.to_string());
            let meta = Meta { last_log_id: state.last_applied, last_membership: state.membership, snapshot_id };
            store.store(&meta, &values)?;
            Ok(Snapshot { meta, snapshot: Box::new(values) })
        });
        built.await.map_err(|error| StorageIOError::write_snapshot(None, error).into())
    }
}

impl RaftStateMachine<Types> for StateStore {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, openraft::BasicNode>), Failure> {
        let state = self.state();
        Ok((state.last_applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.state();
        let mut answers = Vec::new();
        for entry in entries {
            state.last_applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(write) => state.values.apply(write),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Vec<u8>>) -> Result<(), Failure> {
        let meta = meta.clone();
        let installed = self.waiting(move |store| {
            let state = State::of(&meta, &snapshot)?;
            store.store(&meta, &snapshot)?;
            *store.state() = state;
            Ok(())
        });
        installed.await.map_err(|error| StorageIOError::write_snapshot(None, error).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let loaded = self.waiting(|store| {
            let Some(bytes) = store.snapshots().load()? else { return Ok(None) };
            let stored: Stored = postcard::from_bytes(&bytes)?;
            Ok(Some(Snapshot { meta: stored.meta, snapshot: Box::new(stored.values) }))
        });
        loaded.await.map_err(|error| StorageIOError::read_snapshot(None, error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_may_have_any_number() {
        let mut values = Values::default();
        let writes = [(1, 0), (1, 63), (1, 64), (1, u64::MAX), (2, 0), (u64::MAX, 1 << 40)];
        for (client, number) in writes {
            assert!(!values.has(client, number));
            values.apply(Write { client, number, key: 3, value: number });
            assert!(values.has(client, number));
        }
        assert!(values.applied().eq(writes));
    }
}
