//! The caller's reservation: a window of addresses that sets place their parts in, and that none of them resizes.

use crate::Extent;

/// A reservation as the sets that share it see it.
///
/// Implemented by [`Reservation`] only.
pub trait Window: Sync {
    /// Returns the addresses of the whole reservation.
    fn extent(&self) -> Extent;
}
