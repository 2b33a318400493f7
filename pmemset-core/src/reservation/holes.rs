//! Which addresses of a reservation are free: the claimed windows in order, each with the hole in front of it.

use crate::error::ReserveError;
use crate::extent::align_up;
use crate::table::{Arrays, Found, Table, Weigh};
use crate::{Errno, Extent, Platform};

/// The alignments in bytes for which the first fit is found without looking into holes that are too small: any page,
/// and the two sizes of huge pages.
const LANES: [usize; WEIGHTS] = [1, 2 << 20, 1 << 30];
/// The weights of a window.
pub(super) const WEIGHTS: usize = 3;

/// The hole in front of a claimed window, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole(usize);

impl Hole {
    const fn start(self, end: usize) -> usize {
        end.wrapping_sub(self.0)
    }

    /// Returns how many bytes there are from the first multiple of `alignment_bytes` on.
    fn usable(self, end: usize, alignment_bytes: usize) -> usize {
        end.saturating_sub(align_up(self.start(end), alignment_bytes).unwrap_or(end))
    }
}

impl Weigh<WEIGHTS> for Hole {
    const BLANK: Self = Self(0);

    fn weigh(&self, end: usize) -> [usize; WEIGHTS] {
        if self.0 == 0 { [0; WEIGHTS] } else { LANES.map(|lane| self.usable(end, lane)) }
    }
}

/// A claimed window: its start, and the hole in front of it. `None`: the tail of the reservation.
type Next = Option<(usize, Hole)>;

/// The books of a reservation.
#[derive(Debug)]
pub(super) struct Holes<'m, P: Platform> {
    extent: Extent,
    /// By the start of each claimed window. It ends where the next one's hole starts.
    windows: Table<Arrays<'m, Hole, P>, WEIGHTS>,
    /// Where the last claimed window ends.
    tail: usize,
    /// How many bytes are claimed.
    claimed_bytes: usize,
}

impl<'m, P: Platform> Holes<'m, P> {
    pub(super) const fn over(extent: Extent, arrays: Arrays<'m, Hole, P>, room: usize) -> Self {
        Self { extent, windows: Table::over(arrays, room), tail: extent.start(), claimed_bytes: 0 }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn on_heap(extent: Extent, room: usize) -> Self {
        Self::over(extent, Arrays::on_heap::<WEIGHTS>(room), room)
    }

    pub(super) fn room(&self) -> usize {
        self.windows.room()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.windows.len() == 0
    }

    /// Returns the window that [`claim_first_fit`](Self::claim_first_fit) would claim.
    ///
    /// O(log M) for an alignment in [`LANES`], or below the second. For another one, every hole in front of the right
    /// one is looked into that is long enough at the next lower alignment.
    pub(super) fn first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        self.find_fit(length_bytes, alignment_bytes).map(|(window, _)| window)
    }

    /// Returns the first fit, and the claimed window behind its hole.
    fn find_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(Extent, Next), ReserveError> {
        if self.windows.is_full() {
            return Err(ReserveError::Full { capacity: self.room() });
        }
        // No hole is longer than all of them together, so one look is enough where windows lie without holes.
        if self.hole_bytes() >= length_bytes {
            let lane = LANES.iter().rposition(|&lane| lane <= alignment_bytes).unwrap_or(0);
            let mut behind = None;
            while let Some((end, hole)) = self.windows.first_after_with(behind, lane, length_bytes.max(1)) {
                if let Some(window) = fit(hole.start(end), end, length_bytes, alignment_bytes) {
                    return Ok((window, Some((end, hole))));
                }
                behind = Some(end);
            }
        }
        let window = fit(self.tail, self.extent.end(), length_bytes, alignment_bytes).ok_or(ReserveError::CannotFit)?;
        Ok((window, None))
    }

    /// Returns how many bytes the holes in front of claimed windows have.
    const fn hole_bytes(&self) -> usize {
        self.tail.wrapping_sub(self.extent.start()).wrapping_sub(self.claimed_bytes)
    }

    pub(super) fn claim_first_fit(
        &mut self,
        length_bytes: usize,
        alignment_bytes: usize,
    ) -> Result<Extent, ReserveError> {
        let (window, next) = self.find_fit(length_bytes, alignment_bytes)?;
        self.claim_before(window, next)?;
        Ok(window)
    }

    pub(super) fn claim_at(&mut self, window: Extent) -> Result<(), ReserveError> {
        let next = self.fits_at(window)?;
        self.claim_before(window, next)
    }

    /// Returns whether [`claim_at`](Self::claim_at) would succeed, and the claimed window behind.
    pub(super) fn fits_at(&self, window: Extent) -> Result<Next, ReserveError> {
        if !self.extent.covers(window) {
            return Err(ReserveError::CannotFit);
        }
        let next = if window.start() < self.tail { self.windows.after(window.start()) } else { None };
        if !self.hole_before(next).is_some_and(|hole| hole.covers(window)) {
            return Err(ReserveError::Occupied);
        }
        if self.windows.is_full() { Err(ReserveError::Full { capacity: self.room() }) } else { Ok(next) }
    }

    /// Returns the hole in front of `next`.
    fn hole_before(&self, next: Next) -> Option<Extent> {
        match next {
            Some((end, hole)) => Extent::between(hole.start(end), end),
            None => Extent::between(self.tail, self.extent.end()),
        }
    }

    /// Returns what is above `address` of the first hole that ends above it.
    pub(super) fn hole_above(&self, address: usize) -> Option<Extent> {
        let next = self.windows.first_after_with(Some(address), 0, 1);
        self.hole_before(next)?.starting_at(address)
    }

    /// Claims a window in the hole in front of `next`.
    fn claim_before(&mut self, window: Extent, next: Next) -> Result<(), ReserveError> {
        let Some(hole) = self.hole_before(next).filter(|hole| hole.covers(window)) else {
            return Err(ReserveError::Occupied);
        };
        let in_front = Hole(window.start().wrapping_sub(hole.start()));
        let rest = next.map(|(start, _)| Hole(start.wrapping_sub(window.end())));
        let capacity = self.room();
        self.windows.insert(window.start(), in_front, rest).map_err(|_| ReserveError::Full { capacity })?;
        if next.is_none() {
            self.tail = window.end();
        }
        self.claimed_bytes = self.claimed_bytes.wrapping_add(window.length_bytes());
        Ok(())
    }

    /// Frees a piece of what is claimed: whole windows, ends of them, or the middle of one, which then are two.
    ///
    /// `EINVAL` if not all of it is claimed, `ENOMEM` if there is no room for the second of two.
    pub(super) fn release(&mut self, piece: Extent) -> Result<(), Errno> {
        // As a rule it is a window as it was claimed.
        if let Some((window, found)) = self.window_at(piece.start()).filter(|(window, _)| *window == piece) {
            self.give_back(window, &found);
            return Ok(());
        }
        let mut at = piece.start();
        while at < piece.end() {
            let (window, _) = self.window_at(at).ok_or(Errno::INVAL)?;
            let inside = window.start() < piece.start() && piece.end() < window.end();
            if inside && self.windows.is_full() {
                return Err(Errno::NOMEM);
            }
            at = window.end();
        }
        let mut rest = Some(piece);
        while let Some(left) = rest
            && let Some((window, found)) = self.window_at(left.start())
        {
            self.give_back(window, &found);
            for kept in [window.ending_at(piece.start()), window.starting_at(piece.end())].into_iter().flatten() {
                let claimed = self.claim_at(kept);
                debug_assert!(claimed.is_ok(), "it was claimed a moment ago, and there was room for it");
            }
            rest = left.starting_at(window.end());
        }
        Ok(())
    }

    /// Returns the claimed window that has `address`, and where it is in the table.
    fn window_at(&self, address: usize) -> Option<(Extent, Found<Hole>)> {
        let found = self.windows.find_at_or_before(address)?;
        let end = found.next.map_or(self.tail, |(end, hole)| hole.start(end));
        let window = Extent::between(found.key, end).filter(|window| window.contains(address))?;
        Some((window, found))
    }

    /// Frees a claimed window, which is at `found`.
    fn give_back(&mut self, window: Extent, found: &Found<Hole>) {
        let hole_start = found.value.start(found.key);
        self.windows.remove(found, found.next.map(|(end, _)| Hole(end.wrapping_sub(hole_start))));
        if found.next.is_none() {
            self.tail = hole_start;
        }
        self.claimed_bytes = self.claimed_bytes.wrapping_sub(window.length_bytes());
    }
}

/// Returns the first window of this length and alignment between two addresses.
fn fit(start: usize, end: usize, length_bytes: usize, alignment_bytes: usize) -> Option<Extent> {
    let window = Extent::new(align_up(start, alignment_bytes)?, length_bytes)?;
    (window.end() <= end).then_some(window)
}
