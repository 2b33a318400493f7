//! Making sure that the bytes of a file exist and are backed by storage, before anything is mapped.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pmemset_core::error::PrepareError;
use pmemset_core::{Errno, Growth, Span};
use rustix::fd::BorrowedFd;
use rustix::fs::{self, FallocateFlags, Stat};
use rustix::io;
use rustix_futex_sync::Mutex;

use crate::errno::errno;
use crate::return_buffer;

use super::limit;
use super::open::FileSystem;

/// Whether stores to a mapping of the file are sure to find storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backing {
    /// The source may not grow, so nothing is allocated: a store to a hole of the file can raise `SIGBUS` when the file
    /// system is full.
    AsFound,
    /// Bytes are allocated before they are mapped, and the file system stores in place: ext2, ext3, ext4, XFS, tmpfs.
    /// Extents that XFS files share are copied.
    ///
    /// If somebody later punches holes into the file, or shares its extents again (`cp --reflink`), a store can raise
    /// `SIGBUS` when the file system is full. The next mapping allocates missing bytes again if the file has less
    /// storage than before.
    Allocated,
    /// Bytes are allocated before they are mapped, but the file system writes changed bytes elsewhere (btrfs, bcachefs,
    /// F2FS), or may do so: a store can raise `SIGBUS` when the file system is full.
    NotInPlace,
    /// The file system cannot allocate (`fallocate(2)`). New bytes are written as zeros. Holes stay holes, and a store
    /// to one can raise `SIGBUS` when the file system is full.
    WrittenWhenNew,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AsFound => "not allocated: stores to holes may raise SIGBUS when the file system is full",
            Self::Allocated => "allocated, and stored in place",
            Self::NotInPlace => "allocated, but the file system may store elsewhere",
            Self::WrittenWhenNew => "new bytes are written as zeros, holes stay holes",
        })
    }
}

/// One lock for all sources of one file in this process (and, seldom, of several files): it holds a count of how often
/// somebody came to rely on the length of one of them.
static FILES: [Mutex<u64>; 16] = [const { Mutex::new(0) }; 16];

/// What a source remembers of its file's length.
#[derive(Debug)]
pub(crate) struct Length {
    may_grow: bool,
    file_system: FileSystem,
    slot: usize,
    /// Bytes that were there when somebody looked; 0 when nobody has.
    known_bytes: AtomicU64,
    /// Bytes from the start that are known to be allocated; meaningful for a source that may grow.
    backed_bytes: AtomicU64,
    /// How much storage the file had when they were, or less.
    storage_bytes: AtomicU64,
    /// The last growth: its length, and the count of the lock then. Changed under the lock only.
    grown_bytes: AtomicU64,
    grown_count: AtomicU64,
    /// Set once `fallocate` has turned out not to exist here.
    cannot_allocate: AtomicBool,
}

impl Length {
    pub(crate) fn new(stat: &Stat, file_system: FileSystem, may_grow: bool) -> Self {
        let mixed = (stat.st_ino) ^ stat.st_dev.rotate_left(32);
        let spread = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60;
        Self {
            may_grow,
            file_system,
            slot: usize::try_from(spread).unwrap_or(0),
            known_bytes: AtomicU64::new(0),
            backed_bytes: AtomicU64::new(0),
            storage_bytes: AtomicU64::new(0),
            grown_bytes: AtomicU64::new(0),
            grown_count: AtomicU64::new(0),
            cannot_allocate: AtomicBool::new(false),
        }
    }

    pub(crate) const fn may_grow(&self) -> bool {
        self.may_grow
    }

    pub(crate) fn allow_growth(&mut self) {
        self.may_grow = true;
    }

    pub(crate) fn backing(&self) -> Backing {
        match self.file_system {
            _ if !self.may_grow => Backing::AsFound,
            _ if self.cannot_allocate.load(Ordering::Relaxed) => Backing::WrittenWhenNew,
            FileSystem::EXT | FileSystem::XFS | FileSystem::TMPFS => Backing::Allocated,
            _ => Backing::NotInPlace,
        }
    }

    pub(crate) const fn file_system(&self) -> FileSystem {
        self.file_system
    }

    fn lock(&self) -> rustix_futex_sync::MutexGuard<'static, u64> {
        let [first, ..] = &FILES;
        FILES.get(self.slot).unwrap_or(first).lock()
    }

    /// Forgets what lies behind `length_bytes`: the file ends there, for all that is known.
    #[inline(never)]
    pub(crate) fn is_now(&self, length_bytes: u64) {
        if length_bytes < self.known_bytes.load(Ordering::Relaxed) {
            self.known_bytes.fetch_min(length_bytes, Ordering::Relaxed);
        }
        if length_bytes < self.backed_bytes.load(Ordering::Relaxed) {
            self.backed_bytes.fetch_min(length_bytes, Ordering::Relaxed);
        }
    }

    /// Returns whether the file, which has `storage_bytes` of storage now, has all that it was given; else forgets it.
    #[inline]
    pub(crate) fn keeps_storage(&self, storage_bytes: u64) -> bool {
        let keeps = !self.may_grow || storage_bytes >= self.storage_bytes.load(Ordering::Relaxed);
        if !keeps {
            self.storage_bytes.store(storage_bytes, Ordering::Relaxed);
            self.backed_bytes.store(0, Ordering::Relaxed);
        }
        keeps
    }

    /// See [`Source::prepare`](pmemset_core::Source::prepare). No system call for what is known to be there.
    pub(crate) fn prepare(&self, fd: BorrowedFd<'_>, range: Span) -> Result<Option<Growth>, PrepareError> {
        if self.holds(range) { Ok(None) } else { self.prepare_slowly(fd, range) }
    }

    /// See [`Source::holds`](pmemset_core::Source::holds).
    pub(crate) fn holds(&self, range: Span) -> bool {
        let is_known = range.end() <= self.known_bytes.load(Ordering::Relaxed);
        let is_backed = !self.may_grow || range.end() <= self.backed_bytes.load(Ordering::Relaxed);
        is_known && is_backed
    }

    #[cold]
    #[inline(never)]
    fn prepare_slowly(&self, fd: BorrowedFd<'_>, range: Span) -> Result<Option<Growth>, PrepareError> {
        let mut count = self.lock();
        let (length_bytes, allocated_bytes) = size(fd).map_err(PrepareError::Length)?;
        self.keeps_storage(allocated_bytes);
        if range.end() > length_bytes && !self.may_grow {
            return Err(PrepareError::TooSmall { length_bytes });
        }
        if range.end() > length_bytes && !limit::allows(range.end()) {
            return Err(PrepareError::CannotGrow(Errno::FBIG));
        }
        if self.may_grow && range.end() > self.backed_bytes.load(Ordering::Relaxed) {
            // As many blocks as bytes: what holes there are can be no larger than the blocks of the file system's own
            // that are counted with them. Filling all of them costs little, and is done once.
            let is_dense = range.end() <= length_bytes && allocated_bytes >= length_bytes;
            let wanted = if is_dense { Span::between(0, length_bytes).unwrap_or(range) } else { range };
            self.allocate(fd, wanted, length_bytes).map_err(PrepareError::CannotGrow)?;
            if wanted.start() <= self.backed_bytes.load(Ordering::Relaxed) {
                self.backed_bytes.fetch_max(wanted.end(), Ordering::Relaxed);
            }
            let storage_bytes = size(fd).map_or(0, |(_, storage_bytes)| storage_bytes);
            self.storage_bytes.store(storage_bytes, Ordering::Relaxed);
        }
        // From now on this source relies on the length, so that nobody may take back a growth that came before.
        *count = count.wrapping_add(1);
        if range.end() <= length_bytes {
            self.known_bytes.store(length_bytes, Ordering::Relaxed);
            return Ok(None);
        }
        // What is new is not remembered yet: others must not come to rely on it without taking the lock.
        self.grown_bytes.store(range.end(), Ordering::Relaxed);
        self.grown_count.store(*count, Ordering::Relaxed);
        Ok(Some(Growth { from_bytes: length_bytes, to_bytes: range.end() }))
    }

    /// Allocates the bytes of `range`; lengthens the file, which has `length_bytes`, if it is too short.
    fn allocate(&self, fd: BorrowedFd<'_>, range: Span, length_bytes: u64) -> Result<(), Errno> {
        let result = in_pieces(range, &mut |piece| self.allocate_piece(fd, piece).map(|()| piece.length_bytes()));
        let result = match result {
            Err(io::Errno::OPNOTSUPP | io::Errno::NOSYS) => {
                self.cannot_allocate.store(true, Ordering::Relaxed);
                match range.starting_at(length_bytes) {
                    Some(new) => write_zeros(fd, new),
                    None => Ok(()),
                }
            }
            other => other,
        };
        result.map_err(|cause| {
            // Some file systems have lengthened the file by what they could.
            if size(fd).is_ok_and(|(now, _)| now > length_bytes && now <= range.end()) {
                let _ = io::retry_on_intr(|| fs::ftruncate(fd, length_bytes));
            }
            errno(cause)
        })
    }

    /// Allocates `piece`; extents that are shared with other files get storage of their own.
    fn allocate_piece(&self, fd: BorrowedFd<'_>, piece: Span) -> io::Result<()> {
        let allocate = |flags| fs::fallocate(fd, flags, piece.start(), piece.length_bytes());
        if self.file_system == FileSystem::XFS {
            match allocate(FallocateFlags::UNSHARE_RANGE) {
                Err(io::Errno::OPNOTSUPP | io::Errno::INVAL) => {}
                other => return other,
            }
        }
        allocate(FallocateFlags::empty())
    }

    /// Punches a hole into what nobody has mapped.
    pub(crate) fn give_back(&self, fd: BorrowedFd<'_>, range: Span) -> Result<(), Errno> {
        let _count = self.lock();
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let result = io::retry_on_intr(|| fs::fallocate(fd, flags, range.start(), range.length_bytes()));
        self.backed_bytes.fetch_min(range.start(), Ordering::Relaxed);
        let storage_bytes = size(fd).map_or(0, |(_, storage_bytes)| storage_bytes);
        self.storage_bytes.store(storage_bytes, Ordering::Relaxed);
        result.map_err(errno)
    }

    /// See [`Source::undo_growth`](pmemset_core::Source::undo_growth). Other processes are not seen.
    pub(crate) fn undo(&self, fd: BorrowedFd<'_>, growth: Growth) {
        let count = self.lock();
        let is_last = self.grown_bytes.load(Ordering::Relaxed) == growth.to_bytes
            && self.grown_count.load(Ordering::Relaxed) == *count;
        if is_last && size(fd).is_ok_and(|(now, _)| now == growth.to_bytes) {
            let _ = io::retry_on_intr(|| fs::ftruncate(fd, growth.from_bytes));
            self.is_now(growth.from_bytes);
            let storage_bytes = size(fd).map_or(0, |(_, storage_bytes)| storage_bytes);
            self.storage_bytes.fetch_min(storage_bytes, Ordering::Relaxed);
        }
    }
}

/// Returns the length of the file, and how much of it is allocated, both in bytes.
#[inline(never)]
pub(crate) fn size(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    const BLOCK_BYTES: u64 = 512;
    let stat = fs::fstat(fd);
    return_buffer::fill();
    let stat = stat.map_err(errno)?;
    let length_bytes = u64::try_from(stat.st_size).map_err(|_| Errno::OVERFLOW)?;
    let allocated_bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
    Ok((length_bytes, allocated_bytes))
}

/// Calls `step` until all of `range` is done: for all that is left, and for ever smaller pieces while signals interrupt
/// it.
///
/// `step` returns how many bytes it has done. Some file systems give up all that they have allocated when a signal
/// comes (tmpfs up to Linux 6.1 at least), so that a large range would start over at every tick of a timer.
///
/// # Errors
///
/// `EINTR` where even the smallest piece is interrupted again and again; else what `step` says.
#[inline(never)]
fn in_pieces(range: Span, step: &mut dyn FnMut(Span) -> io::Result<u64>) -> io::Result<()> {
    const SMALLEST_BYTES: u64 = 64 << 10;
    const PATIENCE: u32 = 100;
    let (mut piece_bytes, mut interrupted) = (range.length_bytes(), 0_u32);
    let mut rest = Some(range);
    while let Some(left) = rest {
        let piece = left.slice(0, piece_bytes.min(left.length_bytes())).unwrap_or(left);
        match step(piece) {
            Ok(0) => return Err(io::Errno::IO),
            Ok(done_bytes) => {
                rest = left.starting_at(left.start().saturating_add(done_bytes));
                interrupted = 0;
            }
            Err(io::Errno::INTR) if interrupted < PATIENCE => {
                interrupted = interrupted.saturating_add(1);
                piece_bytes = ((piece.length_bytes() / 2) & !(SMALLEST_BYTES - 1)).max(SMALLEST_BYTES);
            }
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

/// Lengthens a file by writing zeros, which takes storage on every file system.
#[inline(never)]
fn write_zeros(fd: BorrowedFd<'_>, range: Span) -> io::Result<()> {
    // A few zeros many times over, so that the program need not carry more.
    let zeros = [0_u8; 1024];
    let pages = [io::IoSlice::new(&zeros); 64];
    in_pieces(range, &mut |piece| {
        let left = usize::try_from(piece.length_bytes()).unwrap_or(usize::MAX);
        let written = match zeros.get(..left) {
            Some(few) => io::pwrite(fd, few, piece.start()),
            None => {
                let whole = left.checked_div(zeros.len()).unwrap_or(0);
                io::pwritev(fd, pages.get(..whole).unwrap_or(&pages), piece.start())
            }
        };
        written.map(|written| written as u64)
    })
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use rustix::fd::AsFd;
    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn zeros_lengthen_a_file_by_as_many_as_asked_for_and_touch_nothing_else() {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        for length_bytes in [1, 1023, 1024, 1025, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200_000] {
            let file = fs::open("/dev/shm", flags, Mode::RUSR | Mode::WUSR).unwrap();
            io::pwrite(&file, b"before", 0).unwrap();
            write_zeros(file.as_fd(), Span::new(6, length_bytes).unwrap()).unwrap();
            let mut found = vec![7; 6 + length_bytes as usize + 1];
            assert_eq!(io::pread(&file, &mut found[..], 0).unwrap(), 6 + length_bytes as usize);
            let model: Vec<u8> = b"before".iter().copied().chain((0..length_bytes).map(|_| 0)).chain([7]).collect();
            assert!(found == model, "{length_bytes}");
        }
    }

    /// A kernel that is interrupted before it has allocated more than `bytes`.
    fn interrupted(range: Span, bytes: u64) -> (io::Result<()>, Vec<Span>) {
        let mut done = Vec::new();
        let result = in_pieces(range, &mut |piece| {
            if piece.length_bytes() > bytes {
                return Err(io::Errno::INTR);
            }
            done.push(piece);
            Ok(piece.length_bytes())
        });
        (result, done)
    }

    #[test]
    fn a_timer_does_not_keep_a_file_from_growing() {
        for (start, length_bytes) in [(0, 256 << 20), (4096, (1 << 20) + 4096), (5, 1), (0, 1 << 40)] {
            let range = Span::new(start, length_bytes).unwrap();
            for bytes in [u64::MAX, length_bytes / 2 + 1, (length_bytes / 1000).max(64 << 10)] {
                let (result, pieces) = interrupted(range, bytes);
                assert_eq!(result, Ok(()), "{range}, {bytes}");
                // All of it, each byte once, in as few pieces as may be.
                let mut at = start;
                for piece in &pieces {
                    assert_eq!(piece.start(), at);
                    at = piece.end();
                }
                assert_eq!(at, range.end());
                assert!(
                    pieces.len() as u64 <= 2 * (length_bytes / bytes + 1) + 1,
                    "{} pieces of {range}",
                    pieces.len()
                );
            }
        }
    }

    #[test]
    fn whoever_is_always_interrupted_hears_of_it() {
        let range = Span::new(0, 1 << 40).unwrap();
        let (result, pieces) = interrupted(range, 4096);
        assert_eq!((result, pieces.len()), (Err(io::Errno::INTR), 0));
        let mut calls = 0;
        let result = in_pieces(range, &mut |_| {
            calls += 1;
            Err(if calls < 3 { io::Errno::INTR } else { io::Errno::NOSPC })
        });
        assert_eq!((result, calls), (Err(io::Errno::NOSPC), 3));
    }

    #[test]
    fn only_file_systems_that_store_in_place_are_called_allocated() {
        let stat = fs::stat("/dev/full").unwrap();
        let backing = |file_system, may_grow| Length::new(&stat, file_system, may_grow).backing();
        for in_place in [FileSystem::EXT, FileSystem::XFS, FileSystem::TMPFS] {
            assert_eq!((backing(in_place, true), backing(in_place, false)), (Backing::Allocated, Backing::AsFound));
        }
        let btrfs = FileSystem(0x9123_683e);
        assert_eq!((backing(btrfs, true), backing(btrfs, false)), (Backing::NotInPlace, Backing::AsFound));
    }

    #[test]
    fn zeros_that_cannot_be_written_are_an_error() {
        let file = fs::open("/dev/full", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(write_zeros(file.as_fd(), Span::new(0, 1).unwrap()), Err(io::Errno::NOSPC));
    }
}
