//! Why a part could not be used as flash memory.

use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

use super::PersistError;
use crate::code::{self, errors};

errors! {
    /// Why flash memory could not be read, written or erased.
    pub enum FlashError {
        /// Offset or length are not multiples of the word or the page. Nothing was stored.
        NotAligned = code::INVALID_OFFSET_VALUE => "offset or length are not multiples of the flash's words or pages";
        /// The bytes are not all there. Nothing was stored.
        OutOfBounds = code::LENGTH_OUT_OF_RANGE => "some of these bytes are outside of the flash";
        /// The part has failed to store.
        Persist(error: PersistError) = error.code() => "{error}";
    }
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds | Self::Persist(PersistError::NotMapped { .. } | PersistError::OutOfRange { .. }) => {
                NorFlashErrorKind::OutOfBounds
            }
            Self::Persist(_) => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        if kind == NorFlashErrorKind::NotAligned { Self::NotAligned } else { Self::OutOfBounds }
    }
}

impl From<PersistError> for FlashError {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}
