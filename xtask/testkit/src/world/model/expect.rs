//! What an operation has to come to, by the rules of a set.

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::sim::{Call, Machine};
use pmemset_core::{Coalescing, Errno, Extent};

use super::{Expected, Model};
use crate::world::{CAPACITY, Op, Outcome, PAGE, is_free};

impl Model {
    pub fn expect(&self, op: Op, machine: &Machine) -> Expected {
        match op {
            Op::Map { source, offset, pages } => {
                match self.expect_map(source % self.sources.len(), offset * PAGE, pages * PAGE, machine) {
                    Ok(expected) => expected,
                    Err(error) => Expected::Refused(error),
                }
            }
            Op::Remove { part } => match self.nth_part(part) {
                None => Expected::Nothing,
                Some(part) if self.is_pinned(part) => Expected::NotRemoved(RemoveError::Pinned { part }),
                Some(_) => Expected::Removed,
            },
            Op::RemoveRange { segment, delta, length_bytes } => {
                let address = self.range_start(segment, delta);
                let Some(range) = Extent::new(address, length_bytes) else {
                    return match length_bytes {
                        0 => Expected::Removed,
                        _ => Expected::NotRemoved(RemoveError::OutOfRange { address, length_bytes }),
                    };
                };
                let touched = self.parts().into_iter().filter(|part| part.overlaps(range));
                match touched.filter(|part| self.is_pinned(*part)).min() {
                    Some(part) => Expected::NotRemoved(RemoveError::Pinned { part }),
                    None => Expected::Removed,
                }
            }
            _ => Expected::Nothing,
        }
    }

    /// Returns what a map has to come to when it succeeds although `failed` has failed: an opportunistic one that could
    /// not have its reservation extended goes elsewhere, be it by chance to the same addresses.
    pub fn expect_despite(&self, failed: Option<Call>, outcome: Outcome, expected: Expected) -> Expected {
        match (failed, outcome, expected) {
            (Some(Call::ReserveAt), Outcome::Map(Ok(extent)), Expected::Behind(_)) => {
                assert_eq!((self.coalescing, self.window), (Coalescing::Opportunistic, None));
                Expected::New { length_bytes: extent.length_bytes(), alignment_bytes: PAGE }
            }
            _ => expected,
        }
    }

    fn is_pinned(&self, part: Extent) -> bool {
        self.pins.iter().any(|address| part.contains(*address))
    }

    fn expect_map(&self, index: usize, start: usize, asked: usize, machine: &Machine) -> Result<Expected, MapError> {
        let source = &self.sources[index];
        let (offset, alignment_bytes) = (start as u64, source.alignment_bytes);
        if !start.is_multiple_of(alignment_bytes) {
            return Err(MapError::OffsetUnaligned { offset, alignment_bytes });
        }
        let length_bytes = match asked {
            0 => usize::try_from(source.length_bytes).unwrap().saturating_sub(start),
            length_bytes => length_bytes,
        };
        if length_bytes == 0 {
            return Err(MapError::LengthUnset);
        }
        if !length_bytes.is_multiple_of(alignment_bytes) {
            return Err(MapError::LengthUnaligned { length_bytes: length_bytes as u64, alignment_bytes });
        }
        if self.segments.len() == CAPACITY {
            return Err(MapError::TableFull { capacity: CAPACITY });
        }
        if let Some(set) = self.granularity().filter(|set| *set != source.granularity) {
            return Err(MapError::GranularityMismatch { set, source: source.granularity });
        }
        let placed = self.expect_place(length_bytes, alignment_bytes, machine)?;
        let needed_bytes = offset + length_bytes as u64;
        match source.capacity_bytes {
            _ if needed_bytes <= source.length_bytes => {}
            None => return Err(MapError::SourceTooSmall { needed_bytes, length_bytes: source.length_bytes }),
            Some(capacity) if needed_bytes > capacity => {
                return Err(MapError::CannotGrow { needed_bytes, cause: Errno::NOSPC });
            }
            Some(_) => {}
        }
        // What follows is found once the source has been prepared.
        let placed = placed?;
        let mut taken = self.segments.iter().filter(|segment| segment.source == index);
        if taken.any(|segment| {
            segment.offset < start + length_bytes && start < segment.offset + segment.extent.length_bytes()
        }) {
            // The simulator maps bytes once only; where it would have been is not told here.
            return Err(MapError::Map { window: machine.address_space(), cause: Errno::BUSY });
        }
        Ok(placed)
    }

    /// Returns where a segment goes; the inner error is one that is found only after the source has been prepared.
    #[allow(clippy::type_complexity, reason = "two moments at which a map can be refused")]
    fn expect_place(
        &self,
        length_bytes: usize,
        alignment_bytes: usize,
        machine: &Machine,
    ) -> Result<Result<Expected, MapError>, MapError> {
        let must = self.coalescing == Coalescing::Full;
        if self.coalescing != Coalescing::None
            && let Some(part) = self.previous.and_then(|start| self.part_of(start))
        {
            let at = part.end();
            let window = Extent::new(at, length_bytes).filter(|window| {
                window.is_aligned(alignment_bytes)
                    && self.segments.iter().all(|segment| !segment.extent.overlaps(*window))
                    && self.window.is_none_or(|reservation| reservation.covers(*window))
            });
            match window {
                Some(window) if self.window.is_some() || self.can_extend(window, machine) => {
                    return Ok(Ok(Expected::Behind(window)));
                }
                Some(_) if must => return Ok(Err(MapError::CannotCoalesce { at })),
                None if must => return Err(MapError::CannotCoalesce { at }),
                _ => {}
            }
        }
        match self.window {
            Some(reservation) => {
                let starts = (reservation.start()..reservation.end()).step_by(PAGE);
                let mut holes = starts.filter_map(|start| Extent::new(start, length_bytes)).filter(|hole| {
                    reservation.covers(*hole)
                        && hole.is_aligned(alignment_bytes)
                        && self.segments.iter().all(|segment| !segment.extent.overlaps(*hole))
                });
                holes
                    .next()
                    .map(|hole| Ok(Expected::Hole(hole)))
                    .ok_or(MapError::CannotFit { length_bytes, alignment_bytes })
            }
            None => {
                let reserve_bytes = length_bytes.max(self.ahead_bytes);
                let space = machine.address_space();
                let pages = machine.pages();
                let mut starts = (space.start()..space.end()).step_by(PAGE);
                let fits = starts.any(|start| {
                    Extent::new(start, reserve_bytes).is_some_and(|window| {
                        start.is_multiple_of(alignment_bytes) && space.covers(window) && is_free(&pages, window)
                    })
                });
                Ok(if fits {
                    Ok(Expected::New { length_bytes, alignment_bytes })
                } else {
                    Err(MapError::AddressSpace { cause: Errno::NOMEM })
                })
            }
        }
    }

    /// Returns whether the set can have `window`, which is behind a part.
    fn can_extend(&self, window: Extent, machine: &Machine) -> bool {
        let before = self.segments.iter().find(|before| before.extent.end() == window.start()).unwrap();
        match window.starting_at(before.held_to) {
            None => true,
            Some(missing) => machine.address_space().covers(missing) && is_free(&machine.pages(), missing),
        }
    }
}
