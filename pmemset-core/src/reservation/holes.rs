//! Which addresses of a reservation are free: the holes in order, and all that is behind the last claimed window.

use crate::error::ReserveError;
use crate::extent::align_up;
use crate::table::{Arrays, Blank, Table, Weigh};
use crate::{Errno, Extent, Platform};

/// The alignments in bytes for which the first fit is found without looking into holes that are too small: any page,
/// and the two sizes of huge pages.
const LANES: [usize; WEIGHTS] = [1, 2 << 20, 1 << 30];
/// The weights of a hole.
const WEIGHTS: usize = 3;

/// How many bytes are free from an address on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole(usize);

impl Hole {
    const fn end(self, start: usize) -> usize {
        start.wrapping_add(self.0)
    }

    /// Returns how many bytes there are from the first multiple of `alignment_bytes` on.
    fn usable(self, start: usize, alignment_bytes: usize) -> usize {
        let end = self.end(start);
        end.saturating_sub(align_up(start, alignment_bytes).unwrap_or(end))
    }
}

impl Blank for Hole {
    const BLANK: Self = Self(0);
}

impl Weigh<WEIGHTS> for Hole {
    const BY_KEY: bool = true;

    fn weigh(&self, start: usize) -> [usize; WEIGHTS] {
        LANES.map(|lane| self.usable(start, lane))
    }
}

/// Where the hole of a window starts. `None`: the tail of the reservation.
type HoleStart = Option<usize>;

/// The books of a reservation.
///
/// Claimed windows are counted and not listed: what lies between holes is claimed, and a set gives windows back as it
/// has claimed them. So windows that lie side by side take no room, and each change looks into one hole.
#[derive(Debug)]
pub(super) struct Holes<'m, P: Platform> {
    extent: Extent,
    /// The holes in front of the last claimed window, by their start. Between two of them something is claimed.
    holes: Table<Arrays<'m, Hole, P>, WEIGHTS>,
    /// Where the last claimed window ends; all behind it is free.
    tail: usize,
    /// How many windows are claimed. A hole is in front of one of them, so there is room for the holes.
    windows: usize,
}

impl<'m, P: Platform> Holes<'m, P> {
    pub(super) const fn over(extent: Extent, arrays: Arrays<'m, Hole, P>, room: usize) -> Self {
        Self { extent, holes: Table::over(arrays, room), tail: extent.start(), windows: 0 }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn on_heap(extent: Extent, room: usize) -> Self {
        Self::over(extent, Arrays::on_heap(room), room)
    }

    pub(super) fn room(&self) -> usize {
        self.holes.room()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.tail == self.extent.start()
    }

    /// Returns whether there is no room for one more window, or for the hole that it may leave.
    fn is_full(&self) -> bool {
        self.windows >= self.room() || self.holes.is_full()
    }

    /// Returns the window that [`claim_first_fit`](Self::claim_first_fit) would claim.
    ///
    /// O(log M) for an alignment in [`LANES`], or below the second. For another one, every hole in front of the right
    /// one is looked into that is long enough at the next lower alignment.
    pub(super) fn first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        self.find_fit(length_bytes, alignment_bytes).map(|(window, _)| window)
    }

    /// Returns the first fit, and its hole.
    fn find_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(Extent, HoleStart), ReserveError> {
        if self.is_full() {
            return Err(ReserveError::Full { capacity: self.room() });
        }
        if self.holes.len() != 0 {
            let lane = LANES.iter().rposition(|&lane| lane <= alignment_bytes).unwrap_or(0);
            let mut before = None;
            while let Some((start, hole)) = self.holes.first_after_with(before, lane, length_bytes.max(1)) {
                if let Some(window) = fit(start, hole.end(start), length_bytes, alignment_bytes) {
                    return Ok((window, Some(start)));
                }
                before = Some(start);
            }
        }
        let window = fit(self.tail, self.extent.end(), length_bytes, alignment_bytes).ok_or(ReserveError::CannotFit)?;
        Ok((window, None))
    }

    pub(super) fn claim_first_fit(
        &mut self,
        length_bytes: usize,
        alignment_bytes: usize,
    ) -> Result<Extent, ReserveError> {
        let (window, hole) = self.find_fit(length_bytes, alignment_bytes)?;
        self.claim_in(window, hole)?;
        Ok(window)
    }

    pub(super) fn claim_at(&mut self, window: Extent) -> Result<(), ReserveError> {
        let hole = self.fits_at(window)?;
        self.claim_in(window, hole)
    }

    /// Returns whether [`claim_at`](Self::claim_at) would succeed, and the window's hole.
    pub(super) fn fits_at(&self, window: Extent) -> Result<HoleStart, ReserveError> {
        if !self.extent.covers(window) {
            return Err(ReserveError::CannotFit);
        }
        let mut hole = None;
        if window.start() < self.tail {
            let found = self.holes.at_or_before(window.start());
            let (start, _) =
                found.filter(|(start, hole)| window.end() <= hole.end(*start)).ok_or(ReserveError::Occupied)?;
            hole = Some(start);
        }
        if self.is_full() { Err(ReserveError::Full { capacity: self.room() }) } else { Ok(hole) }
    }

    /// Returns what is above `address` of the first hole that ends above it.
    pub(super) fn hole_above(&self, address: usize) -> Option<Extent> {
        let (before, after) = self.holes.around(address);
        let hole = |(start, hole): (usize, Hole)| Extent::between(start, hole.end(start));
        let ends_above = before.and_then(hole).filter(|hole| address < hole.end());
        let tail = || Extent::between(self.tail, self.extent.end());
        let found = ends_above.or_else(|| after.and_then(hole)).or_else(tail)?;
        found.starting_at(address.max(found.start()))
    }

    /// Claims a window in its hole.
    fn claim_in(&mut self, window: Extent, hole: HoleStart) -> Result<(), ReserveError> {
        let Some(start) = hole else {
            self.add(self.tail, window.start())?;
            self.tail = window.end();
            self.windows = self.windows.wrapping_add(1);
            return Ok(());
        };
        let found = self.holes.find_at_or_before(start).ok_or(ReserveError::Occupied)?;
        let end = found.value.end(start);
        let rest = Hole(end.wrapping_sub(window.end()));
        if start == window.start() {
            match rest {
                Hole(0) => self.holes.remove(&found, None),
                rest => self.holes.replace(&found, window.end(), rest),
            }
        } else {
            // First what may fail.
            self.add(window.end(), end)?;
            self.holes.set(start, Hole(window.start().wrapping_sub(start)));
        }
        self.windows = self.windows.wrapping_add(1);
        Ok(())
    }

    /// Adds a hole, unless it has no bytes.
    fn add(&mut self, start: usize, end: usize) -> Result<(), ReserveError> {
        let capacity = self.room();
        match end.wrapping_sub(start) {
            0 => Ok(()),
            length => self.holes.insert(start, Hole(length)).map_err(|_| ReserveError::Full { capacity }),
        }
    }

    /// Frees a piece of what is claimed, as a rule a window as it was claimed.
    ///
    /// `EINVAL` if not all of it is claimed. `ENOMEM` if there is no room for one more hole, which cannot be where only
    /// windows as they were claimed are given back.
    pub(super) fn release(&mut self, piece: Extent) -> Result<(), Errno> {
        if !self.extent.covers(piece) || self.tail < piece.end() {
            return Err(Errno::INVAL);
        }
        // The hole directly behind the piece, or else the one in front of it.
        let found = self.holes.find_at_or_before(piece.end());
        let behind = found.as_ref().filter(|found| found.key == piece.end());
        let before = match (behind, &found) {
            (Some(behind), _) => self.holes.last_before_with(behind, 0, 0),
            (None, found) => found.as_ref().map(|found| (found.key, found.value)),
        };
        if before.is_some_and(|(start, hole)| piece.start() < hole.end(start)) {
            return Err(Errno::INVAL);
        }
        let joined = before.filter(|(start, hole)| hole.end(*start) == piece.start()).map(|(start, _)| start);
        let start = joined.unwrap_or(piece.start());
        match (&found, behind) {
            (_, Some(behind)) => {
                let hole = Hole(behind.value.end(behind.key).wrapping_sub(start));
                match joined {
                    Some(start) => {
                        self.holes.remove(behind, None);
                        self.holes.set(start, hole);
                    }
                    None => self.holes.replace(behind, start, hole),
                }
            }
            (found, None) if piece.end() == self.tail => {
                if let Some(found) = found.as_ref().filter(|_| joined.is_some()) {
                    self.holes.remove(found, None);
                }
                self.tail = start;
            }
            (Some(found), None) if joined.is_some() => {
                self.holes.replace(found, start, Hole(piece.end().wrapping_sub(start)));
            }
            _ => self.holes.insert(start, Hole(piece.length_bytes())).map_err(|_| Errno::NOMEM)?,
        }
        self.windows = if self.is_empty() { 0 } else { self.windows.saturating_sub(1) };
        Ok(())
    }
}

/// Returns the first window of this length and alignment between two addresses.
fn fit(start: usize, end: usize, length_bytes: usize, alignment_bytes: usize) -> Option<Extent> {
    let window = Extent::new(align_up(start, alignment_bytes)?, length_bytes)?;
    (window.end() <= end).then_some(window)
}
