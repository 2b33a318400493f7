//! The ring of records over coalesced parts of one file or device.

use core::fmt;

use pmemset_core::error::{LookupError, MapError, RemoveError};
use pmemset_core::{Coalescing, Errno, MapConfig, Part, Set, Source as _};
use ring::{RECORD_BYTES, Record, recover, slot_of};
use shim_devdax::{AnyError, AnySource};
use shim_linux::Linux;

use crate::say;

/// Segments that the ring is made of.
const SEGMENTS: usize = 4;
/// Length of each in bytes, unless the alignment of a device is more.
const SEGMENT_BYTES: usize = 64 << 10;

/// The recorder's set.
pub type Parts<'s, 'f> = Set<'s, Linux, &'f AnySource, SEGMENTS>;

/// Why the recorder stopped.
#[derive(Debug)]
pub enum Stop {
    /// The arguments are wrong.
    Usage,
    /// The file or device cannot be used.
    Open(AnyError),
    /// It cannot be mapped.
    Map(MapError),
    /// The part that was mapped is not there.
    Lookup(LookupError),
    /// Records that had been acknowledged are missing or damaged.
    Damaged,
    /// The next record is not durable.
    Append(Errno),
    /// The part cannot be removed.
    Remove(RemoveError),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("usage: appliance PATH [COUNT]"),
            Self::Open(error) => write!(f, "cannot open: {error}"),
            Self::Map(error) => write!(f, "cannot map: {error}"),
            Self::Lookup(error) => write!(f, "cannot find the part: {error}"),
            Self::Damaged => f.write_str("records are missing or damaged"),
            Self::Append(cause) => write!(f, "a record is not durable: {cause}"),
            Self::Remove(error) => write!(f, "cannot remove: {error}"),
        }
    }
}

/// A ring of records in a pinned part.
#[derive(Debug)]
pub struct Recorder<'s, 'f> {
    part: Part<'s, Linux, &'f AnySource, SEGMENTS>,
    slots: u64,
    next: u64,
}

impl<'s, 'f> Recorder<'s, 'f> {
    /// Maps the ring, and says which records are in it.
    pub fn open(set: &'s Parts<'s, 'f>, source: &'f AnySource) -> Result<Self, Stop> {
        set.set_coalescing(Coalescing::Full);
        let segment_bytes = source.alignment_bytes().max(SEGMENT_BYTES);
        for index in 0..SEGMENTS {
            let offset = index.saturating_mul(segment_bytes) as u64;
            let config = MapConfig::new().offset(offset).map_err(Stop::Map)?.length(segment_bytes);
            set.map(source, &config).map_err(Stop::Map)?;
        }
        let part = set.first_part().map_err(Stop::Lookup)?.ok_or(Stop::Damaged)?;
        let slots = (part.extent().length_bytes() / RECORD_BYTES) as u64;
        let mut recorder = Self { part, slots, next: 1 };
        recorder.find()?;
        Ok(recorder)
    }

    fn find(&mut self) -> Result<(), Stop> {
        let Some(found) = recover(self.slots, |slot| self.read(slot)) else {
            say!("recovered nothing");
            return Ok(());
        };
        let right =
            |number: u64| Record::from_bytes(&self.read(slot_of(number, self.slots))) == Some(Record::sample(number));
        if !found.whole || !(found.first..=found.last).all(right) {
            return Err(Stop::Damaged);
        }
        self.next = found.last.saturating_add(1);
        say!("recovered {} to {}", found.first, found.last);
        Ok(())
    }

    /// Writes the next record, and returns its number once it is durable.
    pub fn append(&mut self) -> Result<u64, Stop> {
        let number = self.next;
        self.write(slot_of(number, self.slots), &Record::sample(number).to_bytes())?;
        self.next = number.saturating_add(1);
        Ok(number)
    }

    /// Removes the part, everything in it durable.
    pub fn close(self) -> Result<(), Stop> {
        let set = self.part.set();
        set.remove(self.part).map_err(|refused| Stop::Remove(refused.error))?;
        say!("closed");
        Ok(())
    }
}

impl Recorder<'_, '_> {
    fn address(&self, slot: u64) -> usize {
        self.part.extent().start() + slot as usize * RECORD_BYTES
    }

    fn read(&self, slot: u64) -> [u8; RECORD_BYTES] {
        // SAFETY: the slot lies in the pinned part.
        unsafe { core::ptr::read_volatile(self.address(slot) as *const [u8; RECORD_BYTES]) }
    }

    fn write(&self, slot: u64, bytes: &[u8; RECORD_BYTES]) -> Result<(), Stop> {
        // SAFETY: the slot lies in the pinned part, and this recorder is its only user.
        unsafe { core::ptr::write_volatile(self.address(slot) as *mut [u8; RECORD_BYTES], *bytes) };
        Ok(())
    }
}
