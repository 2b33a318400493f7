//! Why a reservation could not be made or given back.

use core::fmt;

use crate::error::ReserveError;
use crate::{Errno, Extent};

/// Why a [`Reservation`](super::Reservation) could not be made, or not be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReservationError {
    /// The address is not a multiple of the page size.
    AddressUnaligned {
        /// The address in the way.
        address: usize,
        /// What it must be a multiple of, in bytes.
        alignment_bytes: usize,
    },
    /// The length is 0, or not a multiple of the page size.
    LengthUnaligned {
        /// The length in the way, in bytes.
        length_bytes: usize,
        /// What it must be a multiple of, in bytes.
        alignment_bytes: usize,
    },
    /// Something is at these addresses already.
    Occupied {
        /// The addresses.
        window: Extent,
    },
    /// A set has left a segment mapped in the reservation.
    NotEmpty {
        /// The reservation's addresses.
        window: Extent,
    },
    /// The platform gave no address space.
    AddressSpace {
        /// The platform's reason.
        cause: ReserveError,
    },
    /// The platform did not take the address space back.
    Release {
        /// The platform's reason.
        cause: Errno,
    },
}

impl ReservationError {
    /// Returns the number of libpmem2, which makes libpmemset's reservations, for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::AddressUnaligned { .. } => -100_022,
            Self::LengthUnaligned { .. } => -100_015,
            Self::Occupied { .. } => -100_007,
            Self::NotEmpty { .. } => -100_033,
            Self::AddressSpace { cause } => cause.code(),
            Self::Release { cause } => cause.code(),
        }
    }
}

impl fmt::Display for ReservationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AddressUnaligned { address, alignment_bytes } => {
                write!(f, "the address {address:#x} is not a multiple of the page size {alignment_bytes}")
            }
            Self::LengthUnaligned { length_bytes: 0, .. } => {
                f.write_str("a reservation of 0 bytes: ask for a page or more")
            }
            Self::LengthUnaligned { length_bytes, alignment_bytes } => {
                write!(f, "the length {length_bytes} is not a multiple of the page size {alignment_bytes}")
            }
            Self::Occupied { window } => write!(f, "something is at {window} already: choose other addresses"),
            Self::NotEmpty { window } => write!(f, "the reservation at {window} still has a segment in it"),
            Self::AddressSpace { .. } => f.write_str("the platform gave no address space"),
            Self::Release { .. } => f.write_str("the platform did not take the address space back"),
        }
    }
}

impl core::error::Error for ReservationError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::AddressSpace { cause } => Some(cause),
            Self::Release { cause } => Some(cause),
            _ => None,
        }
    }
}
