//! Why a ring cannot go on.

use core::fmt;

use pmemset_core::error::PersistError;

/// Why a ring cannot be opened, or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The part has no room for a slot.
    TooShort,
    /// There is no ring in the part, or one of another length.
    NoRing,
    /// The counters contradict each other: somebody else has stored to the ring.
    Counters {
        /// Records that were published.
        produced: u64,
        /// Records that were dealt with.
        consumed: u64,
    },
    /// A record that was published is not there as it was.
    Damaged {
        /// Its number.
        number: u64,
    },
    /// The part.
    Part(PersistError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the part is too short for a ring"),
            Self::NoRing => f.write_str("there is no ring of this length in the part"),
            Self::Counters { produced, consumed } => {
                write!(f, "{produced} records were published and {consumed} dealt with, which cannot be")
            }
            Self::Damaged { number } => write!(f, "record {number} is not as it was published"),
            Self::Part(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<PersistError> for Error {
    fn from(error: PersistError) -> Self {
        Self::Part(error)
    }
}
