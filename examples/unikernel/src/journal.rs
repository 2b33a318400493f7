//! A ring of records in one part of a set.

use pmemset_core::{Part, Set, Source};
use ring::{RECORD_BYTES, Record, Recovered, recover, slot_of};

use crate::platform::Machine;

/// Segments that a set of this kernel has room for.
pub const SEGMENTS_MAX: usize = 16;
/// How the kernel's sets refer to their sources.
pub type Handle = &'static dyn Source;
/// A set of this kernel.
pub type Parts = Set<'static, &'static Machine, Handle, SEGMENTS_MAX>;

/// A ring of records in a pinned part.
#[derive(Debug)]
pub struct Journal<'s> {
    part: Part<'s, &'static Machine, Handle, SEGMENTS_MAX>,
    slots: u64,
    next: u64,
}

impl<'s> Journal<'s> {
    /// Finds the records in `part`, and the number of the next one.
    pub fn open(part: Part<'s, &'static Machine, Handle, SEGMENTS_MAX>) -> (Self, Option<Recovered>) {
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

    /// Writes the next record, and returns its number once it is durable.
    pub fn append(&mut self) -> Result<u64, pmemset_core::Errno> {
        let number = self.next;
        let slot = slot_of(number, self.slots);
        self.write(slot, &Record::sample(number).to_bytes())?;
        self.next += 1;
        Ok(number)
    }

    /// Gives the part back.
    pub fn close(self) -> Part<'s, &'static Machine, Handle, SEGMENTS_MAX> {
        self.part
    }
}

/// Until the set persists: plain stores and the platform's own write-back.
impl Journal<'_> {
    fn address(&self, slot: u64) -> usize {
        self.part.extent().start() + slot as usize * RECORD_BYTES
    }

    fn read(&self, slot: u64) -> [u8; RECORD_BYTES] {
        // SAFETY: the slot lies in the pinned part.
        unsafe { core::ptr::read_volatile(self.address(slot) as *const [u8; RECORD_BYTES]) }
    }

    fn write(&self, slot: u64, bytes: &[u8; RECORD_BYTES]) -> Result<(), pmemset_core::Errno> {
        use pmemset_core::{Extent, Platform as _};
        // SAFETY: the slot lies in the pinned part, and this journal is its only user.
        unsafe { core::ptr::write_volatile(self.address(slot) as *mut [u8; RECORD_BYTES], *bytes) };
        let range = Extent::new(self.address(slot), RECORD_BYTES).ok_or(pmemset_core::Errno::INVAL)?;
        let platform = self.part.set().platform();
        // SAFETY: the slot is mapped.
        unsafe { platform.write_back(range) };
        platform.fence();
        Ok(())
    }
}
