//! Why a part could not be used as a stream.

use embedded_io::{Error, ErrorKind};

use super::PersistError;
use crate::Errno;
use crate::code::{self, errors};

errors! {
    /// Why a stream could not be read, written or moved.
    pub enum CursorError {
        /// The position would lie before the first byte. It stays as it was.
        BeforeStart = code::OFFSET_OUT_OF_RANGE => "the position would lie before the first byte";
        /// The part ends here. Nothing was stored.
        Full = Errno::NOSPC.code() => "the part ends here";
        /// The part has failed to store.
        Persist(error: PersistError) = error.code() => "{error}";
    }
}

impl Error for CursorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BeforeStart => ErrorKind::InvalidInput,
            Self::Full => ErrorKind::WriteZero,
            Self::Persist(_) => ErrorKind::Other,
        }
    }
}

impl From<PersistError> for CursorError {
    fn from(error: PersistError) -> Self {
        Self::Persist(error)
    }
}
