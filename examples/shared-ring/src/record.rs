//! Records: a number, a payload, and a checksum of both.

use crc::{CRC_32_ISCSI, Crc};

/// Length of a slot in bytes.
pub(crate) const RECORD_BYTES: usize = 64;
/// Length of what a record carries, in bytes.
pub const PAYLOAD_BYTES: usize = 48;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    CHECKSUM.checksum(bytes)
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How many records came before it.
    pub number: u64,
    /// What it carries.
    pub payload: [u8; PAYLOAD_BYTES],
}

impl Record {
    /// Returns the record's bytes: checksum, number, payload.
    pub(crate) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (sum, rest) = bytes.split_at_mut(8);
        let (number, payload) = rest.split_at_mut(8);
        number.copy_from_slice(&self.number.to_le_bytes());
        payload.copy_from_slice(&self.payload);
        let of_rest = checksum(rest);
        sum.copy_from_slice(&u64::from(of_rest).to_le_bytes());
        bytes
    }

    /// Returns the record that `bytes` hold; `None` where they hold none, or not all of it.
    pub(crate) fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<8>()?;
        let (number, payload) = rest.split_first_chunk::<8>()?;
        let whole = u64::from_le_bytes(*sum) == u64::from(checksum(rest));
        whole.then_some(Self { number: u64::from_le_bytes(*number), payload: *payload.first_chunk()? })
    }
}
