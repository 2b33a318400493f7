//! A small value that is replaced durably and as a whole: two slots, written in turn.
//!
//! After a power cut the value is the old one or the new one. Slots are 512 bytes apart: where the medium is a disk,
//! what tears is a sector.

use pmemset_core::error::PersistError;
use pmemset_core::{Part, SetRef};

use crate::format::{join, small_checksum};

/// Length of a cell in bytes: two slots.
pub const CELL_BYTES: usize = 1024;
/// Length of the longest value in bytes.
pub const VALUE_BYTES: usize = 496;

const SLOT_BYTES: usize = 512;
const HEAD_BYTES: usize = 16;

/// What is known of a cell in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    offset: usize,
    /// The number of the value, from 1 on; its parity is its slot. 0 while there is none.
    generation: u64,
    length_bytes: usize,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has never been stored to: all zeros, or the first store was cut.
    Nothing,
    /// A value.
    Value,
    /// It has been stored to, and neither slot is whole.
    Damaged,
}

impl Cell {
    /// A cell at no place.
    pub(crate) const NOWHERE: Self = Self { offset: usize::MAX, generation: 0, length_bytes: 0 };

    /// Looks at the cell at `offset` of `part`.
    ///
    /// # Errors
    ///
    /// The part ends before the cell does.
    pub fn open<R: SetRef>(part: &Part<R>, offset: usize) -> Result<(Self, Content), PersistError> {
        let mut cell = Self { offset, generation: 0, length_bytes: 0 };
        let mut first_used = false;
        for slot in [0, 1] {
            let mut head = [0; HEAD_BYTES];
            part.read(cell.at(slot), &mut head)?;
            first_used |= slot == 0 && head != [0; HEAD_BYTES];
            let (generation, length_bytes) = number_and_length(&head);
            if generation > cell.generation && generation % 2 == slot && length_bytes <= VALUE_BYTES {
                let mut value = [0; VALUE_BYTES];
                let value = value.get_mut(..length_bytes).unwrap_or_default();
                part.read(cell.at(slot).saturating_add(HEAD_BYTES), value)?;
                if sum(generation, value).to_le_bytes()[..] == head[..4] {
                    (cell.generation, cell.length_bytes) = (generation, length_bytes);
                }
            }
        }
        // The first value goes to the second slot: a first slot that was stored to means that the second had been.
        let content = match (cell.generation, first_used) {
            (0, true) => Content::Damaged,
            (0, false) => Content::Nothing,
            _ => Content::Value,
        };
        Ok((cell, content))
    }

    /// Reads the value into the front of `value`, and returns its length: 0 if there is none.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]. A value that does not fit is cut off.
    pub fn load<R: SetRef>(&self, part: &Part<R>, value: &mut [u8]) -> Result<usize, PersistError> {
        let length_bytes = self.length_bytes.min(value.len());
        if let Some(value) = value.get_mut(..length_bytes) {
            part.read(self.at(self.generation).saturating_add(HEAD_BYTES), value)?;
        }
        Ok(length_bytes)
    }

    /// Replaces the value; durable when it returns. Of a value that is too long, nothing is stored, and it says
    /// `false`.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; the value is the old one or the new one then, and the cell is not to be stored to again.
    pub fn store<R: SetRef>(&mut self, part: &Part<R>, value: &[u8]) -> Result<bool, PersistError> {
        if value.len() > VALUE_BYTES {
            return Ok(false);
        }
        let generation = self.generation.wrapping_add(1);
        #[allow(clippy::cast_possible_truncation, reason = "at most 496")]
        let length = (value.len() as u32).to_le_bytes();
        let bytes: [u8; SLOT_BYTES] =
            join(&[&sum(generation, value).to_le_bytes(), &length, &generation.to_le_bytes(), value]);
        let used = bytes.get(..HEAD_BYTES.saturating_add(value.len())).unwrap_or(&bytes);
        part.write(self.at(generation), used)?;
        (self.generation, self.length_bytes) = (generation, value.len());
        Ok(true)
    }

    /// Stores what is there again, durably: what was read may have been in the cache only.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    pub fn refresh<R: SetRef>(&self, part: &Part<R>) -> Result<(), PersistError> {
        if self.generation == 0 {
            return Ok(());
        }
        let mut bytes = [0; SLOT_BYTES];
        let bytes = bytes.get_mut(..self.length_bytes.saturating_add(HEAD_BYTES)).unwrap_or_default();
        part.read(self.at(self.generation), bytes)?;
        part.write(self.at(self.generation), bytes)
    }

    /// Takes the value for one that does not count: the next one is written over it. A mistake.
    pub(crate) const fn forget_one(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    const fn at(&self, generation: u64) -> usize {
        if generation.is_multiple_of(2) { self.offset } else { self.offset.saturating_add(SLOT_BYTES) }
    }
}

/// Returns what the head of a slot says: the number of its value, and its length in bytes.
fn number_and_length(head: &[u8; HEAD_BYTES]) -> (u64, usize) {
    let [front, number] = [0, 1].map(|unit| head.as_chunks().0.get(unit).copied().unwrap_or_default());
    let length_bytes = u64::from_le_bytes(front) >> 32;
    (u64::from_le_bytes(number), usize::try_from(length_bytes).unwrap_or(usize::MAX))
}

fn sum(generation: u64, value: &[u8]) -> u32 {
    small_checksum(&[&generation.to_le_bytes(), value])
}
