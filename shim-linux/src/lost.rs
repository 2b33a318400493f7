//! What the kernel has lost: it reports that once for each open file, which several sources and threads may share.

mod losses;
mod sync;

use pmemset_core::Errno;

pub(crate) use losses::{File, Opened};
use losses::{Losses, State};
use sync::{Condvar, Mutex};

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
    /// What `call` answers, or what another call for the same file has got since it was opened, if only at the same
    /// moment.
    pub(crate) fn synchronise(&self, call: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let place = LOSSES.begin(&self.file);
        LOSSES.end(self, place, call())
    }
}

#[cfg(test)]
mod tests;
