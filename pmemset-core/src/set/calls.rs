//! What each call on bytes begins with.

use crate::Extent;
use crate::error::PersistError;

/// Returns the range; `None` where it is empty.
pub(super) fn range_of(address: usize, length_bytes: usize) -> Result<Option<Extent>, PersistError> {
    match Extent::new(address, length_bytes) {
        None if length_bytes > 0 => Err(PersistError::OutOfRange { start: address, length_bytes }),
        range => Ok(range),
    }
}

/// Tells the simulator, where it is compiled, who stores or flushes next.
macro_rules! called {
    () => {
        #[cfg(feature = "sim")]
        crate::sim::called_by(core::panic::Location::caller());
    };
}
pub(super) use called;
