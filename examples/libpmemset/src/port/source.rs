//! Sources that the C program describes by a structure (`struct pmemset_port_source`).

use core::ffi::{c_char, c_int, c_uint, c_void};

use pmemset_core::error::{BadBlocksError, ClearError, DeviceError, MapFailure, McsafeError};
use pmemset_core::support::check_bounds;
use pmemset_core::{
    BadBlockPolicy, BadBlocks, DeepFlush, DeviceId, Errno, Extent, FailedWriteBack, Granularity, Health, LiveRecord,
    LiveRecordRef, PartState, Platform, ShutdownRecord, Span,
};

use super::Pmem2Source;
use super::lock::{Guarded, Lock};
use super::table::{Port, Range, result, table};
use crate::code;

/// `struct pmemset_port_source`, which is `struct pmemset_source` too: what the program says, and what the library
/// keeps.
#[repr(C)]
pub struct Source {
    context: *mut c_void,
    length: u64,
    alignment: usize,
    granularity: c_uint,
    granule: c_uint,
    fixed: *mut c_void,
    record: *mut c_void,
    kept: Kept,
}

/// What the library keeps: the last field of the header's structure.
#[repr(C, align(8))]
struct Kept {
    failed: FailedWriteBack,
    changing: Guarded<Changing>,
}

#[derive(Clone, Copy)]
struct Changing {
    shutdown: Option<&'static LiveRecord<Lock>>,
    /// Where the state goes that each map call finds.
    state: *mut c_int,
    /// The number of the newest record that was told.
    told: u64,
    /// Mappings of the source.
    mapped: usize,
    detects_bad_blocks: bool,
}

/// Bytes of the header's `private_`, and of `PMEMSET_PORT_RECORD_WORDS`.
const PRIVATE_BYTES: usize = 8 * 8;
const RECORD_BYTES: usize = 160 * 8;
const _: () = assert!(size_of::<Kept>() <= PRIVATE_BYTES && align_of::<Kept>() == 8);
const _: () = assert!(size_of::<LiveRecord<Lock>>() <= RECORD_BYTES && align_of::<LiveRecord<Lock>>() <= 8);

// SAFETY: the pointers are the program's, which are passed on or written to under the lock.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

/// What a set has of a source: the program leaves it where it is while it is mapped.
pub(crate) type SourceHandle = &'static Source;

/// Returns the source as C has it.
pub(crate) fn pointer(source: &SourceHandle) -> *mut Source {
    core::ptr::from_ref::<Source>(source).cast_mut()
}

/// Returns the source that the C program has.
///
/// # Safety
///
/// `src` is NULL, or a source that is not deleted while it is mapped.
pub(crate) unsafe fn share(src: *const Source) -> Option<SourceHandle> {
    // SAFETY: as the caller promises.
    unsafe { src.as_ref() }
}

/// Gives the source a shutdown record, and the place where each map call tells its state.
pub(crate) fn attach(source: &SourceHandle, record: ShutdownRecord, state: *mut c_int) -> c_int {
    let mut changing = source.kept.changing.write();
    if changing.shutdown.is_some() {
        return code::SDS_ALREADY_SET;
    }
    if changing.mapped > 0 {
        return code::EBUSY;
    }
    let place: *mut LiveRecord<Lock> = source.record.cast();
    if place.is_null() {
        return code::ENOMEM;
    }
    // SAFETY: the program's memory for this, as large and as aligned as the header asks.
    unsafe { place.write(LiveRecord::new(record)) };
    // SAFETY: made just now; the program leaves it alone while the source is there.
    changing.shutdown = Some(unsafe { &*place });
    changing.state = state;
    0
}

impl Source {
    /// A source does not grow here.
    #[allow(clippy::unused_self, reason = "files do")]
    pub(crate) const fn grows(&self) -> bool {
        false
    }

    #[allow(clippy::unused_self, reason = "others have one of libpmem2")]
    pub(crate) const fn pmem2(&self) -> *mut Pmem2Source {
        core::ptr::null_mut()
    }

    /// Has bad blocks looked for at each mapping, or not.
    pub(crate) fn detect_bad_blocks(&self, value: bool) {
        self.kept.changing.write().detects_bad_blocks = value;
    }

    /// Returns whether nothing newer than record number `sequence` has been told.
    pub(crate) fn is_latest(&self, sequence: u64) -> bool {
        let mut changing = self.kept.changing.write();
        changing.told = changing.told.max(sequence);
        changing.told == sequence
    }

    /// Tells the C program the state that a map call has found.
    pub(crate) fn found(&self, state: PartState) {
        let place = self.kept.changing.read().state;
        if !place.is_null() {
            // SAFETY: what the C program has given for this in pmemset_source_set_sds.
            unsafe { place.write(state as c_int) };
        }
    }

    /// Counts mappings: one more, or one less.
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut changing = self.kept.changing.write();
        changing.mapped = change(changing.mapped);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_from_port(src: *mut *mut Source, description: *mut Source) -> c_int {
    if src.is_null() {
        return code::EINVAL;
    }
    // SAFETY: the caller's pointer.
    unsafe { src.write(core::ptr::null_mut()) };
    // A place for what is kept, which may hold anything: no reference to all of it yet.
    let (described, page) = (description.cast::<Described>(), Port.page_size_bytes());
    // SAFETY: the caller's pointer, to what begins like this.
    let Some(described) = (unsafe { described.as_mut() }) else { return code::EINVAL };
    if table().is_none() || described.granularity > 2 || described.length == 0 {
        return code::EINVAL;
    }
    let alignment = if described.alignment == 0 { page } else { described.alignment };
    let granule = if described.granule == 0 { 1 } else { described.granule };
    if !alignment.is_power_of_two() || !granule.is_power_of_two() {
        return code::EINVAL;
    }
    (described.alignment, described.granule) = (alignment, granule);
    let changing =
        Changing { shutdown: None, state: core::ptr::null_mut(), told: 0, mapped: 0, detects_bad_blocks: false };
    let kept = Kept { failed: FailedWriteBack::new(), changing: Guarded::new(changing) };
    // SAFETY: a field of what the caller's pointer leads to.
    let place = unsafe { &raw mut (*description).kept };
    // SAFETY: as above.
    unsafe { place.write(kept) };
    // SAFETY: the caller's pointer.
    unsafe { src.write(description) };
    0
}

/// What of the structure the program writes.
#[repr(C)]
struct Described {
    context: *mut c_void,
    length: u64,
    alignment: usize,
    granularity: c_uint,
    granule: c_uint,
}

const _: () = assert!(core::mem::offset_of!(Described, granule) == core::mem::offset_of!(Source, granule));

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_delete(src: *mut *mut Source) -> c_int {
    if src.is_null() {
        return 0;
    }
    // SAFETY: the caller's pointer.
    let inside = unsafe { src.read() };
    // SAFETY: NULL, or a source.
    if unsafe { inside.as_ref() }.is_some_and(|source| source.kept.changing.read().mapped > 0) {
        return code::EBUSY;
    }
    // SAFETY: the caller's pointer.
    unsafe { src.write(core::ptr::null_mut()) };
    0
}

fn address(window: Extent) -> *mut c_void {
    core::ptr::with_exposed_provenance_mut(window.start())
}

/// What `map` returns besides 0 and an errno: `PMEMSET_PORT_WINDOW_LOST`.
const WINDOW_LOST: c_int = 1;

// SAFETY: the table's functions keep these promises, as the header asks.
unsafe impl pmemset_core::Source for Source {
    type Space = ();

    fn space(&self) {}

    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.length)
    }

    fn alignment_bytes(&self) -> usize {
        self.alignment
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(match self.granularity {
            0 => Granularity::Byte,
            1 => Granularity::CacheLine,
            _ => Granularity::Page,
        })
    }

    fn fixed_address(&self) -> Option<usize> {
        Some(self.fixed.addr()).filter(|address| *address != 0)
    }

    fn write_granule_bytes(&self) -> usize {
        self.granule as usize
    }

    fn holds(&self, range: Span) -> bool {
        range.end() <= self.length
    }

    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure> {
        let map = table().and_then(|table| table.map).ok_or(Errno::INVAL)?;
        if offset.checked_add(window.length_bytes() as u64).is_none_or(|end| end > self.length) {
            return Err(Errno::NXIO.into());
        }
        // SAFETY: the window is reserved, and holds no mapping.
        match unsafe { map(self, address(window), window.length_bytes(), offset) } {
            WINDOW_LOST => return Err(MapFailure::WindowLost(Errno::IO)),
            number => result(number)?,
        }
        self.count(|mapped| mapped.saturating_add(1));
        Ok(())
    }

    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno> {
        let unmap = table().and_then(|table| table.unmap).ok_or(Errno::INVAL)?;
        // SAFETY: mapped by `map`, and nobody uses it any more, as the caller promises.
        result(unsafe { unmap(self, address(window), window.length_bytes(), offset) })?;
        self.count(|mapped| mapped.saturating_sub(1));
        Ok(())
    }

    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        let sync = table().and_then(|table| table.sync).ok_or(Errno::INVAL)?;
        // SAFETY: the range is mapped.
        result(unsafe { sync(self, address(range), range.length_bytes(), offset) })
    }

    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
        let deep_flush = table().and_then(|table| table.deep_flush).ok_or(Errno::INVAL)?;
        // SAFETY: the range is mapped.
        match unsafe { deep_flush(self, address(range), range.length_bytes(), offset) } {
            // `PMEMSET_PORT_NOT_NEEDED`, `PMEMSET_PORT_NOT_PERMITTED`.
            1 => Ok(DeepFlush::NotNeeded),
            2 => Ok(DeepFlush::NotPermitted),
            number => result(number).map(|()| DeepFlush::Done),
        }
    }

    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.kept.failed
    }

    fn health(&self) -> Option<&dyn Health> {
        Some(self)
    }
}

impl Health for Source {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        self.kept.changing.read().shutdown.map(LiveRecord::handle)
    }

    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        let device = table().and_then(|table| table.device).ok_or(DeviceError::Unsupported)?;
        let mut text = [0_u8; DeviceId::BYTES_MAX + 2];
        let mut count = 0;
        // SAFETY: the header says how long the text may be; both are writable.
        match result(unsafe { device(self, text.as_mut_ptr().cast::<c_char>(), &raw mut count) }) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => return Err(DeviceError::Unsupported),
            Err(cause) => return Err(DeviceError::Failed(cause)),
        }
        id.push(text.split(|byte| *byte == 0).next().unwrap_or_default())?;
        Ok(count)
    }

    fn bad_block_policy(&self) -> BadBlockPolicy {
        let detects = self.kept.changing.read().detects_bad_blocks;
        if detects { BadBlockPolicy::Required } else { BadBlockPolicy::Off }
    }

    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        let Some(list) = table().and_then(|table| table.bad_blocks) else { return BadBlocks::UNKNOWN };
        let mut found = [Range::default(); 16];
        let room = found.len().min(blocks.len());
        let range = Range { offset: range.start(), length: range.length_bytes() };
        // SAFETY: there is room for as many as it is told.
        let number = unsafe { list(self, &raw const range, found.as_mut_ptr(), room) };
        let Ok(total) = usize::try_from(number) else {
            return BadBlocks::Unknown(BadBlocksError::from(Errno::from_raw(number.wrapping_neg())));
        };
        let mut count = 0_usize;
        for (to, from) in blocks.iter_mut().zip(found.iter().take(total)) {
            let Some(block) = Span::new(from.offset, from.length) else { break };
            *to = block;
            count = count.wrapping_add(1);
        }
        if total == 0 { BadBlocks::None } else { BadBlocks::Listed { count, more: total > count } }
    }

    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        let clear = table().and_then(|table| table.clear).ok_or(ClearError::Unsupported)?;
        if block.end() > self.length {
            return Err(ClearError::OutOfRange { length_bytes: self.length });
        }
        let range = Range { offset: block.start(), length: block.length_bytes() };
        // SAFETY: the range is inside the source.
        result(unsafe { clear(self, &raw const range) }).map_err(ClearError::Failed)
    }

    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        let read = table().and_then(|table| table.read).ok_or(McsafeError::Unsupported)?;
        if check_bounds(offset, bytes.len(), self.length)?.is_none() {
            return Ok(());
        }
        // SAFETY: as many bytes are writable, and the source has them.
        survived(unsafe { read(self, bytes.as_mut_ptr().cast(), bytes.len(), offset) })
    }

    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let write = table().and_then(|table| table.write).ok_or(McsafeError::Unsupported)?;
        if check_bounds(offset, bytes.len(), self.length)?.is_none() {
            return Ok(());
        }
        // SAFETY: as many bytes are readable, and the source has them.
        survived(unsafe { write(self, bytes.as_ptr().cast(), bytes.len(), offset) })
    }
}

fn survived(number: c_int) -> Result<(), McsafeError> {
    match result(number) {
        Err(Errno::IO) => Err(McsafeError::IoFail),
        other => other.map_err(McsafeError::Failed),
    }
}
