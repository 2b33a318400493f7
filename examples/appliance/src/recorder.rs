//! The ring of records over coalesced parts of one file or device.

use pmemset_core::error::{LookupError, MapError, PersistError, RemoveError};
use pmemset_core::{Checked, Coalescing, CopyFlags, MapConfig, Part, Set, Source as _};
use ring::{RECORD_BYTES, Record, recover, slot_of};
use shim_devdax::{AnyError, AnySource};
use shim_linux::{Linux, RecordError, StripedRwLock};

use crate::print::Line;

/// Segments that the ring is made of.
const SEGMENTS: usize = 4;
/// Length of each in bytes, unless the alignment of a device is more.
const SEGMENT_BYTES: usize = 64 << 10;

/// Returns the length of the ring in bytes.
pub fn ring_bytes(source: &Source) -> usize {
    segment_bytes(source).saturating_mul(SEGMENTS)
}

fn segment_bytes(source: &Source) -> usize {
    source.alignment_bytes().max(SEGMENT_BYTES)
}

/// A file or device whose shutdown state and bad blocks are looked at before it is mapped.
pub type Source = Checked<AnySource, StripedRwLock>;
/// The recorder's set.
pub type Parts<'s, 'f> = Set<'s, Linux, &'f Source, SEGMENTS>;

/// Why the recorder stopped.
#[derive(Debug)]
pub enum Stop {
    /// The arguments are wrong.
    Usage,
    /// Records that had been acknowledged are missing or damaged.
    Damaged,
    /// The file or device cannot be used.
    Open(AnyError),
    /// The shutdown record cannot be used.
    State(RecordError),
    /// The file cannot be mapped.
    Map(MapError),
    /// The part that was mapped is not there.
    Lookup(LookupError),
    /// The next record is not durable, or records cannot be read.
    Persist(PersistError),
    /// The part cannot be removed.
    Remove(RemoveError),
}

impl Stop {
    /// Says why: with the library's numbers, which are documented, because firmware has no room for sentences.
    pub fn print(&self) {
        let (what, code) = match self {
            Self::Usage => ("usage: appliance PATH STATE-DIRECTORY [COUNT]", 0),
            Self::Damaged => ("records are missing or damaged", 0),
            Self::Open(error) => ("open", error.code()),
            Self::State(RecordError::Failed(cause)) => ("shutdown record", cause.code()),
            Self::State(_) => ("shutdown record", 0),
            Self::Map(error) => ("map", error.code()),
            Self::Lookup(error) => ("look up", error.code()),
            Self::Persist(error) => ("persist", error.code()),
            Self::Remove(error) => ("remove", error.code()),
        };
        let line = Line::new("stopped: ").text(what);
        match code {
            0 => line.print(),
            _ => line.text(": error -").number(code.unsigned_abs().into()).print(),
        }
    }
}

/// A ring of records in a pinned part.
#[derive(Debug)]
pub struct Recorder<'s, 'f> {
    part: Part<'s, Linux, &'f Source, SEGMENTS>,
    slots: u64,
    next: u64,
}

impl<'s, 'f> Recorder<'s, 'f> {
    /// Maps the ring, and says which records are in it.
    pub fn open(set: &'s Parts<'s, 'f>, source: &'f Source) -> Result<Self, Stop> {
        set.set_coalescing(Coalescing::Full);
        let segment_bytes = segment_bytes(source);
        for index in 0..SEGMENTS {
            let offset = index.saturating_mul(segment_bytes) as u64;
            let config = MapConfig::new().offset(offset).map_err(Stop::Map)?.length(segment_bytes);
            let mapped = set.map(source, &config).map_err(Stop::Map)?;
            if let (0, Some(verdict)) = (index, mapped.shutdown) {
                Line::new("shutdown state ").number(verdict.state as u64).print();
            }
        }
        let part = set.first_part().map_err(Stop::Lookup)?.ok_or(Stop::Damaged)?;
        let slots = (part.extent().length_bytes() / RECORD_BYTES) as u64;
        let mut recorder = Self { part, slots, next: 1 };
        recorder.find()?;
        Ok(recorder)
    }

    fn find(&mut self) -> Result<(), Stop> {
        let mut readable = Ok(());
        let found = recover(self.slots, |slot| {
            let mut bytes = [0; RECORD_BYTES];
            let read = self.part.read(self.offset(slot), &mut bytes);
            readable = readable.and(read);
            bytes
        });
        readable.map_err(Stop::Persist)?;
        let Some(found) = found else {
            Line::new("recovered nothing").print();
            return Ok(());
        };
        let right = |number: u64| {
            let mut bytes = [0; RECORD_BYTES];
            let read = self.part.read(self.offset(number), &mut bytes);
            read.is_ok() && Record::from_bytes(&bytes) == Some(Record::sample(number))
        };
        if !found.whole || !(found.first..=found.last).all(right) {
            return Err(Stop::Damaged);
        }
        self.next = found.last.saturating_add(1);
        Line::new("recovered ").number(found.first).text(" to ").number(found.last).print();
        Ok(())
    }

    /// Returns where record `number` lies in the part; for a slot's own number, where the slot does.
    fn offset(&self, number: u64) -> usize {
        (slot_of(number, self.slots) as usize).saturating_mul(RECORD_BYTES)
    }

    /// Writes the next record, and returns its number once it is durable.
    pub fn append(&mut self) -> Result<u64, Stop> {
        let number = self.next;
        let bytes = Record::sample(number).to_bytes();
        self.part.write(self.offset(number), &bytes, CopyFlags::empty()).map_err(Stop::Persist)?;
        self.next = number.saturating_add(1);
        Ok(number)
    }

    /// Removes the part, everything in it durable.
    pub fn close(self) -> Result<(), Stop> {
        let set = self.part.set();
        set.remove(self.part).map_err(|refused| Stop::Remove(refused.error))?;
        Line::new("closed").print();
        Ok(())
    }
}
