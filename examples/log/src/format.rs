//! What lies where: geometry, the head of a record, the head of a segment, checksums.

use crc::{CRC_32_ISCSI, Crc, Digest, NoTable, Table};

const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Bytes before the records of a segment: a line.
pub(crate) const SEGMENT_HEAD_BYTES: usize = 64;
/// Bytes before the payload of a record.
pub(crate) const RECORD_HEAD_BYTES: usize = 24;
/// Records begin on multiples of this: what one record's store may tear is no other's.
pub(crate) const UNIT_BYTES: usize = 8;

/// The largest number that the oldest record may have, and the last position where it may begin: far from wrapping
/// around.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

const SEGMENT_MAGIC: u32 = 0x5347_4c50;

/// Returns a checksum (CRC-32C) to be fed.
pub(crate) fn digest() -> Digest<'static, u32, Table<16>> {
    static SUM: Crc<u32, Table<16>> = CHECKSUM;
    SUM.digest()
}

/// Returns the checksum of `parts`, one behind the other.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut digest = digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// Returns the same checksum in little code and without a table: for headers and cells in firmware, which are small.
pub(crate) fn small_checksum(parts: &[&[u8]]) -> u32 {
    const SMALL: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);
    let mut digest = SMALL.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// Takes a field off the front.
fn field<const L: usize>(bytes: &mut &[u8]) -> Option<[u8; L]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}

/// Puts fields one behind the other.
pub(crate) fn join<const L: usize>(fields: &[&[u8]]) -> [u8; L] {
    let mut bytes = [0; L];
    let places = bytes.iter_mut();
    places.zip(fields.iter().copied().flatten()).for_each(|(place, byte)| *place = *byte);
    bytes
}

/// The lengths that decide where everything is.
///
/// The log is a stream of bytes; a *position* is a byte of it. Segment number *n* has the bytes from *n* × `data_bytes`
/// on. A segment lies in a *slot* of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) head_bytes: usize,
    pub(crate) segment_bytes: usize,
}

impl Geometry {
    pub(crate) const fn data_bytes(self) -> u64 {
        self.segment_bytes.saturating_sub(SEGMENT_HEAD_BYTES) as u64
    }

    /// Returns the number of the segment that has `position`.
    pub(crate) const fn number(self, position: u64) -> u64 {
        match position.checked_div(self.data_bytes()) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Returns how far into the records of its segment `position` is.
    pub(crate) const fn within(self, position: u64) -> u64 {
        position.wrapping_sub(self.start_of(self.number(position)))
    }

    /// Returns the first position of segment `number`.
    pub(crate) const fn start_of(self, number: u64) -> u64 {
        number.wrapping_mul(self.data_bytes())
    }

    /// Returns where a record begins that comes behind `position`: its head is never cut in two.
    pub(crate) const fn begin(self, position: u64) -> u64 {
        let unit_bytes = UNIT_BYTES as u64;
        let position = position.wrapping_add(unit_bytes.wrapping_sub(1)) & !unit_bytes.wrapping_sub(1);
        let next = self.start_of(self.number(position).wrapping_add(1));
        if next.wrapping_sub(position) < RECORD_HEAD_BYTES as u64 { next } else { position }
    }

    /// Returns where the record behind one at `position` with a payload of `length_bytes` begins.
    pub(crate) const fn behind(self, position: u64, length_bytes: u32) -> u64 {
        self.begin(position.wrapping_add(RECORD_HEAD_BYTES as u64).wrapping_add(length_bytes as u64))
    }

    /// Returns whether a log may be in this state: no number of it is so large that counting on could wrap around.
    pub(crate) fn allows(self, state: &State) -> bool {
        let oldest = self.oldest(state);
        (1..=NUMBER_MAX).contains(&state.first)
            && state.durable >= state.first.wrapping_sub(1)
            && state.start <= NUMBER_MAX
            && state.start == self.begin(state.start)
            && (oldest..=NUMBER_MAX).contains(&state.made)
            && state.generation > 0
            && state.oldest_generation > 0
            && state.cut.is_none_or(|sequence| sequence >= state.first)
    }

    /// Returns the number of the oldest segment of a log in this state.
    pub(crate) const fn oldest(self, state: &State) -> u64 {
        self.number(state.start).saturating_sub(state.is_before as u64)
    }

    /// Returns where slot `slot` begins in the source.
    pub(crate) const fn offset(self, slot: u32) -> u64 {
        (slot as u64).saturating_mul(self.segment_bytes as u64).saturating_add(self.head_bytes as u64)
    }
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) sequence: u64,
    pub(crate) length_bytes: u32,
    /// How far behind it what was known to be durable was when it was written: acknowledged, perhaps.
    pub(crate) behind: u32,
    pub(crate) payload_sum: u32,
}

impl RecordHead {
    /// Returns the head's bytes, for a record that begins in segment `number`.
    pub(crate) fn to_bytes(self, number: u64) -> [u8; RECORD_HEAD_BYTES] {
        join(&[
            &self.sum(number).to_le_bytes(),
            &self.payload_sum.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.length_bytes.to_le_bytes(),
            &self.behind.to_le_bytes(),
        ])
    }

    /// Returns the head that `bytes` are in segment `number`; `None` where they are none.
    pub(crate) fn from_bytes(bytes: &[u8; RECORD_HEAD_BYTES], number: u64) -> Option<Self> {
        let sum = u32::from_le_bytes(*bytes.first_chunk()?);
        Self::unchecked(bytes).filter(|head| sum == head.sum(number))
    }

    /// As [`from_bytes`](Self::from_bytes), but for the checksum.
    pub(crate) fn unchecked(bytes: &[u8; RECORD_HEAD_BYTES]) -> Option<Self> {
        let (_, mut rest) = bytes.split_first_chunk::<4>()?;
        let payload_sum = u32::from_le_bytes(field(&mut rest)?);
        let sequence = u64::from_le_bytes(field(&mut rest)?);
        let length_bytes = u32::from_le_bytes(field(&mut rest)?);
        let behind = u32::from_le_bytes(field(&mut rest)?);
        (sequence > 0).then_some(Self { sequence, length_bytes, behind, payload_sum })
    }

    /// Returns the last record that is known to have been durable when this one was written.
    pub(crate) const fn durable(self) -> u64 {
        self.sequence.saturating_sub(self.behind as u64)
    }

    fn sum(self, number: u64) -> u32 {
        checksum(&[
            &number.to_le_bytes(),
            &self.payload_sum.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.length_bytes.to_le_bytes(),
            &self.behind.to_le_bytes(),
        ])
    }
}

/// The head of a segment.
///
/// Generation and mark are a unit of 8 bytes each, with a checksum of their own: they change, and nothing tears them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) number: u64,
    /// The last record that was known to be durable when the segment was made.
    pub(crate) durable: u64,
    /// How often the log had been truncated when the segment was made, or was truncated itself.
    pub(crate) generation: u32,
    /// The mark: that the next segment was made, durably, and its generation.
    pub(crate) next: Option<u32>,
}

/// Bytes of a segment's head that are used.
pub(crate) const SEGMENT_HEAD_USED_BYTES: usize = 40;
/// Where in a segment's head its generation is, and the mark behind it.
pub(crate) const GENERATION_AT: usize = 24;
/// Where in a segment's head the mark is.
pub(crate) const MARK_AT: usize = 32;

impl SegmentHead {
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEAD_USED_BYTES] {
        join(&[
            &SEGMENT_MAGIC.to_le_bytes(),
            &self.sum().to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.durable.to_le_bytes(),
            &Self::changing(self.number, self.generation, self.next),
        ])
    }

    /// Returns the bytes of segment `number` from [`GENERATION_AT`] on.
    pub(crate) fn changing(number: u64, generation: u32, next: Option<u32>) -> [u8; 2 * UNIT_BYTES] {
        let mark = next.map_or([0; UNIT_BYTES], |next| Self::mark(number, next));
        join(&[&generation.to_le_bytes(), &unit_sum(b"own ", number, generation).to_le_bytes(), &mark])
    }

    /// Returns the mark of segment `number` that the next one was made, with this generation.
    pub(crate) fn mark(number: u64, next: u32) -> [u8; UNIT_BYTES] {
        join(&[&next.to_le_bytes(), &unit_sum(b"next", number, next).to_le_bytes()])
    }

    pub(crate) fn from_bytes(bytes: &[u8; SEGMENT_HEAD_USED_BYTES]) -> Option<Self> {
        let Self { number, durable, .. } = Self::front(bytes)?;
        let mut rest = bytes.get(GENERATION_AT..)?;
        let generation = u32::from_le_bytes(field(&mut rest)?);
        let generation_sum = u32::from_le_bytes(field(&mut rest)?);
        let marked = *rest != [0; UNIT_BYTES];
        let next = u32::from_le_bytes(field(&mut rest)?);
        let next_sum = u32::from_le_bytes(field(&mut rest)?);
        let head = Self { number, durable, generation, next: marked.then_some(next) };
        let whole = generation_sum == unit_sum(b"own ", number, generation)
            && (!marked || next_sum == unit_sum(b"next", number, next));
        whole.then_some(head)
    }

    /// Returns the head that begins like this, whatever is in the units that change.
    pub(crate) fn front(bytes: &[u8; SEGMENT_HEAD_USED_BYTES]) -> Option<Self> {
        let mut rest = &bytes[..];
        let magic = u32::from_le_bytes(field(&mut rest)?);
        let sum = u32::from_le_bytes(field(&mut rest)?);
        let number = u64::from_le_bytes(field(&mut rest)?);
        let durable = u64::from_le_bytes(field(&mut rest)?);
        let head = Self { number, durable, generation: 0, next: None };
        (magic == SEGMENT_MAGIC && sum == head.sum()).then_some(head)
    }

    fn sum(self) -> u32 {
        checksum(&[&SEGMENT_MAGIC.to_le_bytes(), &self.number.to_le_bytes(), &self.durable.to_le_bytes()])
    }
}

fn unit_sum(what: &[u8; 4], number: u64, value: u32) -> u32 {
    checksum(&[what, &number.to_le_bytes(), &value.to_le_bytes()])
}

/// What a log keeps of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Where the oldest record that was not dropped begins, or would.
    pub(crate) start: u64,
    /// Its sequence number.
    pub(crate) first: u64,
    /// The last record that is known to be durable.
    pub(crate) durable: u64,
    /// The first of the records that have been truncated, and are just being erased.
    pub(crate) cut: Option<u64>,
    /// Whether the oldest segment is the one before that of `start`, which had not been made then.
    pub(crate) is_before: bool,
    /// The segments from the oldest one to before this one were made, durably; perhaps more.
    pub(crate) made: u64,
    /// The generation of the oldest segment.
    pub(crate) oldest_generation: u32,
    /// How often the log was truncated, from 1 on: the generation of a segment that is made now.
    pub(crate) generation: u32,
}

/// The state of a log that was just made.
pub(crate) const FIRST_STATE: State =
    State { start: 0, first: 1, durable: 0, cut: None, is_before: false, made: 0, oldest_generation: 1, generation: 1 };

/// Bytes of a state: with what a cell has in front, a line.
pub(crate) const STATE_BYTES: usize = 48;

impl State {
    pub(crate) fn to_bytes(self) -> [u8; STATE_BYTES] {
        join(&[
            &self.start.to_le_bytes(),
            &self.first.to_le_bytes(),
            &self.durable.to_le_bytes(),
            &self.cut.unwrap_or(0).to_le_bytes(),
            &(self.made | (self.is_before as u64) << 63).to_le_bytes(),
            &self.oldest_generation.to_le_bytes(),
            &self.generation.to_le_bytes(),
        ])
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let start = u64::from_le_bytes(field(&mut bytes)?);
        let first = u64::from_le_bytes(field(&mut bytes)?);
        let durable = u64::from_le_bytes(field(&mut bytes)?);
        let cut = u64::from_le_bytes(field(&mut bytes)?);
        let made = u64::from_le_bytes(field(&mut bytes)?);
        let oldest_generation = u32::from_le_bytes(field(&mut bytes)?);
        let generation = u32::from_le_bytes(field(&mut bytes)?);
        let (made, is_before) = (made & NUMBER_MAX, made > NUMBER_MAX);
        let cut = (cut > 0).then_some(cut);
        Some(Self { start, first, durable, cut, is_before, made, oldest_generation, generation })
    }

    /// Returns the state in which the records from number `sequence` on are to be erased. The newest segment is of the
    /// next generation then, as are later ones: what there is of the one before is not to come back.
    pub(crate) fn cutting(self, sequence: u64) -> Self {
        // One that is being finished goes on with its own.
        let generation = match self.cut {
            None => self.generation.checked_add(1).unwrap_or(1),
            Some(_) => self.generation,
        };
        Self { durable: sequence.wrapping_sub(1), cut: Some(sequence), generation, ..self }
    }
}
