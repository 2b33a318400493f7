//! The duties of a source that tells its device, its bad blocks, or copies past them; one that does not has none.

use super::bed::{Bed, length_of, unit_bytes};
use super::{Breach, ensure};
use crate::badblock::{BadBlocks, McsafeError};
use crate::shutdown::{DeviceError, DeviceId};
use crate::{Platform, Source, Span};

/// [`Source::device`]: the same id and count twice; an id where there is a count.
pub fn device_stays<S: Source + ?Sized>(source: &S) -> Result<(), Breach> {
    let (mut first, mut second) = (DeviceId::new(), DeviceId::new());
    let (one, other) = (source.device(&mut first), source.device(&mut second));
    match (one, other) {
        (Err(DeviceError::Unsupported), Err(DeviceError::Unsupported)) => Ok(()),
        (Ok(one), Ok(other)) => {
            ensure(one == other && first.as_bytes() == second.as_bytes(), Breach::of("the same device").number(other))?;
            ensure(!first.as_bytes().is_empty(), Breach::of("the id of a device that counts").number(one))
        }
        _ => Err(Breach::of("a device, always or never")),
    }
}

/// [`Source::bad_blocks`]: ascending, apart, each touching the range; no more than there is room for, which is said.
pub fn bad_blocks_are_in_order<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    for range in [Span::new(0, length_bytes), Span::new(unit_bytes, unit_bytes)].into_iter().flatten() {
        let mut whole = [range; 8];
        let whole_count = blocks_of(source.bad_blocks(range, &mut whole), whole.len())?;
        let mut end = None;
        for block in whole.iter().take(whole_count) {
            ensure(block.overlaps(range), Breach::of("blocks that touch the range").number(block.start()))?;
            let apart = end.is_none_or(|end| end < block.start());
            ensure(apart, Breach::of("ascending blocks that do not touch").number(block.start()))?;
            end = Some(block.end());
        }
        let mut one = [range; 1];
        let one_count = blocks_of(source.bad_blocks(range, &mut one), one.len())?;
        ensure(one_count == whole_count.min(1), Breach::of("as many blocks as there is room for"))?;
        let lowest = one.iter().zip(&whole).take(one_count).all(|(one, lowest)| one == lowest);
        ensure(lowest, Breach::of("the lowest blocks first"))?;
        if whole_count > 1 {
            let said = matches!(source.bad_blocks(range, &mut one), BadBlocks::Listed { more: true, .. });
            ensure(said, Breach::of("a list that was cut short to say so"))?;
        }
    }
    Ok(())
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

/// [`Source::read_mcsafe`], [`Source::write_mcsafe`]: the bytes asked for, seen through a mapping, and none outside.
pub fn mcsafe_copies_stay_inside<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let length_bytes = length_of(source)?;
    let mut bytes = [0; 100];
    match source.read_mcsafe(0, &mut bytes) {
        Err(McsafeError::Unsupported) => return Ok(()),
        Err(_) => return Err(Breach::of("the first bytes to be read")),
        Ok(()) => {}
    }
    for offset in [length_bytes.saturating_sub(99), length_bytes, u64::MAX] {
        let refused = [source.read_mcsafe(offset, &mut bytes), source.write_mcsafe(offset, &bytes)];
        let named = refused.iter().all(|result| *result == Err(McsafeError::OutOfRange { length_bytes }));
        ensure(named, Breach::of("bytes behind the end to be refused").number(offset))?;
    }
    let bed = Bed::new(platform, source, 1)?;
    let mapping = bed.map(0, 1)?;
    mapping.store(61);
    source.read_mcsafe(0, &mut bytes).map_err(|_| Breach::of("mapped bytes to be read"))?;
    let changed = source.write_mcsafe(0, &[0; 100]).is_ok() && mapping.holds(61).is_err();
    ensure(changed, Breach::of("written bytes to be seen by a mapping"))?;
    source.write_mcsafe(0, &bytes).map_err(|_| Breach::of("bytes to be written"))?;
    mapping.holds(61)
}
