//! Mapping a source into the set.

use super::handle::{Held, Hold};
use super::health::{self, commit_staged};
use super::place::{NotPlaced, Request};
use super::{Part, Set};
use crate::error::{MapError, PrepareError};
use crate::set::config::MapConfig;
use crate::set::event::{Event, Observer};
use crate::{Extent, Granularity, GranularityLimit, Growth, Platform, Source, Span};

/// How often a source is prepared again that changes while it is mapped.
const OUTDATED_MAX: u32 = 8;

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Maps bytes of `source` into the set (`pmemset_map`), and returns a handle to the new segment (not to the whole
    /// part if the segment was coalesced).
    ///
    /// Checks everything that can be checked before the source grows or the address space changes. The segment becomes
    /// a part of its own, or the end of the previous part: see [`Coalescing`](crate::Coalescing) and
    /// [`MapConfig::after`]. Reports the event [`PartAdd`](Event::PartAdd) at the end.
    ///
    /// A [`Checked`](crate::Checked) source is checked before. That reports the events [`BadBlock`](Event::BadBlock),
    /// [`BadBlocksCleared`](Event::BadBlocksCleared) and [`SdsUpdate`](Event::SdsUpdate), in this order.
    ///
    /// Takes O(log capacity), one query of the source, one call that reserves addresses for a new part, and one that
    /// maps.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let part = set.map(source, &MapConfig::new().offset(4096).length(8192))?;
    /// part.write(0, b"the second page")?;
    /// drop(part); // the set keeps it mapped
    /// assert_eq!(set.extents().count(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`MapError`]. Nothing has changed then.
    #[doc(alias = "pmemset_map")]
    pub fn map(&self, source: S, config: &MapConfig) -> Result<Part<&Self>, MapError> {
        let (hold, part) = self.map_held(&source, config)?;
        let handle = Part::new(self, hold);
        self.notify(&Event::PartAdd { segment: handle.extent(), part, source: &source });
        Ok(handle)
    }

    /// As [`map`](Self::map); the handle owns a share of the set.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use std::sync::Arc;
    ///
    /// let set = Arc::new(set);
    /// let part = set.map_owned(source, &MapConfig::new())?;
    /// std::thread::spawn(move || part.write(0, b"from another thread")).join().unwrap()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "alloc")]
    pub fn map_owned(
        self: &alloc::sync::Arc<Self>,
        source: S,
        config: &MapConfig,
    ) -> Result<Part<alloc::sync::Arc<Self>>, MapError> {
        let (hold, part) = self.map_held(&source, config)?;
        let handle = Part::new(alloc::sync::Arc::clone(self), hold);
        self.notify(&Event::PartAdd { segment: handle.extent(), part, source: &source });
        Ok(handle)
    }

    /// Maps, and pins the new segment; returns the addresses of its part, too.
    fn map_held(&self, source: &S, config: &MapConfig) -> Result<(Hold, Extent), MapError> {
        let request = self.check(source, config)?;
        self.judge(source, false)?;
        match self.map_judged(source, &request) {
            Ok((slot, segment, part)) => {
                commit_staged(source);
                Ok(((Held::Segment(slot), segment, request.granularity), part))
            }
            Err(error) => {
                self.roll_back(source);
                Err(error)
            }
        }
    }

    /// Maps a source whose shutdown state is accepted: all of it, or nothing. The new segment is pinned then.
    fn map_judged(&self, source: &S, request: &Request) -> Result<(u32, Extent, Extent), MapError> {
        let range = request.range()?;
        self.refuse_bad_blocks(source, range)?;
        // Where nothing would have to be undone, the plan of whose turn it is is early enough.
        let mut growth = None;
        if health::shutdown_of(source).is_some() || !source.holds(range) {
            self.check_room(&self.books.read(), request)?;
            growth = prepare(source, range)?;
        }
        let announced = self.announce(source, growth, range).map_err(NotPlaced::from);
        let mut placed = announced.and_then(|()| self.place(request, source));
        for _ in 0..OUTDATED_MAX {
            if !matches!(placed, Err(NotPlaced { outdated: true, .. })) {
                break;
            }
            // Somebody has shortened the source, or taken its storage away, since it was looked at.
            let again = prepare(source, range).map_err(NotPlaced::from);
            placed = again.and_then(|more| {
                growth = more.or(growth);
                self.refuse_bad_growth(source, more, range)?;
                self.place(request, source)
            });
        }
        if let (Err(_), Some(growth)) = (&placed, growth) {
            source.undo_growth(growth);
        }
        placed.map_err(|not_placed| not_placed.error)
    }

    /// Checks everything that can be checked without the books.
    fn check(&self, source: &S, config: &MapConfig) -> Result<Request, MapError> {
        let space = self.platform.space();
        if source.space() != space {
            return Err(MapError::OtherSpace);
        }
        if let Some(cause) = source.failed_write_back().first() {
            return Err(MapError::FailedBefore { cause });
        }
        let offset = config.offset_bytes();
        if i64::try_from(offset).is_err() {
            return Err(MapError::OffsetOutOfRange { offset });
        }
        let needed = source.alignment_bytes();
        if !needed.is_power_of_two() {
            return Err(MapError::InvalidAlignment { alignment_bytes: needed });
        }
        let granule_bytes = source.write_granule_bytes();
        let narrowest_store_bytes = self.platform.cpu().narrowest_store_bytes();
        if granule_bytes > narrowest_store_bytes {
            return Err(MapError::WriteGranule { granule_bytes, narrowest_store_bytes });
        }
        let alignment_bytes = needed.max(self.platform.page_size_bytes());
        let mask = (alignment_bytes as u64).wrapping_sub(1);
        if offset & mask != 0 {
            return Err(MapError::OffsetUnaligned { offset, alignment_bytes });
        }
        let length = match config.length_bytes() {
            Some(length_bytes) => length_bytes as u64,
            None => rest_of(source, offset)?,
        };
        if length & mask != 0 {
            return Err(MapError::LengthUnaligned { length_bytes: length, alignment_bytes });
        }
        let out_of_range = MapError::LengthOutOfRange { offset, length_bytes: length };
        let end = offset.checked_add(length).ok_or(out_of_range)?;
        let length_bytes = usize::try_from(length).map_err(|_| out_of_range)?;
        if i64::try_from(end).is_err() || isize::try_from(length_bytes).is_err() {
            return Err(out_of_range);
        }
        let fixed = match source.fixed_address() {
            None => None,
            Some(base) => {
                let start = usize::try_from(offset).ok().and_then(|offset| base.checked_add(offset));
                let window = start.and_then(|start| Extent::new(start, length_bytes)).ok_or(out_of_range)?;
                if !window.is_aligned(alignment_bytes) {
                    return Err(MapError::CannotFit { length_bytes, alignment_bytes });
                }
                Some(window)
            }
        };
        let granularity = self.granularity_of(source)?;
        Ok(Request { offset, length_bytes, alignment_bytes, granularity, fixed, after: config.after_address() })
    }

    /// Returns the granularity that a mapping of `source` has here, if the set accepts it.
    fn granularity_of(&self, source: &S) -> Result<Granularity, MapError> {
        let required = self.config.required;
        let claimed = source.granularity().map_err(|cause| MapError::Source { cause })?;
        let available = match claimed {
            Granularity::CacheLine if !self.platform.cpu().can_write_back() => Granularity::Page,
            other => other,
        };
        if available > required {
            // What the source lacks would not help alone where byte granularity is required: it is told first.
            let limit = if claimed > required { source.granularity_limit() } else { GranularityLimit::NoWriteBack };
            return Err(MapError::GranularityNotSupported { required, available, limit });
        }
        Ok(available)
    }
}

fn rest_of<S: Source>(source: &S, offset: u64) -> Result<u64, MapError> {
    let whole = source.length_bytes().map_err(|cause| MapError::Source { cause })?;
    match whole.checked_sub(offset) {
        None | Some(0) => Err(MapError::LengthUnset),
        Some(rest) => Ok(rest),
    }
}

fn prepare<S: Source>(source: &S, range: Span) -> Result<Option<Growth>, MapError> {
    let needed_bytes = range.end();
    source.prepare(range).map_err(|error| match error {
        PrepareError::Length(cause) => MapError::Source { cause },
        PrepareError::TooSmall { length_bytes } => MapError::SourceTooSmall { needed_bytes, length_bytes },
        PrepareError::CannotGrow(cause) => MapError::CannotGrow { needed_bytes, cause },
    })
}
