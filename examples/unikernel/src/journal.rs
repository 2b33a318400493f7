//! A ring of records in one part of a set.

use bare::KernelSpace;
use pmemset_core::error::PersistError;
use pmemset_core::observer::FromFn;
use pmemset_core::{Answer, CopyFlags, Event, Part, Set, Slab, Source};
use ring::{RECORD_BYTES, Record, Recovered, recover, slot_of};

use crate::platform::Machine;

/// Segments that a set of this kernel has room for.
pub const SEGMENTS_MAX: usize = 16;
/// How the kernel's sets refer to their sources.
pub type Handle = &'static dyn Source<Space = KernelSpace>;
/// What is told what happens to a set of this kernel.
pub type Observe = FromFn<fn(&Event<'_, Handle>) -> Answer>;
/// A set of this kernel.
pub type Parts = Set<'static, &'static Machine, Handle, Option<Observe>>;
/// Memory for one.
pub type Room = Slab<Handle, SEGMENTS_MAX>;

/// A ring of records in a pinned part.
#[derive(Debug)]
pub struct Journal {
    part: Part<&'static Parts>,
    slots: u64,
    next: u64,
}

impl Journal {
    /// Finds the records in `part`, and the number of the next one.
    pub fn open(part: Part<&'static Parts>) -> (Self, Option<Recovered>) {
        let slots = (part.extent().length_bytes() / RECORD_BYTES) as u64;
        let mut journal = Self { part, slots, next: 1 };
        let found = recover(slots, |slot| journal.read(slot));
        journal.next = found.map_or(1, |found| found.last + 1);
        (journal, found)
    }

    /// Returns whether the records `found` carry what was written.
    pub fn verify(&self, found: Recovered) -> bool {
        found.whole
            && (found.first..=found.last).all(|number| {
                Record::from_bytes(&self.read(slot_of(number, self.slots))) == Some(Record::sample(number))
            })
    }

    /// Writes the next record, and returns its number: once it is durable, unless `flags` ask for less.
    pub fn append(&mut self, flags: CopyFlags) -> Result<u64, PersistError> {
        let number = self.next;
        let slot = slot_of(number, self.slots);
        let bytes = Record::sample(number).to_bytes();
        self.part.write_with(slot as usize * RECORD_BYTES, &bytes, flags)?;
        self.next += 1;
        Ok(number)
    }

    /// Returns the bytes of a slot; nothing where they cannot be read.
    fn read(&self, slot: u64) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        if self.part.read(slot as usize * RECORD_BYTES, &mut bytes).is_err() {
            return [0; RECORD_BYTES];
        }
        bytes
    }

    /// Gives the part back.
    pub fn close(self) -> Part<&'static Parts> {
        self.part
    }
}
