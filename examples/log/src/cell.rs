//! A small value that is replaced durably and as a whole: two copies, stored one after the other.
//!
//! After a power cut the value is the old one or the new one. Once it has been acknowledged both copies are of it, so
//! damage to one of them loses nothing, and damage to both is told: never is the value of before found. Lay the copies
//! where they do not fail together: in different pages, 512 bytes apart at least, as what tears on a disk is a sector.

use pmemset_core::error::PersistError;
use pmemset_core::{CopyFlags, Part, SetRef};

use crate::format::{join, small_checksum};

/// Length of one copy of a cell in bytes.
pub const COPY_BYTES: usize = 512;
/// Length of the longest value in bytes.
pub const VALUE_BYTES: usize = 496;

const HEAD_BYTES: usize = 16;

/// What is known of a cell in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Where the copies are; the first one is stored to first. The second is whole, if there is a value.
    copies: [usize; 2],
    /// The number of the value, from 1 on. 0 while there is none.
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
    /// It has been stored to, and neither copy is whole.
    Damaged,
}

impl Cell {
    /// A cell at no place.
    pub(crate) const NOWHERE: Self = Self { copies: [usize::MAX; 2], generation: 0, length_bytes: 0 };

    /// Looks at the cell whose copies are at the offsets `copies` of `part`, which are to be named in this order
    /// always.
    ///
    /// # Errors
    ///
    /// The part ends before the cell does.
    pub fn open<R: SetRef>(part: &Part<R>, copies: [usize; 2]) -> Result<(Self, Content), PersistError> {
        let [first, second] = copies;
        let (one, _) = Self::copy_at(part, first)?;
        let (other, second_used) = Self::copy_at(part, second)?;
        // What a cut has kept from being stored twice, and what is damaged, is stored again first.
        let ((generation, length_bytes), copies) =
            if one.0 > other.0 { (one, [second, first]) } else { (other, [first, second]) };
        let content = match (generation, second_used) {
            // A value goes to the second copy when the first is durable.
            (0, true) => Content::Damaged,
            (0, false) => Content::Nothing,
            _ => Content::Value,
        };
        Ok((Self { copies, generation, length_bytes }, content))
    }

    /// Returns the number and the length of the value that the copy at `offset` has, 0 where it is not whole; and
    /// whether it was ever stored to.
    fn copy_at<R: SetRef>(part: &Part<R>, offset: usize) -> Result<((u64, usize), bool), PersistError> {
        let mut head = [0; HEAD_BYTES];
        part.read(offset, &mut head)?;
        let (generation, length_bytes) = number_and_length(&head);
        let mut value = [0; VALUE_BYTES];
        let Some(value) = value.get_mut(..length_bytes) else { return Ok(((0, 0), true)) };
        part.read(offset.saturating_add(HEAD_BYTES), value)?;
        let whole = generation > 0 && sum(generation, value).to_le_bytes()[..] == head[..4];
        Ok((if whole { (generation, length_bytes) } else { (0, 0) }, head != [0; HEAD_BYTES]))
    }

    /// Reads the value into the front of `value`, and returns its length: 0 if there is none.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]. A value that does not fit is cut off.
    pub fn load<R: SetRef>(&self, part: &Part<R>, value: &mut [u8]) -> Result<usize, PersistError> {
        let length_bytes = self.length_bytes.min(value.len());
        if let Some(value) = value.get_mut(..length_bytes) {
            part.read(self.copies[1].saturating_add(HEAD_BYTES), value)?;
        }
        Ok(length_bytes)
    }

    /// Replaces the value; durable, in both copies, when it returns. Of a value that is too long, nothing is stored,
    /// and it says `false`.
    ///
    /// Costs two fences, or two synchronisations.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; the value is the old one or the new one then, and the cell is not to be stored to again.
    pub fn store<R: SetRef>(&mut self, part: &Part<R>, value: &[u8]) -> Result<bool, PersistError> {
        self.store_with(part, value, CopyFlags::empty())
    }

    /// As [`store`](Self::store); the first copy is stored with `flags`.
    fn store_with<R: SetRef>(&mut self, part: &Part<R>, value: &[u8], flags: CopyFlags) -> Result<bool, PersistError> {
        if value.len() > VALUE_BYTES {
            return Ok(false);
        }
        let generation = self.generation.wrapping_add(1);
        #[allow(clippy::cast_possible_truncation, reason = "at most 496")]
        let length = (value.len() as u32).to_le_bytes();
        let bytes: [u8; COPY_BYTES] =
            join(&[&sum(generation, value).to_le_bytes(), &length, &generation.to_le_bytes(), value]);
        let used = bytes.get(..HEAD_BYTES.saturating_add(value.len())).unwrap_or(&bytes);
        part.write_with(self.copies[0], used, flags)?;
        part.write(self.copies[1], used)?;
        (self.generation, self.length_bytes) = (generation, value.len());
        Ok(true)
    }

    /// Stores both copies with one fence, which a cut can tear both. A mistake.
    pub(crate) fn store_at_once<R: SetRef>(&mut self, part: &Part<R>, value: &[u8]) -> Result<bool, PersistError> {
        self.store_with(part, value, CopyFlags::NOFLUSH)
    }

    /// Stores what is there again, durably and in both copies: what was read may have been in the cache only, one copy
    /// may be damaged, or of the value before.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    pub fn refresh<R: SetRef>(&self, part: &Part<R>) -> Result<(), PersistError> {
        if self.generation == 0 {
            return Ok(());
        }
        let mut bytes = [0; COPY_BYTES];
        let bytes = bytes.get_mut(..self.length_bytes.saturating_add(HEAD_BYTES)).unwrap_or_default();
        part.read(self.copies[1], bytes)?;
        // The whole one last: its units hold what they held before.
        self.copies.iter().try_for_each(|copy| part.write(*copy, bytes))
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
