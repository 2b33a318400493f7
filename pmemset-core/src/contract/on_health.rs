//! The duties of a source that knows its device or its bad blocks, or copies past them; one that does not has none.

use super::bed::{Bed, UNITS, length_of, unit_bytes};
use super::{Breach, Finding, KEPT, ensure, skipped};
use crate::health::{BadBlocks, McsafeError};
use crate::health::{DeviceError, DeviceId};
use crate::{Health, Platform, Source, Span};

/// [`Health::device`]: the same id and count twice; an id where there is a count.
pub fn device_stays<S: Source + ?Sized>(source: &S) -> Finding {
    let Some(health) = source.health() else { return skipped("the source knows nothing of its health") };
    let (mut first, mut second) = (DeviceId::new(), DeviceId::new());
    let (one, other) = (health.device(&mut first), health.device(&mut second));
    match (one, other) {
        (Err(DeviceError::Unsupported), Err(DeviceError::Unsupported)) => skipped("the source names no device"),
        (Ok(one), Ok(other)) => {
            ensure(one == other && first.as_bytes() == second.as_bytes(), Breach::of("the same device").number(other))?;
            ensure(!first.as_bytes().is_empty(), Breach::of("the id of a device that counts").number(one))?;
            KEPT
        }
        _ => Err(Breach::of("a device, always or never")),
    }
}

/// [`Health::bad_blocks`]: ascending, apart, each touching the range; no more than there is room for, which is said.
pub fn bad_blocks_are_in_order<P: Platform, S: Source<Space = P::Space> + ?Sized>(platform: &P, source: &S) -> Finding {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    let Some(health) = source.health() else { return skipped("the source knows nothing of its health") };
    let whole = Span::new(0, length_bytes).ok_or(Breach::of("bytes that could be bad"))?;
    if let BadBlocks::Unknown(_) = health.bad_blocks(whole, &mut [whole]) {
        return skipped("the source cannot list its bad blocks");
    }
    for range in [Span::new(0, length_bytes), Span::new(unit_bytes, unit_bytes)].into_iter().flatten() {
        let mut whole = [range; 8];
        let whole_count = blocks_of(health.bad_blocks(range, &mut whole), whole.len())?;
        let mut end = None;
        for block in whole.iter().take(whole_count) {
            ensure(block.overlaps(range), Breach::of("blocks that touch the range").number(block.start()))?;
            let apart = end.is_none_or(|end| end < block.start());
            ensure(apart, Breach::of("ascending blocks that do not touch").number(block.start()))?;
            end = Some(block.end());
        }
        let mut one = [range; 1];
        let one_count = blocks_of(health.bad_blocks(range, &mut one), one.len())?;
        ensure(one_count == whole_count.min(1), Breach::of("as many blocks as there is room for"))?;
        let lowest = one.iter().zip(&whole).take(one_count).all(|(one, lowest)| one == lowest);
        ensure(lowest, Breach::of("the lowest blocks first"))?;
        if whole_count > 1 {
            let said = matches!(health.bad_blocks(range, &mut one), BadBlocks::Listed { more: true, .. });
            ensure(said, Breach::of("a list that was cut short to say so"))?;
        }
    }
    KEPT
}

fn blocks_of(answer: BadBlocks, room: usize) -> Result<usize, Breach> {
    match answer {
        BadBlocks::None | BadBlocks::Unknown(_) => Ok(0),
        BadBlocks::Listed { count, more } => {
            ensure(count <= room, Breach::of("no more blocks than there is room for").number(count as u64))?;
            ensure(count > 0 || more, Breach::of("an empty list to be called none"))?;
            Ok(count)
        }
    }
}

/// [`Health::read_mcsafe`], [`Health::write_mcsafe`]: none outside, and a refusal that names the length.
pub fn mcsafe_copies_stay_inside<P: Platform, S: Source<Space = P::Space> + ?Sized>(_: &P, source: &S) -> Finding {
    let length_bytes = length_of(source)?;
    let mut bytes = [0; PIECE_BYTES];
    let health = match copies(source, &mut bytes)? {
        Ok(health) => health,
        Err(reason) => return skipped(reason),
    };
    let ends_behind = length_bytes.saturating_sub(PIECE_BYTES as u64).saturating_add(1);
    for offset in [ends_behind, length_bytes, u64::MAX] {
        let refused = [health.read_mcsafe(offset, &mut bytes), health.write_mcsafe(offset, &bytes)];
        let named = refused.iter().all(|result| *result == Err(McsafeError::OutOfRange { length_bytes }));
        ensure(named, Breach::of("bytes behind the end to be refused").number(offset))?;
    }
    ensure(length_of(source)? == length_bytes, Breach::of("a refused copy to leave the length").number(length_bytes))?;
    KEPT
}

/// [`Health::read_mcsafe`], [`Health::write_mcsafe`]: the bytes at the offset, as a mapping of them shows; no others
/// change, and the length stays.
pub fn mcsafe_copies_go_where_they_are_told<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let (mut before, mut after) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
    let health = match copies(source, &mut before)? {
        Ok(health) => health,
        Err(reason) => return skipped(reason),
    };
    let length_bytes = length_of(source)?;
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(61)?;
    // Neither at the beginning nor at the end of the second unit, and at no multiple of anything.
    let offset = (bed.unit_bytes as u64).saturating_add(bed.unit_bytes as u64 / 2).saturating_sub(37);
    let piece = Span::new(offset, PIECE_BYTES as u64).ok_or(Breach::of("an offset that fits").number(offset))?;
    let mapping = bed.map(1, 1)?;
    copied(health.read_mcsafe(offset, &mut before), offset)?;
    for byte in &mut before {
        *byte = !*byte;
    }
    copied(health.write_mcsafe(offset, &before), offset)?;
    bed.ensure_length(length_bytes)?;
    mapping.holds_outside(61, piece)?;
    ensure(mapping.holds(61).is_err(), Breach::of("written bytes to be seen by a mapping").number(offset))?;
    copied(health.read_mcsafe(offset, &mut after), offset)?;
    ensure(before == after, Breach::of("the written bytes to be read").number(offset))?;
    for byte in &mut before {
        *byte = !*byte;
    }
    copied(health.write_mcsafe(offset, &before), offset)?;
    mapping.holds(61)?;
    mapping.unmap()?;
    bed.ensure_units([61; UNITS])?;
    KEPT
}

const PIECE_BYTES: usize = 100;

/// Returns what copies, or why nothing can be checked.
fn copies<'s, S: Source + ?Sized>(
    source: &'s S,
    bytes: &mut [u8],
) -> Result<Result<&'s dyn Health, &'static str>, Breach> {
    let Some(health) = source.health() else { return Ok(Err("the source knows nothing of its health")) };
    match health.read_mcsafe(0, bytes) {
        Ok(()) => Ok(Ok(health)),
        Err(McsafeError::Unsupported) => Ok(Err("the source has no copies that survive damaged memory")),
        Err(_) => Err(Breach::of("the first bytes to be read")),
    }
}

fn copied(result: Result<(), McsafeError>, offset: u64) -> Result<(), Breach> {
    match result {
        Ok(()) => Ok(()),
        Err(McsafeError::Failed(errno)) => Err(Breach::of("bytes to be copied").number(offset).because(errno)),
        Err(_) => Err(Breach::of("bytes to be copied").number(offset)),
    }
}
