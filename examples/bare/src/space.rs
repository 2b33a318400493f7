//! Which addresses of a window are reserved: first fit in a fixed table.

use heapless::Vec;
use pmemset_core::{Errno, Extent};

/// The reserved runs of one window of addresses, in the order of their addresses, apart from each other; room for `N`.
#[derive(Debug)]
pub struct Space<const N: usize> {
    window: Extent,
    taken: Vec<Extent, N>,
}

impl<const N: usize> Space<N> {
    /// Returns `window` with nothing reserved.
    #[must_use]
    pub const fn new(window: Extent) -> Self {
        Self { window, taken: Vec::new() }
    }

    /// Reserves the lowest free `length_bytes` bytes on a multiple of `alignment_bytes`, a power of two.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when there is no such hole, or the table is full.
    pub fn reserve(&mut self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
        let mut start = self.window.start();
        for hole_end in self.taken.iter().map(|taken| taken.start()).chain([self.window.end()]) {
            let aligned = start.checked_next_multiple_of(alignment_bytes).ok_or(Errno::NOMEM)?;
            if let Some(found) = Extent::new(aligned, length_bytes).filter(|found| found.end() <= hole_end) {
                return self.insert(found).map(|()| found);
            }
            start = self.taken.iter().find(|taken| taken.start() == hole_end).map_or(hole_end, |taken| taken.end());
        }
        Err(Errno::NOMEM)
    }

    /// Reserves exactly `wanted`.
    ///
    /// # Errors
    ///
    /// `EEXIST` when some of it is taken or outside the window, `ENOMEM` when the table is full.
    pub fn reserve_at(&mut self, wanted: Extent) -> Result<(), Errno> {
        if !self.window.covers(wanted) || self.taken.iter().any(|taken| taken.overlaps(wanted)) {
            return Err(Errno::EXIST);
        }
        self.insert(wanted)
    }

    /// Gives back `window`, all of which is reserved: whole reservations, or any piece of them.
    ///
    /// # Errors
    ///
    /// `EINVAL` when not all of it is reserved, `ENOMEM` when a run would be cut in two and the table is full; nothing
    /// has changed then.
    pub fn release(&mut self, window: Extent) -> Result<(), Errno> {
        let at = self.taken.iter().position(|taken| taken.covers(window)).ok_or(Errno::INVAL)?;
        let run = *self.taken.get(at).ok_or(Errno::INVAL)?;
        match (run.ending_at(window.start()), run.starting_at(window.end())) {
            (Some(front), Some(rest)) => {
                self.taken.insert(at.saturating_add(1), rest).map_err(|_| Errno::NOMEM)?;
                self.put(at, front);
            }
            (Some(left), None) | (None, Some(left)) => self.put(at, left),
            (None, None) => drop(self.taken.remove(at)),
        }
        Ok(())
    }

    fn put(&mut self, at: usize, run: Extent) {
        self.taken.get_mut(at).into_iter().for_each(|place| *place = run);
    }

    /// Enters what is not reserved yet.
    fn insert(&mut self, extent: Extent) -> Result<(), Errno> {
        let at = self.taken.partition_point(|taken| taken.start() < extent.start());
        let below =
            at.checked_sub(1).filter(|&below| self.taken.get(below).is_some_and(|run| run.end() == extent.start()));
        let above = self.taken.get(at).filter(|run| run.start() == extent.end()).map(|run| run.end());
        let start = below.and_then(|below| self.taken.get(below)).map_or(extent.start(), |run| run.start());
        let run = Extent::between(start, above.unwrap_or(extent.end())).unwrap_or(extent);
        match (below, above) {
            (Some(below), Some(_)) => {
                self.taken.remove(at);
                self.put(below, run);
            }
            (Some(below), None) => self.put(below, run),
            (None, Some(_)) => self.put(at, run),
            (None, None) => self.taken.insert(at, run).map_err(|_| Errno::NOMEM)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: usize, length_bytes: usize) -> Extent {
        Extent::new(start, length_bytes).unwrap()
    }

    #[test]
    fn the_lowest_aligned_hole_is_taken() {
        let mut space = Space::<4>::new(extent(0x1000, 0x8000));
        assert_eq!(space.reserve(0x1000, 0x1000), Ok(extent(0x1000, 0x1000)));
        assert_eq!(space.reserve(0x2000, 0x4000), Ok(extent(0x4000, 0x2000)));
        assert_eq!(space.reserve(0x2000, 0x1000), Ok(extent(0x2000, 0x2000)));
        assert_eq!(space.reserve(0x4000, 0x1000), Err(Errno::NOMEM));
        assert_eq!(space.reserve(0x3000, 0x1000), Ok(extent(0x6000, 0x3000)));
        assert_eq!(space.reserve(0x1000, 0x1000), Err(Errno::NOMEM));
    }

    #[test]
    fn exact_places_are_refused_where_something_is() {
        let mut space = Space::<2>::new(extent(0x1000, 0x8000));
        assert_eq!(space.reserve_at(extent(0x3000, 0x1000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x2000, 0x2000)), Err(Errno::EXIST));
        assert_eq!(space.reserve_at(extent(0x8000, 0x2000)), Err(Errno::EXIST));
        assert_eq!(space.reserve_at(extent(0x5000, 0x1000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x7000, 0x1000)), Err(Errno::NOMEM));
        // What lies directly beside others needs no room of its own.
        assert_eq!(space.reserve_at(extent(0x4000, 0x1000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x7000, 0x1000)), Ok(()));
    }

    #[test]
    fn any_piece_is_given_back_and_nothing_that_is_free() {
        let mut space = Space::<2>::new(extent(0x1000, 0x8000));
        space.reserve_at(extent(0x1000, 0x2000)).unwrap();
        space.reserve_at(extent(0x3000, 0x2000)).unwrap();
        assert_eq!(space.release(extent(0x4000, 0x2000)), Err(Errno::INVAL));
        assert_eq!(space.release(extent(0x2000, 0x2000)), Ok(()));
        assert_eq!(space.release(extent(0x1000, 0x2000)), Err(Errno::INVAL));
        assert_eq!(space.reserve_at(extent(0x2000, 0x3000)), Err(Errno::EXIST));
        assert_eq!(space.reserve_at(extent(0x2000, 0x2000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x7000, 0x1000)), Ok(()));
        // Cut in two, this would be three runs.
        assert_eq!(space.release(extent(0x2000, 0x1000)), Err(Errno::NOMEM));
        assert_eq!(space.release(extent(0x1000, 0x1000)), Ok(()));
        assert_eq!(space.release(extent(0x2000, 0x3000)), Ok(()));
        assert_eq!(space.release(extent(0x7000, 0x1000)), Ok(()));
        assert_eq!(space.reserve(0x8000, 0x1000), Ok(extent(0x1000, 0x8000)));
    }
}
