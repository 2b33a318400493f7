//! Whether a write-back of a source has failed, which every set that maps the source must know.

use core::fmt;

use crate::Errno;
use crate::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether any source of this program has failed: one load, which hot paths can afford.
static ANY: AtomicBool = AtomicBool::new(false);

/// Keeps the first failure of a source's synchronisations and deep flushes, until the source is opened anew.
///
/// A kernel may report a write-back error once for the whole file, and treat its pages as clean afterwards. After one
/// failure it is not known which bytes of the source are durable. So every later call that would make its bytes durable
/// fails. [`Source::failed_write_back`](crate::Source::failed_write_back) returns it.
///
/// ```
/// use pmemset_core::{Errno, FailedWriteBack};
///
/// let failed = FailedWriteBack::new(); // a field of a port's source
/// assert_eq!(failed.first(), None);
/// failed.note(Errno::IO);
/// failed.note(Errno::NOSPC);
/// assert_eq!(failed.first(), Some(Errno::IO));
/// ```
pub struct FailedWriteBack {
    /// The number of the first failure; 0 while there is none.
    first: AtomicI32,
}

impl FailedWriteBack {
    /// Returns the state of a source that was just opened: nothing has failed.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: AtomicI32::new(0) }
    }

    /// Returns the first failure.
    pub fn first(&self) -> Option<Errno> {
        match self.first.load(Ordering::Acquire) {
            0 => None,
            number => Some(Errno::from_raw(number)),
        }
    }

    /// Records a failure; later ones change nothing.
    ///
    /// Sets call this. A source calls it if it learns of a failure in another way.
    #[cold]
    pub fn note(&self, cause: Errno) {
        let number = if cause.raw() == 0 { Errno::IO.raw() } else { cause.raw() };
        let _ = self.first.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        ANY.store(true, Ordering::Release);
    }

    /// Returns whether any source of this program has ever failed; where none has, no source need be looked at.
    #[inline]
    pub(crate) fn any() -> bool {
        ANY.load(Ordering::Acquire)
    }
}

impl Default for FailedWriteBack {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FailedWriteBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailedWriteBack").field(&self.first()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays() {
        let failed = FailedWriteBack::new();
        assert_eq!(failed.first(), None);
        failed.note(Errno::NOSPC);
        failed.note(Errno::IO);
        assert_eq!((failed.first(), FailedWriteBack::any()), (Some(Errno::NOSPC), true));
        let strange = FailedWriteBack::default();
        strange.note(Errno::from_raw(0));
        assert_eq!(strange.first(), Some(Errno::IO), "a failure without a reason is a failure");
    }
}
