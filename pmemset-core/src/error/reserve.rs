//! Why address space could not be reserved.

use core::fmt;

use crate::code::{self, errors};
use crate::{Errno, Extent};

errors! {
    /// Why a platform has not reserved address space. Nothing is reserved then.
    ///
    /// ```
    /// use pmemset_core::{Errno, error::ReserveError};
    ///
    /// assert_eq!(ReserveError::from(Errno::EXIST), ReserveError::Occupied);
    /// ```
    pub enum ReserveError {
        /// No hole is long enough at this alignment, or the window asked for is not all inside.
        CannotFit = code::CANNOT_FIT_PART_MAP
            => "no hole has so many free addresses at this alignment";
        /// Something else is at the addresses asked for.
        Occupied = Errno::EXIST.code() => "something else is at these addresses";
        /// All pieces that there is room for are in use.
        Full {
            /// The number of pieces that there is room for.
            capacity: usize,
        } = code::CANNOT_ALLOCATE_INTERNAL_STRUCTURE => "there is room for {capacity} pieces, and all are in use";
        /// The platform's reason.
        Failed(cause: Errno) = cause.code() => "the platform could not reserve address space: {cause}";
    }
}

/// `EEXIST` is [`Occupied`](ReserveError::Occupied).
impl From<Errno> for ReserveError {
    fn from(cause: Errno) -> Self {
        match cause {
            Errno::EXIST => Self::Occupied,
            cause => Self::Failed(cause),
        }
    }
}

/// The nearest number: `EEXIST`, `ENOMEM` where nothing fits, `ENOSPC` where there are too many pieces, or the
/// platform's.
impl From<ReserveError> for Errno {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::CannotFit => Self::NOMEM,
            ReserveError::Occupied => Self::EXIST,
            ReserveError::Full { .. } => Self::NOSPC,
            ReserveError::Failed(cause) => cause,
        }
    }
}

errors! {
    /// Why a [`Reservation`](crate::Reservation) could not be made, or not be closed. The numbers are libpmem2's, which
    /// makes libpmemset's reservations.
    ///
    /// ```
    /// use pmemset_core::sim::{Hardware, Machine};
    /// use pmemset_core::{Reservation, error::ReservationError};
    ///
    /// let machine = Machine::new(Hardware::new());
    /// let refused = Reservation::with_capacity(machine.platform(), 100, 4).unwrap_err();
    /// assert_eq!(refused, ReservationError::LengthUnaligned { length_bytes: 100, alignment_bytes: 4096 });
    /// ```
    pub enum ReservationError {
        /// The address is not a multiple of the page size.
        AddressUnaligned {
            /// The address in the way.
            address: usize,
            /// What it must be a multiple of, in bytes.
            alignment_bytes: usize,
        } = code::ADDRESS_UNALIGNED
            => "the address {address:#x} is not a multiple of the page size {alignment_bytes}";
        /// The length is 0, or not a multiple of the page size.
        LengthUnaligned {
            /// The length in the way, in bytes.
            length_bytes: usize,
            /// What it must be a multiple of, in bytes.
            alignment_bytes: usize,
        } = code::RESERVATION_LENGTH_UNALIGNED => "{}", Length { length_bytes, alignment_bytes };
        /// Something is at these addresses already.
        Occupied {
            /// The addresses.
            window: Extent,
        } = code::MAPPING_EXISTS => "something is at {window} already: choose other addresses";
        /// A set has left a segment mapped in the reservation.
        NotEmpty {
            /// The reservation's addresses.
            window: Extent,
        } = code::VM_RESERVATION_NOT_EMPTY => "the reservation at {window} still has a segment in it";
        /// The platform could not reserve the address space.
        AddressSpace {
            /// The platform's reason.
            cause: ReserveError,
        } = cause.code() => "cannot reserve address space: {cause}";
        /// The platform could not release the address space.
        Release {
            /// The platform's reason.
            cause: Errno,
        } = cause.code() => "cannot release the address space: {cause}";
    }
}

/// What is wrong with the length of a reservation.
struct Length {
    length_bytes: usize,
    alignment_bytes: usize,
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { length_bytes: 0, .. } => f.write_str("a reservation of 0 bytes: ask for a page or more"),
            Self { length_bytes, alignment_bytes } => {
                write!(f, "the length {length_bytes} is not a multiple of the page size {alignment_bytes}")
            }
        }
    }
}
