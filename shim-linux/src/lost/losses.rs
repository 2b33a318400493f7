//! Which files have lost bytes, and which synchronisations, now under way, may learn of it.

use pmemset_core::Errno;

use super::sync::{Condvar, Mutex, MutexGuard};

/// Files that are remembered, a power of two; when more have lost bytes than these, every source opened before counts
/// as lost.
pub(super) const ROOM: usize = 32;
/// Synchronisations at the same moment; one more waits for a place.
pub(super) const AT_ONCE: usize = 32;

/// A file of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// All zeros, like all that is empty here: memory that takes no room in a program's file.
const NO_FILE: File = File { device: 0, inode: 0 };

/// A file as a source has opened it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    /// The number of the last loss, of any file, before.
    pub(super) since: u64,
}

/// A file that has lost bytes, and the number of the loss, from 1 on.
#[derive(Clone, Copy, Debug)]
struct Loss {
    file: File,
    number: u64,
    cause: Errno,
}

/// A synchronisation, and its number, from 1 on; 0 is none.
#[derive(Clone, Copy, Debug)]
struct Sync {
    file: File,
    number: u64,
}

/// What every call changes comes first, in one or two cache lines, and one page.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    /// Whether a thread waits for a synchronisation to end.
    pub(super) awaited: bool,
    /// How many are under way.
    under_way: u32,
    /// The number of the last one that has begun.
    begun: u64,
    /// The number of the last loss of any file.
    lost: u64,
    /// Those under way.
    syncs: [Sync; AT_ONCE],
    /// The last losses, each in the place of its number.
    losses: [Loss; ROOM],
}

impl State {
    pub(super) const EMPTY: Self = Self {
        awaited: false,
        under_way: 0,
        begun: 0,
        lost: 0,
        syncs: [Sync { file: NO_FILE, number: 0 }; AT_ONCE],
        losses: [Loss { file: NO_FILE, number: 0, cause: Errno::from_raw(0) }; ROOM],
    };

    /// Fails where the file has lost bytes since it was opened.
    fn check(&self, opened: &Opened) -> Result<(), Errno> {
        let losses = self.lost.wrapping_sub(opened.since);
        if losses == 0 {
            return Ok(());
        }
        match self.losses.iter().find(|loss| loss.number > opened.since && loss.file == opened.file) {
            Some(loss) => Err(loss.cause),
            // What is no longer remembered may have been anybody's.
            None if losses > ROOM as u64 => Err(Errno::IO),
            None => Ok(()),
        }
    }

    fn note(&mut self, file: File, cause: Errno) {
        self.lost = self.lost.wrapping_add(1);
        #[allow(clippy::cast_possible_truncation, reason = "the low bits alone")]
        let place = self.lost as usize & (ROOM - 1);
        if let Some(loss) = self.losses.get_mut(place) {
            *loss = Loss { file, number: self.lost, cause };
        }
    }

    /// Returns whether a synchronisation of `file` is under way that is not newer than the number `begun`.
    fn is_under_way(&self, file: &File, begun: u64) -> bool {
        self.under_way != 0 && self.syncs.iter().any(|sync| sync.number.wrapping_sub(1) < begun && sync.file == *file)
    }
}

/// What the kernel has reported, to whomever, and who is asking.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Losses {
    pub(super) ended: Condvar,
    pub(super) state: Mutex<State>,
}

impl Losses {
    /// Returns the number of the last loss of any file.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().lost
    }

    /// Notes that a synchronisation of `file` begins, and returns its place.
    #[inline(never)]
    pub(super) fn begin(&self, file: &File) -> usize {
        let mut state = self.state.lock();
        loop {
            let number = state.begun.wrapping_add(1);
            if let Some((place, sync)) = state.syncs.iter_mut().enumerate().find(|(_, sync)| sync.number == 0) {
                *sync = Sync { file: *file, number };
                state.begun = number;
                state.under_way = state.under_way.wrapping_add(1);
                return place;
            }
            state = self.wait(state);
        }
    }

    /// Notes how the synchronisation in `place` has ended, and wakes who waits for that.
    ///
    /// One that went well comes back when all others of the file have ended that were under way then, and fails if the
    /// file has lost bytes since it was opened: the kernel may have reported to one of them what it did not report to
    /// this one. Whoever begins later finds it noted.
    #[inline(never)]
    pub(super) fn end(&self, opened: &Opened, place: usize, result: Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if let Some(sync) = state.syncs.get_mut(place) {
            sync.number = 0;
            state.under_way = state.under_way.wrapping_sub(1);
        }
        if core::mem::take(&mut state.awaited) {
            self.ended.notify_all();
        }
        if let Err(cause) = result {
            state.note(opened.file, cause);
            return Err(cause);
        }
        let begun = state.begun;
        while state.is_under_way(&opened.file, begun) {
            state = self.wait(state);
        }
        state.check(opened)
    }

    #[cold]
    #[inline(never)]
    fn wait<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.awaited = true;
        self.ended.wait(state)
    }
}
