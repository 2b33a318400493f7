//! Waits for what the kernel does in threads of its own.

use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use crate::lab::Failure;

/// How long the kernel may take for what it does in threads of its own: half of what the host allows.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a file or device: devices are probed in threads of the kernel.
pub(crate) fn wait_for(path: &str) -> Result<(), Failure> {
    until(path, || Path::new(path).exists().then_some(()))
}

/// Asks until there is an answer, and gives up with a word about `what` never came.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("{what} never came").into());
        }
        std::thread::yield_now();
    }
}
