//! What the kernel has lost: it tells it once for each open file, which several sources and threads may share.

mod losses;

use pmemset_core::Errno;

pub(crate) use losses::{File, Opened};
use losses::{Losses, State};
use sync::{Condvar, Mutex};

/// What the losses are made of.
mod sync {
    pub(super) use rustix_futex_sync::{Condvar, Mutex, MutexGuard};
}

static LOSSES: Losses = Losses { state: Mutex::new(State::EMPTY), ended: Condvar::new() };

impl Opened {
    /// Returns `file` as a source opens it now.
    pub(crate) fn new(file: File) -> Self {
        Self { file, since: LOSSES.count() }
    }

    /// Synchronises with `call`.
    ///
    /// # Errors
    ///
    /// What `call` answers, or what another call for the same file was told since it was opened, if only at the same
    /// moment.
    pub(crate) fn synchronise(&self, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let place = LOSSES.begin(&self.file);
        LOSSES.end(self, place, call())
    }
}

#[cfg(test)]
#[path = "lost/tests.rs"]
mod tests;
