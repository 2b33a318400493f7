//! Waiting until storage that several tasks share is closed.

use tokio::sync::watch;

/// Kept beside shared storage, and dropped after it.
#[derive(Debug, Default)]
pub(crate) struct Open(watch::Sender<()>);

/// Waits for the end of an [`Open`].
#[derive(Clone, Debug)]
pub(crate) struct Closing(watch::Receiver<()>);

impl Open {
    pub(crate) fn closing(&self) -> Closing {
        Closing(self.0.subscribe())
    }
}

impl Closing {
    pub(crate) async fn closed(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
