#![no_std]
//! A ring of numbered, checksummed records: what is written last is found again, whatever was cut off in between.
//!
//! A record is a cache line. Number *n* lies in slot *n* modulo the number of slots, so writing one needs one store
//! sequence and one persist, and a record that a power cut has torn does not pass its checksum. The newest record is
//! the largest number found; all before it are there, back to the one that the newest but one has overwritten.

use crc::{CRC_32_ISCSI, Crc, NoTable};

/// Length of a record in bytes.
pub const RECORD_BYTES: usize = 64;
/// Length of what a record carries, in bytes.
pub const PAYLOAD_BYTES: usize = 48;

const MAGIC: u32 = 0x474e_4952;
const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// A numbered record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 1 on.
    pub number: u64,
    /// What it carries.
    pub payload: [u8; PAYLOAD_BYTES],
}

impl Record {
    /// Returns the record with a payload that its number decides, so that it can be checked later.
    #[must_use]
    pub fn sample(number: u64) -> Self {
        let mut payload = [0; PAYLOAD_BYTES];
        let mut state = number;
        for word in payload.as_chunks_mut().0 {
            // SplitMix64: neighbouring numbers get payloads that have nothing in common.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *word = (mixed ^ (mixed >> 27)).to_le_bytes();
        }
        Self { number, payload }
    }

    /// Returns the record's bytes: magic, checksum, number, payload.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        put(&mut bytes, 0, MAGIC.to_le_bytes());
        put(&mut bytes, 8, self.number.to_le_bytes());
        put(&mut bytes, 16, self.payload);
        let checksum = checksum(&bytes).to_le_bytes();
        put(&mut bytes, 4, checksum);
        bytes
    }

    /// Returns the record that `bytes` hold; `None` where they hold none, or not all of it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let payload = *rest.first_chunk::<PAYLOAD_BYTES>()?;
        let whole = u32::from_le_bytes(*magic) == MAGIC && u32::from_le_bytes(*sum) == checksum(bytes);
        whole.then_some(Self { number: u64::from_le_bytes(*number), payload })
    }
}

fn put<const L: usize>(bytes: &mut [u8; RECORD_BYTES], at: usize, field: [u8; L]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = field;
    }
}

/// Returns the checksum of everything behind the checksum.
fn checksum(bytes: &[u8; RECORD_BYTES]) -> u32 {
    bytes.get(8..).map_or(0, |covered| CHECKSUM.checksum(covered))
}

/// Returns the slot of record `number` in a ring of `slots` slots, at least 1.
#[must_use]
pub fn slot_of(number: u64, slots: u64) -> u64 {
    number.checked_rem(slots).unwrap_or(0)
}

/// What was found in a ring: records `first` to `last`, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The oldest of them.
    pub first: u64,
    /// The newest record.
    pub last: u64,
    /// Whether nothing is missing that had been acknowledged and not been overwritten since.
    pub whole: bool,
}

/// Looks through a ring of `slots` slots; `read` returns the bytes of a slot.
///
/// `None` where there is no record. Reads every slot once, and those of the newest records again.
pub fn recover(slots: u64, mut read: impl FnMut(u64) -> [u8; RECORD_BYTES]) -> Option<Recovered> {
    // 0 where there is none: numbers begin at 1.
    let mut number_in = |slot| match Record::from_bytes(&read(slot)) {
        Some(record) if slot_of(record.number, slots) == slot => record.number,
        _ => 0,
    };
    let mut last = 0;
    for slot in 0..slots {
        last = last.max(number_in(slot));
    }
    if last == 0 {
        return None;
    }
    // The slot behind the newest record may have been in the middle of being overwritten.
    let expected = last.min(slots.saturating_sub(1)).max(1);
    let mut first = last;
    while first > 1 && last.saturating_sub(first).saturating_add(1) < slots {
        let before = first.saturating_sub(1);
        if number_in(slot_of(before, slots)) != before {
            break;
        }
        first = before;
    }
    let found = last.saturating_sub(first).saturating_add(1);
    Some(Recovered { first, last, whole: found >= expected })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "rings of tests are small")]
mod tests {
    use super::*;

    extern crate std;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn ring_of(slots: u64, last: u64) -> Vec<[u8; RECORD_BYTES]> {
        let mut ring = vec![[0; RECORD_BYTES]; slots as usize];
        (1..=last).for_each(|number| ring[slot_of(number, slots) as usize] = Record::sample(number).to_bytes());
        ring
    }

    fn found(ring: &[[u8; RECORD_BYTES]]) -> Option<Recovered> {
        recover(ring.len() as u64, |slot| ring[slot as usize])
    }

    #[test]
    fn last_records_are_found() {
        for slots in 1..7u64 {
            assert_eq!(found(&ring_of(slots, 0)), None);
            for last in 1..20u64 {
                let first = last.saturating_sub(slots) + 1;
                assert_eq!(found(&ring_of(slots, last)), Some(Recovered { first, last, whole: true }));
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = Record::sample(77).to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Some(Record::sample(77)));
        for bit in 0..RECORD_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::from_bytes(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_told() {
        let mut ring = ring_of(8, 20);
        ring[slot_of(17, 8) as usize][40] ^= 1;
        assert_eq!(found(&ring), Some(Recovered { first: 18, last: 20, whole: false }));
    }

    #[test]
    fn records_in_the_wrong_slot_do_not_count() {
        let mut ring = ring_of(8, 3);
        ring[7] = Record::sample(100).to_bytes();
        assert_eq!(found(&ring), Some(Recovered { first: 1, last: 3, whole: true }));
    }

    proptest! {
        #[test]
        fn cut_while_the_next_record_is_written_loses_nothing(
            slots in 1u64..9, last in 0u64..40, units in proptest::collection::vec(any::<bool>(), 8)
        ) {
            let mut ring = ring_of(slots, last);
            let next = Record::sample(last + 1).to_bytes();
            let slot = &mut ring[slot_of(last + 1, slots) as usize];
            for (unit, _) in units.iter().enumerate().filter(|(_, stored)| **stored) {
                slot[unit * 8..unit * 8 + 8].copy_from_slice(&next[unit * 8..unit * 8 + 8]);
            }
            let oldest = (last + 2).saturating_sub(slots).max(1);
            let recovered = found(&ring);
            if slots > 1 && last > 0 {
                let recovered = recovered.unwrap();
                prop_assert!(recovered.whole && recovered.first <= oldest && recovered.last >= last);
                prop_assert!(recovered.last <= last + 1);
            }
        }
    }
}
