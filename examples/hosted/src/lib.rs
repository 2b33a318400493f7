//! What the hosted programs share: records with a checksum, and a picture of an address window.

pub mod window;

use core::fmt::Write as _;

use pmemset_linux::Extent;

/// Bytes of a stored record: a cache line.
pub const RECORD_BYTES: usize = 64;

/// A record: a number, a stamp that tells one run from another, and a checksum over both and over some filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of records.
    pub number: u64,
    /// The run that stored it.
    pub stamp: u64,
}

impl Record {
    /// Returns the record as it is stored.
    #[must_use]
    pub fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.stamp.to_le_bytes());
        bytes[16..56].copy_from_slice(&[self.number.to_le_bytes()[0] ^ 0x5a; 40]);
        let sum = checksum(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Returns the record that was stored, if its checksum is right.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let record = Self { number: word(0)?, stamp: word(8)? };
        (word(56)? == checksum(&bytes[..56])).then_some(record)
    }
}

/// FNV-1a, 64 bits wide.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Draws `window` to scale in `columns` characters: the parts as letters, holes as dots.
#[must_use]
pub fn draw(window: Extent, parts: &[Extent], columns: usize) -> String {
    let mut picture = String::with_capacity(columns);
    let length = window.length_bytes();
    for column in 0..columns {
        let from = window.start() + length / columns * column;
        let cell = Extent::new(from, (length / columns).max(1));
        let part = parts.iter().position(|part| cell.is_some_and(|cell| part.overlaps(cell)));
        picture.push(part.map_or('.', letter));
    }
    picture
}

/// Lists parts with the letters that [`draw`] uses.
#[must_use]
pub fn legend(parts: &[Extent]) -> String {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        let _ = writeln!(text, "  {} {part}  {}", letter(index), size(part.length_bytes() as u64));
    }
    text
}

fn letter(index: usize) -> char {
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ".get(index).map_or('#', |byte| char::from(*byte))
}

/// Returns a number of bytes as people write it.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        _ if bytes < 1 << 30 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_record_is_not_believed() {
        let record = Record { number: 7, stamp: 9 };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Some(record));
        for at in 0..RECORD_BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(Record::from_bytes(&damaged), None);
        }
        assert_eq!(Record::from_bytes(&[0; RECORD_BYTES]), None);
    }

    #[test]
    fn picture_is_to_scale() {
        let window = Extent::new(0x10000, 0x8000).unwrap();
        let parts = [Extent::new(0x10000, 0x2000).unwrap(), Extent::new(0x14000, 0x1000).unwrap()];
        assert_eq!(draw(window, &parts, 8), "AA..B...");
        assert!(legend(&parts).contains("A 0x10000..0x12000  8 KiB"));
        assert_eq!(size(3 << 20), "3 MiB");
    }
}
