//! Many ranges are made durable with one fence.
#![allow(unsafe_code, reason = "writes back lines of mapped memory")]

use super::Set;
use super::calls::called;
use super::handle::{Operations, SetRef};
use super::part::Part;
use super::runs::Runs;
use crate::error::{LookupError, PersistError};
use crate::set::event::{Event, Observer};
use crate::{Extent, FailedWriteBack, Granularity, Platform, Source};

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Makes the bytes of many ranges durable with one fence; each line (each page) that they touch is written back
    /// (synchronised) once, also where ranges overlap.
    ///
    /// Reports [`Flush`](Event::Flush) of each range before, [`Drain`](Event::Drain) and [`Persist`](Event::Persist) of
    /// each range after. Ranges in ascending order cost O(n), others O(n²); ranges of one segment that follow each
    /// other are looked up once, and [`Part::persist_many`] looks none up.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, b"mark", CopyFlags::NOFLUSH)?;
    /// part.write_with(8192, b"record", CopyFlags::NOFLUSH)?;
    /// let ranges = [part.extent().slice(0, 4), part.extent().slice(8192, 6)].map(Option::unwrap);
    /// set.persist_many(&ranges)?; // two lines, one fence
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]. When a range is refused, nothing of any range has been flushed.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn persist_many(&self, ranges: &[Extent]) -> Result<(), PersistError> {
        called!();
        let mut held = None;
        for range in ranges {
            self.hold_on(&mut held, *range)?;
        }
        let Some(granularity) = held.as_ref().map(Part::granularity) else { return Ok(()) };
        persist_each(self, granularity, ranges, |runs| {
            if !FailedWriteBack::any() && held.as_ref().is_some_and(|held| held.write_back_ascending(ranges)) {
                return Ok(());
            }
            for run in runs {
                self.hold_on(&mut held, run)?;
                held.as_ref().map_or(Ok(()), |held| held.write_out(run))?;
            }
            Ok(())
        })
    }

    /// Pins the segments that `range` touches, unless what is `held` is the one that has all of it.
    #[inline]
    fn hold_on<'s>(&'s self, held: &mut Option<Part<&'s Self>>, range: Extent) -> Result<(), LookupError> {
        if held.as_ref().is_none_or(|held| !held.extent().covers(range)) {
            *held = Some(self.pin_apart(range)?);
        }
        Ok(())
    }

    /// Pins a range, out of the way of the loop.
    #[inline(never)]
    fn pin_apart(&self, range: Extent) -> Result<Part<&Self>, LookupError> {
        self.pin_around(range)
    }
}

/// Makes many ranges durable: `write` does what comes before the fence to the units that they touch.
#[inline]
fn persist_each<T: Operations>(
    set: &T,
    granularity: Granularity,
    ranges: &[Extent],
    write: impl FnOnce(Runs<'_>) -> Result<(), PersistError>,
) -> Result<(), PersistError> {
    for range in ranges.iter().filter(|_| set.listens()) {
        set.notify(&Event::Flush { range: *range });
    }
    let unit_bytes = match granularity {
        Granularity::Page => set.platform_of().page_size_bytes(),
        _ => set.platform_of().cpu().line_bytes(),
    };
    write(Runs::new(ranges, unit_bytes))?;
    if granularity != Granularity::Page {
        set.platform_of().fence();
    }
    set.notify(&Event::Drain);
    for range in ranges.iter().filter(|_| set.listens()) {
        set.notify(&Event::Persist { range: *range });
    }
    Ok(())
}

impl<R: SetRef> Part<R> {
    /// Makes the bytes of many ranges of the part durable with one fence; see [`Set::persist_many`]. The ranges are
    /// addresses, as [`Extent::slice`] makes them of offsets.
    ///
    /// Costs what the processor's flushes cost: no lock, no look-up.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new())?;
    /// part.write_with(0, b"mark", CopyFlags::NOFLUSH)?;
    /// part.write_with(8192, b"record", CopyFlags::NOFLUSH)?;
    /// let ranges = [part.extent().slice(0, 4), part.extent().slice(8192, 6)].map(Option::unwrap);
    /// part.persist_many(&ranges)?; // two lines, one fence
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; [`NotMapped`](PersistError::NotMapped), and nothing flushed, if one is not in the part.
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn persist_many(&self, ranges: &[Extent]) -> Result<(), PersistError> {
        called!();
        let (mut part, mut ranges_outside) = (self.extent(), ranges.iter());
        while let Some(range) = ranges_outside.find(|range| !part.covers(**range)) {
            // It may have grown meanwhile.
            part = self.current_extent();
            if !part.covers(*range) {
                let missing = if part.contains(range.start()) { part.end() } else { range.start() };
                return Err(PersistError::NotMapped { address: missing });
            }
        }
        if ranges.is_empty() {
            return Ok(());
        }
        persist_each(self.owner(), self.granularity(), ranges, |mut runs| {
            if !FailedWriteBack::any() && self.write_back_ascending(ranges) {
                return Ok(());
            }
            runs.try_for_each(|run| self.write_out(run))
        })
    }

    /// Does to ranges what comes before the fence, each line once, if that is writing back at most, and they ascend and
    /// lie in this part; returns whether it has. Asks for no failure. Of many lines each is worth the few instructions.
    #[inline]
    pub(super) fn write_back_ascending(&self, ranges: &[Extent]) -> bool {
        let ascend = ranges.is_sorted_by_key(|range| range.start());
        let here = ascend && ranges.iter().all(|range| self.extent().covers(*range));
        if !here || self.granularity() == Granularity::Page {
            return false;
        }
        let platform = self.owner().platform_of();
        let (mask, mut done) = (platform.cpu().line_bytes().wrapping_sub(1), 0);
        for rest in ranges.iter().filter(|_| self.granularity() == Granularity::CacheLine) {
            if let Some(rest) = rest.starting_at(done) {
                // SAFETY: the range is mapped, and stays so as long as it is pinned.
                unsafe { platform.write_back(rest) };
                // A line at the end of the address space is the last one, or is written back twice.
                done = rest.end().wrapping_add(mask) & !mask;
            }
        }
        true
    }
}
