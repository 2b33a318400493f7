//! The caller's reservation: a window of addresses that sets place their parts in, and that none of them resizes.
#![allow(unsafe_code, reason = "giving back address space rests on what the books say about it")]

mod error;
mod holes;
#[cfg(test)]
mod tests;

use core::fmt;

use lock_api::{RawRwLock as _, RwLock};

pub use error::ReservationError;

use crate::{Errno, Extent, Platform};
use holes::Holes;

/// A reservation as the sets that share it see it.
///
/// Implemented by [`Reservation`] only. Claiming addresses is for sets alone:
///
/// ```compile_fail,E0624
/// # use pmemset_core::{Extent, reservation::Window};
/// fn free_what_others_use(reservation: &dyn Window<Space = ()>, window: Extent) {
///     reservation.give_back(window);
/// }
/// ```
#[allow(private_bounds, reason = "only sets may claim addresses: whoever gives back a mapped window breaks them all")]
pub trait Window: Claims {
    /// The kind of address space that it lies in.
    type Space: Copy + Eq + Send + Sync;

    /// Returns the address space that it lies in.
    fn space(&self) -> Self::Space;

    /// Returns the addresses of the whole reservation.
    fn extent(&self) -> Extent;
}

/// What sets do with a reservation. Each call finds and claims under one lock.
pub(crate) trait Claims: Sync {
    /// Checks whether [`claim_first_fit`](Self::claim_first_fit) would succeed now.
    fn check_first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ClaimError>;

    /// Claims the lowest free addresses of this length and alignment.
    ///
    /// O(log M) for alignments up to the page size, of 2 MiB and of 1 GiB; for another alignment, holes that are long
    /// enough but lie wrongly cost a step each.
    fn claim_first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ClaimError>;

    /// Claims exactly `window`.
    fn claim_at(&self, window: Extent) -> Result<(), ClaimError>;

    /// Gives back a claimed window; any other one is left as it is.
    fn give_back(&self, window: Extent);
}

/// Why a window of a reservation could not be claimed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// No hole is long enough at the alignment.
    CannotFit,
    /// Something is there already.
    Occupied,
    /// Not wholly inside the reservation.
    OutOfRange,
    /// There are as many segments as there is room for.
    Full {
        /// The number of segments that fit.
        capacity: usize,
    },
}

/// Reserves address space aligned to `wish_bytes`, or to no more than `alignment_bytes` where that much is not to be had.
///
/// Aligning costs more address space than is kept in the end, which limits may forbid (`RLIMIT_AS`).
pub(crate) fn reserve(
    platform: &impl Platform,
    length_bytes: usize,
    alignment_bytes: usize,
    wish_bytes: usize,
) -> Result<Extent, Errno> {
    if wish_bytes > alignment_bytes
        && let Ok(extent) = reserve_exactly(platform, length_bytes, wish_bytes)
    {
        return Ok(extent);
    }
    reserve_exactly(platform, length_bytes, alignment_bytes)
}

/// Reserves address space, and takes no answer that would place a mapping where it was not asked for.
fn reserve_exactly(platform: &impl Platform, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
    let extent = platform.reserve(length_bytes, alignment_bytes)?;
    if extent.length_bytes() == length_bytes && extent.start() & alignment_bytes.wrapping_sub(1) == 0 {
        return Ok(extent);
    }
    // SAFETY: reserved a moment ago, and nothing is mapped in it.
    let _ = unsafe { platform.release(extent) };
    Err(Errno::INVAL)
}

/// A window of addresses that the caller owns and sets place their parts in (`pmem2_vm_reservation`).
///
/// `M` is the number of segments there is room for, 1 to 65,536, of all sets that share it together. A set borrows its
/// reservation, so it cannot go while a set lives. It is never resized.
///
/// # Cost
///
/// 36 bytes for each of the `M` segments on a 64-bit processor, and less than 256 bytes besides. All of it is part of
/// the value: a thread that makes a reservation with room for many segments needs a stack for it.
///
/// # Dropping
///
/// An empty reservation gives its addresses back, and reports nothing. One in which a set could not unmap a segment
/// keeps them.
pub struct Reservation<P: Platform, const M: usize> {
    platform: P,
    extent: Extent,
    closed: bool,
    holes: RwLock<P::Lock, Holes<M>>,
}

impl<P: Platform, const M: usize> Reservation<P, M> {
    /// Reserves `length_bytes` bytes of address space (`pmem2_vm_reservation_new`), aligned for the largest pages that
    /// a mapping of this length can have where address space is not too scarce for that.
    ///
    /// # Errors
    ///
    /// - [`ReservationError::LengthUnaligned`]: the length is 0 or not a multiple of the page size.
    /// - [`ReservationError::AddressSpace`]: the platform refused.
    pub fn new(platform: P, length_bytes: usize) -> Result<Self, ReservationError> {
        let page_bytes = platform.page_size_bytes();
        if length_bytes == 0 || length_bytes & page_bytes.wrapping_sub(1) != 0 {
            return Err(ReservationError::LengthUnaligned { length_bytes, alignment_bytes: page_bytes });
        }
        let reserved = reserve(&platform, length_bytes, page_bytes, platform.alignment_for(length_bytes));
        let extent = reserved.map_err(|cause| ReservationError::AddressSpace { cause })?;
        Ok(Self::holding(platform, extent))
    }

    /// Reserves exactly the addresses of `window` (`pmem2_vm_reservation_new` with an address).
    ///
    /// # Errors
    ///
    /// - [`ReservationError::AddressUnaligned`], [`ReservationError::LengthUnaligned`]: not on page boundaries.
    /// - [`ReservationError::Occupied`]: something is there already.
    /// - [`ReservationError::AddressSpace`]: the platform refused.
    pub fn at(platform: P, window: Extent) -> Result<Self, ReservationError> {
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
            Errno::EXIST => ReservationError::Occupied { window },
            cause => ReservationError::AddressSpace { cause },
        })?;
        Ok(Self::holding(platform, window))
    }

    const fn holding(platform: P, extent: Extent) -> Self {
        Self { platform, extent, closed: false, holes: RwLock::const_new(P::Lock::INIT, Holes::new(extent)) }
    }

    /// Returns the addresses (`pmem2_vm_reservation_get_address`, `pmem2_vm_reservation_get_size`).
    #[must_use]
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Returns the number of segments that there is room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        M
    }

    /// Gives the addresses back to the platform (`pmem2_vm_reservation_delete`), as dropping does, and says how it went.
    ///
    /// A reservation that is closed stays so, and places nothing.
    ///
    /// # Errors
    ///
    /// - [`ReservationError::NotEmpty`]: a set has left a segment mapped.
    /// - [`ReservationError::AddressSpace`]: the platform refused.
    ///
    /// The reservation is as it was then.
    pub fn close(&mut self) -> Result<(), ReservationError> {
        if self.closed {
            return Ok(());
        }
        if !self.holes.get_mut().is_empty() {
            return Err(ReservationError::NotEmpty { window: self.extent });
        }
        // SAFETY: reserved by the constructors, not closed before, and the books say that nothing is mapped in it.
        unsafe { self.platform.release(self.extent) }.map_err(|cause| ReservationError::AddressSpace { cause })?;
        self.closed = true;
        Ok(())
    }
}

impl<P: Platform, const M: usize> Drop for Reservation<P, M> {
    fn drop(&mut self) {
        // Nobody is left to tell; the addresses stay reserved then.
        let _ = self.close();
    }
}

impl<P: Platform, const M: usize> Window for Reservation<P, M>
where
    P::Lock: Send + Sync,
{
    type Space = P::Space;

    fn space(&self) -> P::Space {
        self.platform.space()
    }

    fn extent(&self) -> Extent {
        self.extent
    }
}

impl<P: Platform, const M: usize> Claims for Reservation<P, M>
where
    P::Lock: Send + Sync,
{
    fn check_first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ClaimError> {
        self.open()?;
        self.holes.read().first_fit(length_bytes, alignment_bytes).map(drop)
    }

    fn claim_first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ClaimError> {
        self.open()?;
        self.holes.write().claim_first_fit(length_bytes, alignment_bytes)
    }

    fn claim_at(&self, window: Extent) -> Result<(), ClaimError> {
        self.open()?;
        self.holes.write().claim_at(window)
    }

    fn give_back(&self, window: Extent) {
        self.holes.write().give_back(window);
    }
}

impl<P: Platform, const M: usize> Reservation<P, M> {
    const fn open(&self) -> Result<(), ClaimError> {
        if self.closed { Err(ClaimError::CannotFit) } else { Ok(()) }
    }
}

impl<P: Platform, const M: usize> fmt::Debug for Reservation<P, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("extent", &self.extent).field("capacity", &M).finish_non_exhaustive()
    }
}
