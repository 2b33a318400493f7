//! Shutdown records, and how often memory was cut badly, in a part of persistent memory that holds nothing else.
//!
//! Each source has a place with two slots, which are written in turn and end with nothing but themselves changed: a
//! power cut leaves the newer record or the older one. A place without a whole record has never been used, or has been
//! damaged; that is not the same, and what is damaged is not believed to be new.

use crc::{CRC_32_ISCSI, Crc, NoTable};
use heapless::Vec;
use pmemset_core::error::PersistError;
use pmemset_core::{DeviceId, Part, SetRef, ShutdownRecord};

/// Length of what a source needs, in bytes.
pub const PLACE_BYTES: usize = 2048;
/// The most places that are used.
pub const PLACES_MAX: usize = 16;

const SLOT_BYTES: usize = PLACE_BYTES / 2;
const RECORD_AT: usize = 24;
const WRITTEN_BYTES: usize = RECORD_AT + ShutdownRecord::BYTES;

const MAGIC: u32 = 0x5344_534c;
const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Its number, from 1 on; odd ones are in the second slot.
    number: u64,
    /// How often the source may have lost stores.
    unsafe_shutdowns: u64,
    record: ShutdownRecord,
}

impl Entry {
    fn to_bytes(self) -> [u8; WRITTEN_BYTES] {
        let mut bytes = [0; WRITTEN_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..RECORD_AT].copy_from_slice(&self.unsafe_shutdowns.to_le_bytes());
        bytes[RECORD_AT..].copy_from_slice(&self.record.to_bytes());
        let sum = CHECKSUM.checksum(&bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; WRITTEN_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (sum, covered) = rest.split_first_chunk()?;
        let (number, rest) = covered.split_first_chunk()?;
        let (count, record) = rest.split_first_chunk()?;
        let whole = u32::from_le_bytes(*magic) == MAGIC && u32::from_le_bytes(*sum) == CHECKSUM.checksum(covered);
        whole.then_some(Self {
            number: u64::from_le_bytes(*number),
            unsafe_shutdowns: u64::from_le_bytes(*count),
            record: ShutdownRecord::from_bytes(record.first_chunk()?),
        })
    }
}

/// The record of a source of which nothing is known but that it may have been in use: it is judged indeterminate.
fn lost() -> ShutdownRecord {
    let mut bytes = [0; ShutdownRecord::BYTES];
    bytes[0] = b'?';
    bytes[ShutdownRecord::BYTES - 8] = 1;
    ShutdownRecord::from_bytes(&bytes)
}

/// Why a ledger cannot answer for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerError {
    /// The part has no room for this place, or there are more than [`PLACES_MAX`].
    NoRoom,
    /// The part cannot be read, or what was written is not durable.
    Failed(PersistError),
}

impl core::fmt::Display for LedgerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRoom => f.write_str("no room for another shutdown record"),
            Self::Failed(cause) => write!(f, "shutdown record: {cause}"),
        }
    }
}

impl core::error::Error for LedgerError {}

/// What a place holds, and the number of the record that was kept there last.
#[derive(Clone, Copy, Debug)]
struct Place {
    entry: Entry,
    kept: u64,
}

/// The shutdown records of some sources, in a pinned part.
#[derive(Debug)]
pub struct Ledger<R: SetRef> {
    part: Part<R>,
    is_sound: bool,
    places: Vec<Option<Place>, PLACES_MAX>,
}

impl<R: SetRef> Ledger<R> {
    /// Returns the ledger in `part`; `is_sound` says that its own memory has not been cut badly.
    pub fn new(part: Part<R>, is_sound: bool) -> Self {
        Self { part, is_sound, places: Vec::new() }
    }

    /// Returns how often the source at `place` may have lost stores, and its record from the last run.
    ///
    /// Call it once for each source and boot, before the source is mapped. `was_cut_badly` is what the firmware says of
    /// the last power cut: the count is raised for it, durably. It is raised as well when the record is another
    /// device's, for nobody has counted while this one was away, and when the ledger's own memory was cut badly.
    ///
    /// # Errors
    ///
    /// See [`LedgerError`].
    pub fn begin(
        &mut self,
        place: usize,
        id: &DeviceId,
        was_cut_badly: bool,
    ) -> Result<(u64, ShutdownRecord), LedgerError> {
        let mut entry = self.find(place)?;
        let known = entry.record.device_id();
        if was_cut_badly || !self.is_sound || !(known.is_empty() || known == id.as_bytes()) {
            entry.unsafe_shutdowns = entry.unsafe_shutdowns.saturating_add(1);
            entry = self.write(place, entry)?;
        }
        while self.places.len() <= place {
            self.places.push(None).map_err(|_| LedgerError::NoRoom)?;
        }
        self.places[place] = Some(Place { entry, kept: 0 });
        Ok((entry.unsafe_shutdowns, entry.record))
    }

    /// Keeps `record` at `place`, unless a younger one is kept already; durable when it returns.
    ///
    /// # Errors
    ///
    /// See [`LedgerError`]; the place has the old record then, or the new one that is not yet durable.
    pub fn keep(&mut self, place: usize, record: &ShutdownRecord, sequence: u64) -> Result<(), LedgerError> {
        let held = self.places.get(place).copied().flatten().ok_or(LedgerError::NoRoom)?;
        if sequence < held.kept {
            return Ok(());
        }
        let entry = self.write(place, Entry { record: *record, ..held.entry })?;
        self.places[place] = Some(Place { entry, kept: sequence });
        Ok(())
    }

    /// Returns the newest whole entry of `place`, or what stands for none.
    fn find(&self, place: usize) -> Result<Entry, LedgerError> {
        let slots = [self.read(place, 0)?, self.read(place, 1)?];
        let newest = slots.iter().filter_map(Entry::from_bytes).max_by_key(|entry| entry.number);
        // The first entry goes to the second slot: where the first slot has been written to, one has been whole.
        let is_new = self.is_sound && slots[0].iter().all(|byte| *byte == 0);
        let record = if is_new { ShutdownRecord::new() } else { lost() };
        Ok(newest.unwrap_or(Entry { number: 0, unsafe_shutdowns: 0, record }))
    }

    fn read(&self, place: usize, slot: usize) -> Result<[u8; WRITTEN_BYTES], LedgerError> {
        let mut bytes = [0; WRITTEN_BYTES];
        let at = self.offset(place, slot)?;
        self.part.read(at, &mut bytes).map(|()| bytes).map_err(LedgerError::Failed)
    }

    /// Writes `entry` over the older one of `place`, and returns it with its number.
    fn write(&self, place: usize, entry: Entry) -> Result<Entry, LedgerError> {
        let entry = Entry { number: entry.number.wrapping_add(1), ..entry };
        let at = self.offset(place, usize::from(entry.number % 2 == 1))?;
        let written = self.part.write(at, &entry.to_bytes());
        written.map(|()| entry).map_err(LedgerError::Failed)
    }

    fn offset(&self, place: usize, slot: usize) -> Result<usize, LedgerError> {
        let at = place.checked_mul(PLACE_BYTES).ok_or(LedgerError::NoRoom)?;
        let end = at.checked_add(PLACE_BYTES).ok_or(LedgerError::NoRoom)?;
        let room = place < PLACES_MAX && end <= self.part.extent().length_bytes();
        if room { Ok(at + slot * SLOT_BYTES) } else { Err(LedgerError::NoRoom) }
    }
}

#[cfg(test)]
mod tests;
