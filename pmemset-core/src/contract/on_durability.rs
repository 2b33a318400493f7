//! The duties of a source that makes bytes durable: what it is asked for, where it belongs, and nothing else.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::bed::{Bed, Eye, Mapping, UNITS};
use super::{Breach, Finding, KEPT, ensure, skipped};
use crate::{Errno, Extent, Granularity, Platform, Source};

const ONE_ADDRESS: &str = "the source can be at one address only";
const MAPPED_ONCE: &str = "the source maps its bytes once at a time";
const SHARED: &str = "mappings of the same bytes share their memory, so only a power cut would show it";

/// [`Platform::write_back`], [`Platform::fence`]: of any range of a mapping, and the bytes stay.
pub fn write_back_takes_any_range<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, 2)?;
    let mapping = bed.map(0, 2)?;
    mapping.store(41);
    for range in odd_pieces(mapping.extent) {
        // SAFETY: the range lies in the mapping.
        unsafe { platform.write_back(range) };
        platform.fence();
    }
    mapping.holds(41)?;
    KEPT
}

/// [`Platform::write_back_invalidate`], [`Platform::full_fence`]: of any range of a mapping, and the bytes stay, also
/// those that have just been stored, and those beside it.
pub fn write_back_invalidate_takes_any_range<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(44)?;
    let mapping = bed.map(1, 2)?;
    for range in odd_pieces(mapping.extent) {
        mapping.store(45);
        platform.full_fence();
        // SAFETY: the range lies in the mapping.
        unsafe { platform.write_back_invalidate(range) };
        platform.full_fence();
        mapping.holds(45)?;
    }
    mapping.unmap()?;
    bed.ensure_units([44, 45, 45, 44])?;
    KEPT
}

/// [`Source::granularity`] finer than a page: what is written back and fenced is in the source, as another mapping of
/// the same bytes shows, without a [`sync`](Source::sync).
pub fn write_back_reaches_the_medium<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    if granularity_of(source)? == Granularity::Page {
        return skipped("the source is synchronised by pages");
    }
    let Some(eye) = Eye::new(platform, source)? else { return skipped(ONE_ADDRESS) };
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(42)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(43);
    // SAFETY: the range is the mapping.
    unsafe { platform.write_back(mapping.extent) };
    platform.fence();
    for unit in [1, 2] {
        let Some(seen) = eye.on(unit)? else { return skipped(MAPPED_ONCE) };
        let finer = Breach::of("page granularity, since only a sync brings stores to the medium").at(mapping.extent);
        seen.holds(43).map_err(|_| finer)?;
    }
    KEPT
}

/// [`Source::sync`]: of the whole mapping, and of one page in it; `EOPNOTSUPP` where it is never called.
pub fn sync_takes_any_page<P: Platform, S: Source<Space = P::Space> + ?Sized>(platform: &P, source: &S) -> Finding {
    let bed = Bed::new(platform, source, 3)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(31);
    let last = mapping.extent.end().saturating_sub(platform.page_size_bytes());
    for range in [Some(mapping.extent), mapping.extent.starting_at(last)].into_iter().flatten() {
        sync(source, &mapping, range)?;
    }
    mapping.holds(31)?;
    KEPT
}

/// [`Source::sync`]: no bytes of the source change outside of the range, whatever lies beside it in the address space.
pub fn sync_changes_no_other_bytes<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(32)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(33);
    let page_bytes = platform.page_size_bytes();
    let last = mapping.extent.end().saturating_sub(page_bytes);
    let pages =
        [mapping.extent.slice(bed.unit_bytes, page_bytes), mapping.extent.starting_at(last), Some(mapping.extent)];
    for range in pages.into_iter().flatten() {
        sync(source, &mapping, range)?;
        mapping.holds(33)?;
    }
    mapping.unmap()?;
    bed.ensure_units([32, 33, 33, 32])?;
    KEPT
}

/// [`Source::sync`]: afterwards the bytes of the range are in the source, as another mapping of them shows.
pub fn sync_reaches_the_medium<P: Platform, S: Source<Space = P::Space> + ?Sized>(platform: &P, source: &S) -> Finding {
    if granularity_of(source)? != Granularity::Page {
        return skipped("the source is not synchronised by pages");
    }
    let Some(eye) = Eye::new(platform, source)? else { return skipped(ONE_ADDRESS) };
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(34)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(35);
    let Some(before) = eye.on(2)? else { return skipped(MAPPED_ONCE) };
    if before.holds(35).is_ok() {
        return skipped(SHARED);
    }
    drop(before);
    let page = mapping.extent.slice(bed.unit_bytes, platform.page_size_bytes()).unwrap_or(mapping.extent);
    sync(source, &mapping, page)?;
    for (unit, asked_for) in [(2, true), (1, false)] {
        let Some(seen) = eye.on(unit)? else { return skipped(MAPPED_ONCE) };
        // What was not asked for may be synchronised as well, if it is what the program has stored.
        seen.holds_either(34, 35)?;
        let reached = !asked_for || seen.first_page_holds(35).is_ok();
        ensure(reached, Breach::of("a page to be in the source after its sync").at(page))?;
    }
    sync(source, &mapping, mapping.extent)?;
    for unit in [1, 2] {
        let Some(seen) = eye.on(unit)? else { return skipped(MAPPED_ONCE) };
        let breach = Breach::of("a mapping to be in the source after its sync").at(mapping.extent);
        seen.holds(35).map_err(|_| breach)?;
    }
    KEPT
}

/// [`Source::failed_write_back`]: the same one always, and nothing has failed when the checks begin.
pub fn failed_write_back_stays<S: Source + ?Sized>(source: &S) -> Finding {
    let (one, other) = (source.failed_write_back(), source.failed_write_back());
    ensure(core::ptr::eq(one, other), Breach::of("one place where it is kept that write-back has failed"))?;
    match one.first() {
        None => KEPT,
        Some(errno) => Err(Breach::of("a source whose write-back has not failed").because(errno)),
    }
}

/// [`Source::sync`]: fails where the medium takes nothing, whatever it has answered before.
///
/// `fail(true)` must make the medium fail, and `fail(false)` make it work again. [`source()`] does not call this, since
/// not every medium can be made to fail: call it yourself if yours can.
///
/// [`source()`]: super::source()
pub fn sync_tells_of_failures<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
    fail: &mut dyn FnMut(bool),
) -> Finding {
    if granularity_of(source)? != Granularity::Page {
        return skipped("the source is not synchronised by pages");
    }
    let bed = Bed::new(platform, source, 3)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(36);
    sync(source, &mapping, mapping.extent)?;
    mapping.store(37);
    fail(true);
    let told = sync(source, &mapping, mapping.extent);
    fail(false);
    ensure(told.is_err(), Breach::of("a sync that cannot reach the medium to fail").at(mapping.extent))?;
    mapping.holds(37)?;
    mapping.unmap()?;
    KEPT
}

/// [`Source::deep_flush`]: of any range of a mapping, whatever the answer.
pub fn deep_flush_takes_any_range<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, 3)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(51);
    for range in odd_pieces(mapping.extent) {
        deep_flush(source, &mapping, range)?;
    }
    mapping.holds(51)?;
    KEPT
}

/// [`Source::deep_flush`]: no bytes of the source change, but that those of the range may be made durable once more.
pub fn deep_flush_changes_no_other_bytes<P: Platform, S: Source<Space = P::Space> + ?Sized>(
    platform: &P,
    source: &S,
) -> Finding {
    let bed = Bed::new(platform, source, UNITS)?;
    bed.paint(52)?;
    let mapping = bed.map(1, 2)?;
    mapping.store(53);
    if granularity_of(source)? == Granularity::Page {
        sync(source, &mapping, mapping.extent)?;
    } else {
        // SAFETY: the range is the mapping.
        unsafe { platform.write_back(mapping.extent) };
        platform.fence();
    }
    for range in odd_pieces(mapping.extent) {
        deep_flush(source, &mapping, range)?;
    }
    mapping.holds(53)?;
    if let Some(eye) = Eye::new(platform, source)? {
        // Before unmapping, which may write everything once more.
        for unit in [1, 2] {
            if let Some(seen) = eye.on(unit)? {
                seen.holds(53)?;
            }
        }
    }
    mapping.unmap()?;
    bed.ensure_units([52, 53, 53, 52])?;
    KEPT
}

fn granularity_of<S: Source + ?Sized>(source: &S) -> Result<Granularity, Breach> {
    source.granularity().map_err(|errno| Breach::of("a granularity").because(errno))
}

/// Synchronises `range` of a mapping, as a set does; a source that is never asked to need not be able to.
fn sync<S: Source + ?Sized>(source: &S, mapping: &Mapping<'_, S>, range: Extent) -> Result<(), Breach> {
    match source.sync(range, mapping.offset.saturating_add(distance(mapping.extent, range))) {
        Err(Errno::OPNOTSUPP) if granularity_of(source)? != Granularity::Page => Ok(()),
        result => result.map_err(|errno| Breach::of("a sync").at(range).because(errno)),
    }
}

fn deep_flush<S: Source + ?Sized>(source: &S, mapping: &Mapping<'_, S>, range: Extent) -> Result<(), Breach> {
    let offset = mapping.offset.saturating_add(distance(mapping.extent, range));
    let done = source.deep_flush(range, offset).map(drop);
    done.map_err(|errno| Breach::of("a deep flush").at(range).because(errno))
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
