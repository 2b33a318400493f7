//! The caller's reservation: a platform whose addresses are a window of another platform's.
#![allow(unsafe_code, reason = "giving back address space rests on what the books say about it")]

mod holes;
#[cfg(test)]
mod tests;

use core::fmt;

use lock_api::RwLock;

use crate::error::{ReservationError, ReserveError};
use crate::lock::CallLock;
use crate::table;
use crate::{Errno, Extent, Platform, forward_platform};
use holes::{Hole, Holes};

/// Memory for the tables of a reservation with room for `M` segments, 1 to 65,536. All bytes are zero while it is not
/// in use. A slab serves one reservation at a time. Takes 36 bytes for each segment on a 64-bit processor.
///
/// ```
#[doc = include_str!("../sim/machine.md")]
/// let mut slab = ReservationSlab::<16>::new(); // a local variable, a field or a static
/// let reservation = Reservation::new(platform, 1 << 20, &mut slab)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReservationSlab<const M: usize>(table::Slab<Hole, M>);

impl<const M: usize> ReservationSlab<M> {
    /// Returns memory that is not in use.
    #[must_use]
    pub const fn new() -> Self {
        Self(table::Slab::new())
    }
}

impl<const M: usize> Default for ReservationSlab<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// Reserves address space aligned to `wish_bytes`, or to no more than `alignment_bytes` where that much is not to be
/// had.
///
/// Aligning costs more address space than is kept in the end, which limits may forbid (`RLIMIT_AS`).
pub(crate) fn reserve(
    platform: &impl Platform,
    length_bytes: usize,
    alignment_bytes: usize,
    wish_bytes: usize,
) -> Result<Extent, ReserveError> {
    if wish_bytes > alignment_bytes
        && let Ok(extent) = reserve_exactly(platform, length_bytes, wish_bytes)
    {
        return Ok(extent);
    }
    reserve_exactly(platform, length_bytes, alignment_bytes)
}

/// Reserves address space, and takes no answer that would place a mapping where it was not asked for.
fn reserve_exactly(
    platform: &impl Platform,
    length_bytes: usize,
    alignment_bytes: usize,
) -> Result<Extent, ReserveError> {
    let extent = platform.reserve(length_bytes, alignment_bytes)?;
    if extent.length_bytes() == length_bytes && extent.start() & alignment_bytes.wrapping_sub(1) == 0 {
        return Ok(extent);
    }
    // SAFETY: reserved a moment ago, and nothing is mapped in it.
    let _ = unsafe { platform.release(extent) };
    Err(ReserveError::Failed(Errno::INVAL))
}

/// A window of addresses that the caller owns and sets place their parts in (`pmem2_vm_reservation`).
///
/// It is a platform: `Set<&Reservation<Linux>, S>` borrows it, `Set<Arc<Reservation<Linux>>, S>` owns a share of it, so
/// the reservation outlives the set. Several sets may share it; its capacity is for the segments of all of them
/// together. It never changes its size.
///
/// First fit takes O(log capacity) for alignments up to the page size, of 2 MiB and of 1 GiB. With another alignment,
/// each hole that is long enough but not aligned takes a step.
///
/// ```
#[doc = include_str!("../sim/machine.md")]
/// let reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
/// let set: Set<'_, _, _> = Set::with_capacity(&reservation, Config::new(Granularity::Page), 8);
/// let part = set.map(source, &MapConfig::new())?;
/// assert!(reservation.extent().covers(part.extent()));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Windows and pieces
///
/// The reservation counts windows: one more for each [`reserve`](Platform::reserve), one less for each
/// [`release`](Platform::release). Sets release windows as they have reserved them, and are never refused. Who releases
/// pieces of windows leaves holes that are not counted on, and may find no room for one more: `ENOMEM`, and nothing has
/// changed. Who releases several windows at once has their room again when the reservation is empty.
///
/// # Dropping
///
/// An empty reservation releases its addresses, and reports nothing. A reservation in which a set could not unmap a
/// segment keeps them.
#[doc(alias("pmem2_vm_reservation", "pmemset_config_set_reservation"))]
pub struct Reservation<'m, P: Platform> {
    platform: P,
    extent: Extent,
    closed: bool,
    holes: RwLock<CallLock<P::Lock>, Holes<'m, P>>,
}

/// What the constructors do before the books are needed.
fn reserved<P: Platform>(platform: &P, length_bytes: usize) -> Result<Extent, ReservationError> {
    let page_bytes = platform.page_size_bytes();
    if length_bytes == 0 || length_bytes & page_bytes.wrapping_sub(1) != 0 {
        return Err(ReservationError::LengthUnaligned { length_bytes, alignment_bytes: page_bytes });
    }
    let reserved = reserve(platform, length_bytes, page_bytes, platform.alignment_for(length_bytes));
    reserved.map_err(|cause| ReservationError::AddressSpace { cause })
}

fn reserved_at<P: Platform>(platform: &P, window: Extent) -> Result<(), ReservationError> {
    let (address, length_bytes) = (window.start(), window.length_bytes());
    let alignment_bytes = platform.page_size_bytes();
    let mask = alignment_bytes.wrapping_sub(1);
    if address & mask != 0 {
        return Err(ReservationError::AddressUnaligned { address, alignment_bytes });
    }
    if length_bytes & mask != 0 {
        return Err(ReservationError::LengthUnaligned { length_bytes, alignment_bytes });
    }
    platform.reserve_at(window).map_err(|cause| match cause {
        ReserveError::Occupied => ReservationError::Occupied { window },
        cause => ReservationError::AddressSpace { cause },
    })
}

impl<'m, P: Platform> Reservation<'m, P> {
    /// Reserves `length_bytes` bytes of address space (`pmem2_vm_reservation_new`), aligned for the largest pages that
    /// a mapping of this length can have, if there is enough address space. The tables are in `slab`.
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let mut slab = ReservationSlab::<16>::new();
    /// let reservation = Reservation::new(platform, 1 << 20, &mut slab)?;
    /// assert_eq!(reservation.capacity(), 16);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ReservationError::LengthUnaligned`]: the length is 0 or not a multiple of the page size.
    /// - [`ReservationError::AddressSpace`]: the platform refused.
    #[doc(alias = "pmem2_vm_reservation_new")]
    pub fn new<const M: usize>(
        platform: P,
        length_bytes: usize,
        slab: &'m mut ReservationSlab<M>,
    ) -> Result<Self, ReservationError> {
        const { assert!(M <= P::SEGMENTS_MAX, "the platform's SEGMENTS_MAX is smaller than the slab") };
        let extent = reserved(&platform, length_bytes)?;
        Ok(Self::holding(platform, extent, Holes::over(extent, slab.0.lend(), M)))
    }

    /// Like [`new`](Self::new), with the tables on the heap and room for `capacity` segments, at least 1 and at most
    /// [`Platform::SEGMENTS_MAX`].
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
    /// assert_eq!(reservation.extent().length_bytes(), 1 << 20);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "alloc")]
    pub fn with_capacity(platform: P, length_bytes: usize, capacity: usize) -> Result<Self, ReservationError> {
        let extent = reserved(&platform, length_bytes)?;
        Ok(Self::holding(platform, extent, Holes::on_heap(extent, capacity.min(P::SEGMENTS_MAX).max(1))))
    }

    /// Reserves exactly the addresses of `window` (`pmem2_vm_reservation_new` with an address). The tables are in
    /// `slab`.
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let window = machine.address_space().slice(0, 1 << 20).ok_or("too short")?;
    /// let mut slab = ReservationSlab::<16>::new();
    /// assert_eq!(Reservation::at(platform, window, &mut slab)?.extent(), window);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ReservationError::AddressUnaligned`], [`ReservationError::LengthUnaligned`]: not on page boundaries.
    /// - [`ReservationError::Occupied`]: something is there already.
    /// - [`ReservationError::AddressSpace`]: the platform refused.
    pub fn at<const M: usize>(
        platform: P,
        window: Extent,
        slab: &'m mut ReservationSlab<M>,
    ) -> Result<Self, ReservationError> {
        const { assert!(M <= P::SEGMENTS_MAX, "the platform's SEGMENTS_MAX is smaller than the slab") };
        reserved_at(&platform, window)?;
        Ok(Self::holding(platform, window, Holes::over(window, slab.0.lend(), M)))
    }

    /// Like [`at`](Self::at), with the tables on the heap; see [`with_capacity`](Self::with_capacity).
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let window = machine.address_space().slice(0, 1 << 20).ok_or("too short")?;
    /// assert_eq!(Reservation::at_with_capacity(platform, window, 16)?.extent(), window);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for `at`.
    #[cfg(feature = "alloc")]
    pub fn at_with_capacity(platform: P, window: Extent, capacity: usize) -> Result<Self, ReservationError> {
        reserved_at(&platform, window)?;
        Ok(Self::holding(platform, window, Holes::on_heap(window, capacity.min(P::SEGMENTS_MAX).max(1))))
    }

    const fn holding(platform: P, extent: Extent, holes: Holes<'m, P>) -> Self {
        Self { platform, extent, closed: false, holes: RwLock::const_new(CallLock::INIT, holes) }
    }

    /// Returns the addresses (`pmem2_vm_reservation_get_address`, `pmem2_vm_reservation_get_size`).
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
    /// assert!(machine.address_space().covers(reservation.extent()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[doc(alias("pmem2_vm_reservation_get_address", "pmem2_vm_reservation_get_size"))]
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Returns the number of segments that there is room for.
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
    /// assert_eq!(reservation.capacity(), 16); // segments of all its sets together
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.holes.read().room()
    }

    /// Returns the free addresses, in order: those that no set uses for a segment or for the room behind one. Looks up
    /// each hole when its turn comes, in O(log capacity).
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
    /// let set: Set<'_, _, _> = Set::with_capacity(&reservation, Config::new(Granularity::Page), 8);
    /// let first = set.map(source.clone(), &MapConfig::new().length(4096))?;
    /// let second = set.map(source, &MapConfig::new().offset(4096).length(4096))?;
    /// set.remove(first)?;
    /// assert_eq!(reservation.holes().map(|hole| hole.length_bytes()).collect::<Vec<_>>(), [4096, (1 << 20) - 8192]);
    /// # drop(second);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn holes(&self) -> impl Iterator<Item = Extent> + use<'_, 'm, P> {
        let mut from = self.extent.start();
        core::iter::from_fn(move || {
            let hole = self.holes.read().hole_above(from)?;
            from = hole.end();
            Some(hole)
        })
    }

    /// Releases the addresses (`pmem2_vm_reservation_delete`) as dropping does, and returns whether that has succeeded.
    ///
    /// A closed reservation stays closed, and refuses to place segments.
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// let mut reservation = Reservation::with_capacity(platform, 1 << 20, 16)?;
    /// reservation.close()?; // the addresses are the platform's again
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ReservationError::NotEmpty`]: a set has left a segment mapped.
    /// - [`ReservationError::Release`]: the platform refused.
    ///
    /// The reservation has not changed then.
    #[doc(alias = "pmem2_vm_reservation_delete")]
    pub fn close(&mut self) -> Result<(), ReservationError> {
        if self.closed {
            return Ok(());
        }
        if !self.holes.get_mut().is_empty() {
            return Err(ReservationError::NotEmpty { window: self.extent });
        }
        // SAFETY: reserved by the constructors, not closed before, and the books say that nothing is mapped in it.
        unsafe { self.platform.release(self.extent) }.map_err(|cause| ReservationError::Release { cause })?;
        self.closed = true;
        Ok(())
    }

    const fn open(&self) -> Result<(), ReserveError> {
        if self.closed { Err(ReserveError::CannotFit) } else { Ok(()) }
    }
}

impl<P: Platform> Drop for Reservation<'_, P> {
    fn drop(&mut self) {
        // Nobody is left to tell; the addresses stay reserved then.
        let _ = self.close();
    }
}

// SAFETY: gives no address away twice, as its books say, and has them from the platform; the rest is the platform's.
unsafe impl<P: Platform> Platform for Reservation<'_, P>
where
    P::Lock: Send + Sync,
{
    type Lock = P::Lock;
    type Space = P::Space;

    const SEGMENTS_MAX: usize = P::SEGMENTS_MAX;
    const UNLOCKED_CALLS: bool = P::UNLOCKED_CALLS;

    // A window of its own is for the caller to fill as densely as it can be: no more alignment than is needed, no room
    // ahead. Its addresses stay reserved when they are released, so what is mapped there is not taken out.
    forward_platform!(self { Self { platform, .. } => platform } except
        alignment_for, room_ahead_bytes, reserve, reserve_at, may_reserve, may_reserve_at, release_unmaps, release);

    fn room_ahead_bytes(&self, _: usize) -> usize {
        0
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        self.open()?;
        self.holes.write().claim_first_fit(length_bytes, alignment_bytes)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.open()?;
        self.holes.write().claim_at(window)
    }

    fn may_reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ReserveError> {
        self.open()?;
        self.holes.read().first_fit(length_bytes, alignment_bytes).map(drop)
    }

    fn may_reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        self.open()?;
        self.holes.read().fits_at(window).map(drop)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        self.holes.write().release(window)
    }
}

impl<P: Platform> fmt::Debug for Reservation<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("extent", &self.extent).finish_non_exhaustive()
    }
}
