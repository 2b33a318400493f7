//! What a log has to hold after some calls, obviously right.

use super::{SimLog, records};

/// A call of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// With a payload of so many bytes.
    Append(usize),
    Stage(usize),
    Commit,
    DropBefore(u64),
    TruncateAfter(u64),
    /// Of this length.
    StoreNote(usize),
}

/// What a log holds: all of it that is durable, and what may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) first: u64,
    /// The payloads from `first` on.
    records: Vec<Vec<u8>>,
    /// How many of them are durable.
    durable: usize,
    note: Vec<u8>,
}

/// Returns bytes that are those of one call only; in the middle of many they are zero, which is quicker to explore.
pub(crate) fn payload(call: usize, length_bytes: usize) -> Vec<u8> {
    let ends = |at: usize| at < 16 || at + 8 >= length_bytes;
    (0..length_bytes).map(|at| if ends(at) { (call * 31 + at) as u8 | 1 } else { 0 }).collect()
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { first: 1, records: Vec::new(), durable: 0, note: Vec::new() }
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Does call number `number`.
    pub(crate) fn call(&mut self, number: usize, call: Call) {
        let commit = !matches!(call, Call::Stage(_) | Call::StoreNote(_));
        match call {
            Call::Append(length) | Call::Stage(length) => self.records.push(payload(number, length)),
            Call::Commit => {}
            Call::DropBefore(first) if first > self.next() => {
                self.records.clear();
                self.first = first;
            }
            Call::DropBefore(first) => {
                let gone = first.saturating_sub(self.first) as usize;
                self.records.drain(..gone);
                self.durable = self.durable.saturating_sub(gone);
                self.first += gone as u64;
                return;
            }
            Call::TruncateAfter(last) => self.records.truncate((last + 1 - self.first) as usize),
            Call::StoreNote(length) => self.note = payload(number, length),
        }
        if commit {
            self.durable = self.records.len();
        }
    }

    /// Returns whether a log may hold this after a power cut: what is durable, and perhaps some of what is not.
    pub(crate) fn may_be(&self, found: &Found) -> bool {
        let count = found.records.len();
        found.first == self.first
            && (self.durable..=self.records.len()).contains(&count)
            && found.records[..] == self.records[..count]
            && found.note == self.note
    }

    /// Returns whether what was found is the first few of these records, or all.
    pub(crate) fn begins_with(&self, found: &Found) -> bool {
        found.first == self.first && self.records.starts_with(&found.records)
    }
}

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) first: u64,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) note: Vec<u8>,
}

impl Found {
    pub(crate) fn of(log: &SimLog) -> Self {
        let numbered = records(log);
        assert!(numbered.iter().map(|(sequence, _)| *sequence).eq(log.first()..log.next()), "in order, without a gap");
        let mut note = vec![0; crate::NOTE_BYTES];
        let length = log.load_note(0, &mut note).unwrap();
        note.truncate(length);
        let records = numbered.into_iter().map(|(_, payload)| payload).collect();
        Self { first: log.first(), records, note }
    }

    pub(crate) fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }
}

/// Does call number `number` to a log.
pub(crate) fn call(log: &SimLog, number: usize, call: Call) {
    match call {
        Call::Append(length) => drop(log.append(&payload(number, length)).unwrap()),
        Call::Stage(length) => drop(log.stage(&payload(number, length)).unwrap()),
        Call::Commit => drop(log.commit().unwrap()),
        Call::DropBefore(first) => log.drop_before(first).unwrap(),
        Call::TruncateAfter(last) => log.truncate_after(last).unwrap(),
        Call::StoreNote(length) => log.store_note(0, &payload(number, length)).unwrap(),
    }
}
