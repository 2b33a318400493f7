//! Sources: files, device DAX, and what libpmem2 has opened.

use alloc::sync::Arc;
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use lock_api::Mutex;
use pmemset_core::{
    BadBlockPolicy, Errno, Granularity, GranularityLimit, Health, LiveRecord, LiveRecordRef, PartState, ShutdownRecord,
    Source as _, forward_health, forward_source,
};
use pmemset_devdax::{AnyError, AnySource, DaxOptions, DaxSource};
use pmemset_linux::{FileSource, OpenError, OpenOptions, Process, StripedRwLock};
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;
use rustix_futex_sync::RawMutex;

use super::heap;
use super::thread::fail;
use crate::code;

/// `struct pmem2_source`, which is libpmem2's.
pub enum Pmem2Source {}

unsafe extern "C" {
    fn pmemset_pmem2_fd_(source: *const Pmem2Source, fd: *mut c_int) -> c_int;
    fn getenv(name: *const c_char) -> *const c_char;
}

/// `struct pmemset_source`: what C has is a share of it, and each segment has another.
pub struct Source {
    source: AnySource,
    /// Whether its file may grow.
    grows: bool,
    pmem2: AtomicPtr<Pmem2Source>,
    /// Its shutdown record, once it has one.
    shutdown: AtomicPtr<LiveRecord<StripedRwLock>>,
    /// Where the state goes that each map call finds.
    state: AtomicPtr<c_int>,
    detects_bad_blocks: AtomicBool,
    /// The number of the newest record that was told.
    told: AtomicU64,
    /// Taken while a record is attached.
    attaching: Mutex<RawMutex, ()>,
}

impl Source {
    fn new(source: AnySource, grows: bool, pmem2: *mut Pmem2Source) -> Self {
        Self {
            source,
            grows,
            pmem2: AtomicPtr::new(pmem2),
            shutdown: AtomicPtr::new(core::ptr::null_mut()),
            state: AtomicPtr::new(core::ptr::null_mut()),
            detects_bad_blocks: AtomicBool::new(false),
            told: AtomicU64::new(0),
            attaching: Mutex::new(()),
        }
    }

    pub(crate) const fn grows(&self) -> bool {
        self.grows
    }

    /// Has bad blocks looked for at each mapping, or not.
    pub(crate) fn detect_bad_blocks(&self, value: bool) {
        self.detects_bad_blocks.store(value, Ordering::Relaxed);
    }

    pub(crate) fn pmem2(&self) -> *mut Pmem2Source {
        self.pmem2.load(Ordering::Relaxed)
    }

    /// Returns whether nothing newer than record number `sequence` has been told.
    pub(crate) fn is_latest(&self, sequence: u64) -> bool {
        self.told.fetch_max(sequence, Ordering::AcqRel) <= sequence
    }

    /// Tells the C program the state that a map call has found.
    pub(crate) fn found(&self, state: PartState) {
        let place = self.state.load(Ordering::Acquire);
        if !place.is_null() {
            // SAFETY: what the C program has given for this in pmemset_source_set_sds.
            unsafe { place.write(state as c_int) };
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: NULL, or made by `heap::new_with`; and the last who has it goes.
        unsafe { heap::delete(self.shutdown.get_mut()) };
    }
}

/// Returns the granularity that the C program's environment forces, as libpmem2 reads it (PMEM2_FORCE_GRANULARITY).
fn forced() -> Option<Granularity> {
    // SAFETY: the name ends in NUL.
    let value = unsafe { getenv(c"PMEM2_FORCE_GRANULARITY".as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: what getenv(3) returns ends in NUL.
    let value = unsafe { CStr::from_ptr(value) }.to_bytes();
    let names = [
        ("BYTE", Granularity::Byte),
        ("CACHE_LINE", Granularity::CacheLine),
        ("CACHELINE", Granularity::CacheLine),
        ("PAGE", Granularity::Page),
    ];
    names.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes())).map(|(_, granularity)| *granularity)
}

// SAFETY: every call goes to the source inside, which keeps the promises.
unsafe impl pmemset_core::Source for Source {
    type Space = Process;

    forward_source!(self { Self { source, .. } => source } except granularity, granularity_limit, health);

    fn granularity(&self) -> Result<Granularity, Errno> {
        forced().map_or_else(|| self.source.granularity(), Ok)
    }

    fn granularity_limit(&self) -> GranularityLimit {
        forced().map_or_else(|| self.source.granularity_limit(), |_| GranularityLimit::Declared)
    }

    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Source {
    forward_health!(self => self.source.health());

    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        // SAFETY: NULL, or a record that the source keeps until it goes itself.
        unsafe { self.shutdown.load(Ordering::Acquire).as_ref() }.map(LiveRecord::handle)
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        let detects = self.detects_bad_blocks.load(Ordering::Relaxed);
        if detects { BadBlockPolicy::Required } else { BadBlockPolicy::Off }
    }
}

/// Runs `open`, and makes `*src` lead to what it has opened, or to nothing.
///
/// # Safety
///
/// `src` is NULL or writable.
unsafe fn hand_out(src: *mut *const Source, open: impl FnOnce() -> Result<Source, c_int>) -> c_int {
    if src.is_null() {
        return fail(code::EINVAL, "no place for the new source: the argument is NULL");
    }
    // SAFETY: as the caller promises.
    unsafe { src.write(core::ptr::null()) };
    match open() {
        Ok(source) => {
            // SAFETY: as the caller promises.
            unsafe { src.write(Arc::into_raw(Arc::new(source))) };
            0
        }
        Err(code) => code,
    }
}

/// Returns the text that `text` leads to.
///
/// # Safety
///
/// It is NULL, or ends in NUL and outlives the call.
unsafe fn path<'t>(text: *const c_char) -> Result<&'t CStr, c_int> {
    if text.is_null() {
        return Err(fail(code::INVALID_SOURCE_PATH, "no path: the argument is NULL"));
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// Returns a share of the source that the C program has.
///
/// # Safety
///
/// `src` is NULL, or a source that is not deleted meanwhile.
pub(crate) unsafe fn share(src: *const Source) -> Option<Arc<Source>> {
    if src.is_null() {
        return None;
    }
    // SAFETY: as the caller promises: made by `Arc::into_raw`, and the C program's own share is still there.
    unsafe { Arc::increment_strong_count(src) };
    // SAFETY: the share made just now.
    Some(unsafe { Arc::from_raw(src) })
}

fn opened(path: &CStr, error: AnyError, flags: u64) -> c_int {
    let code = match error {
        AnyError::File(OpenError::InvalidFileType { kind: FileType::Directory }) => code::EISDIR,
        // With any flag, libpmemset says what open(2) has said.
        AnyError::File(OpenError::InvalidPath(Errno::NOENT)) if flags != 0 => code::ENOENT,
        error => error.code(),
    };
    fail(code, format_args!("{}: {error}", path.to_bytes().escape_ascii()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_from_file(src: *mut *const Source, file: *const c_char) -> c_int {
    // SAFETY: the caller's pointers.
    unsafe { pmemset_xsource_from_file(src, file, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_xsource_from_file(src: *mut *const Source, file: *const c_char, flags: u64) -> c_int {
    let open = || {
        // SAFETY: the caller's pointer.
        let path = unsafe { path(file) }?;
        let options = OpenOptions::from_raw_flags(flags).map_err(|error| fail(error.code(), error))?;
        let source = AnySource::open(path, options).map_err(|error| opened(path, error, flags))?;
        let grows = matches!(source, AnySource::File(_)) && flags & 4 == 0;
        Ok(Source::new(source, grows, core::ptr::null_mut()))
    };
    // SAFETY: the caller's pointer.
    unsafe { hand_out(src, open) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_from_temporary(src: *mut *const Source, dir: *const c_char) -> c_int {
    let open = || {
        // SAFETY: the caller's pointer.
        let path = unsafe { path(dir) }?;
        let source = FileSource::temporary(path);
        let source =
            source.map_err(|error| fail(error.code(), format_args!("{}: {error}", path.to_bytes().escape_ascii())))?;
        Ok(Source::new(AnySource::File(source), true, core::ptr::null_mut()))
    };
    // SAFETY: the caller's pointer.
    unsafe { hand_out(src, open) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_from_pmem2(src: *mut *const Source, pmem2_src: *mut Pmem2Source) -> c_int {
    let open = || {
        if pmem2_src.is_null() {
            return Err(fail(code::INVALID_PMEM2_SOURCE, "the source of libpmem2 is NULL"));
        }
        let mut number = -1;
        // SAFETY: the caller's pointer is libpmem2's; `number` is writable.
        let code = unsafe { pmemset_pmem2_fd_(pmem2_src, &raw mut number) };
        if code != 0 || number < 0 {
            return Err(fail(if code == 0 { code::EINVAL } else { code }, "the source of libpmem2 has no descriptor"));
        }
        // SAFETY: libpmem2's, open while the source is.
        let theirs = unsafe { BorrowedFd::borrow_raw(number) };
        // A descriptor of our own: the caller may close theirs while we still need it.
        let own = rustix::io::fcntl_dupfd_cloexec(theirs, 0);
        let own =
            own.map_err(|cause| fail(cause.raw_os_error().wrapping_neg(), "the descriptor cannot be duplicated"))?;
        let stat = rustix::fs::fstat(&own);
        let stat =
            stat.map_err(|cause| fail(cause.raw_os_error().wrapping_neg(), "the descriptor cannot be asked about"))?;
        let source = if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice {
            DaxSource::from_owned_fd(own, DaxOptions::new())
                .map(AnySource::Dax)
                .map_err(|error| fail(error.code(), error))?
        } else {
            FileSource::from_owned_fd(own).map(AnySource::File).map_err(|error| fail(error.code(), error))?
        };
        Ok(Source::new(source, false, pmem2_src))
    };
    // SAFETY: the caller's pointer.
    unsafe { hand_out(src, open) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_delete(src: *mut *const Source) -> c_int {
    if src.is_null() {
        return 0;
    }
    // SAFETY: the caller's pointer.
    let source = unsafe { src.replace(core::ptr::null()) };
    if !source.is_null() {
        // SAFETY: made by `Arc::into_raw`, and the C program has given up its share.
        let share = unsafe { Arc::from_raw(source) };
        share.state.store(core::ptr::null_mut(), Ordering::Release);
        share.pmem2.store(core::ptr::null_mut(), Ordering::Relaxed);
    }
    0
}

/// Gives the source a shutdown record, and the place where each map call tells its state.
pub(crate) fn attach(source: &Arc<Source>, record: ShutdownRecord, state: *mut c_int) -> c_int {
    let _attaching = source.attaching.lock();
    if !source.shutdown.load(Ordering::Acquire).is_null() {
        return fail(code::SDS_ALREADY_SET, "the source has a shutdown record already");
    }
    // C's share and this one.
    if Arc::strong_count(source) > 2 {
        return fail(code::EBUSY, "the source is mapped: give it a shutdown record before");
    }
    let Some(cell) = heap::new_with(|_| LiveRecord::new(record)) else {
        return fail(code::ENOMEM, "out of memory");
    };
    source.state.store(state, Ordering::Release);
    source.shutdown.store(cell, Ordering::Release);
    0
}
