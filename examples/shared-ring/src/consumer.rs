//! The side that takes records out of the ring.

use pmemset_core::{SetRef, SharedPart};

use crate::error::Error;
use crate::layout::{CONSUMED, PRODUCED, count, counter, open, slot};
use crate::mistake::{Mistake, Mistakes};
use crate::record::{RECORD_BYTES, Record};

/// The only host that takes records out of a ring.
#[derive(Debug)]
pub struct Consumer<R: SetRef> {
    part: SharedPart<R>,
    slots: u64,
    /// Records that the producer is told that they were dealt with.
    released: u64,
    /// Records that were given out.
    taken: u64,
    /// Records of which it is known that they were published; there may be more.
    produced: u64,
    mistakes: Mistakes,
}

impl<R: SetRef> Consumer<R> {
    /// Opens the ring in `part`, and goes on with the first record that was not [released](Self::release).
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`], [`Error::Counters`], [`Error::Part`].
    pub fn open(part: SharedPart<R>) -> Result<Self, Error> {
        Self::open_with(part, Mistakes::default())
    }

    pub(crate) fn open_with(part: SharedPart<R>, mistakes: Mistakes) -> Result<Self, Error> {
        let slots = open(&part)?;
        let mut consumer = Self { part, slots, released: 0, taken: 0, produced: 0, mistakes };
        if !mistakes.are(Mistake::ForgetsConsumed) {
            consumer.released = counter(&consumer.part, consumer.place(), true)?;
        }
        (consumer.taken, consumer.produced) = (consumer.released, consumer.released);
        consumer.look()?;
        Ok(consumer)
    }

    /// Returns how many records were released in all.
    #[must_use]
    pub const fn released(&self) -> u64 {
        self.released
    }

    /// Takes the next record; `None` where there is none yet. It comes once more if this host loses its power before
    /// the record is [released](Self::release).
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Counters`], [`Error::Part`].
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        let at = slot(self.taken, self.slots);
        if self.mistakes.are(Mistake::RecordRefreshedEarly) {
            self.part.refresh(at, RECORD_BYTES)?;
        }
        if self.taken == self.produced {
            self.look()?;
            if self.taken == self.produced {
                return Ok(None);
            }
        }
        if self.mistakes.are(Mistake::ConsumedEarly) {
            count(&self.part, self.place(), self.taken.wrapping_add(1), true)?;
        }
        if !self.mistakes.are(Mistake::RecordNotRefreshed) && !self.mistakes.are(Mistake::RecordRefreshedEarly) {
            // Now that it is known to be there: what was fetched before may be what the slot held a round ago.
            self.part.refresh(at, RECORD_BYTES)?;
        }
        let mut bytes = [0; RECORD_BYTES];
        self.part.read(at, &mut bytes)?;
        let record = Record::from_bytes(&bytes).filter(|record| record.number == self.taken);
        let record = record.ok_or(Error::Damaged { number: self.taken })?;
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(record))
    }

    /// Gives the slots of all records that were taken back to the producer: they have been dealt with, and do not come
    /// again.
    ///
    /// # Errors
    ///
    /// [`Error::Part`].
    pub fn release(&mut self) -> Result<(), Error> {
        if self.released != self.taken {
            count(&self.part, self.place(), self.taken, !self.mistakes.are(Mistake::ConsumedNotPublished))?;
            self.released = self.taken;
        }
        Ok(())
    }

    /// Returns all that it knows: what it does depends on nothing else.
    #[cfg(test)]
    pub(crate) const fn known(&self) -> [u64; 3] {
        [self.released, self.taken, self.produced]
    }

    fn place(&self) -> usize {
        if self.mistakes.are(Mistake::OneLine) { PRODUCED.wrapping_add(8) } else { CONSUMED }
    }

    /// Looks how far the producer is.
    fn look(&mut self) -> Result<(), Error> {
        let produced = counter(&self.part, PRODUCED, !self.mistakes.are(Mistake::ProducedNotRefreshed))?;
        if produced < self.produced || produced.wrapping_sub(self.released) > self.slots {
            return Err(Error::Counters { produced, consumed: self.released });
        }
        self.produced = produced;
        Ok(())
    }
}
