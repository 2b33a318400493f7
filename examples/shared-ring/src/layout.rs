//! Where things are in a ring, and who stores to them.
//!
//! Lines of 128 bytes, the longest that processors have: a line has one host that stores to it. The head is stored
//! once, by whoever makes the ring; `produced` and the slots are the producer's, `consumed` is the consumer's.

use pmemset_core::{CopyFlags, SetRef, SharedPart};

use crate::error::Error;
use crate::record::{RECORD_BYTES, checksum};

const LINE_BYTES: usize = 128;
/// How many records were published in all.
pub(crate) const PRODUCED: usize = LINE_BYTES;
/// How many of them were dealt with.
pub(crate) const CONSUMED: usize = 2 * LINE_BYTES;
const SLOTS: usize = 3 * LINE_BYTES;
/// Two records in a line of 128 bytes: both are the producer's.
const MAGIC: u64 = u64::from_le_bytes(*b"pmemring");

/// Returns the length in bytes of a ring of `slots` slots.
///
/// ```
/// assert_eq!(shared_ring::length_for(60), 4224);
/// ```
#[must_use]
pub const fn length_for(slots: u64) -> u64 {
    slots.saturating_mul(RECORD_BYTES as u64).saturating_add(SLOTS as u64)
}

/// Makes an empty ring of all of `part`, before either side opens it.
///
/// # Errors
///
/// - [`Error::TooShort`]: the part has no room for a slot.
/// - [`Error::Part`].
pub fn format<R: SetRef>(part: &SharedPart<R>) -> Result<(), Error> {
    let slots = slots_in(part).ok_or(Error::TooShort)?;
    part.fill(0, 0, PRODUCED, CopyFlags::NOFLUSH)?;
    part.fill(PRODUCED, 0, SLOTS.saturating_sub(PRODUCED), CopyFlags::NOFLUSH)?;
    part.publish(0, SLOTS)?;
    // The head comes last: there is a ring only once it is empty.
    let mut head = [0; 24];
    for (place, word) in
        head.as_chunks_mut().0.iter_mut().zip([MAGIC, slots, u64::from(checksum(&slots.to_le_bytes()))])
    {
        *place = word.to_le_bytes();
    }
    part.write_with(0, &head, CopyFlags::NOFLUSH)?;
    part.publish(0, head.len())?;
    Ok(())
}

/// Returns the number of slots that the part has room for.
fn slots_in<R: SetRef>(part: &SharedPart<R>) -> Option<u64> {
    let room = part.extent().length_bytes().checked_sub(SLOTS)?;
    let slots = room.checked_div(RECORD_BYTES)? as u64;
    (slots > 0).then_some(slots)
}

/// Returns the number of slots of the ring in `part`.
pub(crate) fn open<R: SetRef>(part: &SharedPart<R>) -> Result<u64, Error> {
    part.refresh(0, 24)?;
    let mut head = [0; 24];
    part.read(0, &mut head)?;
    let mut words = head.as_chunks().0.iter().copied().map(u64::from_le_bytes);
    let mut word = || words.next().unwrap_or(0);
    let (magic, slots, sum) = (word(), word(), word());
    let known = magic == MAGIC && sum == u64::from(checksum(&slots.to_le_bytes()));
    if known && slots_in(part).is_some_and(|room| room == slots) { Ok(slots) } else { Err(Error::NoRing) }
}

/// Returns where the slot of record `number` is.
pub(crate) fn slot(number: u64, slots: u64) -> usize {
    let index = usize::try_from(number.checked_rem(slots).unwrap_or(0)).unwrap_or(0);
    index.saturating_mul(RECORD_BYTES).saturating_add(SLOTS)
}

/// Loads a counter of the other side, or of an earlier life of one's own, as it is in memory.
pub(crate) fn counter<R: SetRef>(part: &SharedPart<R>, at: usize, refresh: bool) -> Result<u64, Error> {
    if refresh {
        part.refresh(at, 8)?;
    }
    let mut bytes = [0; 8];
    part.read(at, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Stores a counter and publishes it.
pub(crate) fn count<R: SetRef>(part: &SharedPart<R>, at: usize, value: u64, publish: bool) -> Result<(), Error> {
    part.write_with(at, &value.to_le_bytes(), CopyFlags::NOFLUSH)?;
    if publish {
        part.publish(at, 8)?;
    }
    Ok(())
}
