//! The duties of a source.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::bed::{Bed, Reserved, UNITS, ensure_length, ensure_taken, length_of, unit_bytes};
use super::{Breach, Finding, KEPT, ensure, skipped};
use crate::error::PrepareError;
use crate::{Granularity, Platform, Source, Span};

/// [`Source::alignment_bytes`]: a power of two that stays.
pub fn alignment_is_a_power_of_two_and_stays<S: Source + ?Sized>(source: &S) -> Finding {
    let alignment_bytes = source.alignment_bytes();
    ensure(alignment_bytes.is_power_of_two(), Breach::of("a power of two").number(alignment_bytes as u64))?;
    ensure(source.alignment_bytes() == alignment_bytes, Breach::of("always the same alignment"))?;
    KEPT
}

/// [`Source::granularity`]: an answer, and the same one twice.
pub fn granularity_stays<S: Source + ?Sized>(source: &S) -> Finding {
    let ask = || source.granularity().map_err(|errno| Breach::of("a granularity").because(errno));
    ensure(ask()? == ask()?, Breach::of("always the same granularity"))?;
    KEPT
}

/// [`Source::granularity`]: no cache lines where the processor cannot write them back ([`Cpu::can_write_back`]).
///
/// [`Cpu::can_write_back`]: crate::arch::Cpu::can_write_back
pub fn granularity_suits_the_processor<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let granularity = source.granularity().map_err(|errno| Breach::of("a granularity").because(errno))?;
    let suits = granularity != Granularity::CacheLine || platform.cpu().can_write_back();
    ensure(suits, Breach::of("a processor that writes back cache lines, or page granularity"))?;
    KEPT
}

/// [`Source::write_granule_bytes`]: a power of two, and no wider than what the platform's copies store at once
/// ([`Cpu::narrowest_store_bytes`]): no set maps the source otherwise.
///
/// [`Cpu::narrowest_store_bytes`]: crate::arch::Cpu::narrowest_store_bytes
pub fn write_granule_can_be_stored<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let granule_bytes = source.write_granule_bytes();
    ensure(granule_bytes.is_power_of_two(), Breach::of("a power of two").number(granule_bytes as u64))?;
    let stored = granule_bytes <= platform.cpu().narrowest_store_bytes();
    ensure(stored, Breach::of("a granule that the platform's copies can store").number(granule_bytes as u64))?;
    KEPT
}

/// [`Source::fixed_address`]: on a multiple of the alignment and of the page size.
pub fn fixed_address_is_aligned<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let mask = unit_bytes(platform, source).wrapping_sub(1);
    let Some(address) = source.fixed_address() else { return skipped("the source can be at any address") };
    ensure(address & mask == 0, Breach::of("an aligned fixed address").number(address as u64))?;
    KEPT
}

/// [`Source::space`], [`Platform::space`]: the same one, always.
pub fn space_is_the_platforms_and_stays<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    ensure(platform.space() == platform.space(), Breach::of("a platform that is always in the same address space"))?;
    ensure(source.space() == source.space(), Breach::of("a source that is always in the same address space"))?;
    ensure(source.space() == platform.space(), Breach::of("the source to map into the platform's address space"))?;
    KEPT
}

/// [`Source::length_bytes`]: enough for these checks, and the same twice.
pub fn length_is_enough_and_stays<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let length_bytes = length_of(source)?;
    let needed_bytes = unit_bytes(platform, source).saturating_mul(4) as u64;
    ensure(length_bytes >= needed_bytes, Breach::of("4 units to check with").number(length_bytes))?;
    ensure_length(source, length_bytes)?;
    KEPT
}

/// [`Source::prepare`] of bytes that are there: nothing grows.
pub fn prepare_leaves_what_is_there<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
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
    KEPT
}

fn refusal(error: PrepareError, expected: &'static str) -> Breach {
    match error {
        PrepareError::Length(errno) | PrepareError::CannotGrow(errno) => Breach::of(expected).because(errno),
        PrepareError::TooSmall { length_bytes } => Breach::of(expected).number(length_bytes),
    }
}

/// Returns the first whole unit behind the end of the source.
fn unit_behind<P: Platform, S: Source<Space = P::Space> + ?Sized>(platform: &P, source: &S) -> Result<Span, Breach> {
    let unit_bytes = unit_bytes(platform, source) as u64;
    let start = length_of(source)?.checked_next_multiple_of(unit_bytes);
    start.and_then(|start| Span::new(start, unit_bytes)).ok_or(Breach::of("a length that leaves room for one unit"))
}

/// [`Source::prepare`] of bytes behind the end, which it does not claim to [hold](Source::holds): it grows to cover
/// them and says so, or refuses and keeps its length; [`Source::undo_growth`] takes it back.
pub fn prepare_grows_exactly_or_refuses<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let from_bytes = length_of(source)?;
    let behind = unit_behind(platform, source)?;
    ensure(!source.holds(behind), Breach::of("no bytes behind the end").number(behind.end()))?;
    match source.prepare(behind) {
        Err(PrepareError::TooSmall { length_bytes }) => {
            ensure(length_bytes == from_bytes, Breach::of("the refusal to name the length").number(length_bytes))?;
        }
        Err(_) => {}
        Ok(None) => return Err(Breach::of("a growth to be reported").number(behind.end())),
        Ok(Some(growth)) => {
            ensure(growth.from_bytes == from_bytes, Breach::of("the length before").number(growth.from_bytes))?;
            ensure(growth.to_bytes >= behind.end(), Breach::of("growth to the end").number(growth.to_bytes))?;
            ensure_length(source, growth.to_bytes)?;
            source.undo_growth(growth);
        }
    }
    ensure_length(source, from_bytes)?;
    KEPT
}

/// [`Source::prepare`] of more than any medium has: an error, and the length stays.
pub fn impossible_growth_is_refused<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    let most_bytes = i64::MAX.unsigned_abs() & !unit_bytes.wrapping_sub(1);
    let range = Span::new(0, most_bytes).ok_or(Breach::of("units of less than 8 EiB").number(unit_bytes))?;
    ensure(source.prepare(range).is_err(), Breach::of("8 EiB to be refused").number(range.end()))?;
    ensure_length(source, length_bytes)?;
    KEPT
}

/// [`Source::undo_growth`]: not once somebody else has asked for the grown bytes; they are readable and writable then.
///
/// Leaves a source that grows one unit longer.
pub fn growth_in_use_is_not_undone<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let from_bytes = length_of(source)?;
    let behind = unit_behind(platform, source)?;
    let Ok(Some(growth)) = source.prepare(behind) else {
        ensure_length(source, from_bytes)?;
        return skipped("the source does not grow");
    };
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
    mapping.unmap()?;
    KEPT
}

/// [`Source::give_back`]: the bytes are 0, all others what they were, and they can be mapped and stored to again; or it
/// is refused, and nothing has changed.
pub fn storage_is_given_back_or_kept<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let length_bytes = length_of(source)?;
    let unit_bytes = unit_bytes(platform, source) as u64;
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(30)?;
    let middle = Span::new(unit_bytes, unit_bytes).ok_or(Breach::of("a unit"))?;
    let given_back = source.give_back(middle).is_ok();
    ensure_length(source, length_bytes)?;
    if !given_back {
        bed.ensure_units([30, 30, 30, 30])?;
        return KEPT;
    }
    let mapping = bed.map(1, 1)?;
    mapping.is_zero()?;
    mapping.store(31);
    mapping.unmap()?;
    bed.ensure_units([30, 31, 30, 30])?;
    KEPT
}

/// [`Source::map`], [`Source::unmap`]: what was stored is there when the bytes are mapped again, also elsewhere.
pub fn bytes_stay_from_mapping_to_mapping<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
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
    KEPT
}

/// [`Source::map`]: the offset says which bytes.
pub fn offset_selects_the_bytes<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
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
    KEPT
}

/// [`Source::map`], [`Source::unmap`]: nothing outside of the window changes, before it or behind it.
///
/// A source whose mappings are rounded up to more than [`Source::alignment_bytes`] breaks it.
pub fn mapping_leaves_its_neighbours<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(20)?;
    // Neighbours that are not those of the mapped bytes in the source too, where that can be had.
    let (first, last) = if source.fixed_address().is_some() { (0, 2) } else { (3, 0) };
    let (before, behind) = (bed.map_at(0, first, 1)?, bed.map_at(2, last, 1)?);
    before.store(21);
    behind.store(23);
    let mapping = bed.map(1, 1)?;
    let still = || {
        before.holds(21)?;
        behind.holds(23)?;
        ensure_taken(platform, bed.reserved.extent)
    };
    still()?;
    mapping.store(22);
    still()?;
    mapping.unmap()?;
    still()?;
    KEPT
}

/// [`Source::unmap`]: the window is a placeholder again, and can be mapped once more.
pub fn unmapping_puts_the_placeholder_back<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, 2)?;
    for _ in 0..3 {
        let mapping = bed.map(0, 2)?;
        ensure_taken(platform, bed.reserved.extent)?;
        mapping.unmap()?;
        ensure_taken(platform, bed.reserved.extent)?;
    }
    bed.reserved.release()?;
    KEPT
}

/// [`Source::goes_with_addresses`], [`Platform::release_unmaps`]: where both say so, what was mapped is gone when its
/// addresses are released: they are free, and the bytes stay and can be mapped again. Kept where one does not.
pub fn mappings_go_with_their_addresses<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    if !platform.release_unmaps() || !source.goes_with_addresses() {
        return KEPT;
    }
    let bed = Bed::new(platform, source, UNITS)?;
    bed.map(0, 2)?.store(26);
    for unit in [0, 1] {
        core::mem::forget(bed.map(unit, 1)?);
    }
    let window = bed.reserved.extent;
    bed.reserved.release()?;
    let again = Reserved::at(platform, window)?;
    ensure_taken(platform, window)?;
    again.release()?;
    Bed::new(platform, source, 2)?.map(0, 2)?.holds(26)?;
    KEPT
}

/// [`Source::unmap`]: the bytes of the window are what was stored there, and all others of the source what they were.
pub fn unmapping_changes_no_other_bytes<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(24)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(25);
    mapping.unmap()?;
    bed.ensure_units([24, 25, 25, 24])?;
    KEPT
}

/// [`Source::map`] of bytes behind the end: an error, and the placeholder stays.
pub fn mapping_past_the_end_fails_and_keeps_the_placeholder<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    if source.fixed_address().is_some() {
        return skipped("behind a source with one address may be something else");
    }
    let behind = unit_behind(platform, source)?;
    let bed = Bed::new(platform, source, 1)?;
    let window = bed.window(0, 1)?;
    // SAFETY: the window was reserved just now.
    match unsafe { source.map(window, behind.start()) } {
        Err(_) => ensure_taken(platform, window).and(KEPT),
        Ok(()) => {
            // SAFETY: mapped just now, and nobody knows of it.
            let _ = unsafe { source.unmap(window, behind.start()) };
            Err(Breach::of("bytes behind the end to be refused").number(behind.start()))
        }
    }
}
