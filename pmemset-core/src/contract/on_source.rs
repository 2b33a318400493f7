//! The duties of a source.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::bed::{Bed, ensure_length, ensure_taken, length_of, unit_bytes};
use super::{Breach, ensure};
use crate::error::PrepareError;
use crate::{Errno, Extent, Granularity, Platform, Source, Span};

/// [`Source::alignment_bytes`]: a power of two that stays.
pub fn alignment_is_a_power_of_two_and_stays<S: Source + ?Sized>(source: &S) -> Result<(), Breach> {
    let alignment_bytes = source.alignment_bytes();
    ensure(alignment_bytes.is_power_of_two(), Breach::of("a power of two").number(alignment_bytes as u64))?;
    ensure(source.alignment_bytes() == alignment_bytes, Breach::of("always the same alignment"))
}

/// [`Source::granularity`]: an answer, and the same one twice.
pub fn granularity_stays<S: Source + ?Sized>(source: &S) -> Result<(), Breach> {
    let ask = || source.granularity().map_err(|errno| Breach::of("a granularity").because(errno));
    ensure(ask()? == ask()?, Breach::of("always the same granularity"))
}

/// [`Source::write_granule_bytes`]: a power of two.
pub fn write_granule_is_a_power_of_two<S: Source + ?Sized>(source: &S) -> Result<(), Breach> {
    let granule_bytes = source.write_granule_bytes();
    ensure(granule_bytes.is_power_of_two(), Breach::of("a power of two").number(granule_bytes as u64))
}

/// [`Source::fixed_address`]: on a multiple of the alignment and of the page size.
pub fn fixed_address_is_aligned<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let mask = unit_bytes(platform, source).wrapping_sub(1);
    let address = source.fixed_address().unwrap_or(0);
    ensure(address & mask == 0, Breach::of("an aligned fixed address").number(address as u64))
}

/// [`Source::length_bytes`]: enough for these checks, and the same twice.
pub fn length_is_enough_and_stays<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let length_bytes = length_of(source)?;
    let needed_bytes = unit_bytes(platform, source).saturating_mul(4) as u64;
    ensure(length_bytes >= needed_bytes, Breach::of("4 units to check with").number(length_bytes))?;
    ensure_length(source, length_bytes)
}

/// [`Source::prepare`] of bytes that are there: nothing grows.
pub fn prepare_leaves_what_is_there<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    for range in [Span::new(0, unit_bytes), Span::new(unit_bytes, unit_bytes), Span::new(0, length_bytes)] {
        let Some(range) = range else { continue };
        match source.prepare(range) {
            Ok(None) => ensure_length(source, length_bytes)?,
            Ok(Some(growth)) => return Err(Breach::of("no growth for bytes that are there").number(growth.to_bytes)),
            Err(error) => return Err(refusal(error, "bytes that are there to be ready")),
        }
    }
    Ok(())
}

fn refusal(error: PrepareError, expected: &'static str) -> Breach {
    match error {
        PrepareError::Length(errno) | PrepareError::CannotGrow(errno) => Breach::of(expected).because(errno),
        PrepareError::TooSmall { length_bytes } => Breach::of(expected).number(length_bytes),
    }
}

/// Returns the first whole unit behind the end of the source.
fn unit_behind<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<Span, Breach> {
    let unit_bytes = unit_bytes(platform, source) as u64;
    let start = length_of(source)?.checked_next_multiple_of(unit_bytes);
    start.and_then(|start| Span::new(start, unit_bytes)).ok_or(Breach::of("a length that leaves room for one unit"))
}

/// [`Source::prepare`] of bytes behind the end, which it does not claim to [hold](Source::holds): it grows to cover them
/// and says so, or refuses and keeps its length; [`Source::undo_growth`] takes it back.
pub fn prepare_grows_exactly_or_refuses<P: Platform, S: Source + ?Sized>(
    platform: &P,
    source: &S,
) -> Result<(), Breach> {
    let from_bytes = length_of(source)?;
    let behind = unit_behind(platform, source)?;
    ensure(!source.holds(behind), Breach::of("no bytes behind the end").number(behind.end()))?;
    match source.prepare(behind) {
        Err(PrepareError::TooSmall { length_bytes }) => {
            ensure(length_bytes == from_bytes, Breach::of("the refusal to name the length").number(length_bytes))?;
        }
        Err(_) => {}
        Ok(None) => return Err(Breach::of("a growth to be told").number(behind.end())),
        Ok(Some(growth)) => {
            ensure(growth.from_bytes == from_bytes, Breach::of("the length before").number(growth.from_bytes))?;
            ensure(growth.to_bytes >= behind.end(), Breach::of("growth to the end").number(growth.to_bytes))?;
            ensure_length(source, growth.to_bytes)?;
            source.undo_growth(growth);
        }
    }
    ensure_length(source, from_bytes)
}

/// [`Source::prepare`] of more than any medium has: an error, and the length stays.
pub fn impossible_growth_is_refused<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    let most_bytes = i64::MAX.unsigned_abs() & !unit_bytes.wrapping_sub(1);
    let Some(range) = Span::new(0, most_bytes) else { return Ok(()) };
    match source.prepare(range) {
        Ok(_) => Err(Breach::of("8 EiB to be refused").number(range.end())),
        Err(_) => ensure_length(source, length_bytes),
    }
}

/// [`Source::undo_growth`]: not once somebody else has asked for the grown bytes; they are readable and writable then.
///
/// Leaves a source that grows one unit longer.
pub fn growth_in_use_is_not_undone<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let from_bytes = length_of(source)?;
    let behind = unit_behind(platform, source)?;
    let Ok(Some(growth)) = source.prepare(behind) else { return ensure_length(source, from_bytes) };
    // The second to ask, as another thread would.
    let again = source.prepare(behind);
    ensure(again == Ok(None), Breach::of("bytes that have just grown to be there").number(behind.start()))?;
    let unit_bytes = unit_bytes(platform, source);
    let unit = usize::try_from(behind.start()).unwrap_or(usize::MAX).checked_div(unit_bytes).unwrap_or(0);
    // A fixed source has its last unit at one place only: behind all others.
    let place = if source.fixed_address().is_some() { unit } else { 0 };
    source.undo_growth(growth);
    let bed = Bed::new(platform, source, place.saturating_add(1))?;
    let mapping = bed.map_at(place, unit, 1)?;
    source.undo_growth(growth);
    bed.ensure_length(growth.to_bytes)?;
    mapping.store(9);
    mapping.holds(9)?;
    mapping.unmap()
}

/// [`Source::map`], [`Source::unmap`]: what was stored is there when the bytes are mapped again, also elsewhere.
pub fn bytes_stay_from_mapping_to_mapping<P: Platform, S: Source + ?Sized>(
    platform: &P,
    source: &S,
) -> Result<(), Breach> {
    let first = Bed::new(platform, source, 2)?;
    let mapping = first.map(0, 2)?;
    mapping.store(1);
    mapping.holds(1)?;
    mapping.store(2);
    mapping.unmap()?;
    first.map(0, 2)?.holds(2)?;
    if source.fixed_address().is_none() {
        Bed::new(platform, source, 2)?.map(0, 2)?.holds(2)?;
    }
    Ok(())
}

/// [`Source::map`]: the offset says which bytes.
pub fn offset_selects_the_bytes<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 4)?;
    for (unit, seed) in [(0, 10), (1, 11), (2, 12), (3, 13)] {
        let mapping = bed.map(unit, 1)?;
        mapping.store(seed);
        mapping.unmap()?;
    }
    for (unit, seed) in [(3, 13), (1, 11), (0, 10), (2, 12)] {
        bed.map(unit, 1)?.holds(seed)?;
    }
    if source.fixed_address().is_none() {
        // Side by side in the address space, and not in the source.
        let (third, first) = (bed.map_at(0, 2, 1)?, bed.map_at(1, 0, 1)?);
        third.holds(12)?;
        first.holds(10)?;
        third.unmap()?;
        first.holds(10)?;
    }
    Ok(())
}

/// [`Source::map`], [`Source::unmap`]: nothing outside of the window changes.
pub fn mapping_leaves_its_neighbours<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 4)?;
    let neighbour = bed.map(1, 1)?;
    neighbour.store(21);
    let mapping = bed.map(2, 1)?;
    mapping.store(22);
    ensure_taken(platform, bed.reserved.extent)?;
    mapping.unmap()?;
    ensure_taken(platform, bed.reserved.extent)?;
    neighbour.holds(21)
}

/// [`Source::unmap`]: the window is a placeholder again, and can be mapped once more.
pub fn unmapping_puts_the_placeholder_back<P: Platform, S: Source + ?Sized>(
    platform: &P,
    source: &S,
) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 2)?;
    for _ in 0..3 {
        let mapping = bed.map(0, 2)?;
        ensure_taken(platform, bed.reserved.extent)?;
        mapping.unmap()?;
        ensure_taken(platform, bed.reserved.extent)?;
    }
    bed.reserved.release()
}

/// [`Source::map`] of bytes behind the end: an error, and the placeholder stays.
pub fn mapping_past_the_end_fails_and_keeps_the_placeholder<P: Platform, S: Source + ?Sized>(
    platform: &P,
    source: &S,
) -> Result<(), Breach> {
    if source.fixed_address().is_some() {
        return Ok(());
    }
    let behind = unit_behind(platform, source)?;
    let bed = Bed::new(platform, source, 1)?;
    let window = bed.window(0, 1)?;
    // SAFETY: the window was reserved just now.
    match unsafe { source.map(window, behind.start()) } {
        Err(_) => ensure_taken(platform, window),
        Ok(()) => {
            // SAFETY: mapped just now, and nobody knows of it.
            let _ = unsafe { source.unmap(window, behind.start()) };
            Err(Breach::of("bytes behind the end to be refused").number(behind.start()))
        }
    }
}

/// [`Source::sync`]: of the whole mapping, and of one page in it; `EOPNOTSUPP` where it is never called.
pub fn sync_takes_any_page<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 3)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(31);
    let last = mapping.extent.end().saturating_sub(platform.page_size_bytes());
    for range in [Some(mapping.extent), mapping.extent.from(last)].into_iter().flatten() {
        let offset = mapping.offset.saturating_add(distance(mapping.extent, range));
        match source.sync(range, offset) {
            Err(Errno::OPNOTSUPP) if source.granularity() != Ok(Granularity::Page) => {}
            result => result.map_err(|errno| Breach::of("a sync").at(range).because(errno))?,
        }
    }
    mapping.holds(31)
}

fn distance(mapping: Extent, range: Extent) -> u64 {
    range.start().saturating_sub(mapping.start()) as u64
}

/// Returns pieces of `mapping` that begin and end at odd places.
fn odd_pieces(mapping: Extent) -> impl Iterator<Item = Extent> {
    let length_bytes = mapping.length_bytes();
    let pieces = [(0, length_bytes), (0, 1), (1, 63), (63, 2), (65, 200), (length_bytes.saturating_sub(1), 1)];
    pieces.into_iter().filter_map(move |(offset, length_bytes)| mapping.slice(offset, length_bytes))
}

/// [`Platform::write_back`], [`Platform::fence`]: of any range of a mapping, and the bytes stay.
pub fn write_back_takes_any_range<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 2)?;
    let mapping = bed.map(0, 2)?;
    mapping.store(41);
    for range in odd_pieces(mapping.extent) {
        // SAFETY: the range lies in the mapping.
        unsafe { platform.write_back(range) };
        platform.fence();
    }
    mapping.holds(41)
}

/// [`Source::deep_flush`]: of any range of a mapping, whatever the answer.
pub fn deep_flush_takes_any_range<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> Result<(), Breach> {
    let bed = Bed::new(platform, source, 3)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(51);
    for range in odd_pieces(mapping.extent) {
        let offset = mapping.offset.saturating_add(distance(mapping.extent, range));
        source.deep_flush(range, offset).map_err(|errno| Breach::of("a deep flush").at(range).because(errno))?;
    }
    mapping.holds(51)
}
