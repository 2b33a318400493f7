//! The ring of records over coalesced parts of one file or device.

use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Checked, Coalescing, MapConfig, Part, Set, Slab, Source as _, WithLock};
use pmemset_devdax::AnySource;
use pmemset_linux::Linux;
use ring::{RECORD_BYTES, Record, recover, slot_of};

use crate::Keeper;
use crate::print::Line;

/// Segments that the ring is made of.
const SEGMENTS: usize = 4;
/// Length of each in bytes, unless the alignment of a device is more.
const SEGMENT_BYTES: usize = 64 << 10;

/// Returns the length of the ring in bytes.
pub fn ring_bytes(source: &Source) -> usize {
    segment_bytes(source).wrapping_mul(SEGMENTS)
}

fn segment_bytes(source: &Source) -> usize {
    source.alignment_bytes().max(SEGMENT_BYTES)
}

/// A file or device whose shutdown state and bad blocks are looked at before it is mapped.
pub type Source = Checked<AnySource, SpinRwLock>;
/// Linux for a program with one thread: nobody ever waits for a lock.
pub type System = WithLock<Linux, SpinRwLock, 64>;
/// The recorder's set.
pub type Parts<'m, 'f> = Set<'m, System, &'f Source, &'f Keeper>;
/// Memory for it.
pub type Room<'f> = Slab<&'f Source, SEGMENTS>;

/// Why the recorder stopped: at what, and with which of the library's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    at: At,
    code: i32,
}

/// What the recorder was doing when it stopped.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// Reading its arguments.
    Usage,
    /// Checking the records, of which acknowledged ones are missing or damaged.
    Damage,
    /// Opening the file or device.
    Open,
    /// Opening, loading or keeping the shutdown record.
    State,
    /// Mapping the file or device.
    Map,
    /// Storing or reading a record.
    Persist,
    /// Removing the part.
    Remove,
}

impl At {
    /// Stops here, with a number of the library.
    pub fn code(self, code: i32) -> Stop {
        Stop { at: self, code }
    }
}

impl From<At> for Stop {
    fn from(at: At) -> Self {
        at.code(0)
    }
}

impl Stop {
    /// Says why: with numbers, which are documented, because firmware has no room for sentences.
    #[inline(never)]
    pub fn print(&self) {
        let mut line = Line::new("stopped: ");
        line.text(match self.at {
            At::Usage => "usage: PATH DIRECTORY [COUNT]",
            At::Damage => "damage",
            At::Open => "open",
            At::State => "state",
            At::Map => "map",
            At::Persist => "persist",
            At::Remove => "remove",
        });
        match self.code {
            0 => line.print(),
            code => line.text(": error -").number(code.unsigned_abs().into()).print(),
        }
    }
}

/// A ring of records in a pinned part.
#[derive(Debug)]
pub struct Recorder<'s, 'm, 'f> {
    part: Part<&'s Parts<'m, 'f>>,
    slots: u64,
    next: u64,
}

impl<'s, 'm, 'f> Recorder<'s, 'm, 'f> {
    /// Maps the ring, and says which records are in it.
    #[inline(never)]
    pub fn open(set: &'s Parts<'m, 'f>, source: &'f Source) -> Result<Self, Stop> {
        set.set_coalescing(Coalescing::Full);
        let segment_bytes = segment_bytes(source);
        for index in 0..SEGMENTS {
            let offset = index.wrapping_mul(segment_bytes) as u64;
            let config = MapConfig::new().offset(offset).length(segment_bytes);
            let mapped = set.map(source, &config).map_err(|error| At::Map.code(error.code()))?;
            if let (0, Some(verdict)) = (index, mapped.shutdown_verdict()) {
                Line::new("shutdown state ").number(verdict.state as u64).print();
            }
        }
        let part = set.first_part().map_err(|error| At::Map.code(error.code()))?.ok_or(At::Map)?;
        let slots = (part.extent().length_bytes() / RECORD_BYTES) as u64;
        let mut recorder = Self { part, slots, next: 1 };
        recorder.find()?;
        Ok(recorder)
    }

    fn find(&mut self) -> Result<(), Stop> {
        let (mut stop, mut genuine) = (None, true);
        let found = recover(self.slots, |slot| {
            let mut bytes = [0; RECORD_BYTES];
            if let Err(error) = self.part.read(self.offset(slot), &mut bytes) {
                stop = Some(At::Persist.code(error.code()));
            }
            genuine &= Record::from_bytes(&bytes).is_none_or(|record| record == Record::sample(record.number));
            bytes
        });
        if let Some(stop) = stop {
            return Err(stop);
        }
        let Some(found) = found else {
            Line::new("recovered nothing").print();
            return Ok(());
        };
        if !found.whole || !genuine {
            return Err(At::Damage.into());
        }
        self.next = found.last.wrapping_add(1);
        Line::new("recovered ").number(found.first).text(" to ").number(found.last).print();
        Ok(())
    }

    /// Returns where record `number` lies in the part; for a slot's own number, where the slot does.
    fn offset(&self, number: u64) -> usize {
        (slot_of(number, self.slots) as usize).wrapping_mul(RECORD_BYTES)
    }

    /// Writes the next record, and returns its number once it is durable.
    #[inline(never)]
    pub fn append(&mut self) -> Result<u64, Stop> {
        let number = self.next;
        let bytes = Record::sample(number).to_bytes();
        let written = self.part.write(self.offset(number), &bytes);
        written.map_err(|error| At::Persist.code(error.code()))?;
        self.next = number.wrapping_add(1);
        Ok(number)
    }

    /// Removes the part, everything in it durable.
    #[inline(never)]
    pub fn close(self) -> Result<(), Stop> {
        let set = *self.part.set();
        set.remove(self.part).map_err(|error| At::Remove.code(error.code()))?;
        Line::new("closed").print();
        Ok(())
    }
}
