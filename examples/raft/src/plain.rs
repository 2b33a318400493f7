//! The same storage in a plain file with `fdatasync`, to compare with: it is not opened a second time.

use core::ops::Range;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::{Journal, JournalError, Note};

/// A note has a block of its own.
const NOTE_BYTES: u64 = 4096;
const NOTES: [Note; 4] = [Note::Vote, Note::Committed, Note::Purged, Note::Identity];
/// What is written, and so allocated, before it is needed: `fdatasync` has no length to write then.
const AHEAD_BYTES: u64 = 16 << 20;

/// A Raft log in a plain file; it reads from memory.
#[derive(Debug)]
pub struct PlainJournal {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Each entry, and where in the file it is.
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    next: u64,
    end: u64,
    notes: [Vec<u8>; 4],
}

impl PlainJournal {
    /// Makes the file, which is not to be there.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn make(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..AHEAD_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        let state = State { entries: BTreeMap::new(), next: 0, end: NOTE_BYTES * 4, notes: Default::default() };
        Ok(Self { file, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

fn place(note: Note) -> usize {
    NOTES.iter().position(|one| *one == note).unwrap_or_default()
}

impl Journal for PlainJournal {
    fn waits(&self) -> bool {
        true
    }

    fn entries(&self) -> Range<u64> {
        let state = self.state();
        state.entries.keys().next().copied().unwrap_or(state.next)..state.next
    }

    fn append(&self, first: u64, entries: &[Vec<u8>]) -> Result<(), JournalError> {
        let mut state = self.state();
        if first != state.next {
            return Err(format!("entry {first} does not follow on {}", state.next).into());
        }
        let mut bytes = Vec::new();
        let begin = state.end;
        for entry in entries {
            let (index, offset) = (state.next, begin + bytes.len() as u64);
            bytes.extend(framed(entry));
            state.entries.insert(index, (offset, entry.clone()));
            state.next += 1;
        }
        state.end += bytes.len() as u64;
        self.file.write_all_at(&bytes, begin)?;
        Ok(self.file.sync_data()?)
    }

    fn read(&self, indices: Range<u64>, bytes_max: usize) -> Result<Vec<Vec<u8>>, JournalError> {
        let (state, mut bytes_read) = (self.state(), 0);
        let entries = state.entries.range(indices).map(|(_, (_, entry))| entry.clone());
        let fit = entries.take_while(|entry| {
            let fits = bytes_read < bytes_max;
            bytes_read += entry.len();
            fits
        });
        Ok(fit.collect())
    }

    fn truncate(&self, index: u64) -> Result<(), JournalError> {
        let mut state = self.state();
        if let Some((offset, _)) = state.entries.get(&index) {
            state.end = *offset;
        }
        state.entries.split_off(&index);
        state.next = state.next.min(index);
        self.file.write_all_at(&[0; 8], state.end)?;
        Ok(self.file.sync_data()?)
    }

    fn purge(&self, index: u64) -> Result<(), JournalError> {
        let mut state = self.state();
        state.entries = state.entries.split_off(&index);
        state.next = state.next.max(index);
        Ok(())
    }

    fn keep(&self, note: Note, bytes: &[u8]) -> Result<(), JournalError> {
        let mut state = self.state();
        state.notes[place(note)] = bytes.to_vec();
        self.file.write_all_at(&framed(bytes), place(note) as u64 * NOTE_BYTES)?;
        Ok(self.file.sync_data()?)
    }

    fn kept(&self, note: Note) -> Result<Vec<u8>, JournalError> {
        Ok(self.state().notes[place(note)].clone())
    }
}
