//! Which files have lost bytes: the kernel tells it once for each open file, which several sources may share.

use core::sync::atomic::{AtomicU64, Ordering};

use pmemset_core::Errno;
use rustix::fs::Dev;
use rustix_futex_sync::Mutex;

/// Files that are remembered; when more have lost bytes than these, every source opened before counts as lost.
const ROOM: usize = 32;

/// A file that has lost bytes, and the number of the loss, from 1 on.
#[derive(Clone, Copy)]
struct Loss {
    device: Dev,
    inode: u64,
    number: u64,
    cause: Errno,
}

/// All zeros: memory that takes no room in a program's file.
const NONE: Loss = Loss { device: 0, inode: 0, number: 0, cause: Errno::from_raw(0) };

static COUNT: AtomicU64 = AtomicU64::new(0);
static LOSSES: Mutex<[Loss; ROOM]> = Mutex::new([NONE; ROOM]);

/// Since when a source looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(u64);

impl Since {
    pub(crate) fn now() -> Self {
        Self(COUNT.load(Ordering::Acquire))
    }

    /// Fails where the file has lost bytes since, whichever of its sources was told. One load, while no file has.
    pub(crate) fn check(self, device: Dev, inode: u64) -> Result<(), Errno> {
        if COUNT.load(Ordering::Acquire) == self.0 { Ok(()) } else { self.look(device, inode) }
    }

    #[cold]
    fn look(self, device: Dev, inode: u64) -> Result<(), Errno> {
        let losses = LOSSES.lock();
        let is_it = |loss: &&Loss| loss.number > self.0 && loss.device == device && loss.inode == inode;
        if let Some(loss) = losses.iter().find(is_it) {
            return Err(loss.cause);
        }
        let forgotten = losses.iter().all(|loss| loss.number > self.0);
        if forgotten { Err(Errno::IO) } else { Ok(()) }
    }
}

/// Remembers that the file has lost bytes.
#[cold]
pub(crate) fn note(device: Dev, inode: u64, cause: Errno) {
    let mut losses = LOSSES.lock();
    let number = COUNT.load(Ordering::Relaxed).wrapping_add(1);
    if let Some(oldest) = losses.iter_mut().min_by_key(|loss| loss.number) {
        *oldest = Loss { device, inode, number, cause };
    }
    COUNT.store(number, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the memory is the process's.
    #[test]
    fn sources_that_were_open_then_are_told_and_no_others() {
        let before = Since::now();
        note(7, 1, Errno::NOSPC);
        let after = Since::now();
        assert_eq!(before.check(7, 1), Err(Errno::NOSPC));
        assert_eq!((before.check(7, 2), before.check(8, 1)), (Ok(()), Ok(())));
        assert_eq!(after.check(7, 1), Ok(()));
        for inode in 2..=ROOM as u64 {
            note(7, inode, Errno::IO);
            assert_eq!(before.check(7, 1), Err(Errno::NOSPC));
        }
        // What is no longer remembered may have been anybody's.
        note(7, 1 + ROOM as u64, Errno::IO);
        assert_eq!((before.check(7, 1), before.check(9, 9)), (Err(Errno::IO), Err(Errno::IO)));
        assert_eq!(Since::now().check(7, 2), Ok(()));
    }
}
