//! Tables of the device mapper: which bytes of a mapped device are where, as long as all of it is linear.

use super::parse::{self, Garbage, Sectors};

/// One target of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The sectors of the mapped device.
    pub sectors: Sectors,
    /// The device number below.
    pub below: (u32, u32),
    /// The first sector there.
    pub start: u64,
}

const DATA_START_AT: usize = 16;
const COUNT_AT: usize = 20;
const FLAGS_AT: usize = 28;
const BUFFER_FULL: u32 = 1 << 8;
const HEADER_BYTES: usize = 32;
const TYPE_AT: usize = 24;
const TARGET_BYTES: usize = 40;

fn word(bytes: &[u8], at: usize) -> Result<u32, Garbage> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_ne_bytes(*word)).ok_or(Garbage)
}

fn long(bytes: &[u8], at: usize) -> Result<u64, Garbage> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|long| u64::from_ne_bytes(*long)).ok_or(Garbage)
}

/// Calls `take` with each target of the answer to `DM_TABLE_STATUS` (`linux/dm-ioctl.h`), in the order of the sectors.
///
/// # Errors
///
/// [`Garbage`]: a target is not linear, the answer was cut off, or it is not one at all; also what `take` returns.
pub fn targets(answer: &[u8], mut take: impl FnMut(Linear) -> Result<(), Garbage>) -> Result<(), Garbage> {
    let header: &[u8; HEADER_BYTES] = answer.first_chunk().ok_or(Garbage)?;
    let (start, count, flags) = (word(header, DATA_START_AT)?, word(header, COUNT_AT)?, word(header, FLAGS_AT)?);
    let data = answer.get(start as usize..).ok_or(Garbage)?;
    if flags & BUFFER_FULL != 0 || count == 0 {
        return Err(Garbage);
    }
    let mut at = 0_usize;
    let mut expected = 0_u64;
    for _ in 0..count {
        let target = data.get(at..).and_then(<[u8]>::split_first_chunk::<TARGET_BYTES>);
        let (target, parameters) = target.ok_or(Garbage)?;
        let sectors = Sectors { start: long(target, 0)?, count: long(target, 8)? };
        let is_linear = target.get(TYPE_AT..).is_some_and(|kind| kind.starts_with(b"linear\0"));
        if !is_linear || sectors.start != expected {
            return Err(Garbage);
        }
        let (parameters, behind) = parse::cut(parameters, 0);
        behind.ok_or(Garbage)?;
        let (below, start) = parse::linear_target(parameters)?;
        expected = sectors.start.checked_add(sectors.count).ok_or(Garbage)?;
        take(Linear { sectors, below, start })?;
        // Offsets are counted from the first target, and only ever go up.
        let next = word(target, 20)? as usize;
        if next <= at {
            return Err(Garbage);
        }
        at = next;
    }
    Ok(())
}
