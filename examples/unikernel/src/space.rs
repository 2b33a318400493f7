//! Which addresses of a window are reserved: first fit in a fixed table.

use heapless::Vec;
use pmemset_core::{Errno, Extent};

/// The reservations of one window of addresses, in the order of their addresses; room for `N`.
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

    /// Gives back `window`, which may cover several reservations that were made one behind the other.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is not made of whole reservations and at most one tail; nothing has changed then.
    pub fn release(&mut self, window: Extent) -> Result<(), Errno> {
        let cuts = |taken: &&Extent| taken.overlaps(window);
        let covered: usize =
            self.taken.iter().filter(cuts).filter_map(|taken| taken.intersect(window)).map(Extent::length_bytes).sum();
        let ends_inside = self.taken.iter().filter(cuts).any(|taken| taken.end() > window.end());
        if covered != window.length_bytes() || ends_inside {
            return Err(Errno::INVAL);
        }
        for taken in self.taken.iter_mut().filter(|taken| taken.start() < window.start()) {
            *taken = taken.before(window.start()).unwrap_or(*taken);
        }
        self.taken.retain(|taken| !window.covers(*taken));
        Ok(())
    }

    fn insert(&mut self, extent: Extent) -> Result<(), Errno> {
        let at = self.taken.partition_point(|taken| taken.start() < extent.start());
        self.taken.insert(at, extent).map_err(|_| Errno::NOMEM)
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
        assert_eq!(space.reserve_at(extent(0x4000, 0x1000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x6000, 0x1000)), Err(Errno::NOMEM));
    }

    #[test]
    fn whole_extensions_and_tails_are_given_back_and_nothing_else() {
        let mut space = Space::<4>::new(extent(0x1000, 0x8000));
        space.reserve_at(extent(0x1000, 0x2000)).unwrap();
        space.reserve_at(extent(0x3000, 0x2000)).unwrap();
        assert_eq!(space.release(extent(0x2000, 0x2000)), Err(Errno::INVAL));
        assert_eq!(space.release(extent(0x4000, 0x2000)), Err(Errno::INVAL));
        assert_eq!(space.release(extent(0x2000, 0x3000)), Ok(()));
        assert_eq!(space.reserve_at(extent(0x2000, 0x3000)), Ok(()));
        assert_eq!(space.release(extent(0x1000, 0x4000)), Ok(()));
        assert_eq!(space.reserve(0x8000, 0x1000), Ok(extent(0x1000, 0x8000)));
    }
}
