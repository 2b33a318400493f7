//! Which addresses of a reservation are free: the claimed windows in order, each with the hole in front of it.

use super::ClaimError;
use crate::Extent;
use crate::extent::align_up;
use crate::table::{Arrays, Table, Weigh};

/// The alignments in bytes for which the first fit is found without looking into holes that are too small: any page,
/// and the two sizes of huge pages.
const LANES: [usize; 3] = [1, 2 << 20, 1 << 30];

/// The hole in front of a claimed window, in bytes.
#[derive(Clone, Copy, Debug)]
struct Hole(usize);

impl Hole {
    const fn start(self, end: usize) -> usize {
        end.wrapping_sub(self.0)
    }

    /// Returns how many bytes there are from the first multiple of `alignment_bytes` on.
    fn usable(self, end: usize, alignment_bytes: usize) -> usize {
        end.saturating_sub(align_up(self.start(end), alignment_bytes).unwrap_or(end))
    }
}

impl Weigh<{ LANES.len() }> for Hole {
    const BLANK: Self = Self(0);

    fn weigh(&self, end: usize) -> [usize; LANES.len()] {
        if self.0 == 0 { [0; LANES.len()] } else { LANES.map(|lane| self.usable(end, lane)) }
    }
}

/// A claimed window: its start, and the hole in front of it. `None`: the tail of the reservation.
type Next = Option<(usize, Hole)>;

/// The books of a reservation with room for `M` claimed windows.
#[derive(Debug)]
pub(super) struct Holes<const M: usize> {
    extent: Extent,
    /// By the start of each claimed window. It ends where the next one's hole starts.
    windows: Table<Arrays<Hole, M>, { LANES.len() }>,
    /// Where the last claimed window ends.
    tail: usize,
    /// How many bytes are claimed.
    claimed_bytes: usize,
}

impl<const M: usize> Holes<M> {
    pub(super) const fn new(extent: Extent) -> Self {
        Self {
            extent,
            windows: Table::over(Arrays::new::<{ LANES.len() }>(), M),
            tail: extent.start(),
            claimed_bytes: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.windows.len() == 0
    }

    /// Returns the window that [`claim_first_fit`](Self::claim_first_fit) would claim.
    ///
    /// O(log M) for an alignment in [`LANES`], or below the second. For another one, every hole in front of the right
    /// one is looked into that is long enough at the next lower alignment.
    pub(super) fn first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ClaimError> {
        self.find_fit(length_bytes, alignment_bytes).map(|(window, _)| window)
    }

    /// Returns the first fit, and the claimed window behind its hole.
    fn find_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(Extent, Next), ClaimError> {
        if self.windows.is_full() {
            return Err(ClaimError::Full { capacity: M });
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
        let window = fit(self.tail, self.extent.end(), length_bytes, alignment_bytes).ok_or(ClaimError::CannotFit)?;
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
    ) -> Result<Extent, ClaimError> {
        let (window, next) = self.find_fit(length_bytes, alignment_bytes)?;
        self.claim_before(window, next)?;
        Ok(window)
    }

    pub(super) fn claim_at(&mut self, window: Extent) -> Result<(), ClaimError> {
        if !self.extent.covers(window) {
            return Err(ClaimError::OutOfRange);
        }
        self.claim_before(window, self.windows.after(window.start()))
    }

    /// Claims a window in the hole in front of `next`.
    fn claim_before(&mut self, window: Extent, next: Next) -> Result<(), ClaimError> {
        let hole = match next {
            Some((end, hole)) => Extent::between(hole.start(end), end),
            None => Extent::between(self.tail, self.extent.end()),
        };
        let Some(hole) = hole.filter(|hole| hole.covers(window)) else { return Err(ClaimError::Occupied) };
        let in_front = Hole(window.start().wrapping_sub(hole.start()));
        let rest = next.map(|(start, _)| Hole(start.wrapping_sub(window.end())));
        self.windows.insert(window.start(), in_front, rest).map_err(|_| ClaimError::Full { capacity: M })?;
        if next.is_none() {
            self.tail = window.end();
        }
        self.claimed_bytes = self.claimed_bytes.wrapping_add(window.length_bytes());
        Ok(())
    }

    /// Frees a claimed window; returns whether there was exactly this one.
    pub(super) fn give_back(&mut self, window: Extent) -> bool {
        let Some(found) = self.windows.find(window.start()) else { return false };
        let end = found.next.map_or(self.tail, |(end, hole)| hole.start(end));
        if end != window.end() {
            return false;
        }
        let start = found.value.start(window.start());
        self.windows.remove(&found, found.next.map(|(end, _)| Hole(end.wrapping_sub(start))));
        if found.next.is_none() {
            self.tail = start;
        }
        self.claimed_bytes = self.claimed_bytes.wrapping_sub(window.length_bytes());
        true
    }
}

/// Returns the first window of this length and alignment between two addresses.
fn fit(start: usize, end: usize, length_bytes: usize, alignment_bytes: usize) -> Option<Extent> {
    let window = Extent::new(align_up(start, alignment_bytes)?, length_bytes)?;
    (window.end() <= end).then_some(window)
}
