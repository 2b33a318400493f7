//! The side that puts records into the ring.

use pmemset_core::{CopyFlags, SetRef, SharedPart};

use crate::error::Error;
use crate::layout::{CONSUMED, PRODUCED, count, counter, open, slot};
use crate::mistake::{Mistake, Mistakes};
use crate::record::{PAYLOAD_BYTES, RECORD_BYTES, Record};

/// The only host that puts records into a ring.
#[derive(Debug)]
pub struct Producer<R: SetRef> {
    part: SharedPart<R>,
    slots: u64,
    /// Records that were published.
    published: u64,
    /// Records that are in their slots.
    stored: u64,
    /// Records of which it is known that they were dealt with; there may be more.
    consumed: u64,
    mistakes: Mistakes,
}

impl<R: SetRef> Producer<R> {
    /// Opens the ring in `part`, and goes on behind the last record that was published.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`], [`Error::Counters`], [`Error::Part`].
    pub fn open(part: SharedPart<R>) -> Result<Self, Error> {
        Self::open_with(part, Mistakes::default())
    }

    pub(crate) fn open_with(part: SharedPart<R>, mistakes: Mistakes) -> Result<Self, Error> {
        let slots = open(&part)?;
        let produced = counter(&part, PRODUCED, true)?;
        let produced = if mistakes.are(Mistake::ForgetsProduced) { 0 } else { produced };
        let mut producer = Self { part, slots, published: produced, stored: produced, consumed: 0, mistakes };
        // Not before: the consumer may deal with what an earlier life has published last until then.
        producer.look()?;
        Ok(producer)
    }

    /// Returns how many records were published in all.
    #[must_use]
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Puts a record into its slot; the consumer gets it after [`commit`](Self::commit). Returns whether there was
    /// room.
    ///
    /// # Errors
    ///
    /// [`Error::Counters`], [`Error::Part`].
    pub fn push(&mut self, payload: &[u8; PAYLOAD_BYTES]) -> Result<bool, Error> {
        if !self.has_room() {
            self.look()?;
            if !self.has_room() && !self.mistakes.are(Mistake::RoomUnchecked) {
                return Ok(false);
            }
        }
        let record = Record { number: self.stored, payload: *payload };
        self.part.write_with(slot(self.stored, self.slots), &record.to_bytes(), CopyFlags::NOFLUSH)?;
        self.stored = self.stored.wrapping_add(1);
        Ok(true)
    }

    /// Publishes the records that were put since the last time: first them, then their number.
    ///
    /// When it returns, the consumer finds them, also if this host loses its power.
    ///
    /// # Errors
    ///
    /// [`Error::Part`].
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.published == self.stored {
            return Ok(());
        }
        if self.mistakes.are(Mistake::ProducedFirst) {
            count(&self.part, PRODUCED, self.stored, true)?;
        }
        let mut from = self.published;
        while from < self.stored {
            // Up to the end of the ring, and the rest from its beginning.
            let to_the_end = self.slots.wrapping_sub(from.checked_rem(self.slots).unwrap_or(0));
            let records = to_the_end.min(self.stored.wrapping_sub(from)).max(1);
            let length_bytes = usize::try_from(records).unwrap_or(0).saturating_mul(RECORD_BYTES);
            let short = if self.mistakes.are(Mistake::LastLineNotPublished) { RECORD_BYTES } else { 0 };
            if !self.mistakes.are(Mistake::RecordNotPublished) {
                self.part.publish(slot(from, self.slots), length_bytes.saturating_sub(short))?;
            }
            from = from.wrapping_add(records);
        }
        count(&self.part, PRODUCED, self.stored, !self.mistakes.are(Mistake::ProducedNotPublished))?;
        self.published = self.stored;
        Ok(())
    }

    /// Returns all that it knows: what it does depends on nothing else.
    #[cfg(test)]
    pub(crate) const fn known(&self) -> [u64; 3] {
        [self.published, self.stored, self.consumed]
    }

    /// Whether a slot is known to be free. What is known of the consumer may be old: then it is further than that,
    /// never less far.
    fn has_room(&self) -> bool {
        self.stored.wrapping_sub(self.consumed) < self.slots
    }

    /// Looks how far the consumer is.
    fn look(&mut self) -> Result<(), Error> {
        let at = if self.mistakes.are(Mistake::OneLine) { PRODUCED.wrapping_add(8) } else { CONSUMED };
        let consumed = counter(&self.part, at, !self.mistakes.are(Mistake::ConsumedNotRefreshed))?;
        let possible = self.consumed <= consumed && consumed <= self.published;
        if !possible || self.published.wrapping_sub(consumed) > self.slots {
            return Err(Error::Counters { produced: self.published, consumed });
        }
        self.consumed = consumed;
        Ok(())
    }
}
