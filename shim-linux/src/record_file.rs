//! A shutdown record in a file, replaced as a whole and durably.

use core::ffi::CStr;
use core::fmt;

use lock_api::Mutex;
use pmemset_core::support::errors;
use pmemset_core::{Errno, ShutdownRecord, code};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io;
use rustix::path::Arg;
use rustix_futex_sync::RawMutex;

use crate::errno::errno;
use crate::fd::{Fd, until_nul};
use crate::nd::sysfs;

errors! {
    /// Why a shutdown record could not be read or stored.
    pub enum RecordError {
        /// The name is empty, has a slash in it, or is too long.
        InvalidName = code::INVALID_SOURCE_PATH => "not a name for a file with a shutdown record";
        /// Another [`RecordFile`] is in charge of this record, in this process or in another one.
        InUse = Errno::BUSY.code() => "the shutdown record is in use by another program, or a second time by this one";
        /// The file is not 536 bytes long: it is no record, and nothing was read from it.
        NotARecord {
            /// Its length in bytes; 537 if it has more.
            length_bytes: usize,
        } = Errno::INVAL.code() => "a shutdown record has {} bytes, and the file {}",
            ShutdownRecord::BYTES, Length(length_bytes);
        /// The kernel's reason.
        Failed(cause: Errno) = cause.code() => "cannot read or store the shutdown record: {cause}";
    }
}

/// The length of a file that was read to one byte behind a record.
struct Length(usize);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > ShutdownRecord::BYTES { f.write_str("more") } else { write!(f, "{}", self.0) }
    }
}

/// Stores the shutdown record of one source in a file, for the event [`SdsUpdate`](pmemset_core::Event::SdsUpdate).
///
/// The medium of the file must survive the failures that the record is to detect. It is best on another file system
/// than the source.
///
/// A record has one `RecordFile` at a time. Beside the file `NAME` there is an empty file, `lock.NAME`, of which the
/// `RecordFile` holds a lock (`flock(2)`) until it is dropped; do not remove this file meanwhile. A child of `fork(2)`
/// shares the lock, and holds it until it ends or runs another program. A file `next.NAME` is removed before a record
/// is written there.
///
/// ```
/// use pmemset_linux::observer::from_fn;
/// use pmemset_linux::{Answer, Checked, Config, Event, FileSource, Granularity, Linux, MapConfig};
/// use pmemset_linux::{OpenOptions, RecordFile, Set, StripedRwLock};
///
/// type Pool = Checked<FileSource, StripedRwLock>;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("pmemset-keeper-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// let record = RecordFile::new(&folder, b"pool.sds")?;
/// let file = FileSource::open(folder.join("pool"), OpenOptions::new().create_if_needed())?;
/// let pool: &Pool = &Checked::new(file).shutdown_record(record.load()?.unwrap_or_default());
/// let keep = from_fn(|event: &Event<'_, &Pool>| match event {
///     Event::SdsUpdate { record: now, sequence, .. } if record.keep(now, *sequence).is_err() => Answer::Refuse,
///     _ => Answer::Proceed,
/// });
/// let config = Config::new(Granularity::CacheLine).observer(&keep);
/// let set = Set::with_capacity(Linux::new(), config, 64);
/// match set.map(pool, &MapConfig::new().length(4096)) {
///     Ok(part) => println!("{:?}", part.shutdown_verdict().map(|verdict| verdict.state)),
///     Err(error) => println!("{error}"), // on a disk, which counts no unsafe shutdowns
/// }
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
pub struct RecordFile {
    directory: Fd,
    /// Locked as long as it is open.
    _lock: Fd,
    /// The name that a record is written under, which ends with the file's own.
    temporary: Name,
    /// The number of the record in the file.
    kept: Mutex<RawMutex, u64>,
}

/// The longest name of a file in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The name of a file, and the NUL behind it.
type Name = [u8; NAME_MAX_BYTES + 1];

const NEXT: &[u8; 5] = b"next.";
const LOCK: &[u8; 5] = b"lock.";

impl RecordFile {
    /// Opens `directory`, and takes the lock of the record `name` in it.
    ///
    /// ```
    /// use pmemset_linux::{RecordError, RecordFile};
    ///
    /// # let folder = std::env::temp_dir().join(format!("pmemset-record-{}", std::process::id()));
    /// # std::fs::create_dir(&folder)?;
    /// let record = RecordFile::new(&folder, b"pool.sds")?;
    /// let second = RecordFile::new(&folder, b"pool.sds");
    /// assert_eq!(second.err(), Some(RecordError::InUse)); // another program has the pool
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RecordError`]; `InUse` while another `RecordFile` has the record. Nothing has changed then, except that an
    /// empty lock file may have been made.
    pub fn new(directory: impl Arg, name: &[u8]) -> Result<Self, RecordError> {
        let mut temporary = [0; NAME_MAX_BYTES + 1];
        let fits = NEXT.len().saturating_add(name.len()) <= NAME_MAX_BYTES;
        if matches!(name, b"" | b"." | b"..") || !fits || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(RecordError::InvalidName);
        }
        if let Some((prefix, own)) = temporary.split_first_chunk_mut() {
            *prefix = *LOCK;
            own.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = directory.into_with_c_str(|directory| Fd::open(CWD, directory, flags, Mode::empty()));
        let directory = opened.map_err(|cause| RecordError::Failed(errno(cause)))?;
        let lock = Self::lock(&directory, until_nul(&temporary).unwrap_or_default())?;
        if let Some(prefix) = temporary.first_chunk_mut() {
            *prefix = *NEXT;
        }
        Ok(Self { directory, _lock: lock, temporary, kept: Mutex::new(0) })
    }

    /// Opens the lock file, whatever it is, and takes the lock. Nothing is written to it.
    fn lock(directory: &Fd, name: &CStr) -> Result<Fd, RecordError> {
        let lock = open(directory, name, OFlags::RDWR | OFlags::CREATE).map_err(RecordError::Failed)?;
        match fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(io::Errno::WOULDBLOCK) => Err(RecordError::InUse),
            Err(cause) => Err(RecordError::Failed(errno(cause))),
        }
    }

    fn temporary(&self) -> &CStr {
        until_nul(&self.temporary).unwrap_or_default()
    }

    fn name(&self) -> &CStr {
        self.temporary.get(NEXT.len()..).and_then(until_nul).unwrap_or_default()
    }

    /// Returns the record that the last run has stored; `None` if there is none. Make a source with it.
    ///
    /// Restarts the numbering of records: call it before, and not while, a source with this record is in use.
    ///
    /// ```
    /// use pmemset_linux::{RecordFile, ShutdownRecord};
    ///
    /// # let folder = std::env::temp_dir().join(format!("pmemset-load-{}", std::process::id()));
    /// # std::fs::create_dir(&folder)?;
    /// let keeper = RecordFile::new(&folder, b"pool.sds")?;
    /// let record: ShutdownRecord = keeper.load()?.unwrap_or_default(); // none: never used
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RecordError`]. A file that cannot be read is an error, not `None`.
    pub fn load(&self) -> Result<Option<ShutdownRecord>, RecordError> {
        let mut kept = self.kept.lock();
        let record = match open(&self.directory, self.name(), OFlags::RDONLY) {
            Ok(file) => Some(Self::read(file.as_fd())?),
            Err(Errno::NOENT) => None,
            Err(cause) => return Err(RecordError::Failed(cause)),
        };
        *kept = 0;
        Ok(record)
    }

    fn read(file: BorrowedFd<'_>) -> Result<ShutdownRecord, RecordError> {
        let mut bytes = [0; ShutdownRecord::BYTES + 1];
        let length_bytes = sysfs::fill(file, &mut bytes).map_err(|cause| RecordError::Failed(errno(cause)))?;
        match bytes.first_chunk() {
            Some(record) if length_bytes == ShutdownRecord::BYTES => Ok(ShutdownRecord::from_bytes(record)),
            _ => Err(RecordError::NotARecord { length_bytes }),
        }
    }

    /// Stores `record`, unless a newer one was stored already; durable when it returns.
    ///
    /// The file has either the old or the new record at any time, also after a power cut. Calls of several threads wait
    /// for each other.
    ///
    /// ```
    /// use pmemset_linux::{RecordFile, ShutdownRecord};
    ///
    /// # let folder = std::env::temp_dir().join(format!("pmemset-keep-{}", std::process::id()));
    /// # std::fs::create_dir(&folder)?;
    /// let keeper = RecordFile::new(&folder, b"pool.sds")?;
    /// keeper.keep(&ShutdownRecord::new(), 1)?; // record and number come with the event SdsUpdate
    /// assert_eq!(keeper.load()?, Some(ShutdownRecord::new()));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The kernel's reason. The file then has the old record, or the new one, which may not be durable. Answer the
    /// event with [`Refuse`](pmemset_core::Answer::Refuse).
    pub fn keep(&self, record: &ShutdownRecord, sequence: u64) -> Result<(), Errno> {
        let mut kept = self.kept.lock();
        if sequence < *kept {
            return Ok(());
        }
        let written = self.write(&record.to_bytes());
        if written.is_err() {
            self.unlink_temporary();
        }
        written?;
        *kept = sequence;
        Ok(())
    }

    /// Removes what a power cut has left, or somebody has put there. What cannot be removed is found in the way.
    fn unlink_temporary(&self) {
        let _ = fs::unlinkat(&self.directory, self.temporary(), AtFlags::empty());
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        self.unlink_temporary();
        // A file that nobody else has: neither another name's content nor a pipe can be behind it.
        let file = open(&self.directory, self.temporary(), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match io::retry_on_intr(|| io::write(&file, rest)).map_err(errno)? {
                0 => return Err(Errno::NOSPC),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        let renamed = fs::fsync(&file)
            .and_then(|()| fs::renameat(&self.directory, self.temporary(), &self.directory, self.name()));
        renamed.and_then(|()| fs::fsync(&self.directory)).map_err(errno)
    }
}

/// Opens `name` itself, never what a link leads to, and does not wait for the other end of a pipe.
#[inline(never)]
fn open(directory: &Fd, name: &CStr, flags: OFlags) -> Result<Fd, Errno> {
    let careful = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    Fd::open(directory.as_fd(), name, flags | careful, Mode::RUSR | Mode::WUSR).map_err(errno)
}

impl fmt::Debug for RecordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordFile").field("name", &self.name()).finish_non_exhaustive()
    }
}
