//! The caller's reservation: a window of addresses that sets place their parts in, and that none of them resizes.

use crate::Extent;

/// A reservation as the sets that share it see it.
///
/// Implemented by [`Reservation`] only.
pub trait Window: Sync {
    /// Returns the addresses of the whole reservation.
    fn extent(&self) -> Extent;

    #[doc(hidden)]
    fn can_fit(&self, length_bytes: usize, alignment_bytes: usize) -> bool;

    #[doc(hidden)]
    fn claim_first_fit(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ClaimError>;

    #[doc(hidden)]
    fn claim_at(&self, window: Extent) -> Result<(), ClaimError>;

    #[doc(hidden)]
    fn give_back(&self, window: Extent);
}

/// Why a window of a reservation could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum ClaimError {
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
