//! The C program's table of functions (`struct pmemset_port`) as a platform.

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use pmemset_core::arch::Cpu;
use pmemset_core::error::ReserveError;
use pmemset_core::{Errno, Extent, Platform};

use super::lock::Lock;
use super::source::Source;
use crate::code;

/// A range of bytes of a source: `struct pmemset_port_range`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Range {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// `struct pmemset_port`: see the header.
#[repr(C)]
pub struct Table {
    page: usize,
    processor: c_uint,
    reserve: Option<unsafe extern "C" fn(usize, usize, *mut *mut c_void) -> c_int>,
    reserve_at: Option<unsafe extern "C" fn(*mut c_void, usize) -> c_int>,
    release: Option<unsafe extern "C" fn(*mut c_void, usize) -> c_int>,
    pub(super) map: Option<unsafe extern "C" fn(*const Source, *mut c_void, usize, u64) -> c_int>,
    pub(super) unmap: Option<unsafe extern "C" fn(*const Source, *mut c_void, usize, u64) -> c_int>,
    pub(super) sync: Option<unsafe extern "C" fn(*const Source, *mut c_void, usize, u64) -> c_int>,
    pub(super) deep_flush: Option<unsafe extern "C" fn(*const Source, *mut c_void, usize, u64) -> c_int>,
    pub(super) lock: Option<unsafe extern "C" fn() -> usize>,
    pub(super) unlock: Option<unsafe extern "C" fn(usize)>,
    pub(super) device: Option<unsafe extern "C" fn(*const Source, *mut c_char, *mut u64) -> c_int>,
    pub(super) bad_blocks: Option<unsafe extern "C" fn(*const Source, *const Range, *mut Range, usize) -> c_int>,
    pub(super) clear: Option<unsafe extern "C" fn(*const Source, *const Range) -> c_int>,
    pub(super) read: Option<unsafe extern "C" fn(*const Source, *mut c_void, usize, u64) -> c_int>,
    pub(super) write: Option<unsafe extern "C" fn(*const Source, *const c_void, usize, u64) -> c_int>,
}

impl Table {
    fn is_whole(&self) -> bool {
        self.page.is_power_of_two()
            && self.reserve.is_some()
            && self.reserve_at.is_some()
            && self.release.is_some()
            && self.map.is_some()
            && self.unmap.is_some()
            && self.sync.is_some()
            && self.deep_flush.is_some()
            && self.lock.is_some() == self.unlock.is_some()
    }
}

/// The table of the program, once there is one.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(core::ptr::null_mut());

struct Processor(UnsafeCell<Cpu>);

// SAFETY: written before the table is there, read after.
unsafe impl Sync for Processor {}

static PROCESSOR: Processor = Processor(UnsafeCell::new(Cpu::NONE));

/// Bits of `processor`.
const CACHES: c_uint = 1;
const WHOLE_WORDS: c_uint = 2;

/// Returns the processor that this runs on; `None` where the library cannot write back the lines of its caches.
fn detect() -> Option<Cpu> {
    #[cfg(target_arch = "x86_64")]
    let cpu = Cpu::detect();
    #[cfg(target_arch = "aarch64")]
    let cpu = {
        let isar1: u64;
        // SAFETY: a kernel may read it, and a system that runs this as a program answers for it.
        unsafe { core::arch::asm!("mrs {}, id_aa64isar1_el1", out(reg) isar1, options(nomem, nostack)) };
        Cpu::from_hwcap(if isar1 & 0xf == 0 { 0 } else { 1 << 16 })
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let cpu = Cpu::NONE;
    cpu.can_write_back().then_some(cpu)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_port_init(port: *const Table) -> c_int {
    // SAFETY: the caller's pointer, to what stays as it is.
    let Some(table) = (unsafe { port.as_ref() }).filter(|table| table.is_whole()) else { return code::EINVAL };
    if table.processor & !(CACHES | WHOLE_WORDS) != 0 {
        return code::EINVAL;
    }
    match TABLE.load(Ordering::Acquire) {
        before if before.is_null() => {}
        before if core::ptr::eq(before, port) => return 0,
        _ => return code::EBUSY,
    }
    let cpu = if table.processor & CACHES == 0 { Some(Cpu::NONE) } else { detect() };
    let Some(cpu) = cpu else { return code::EOPNOTSUPP };
    let cpu = if table.processor & WHOLE_WORDS == 0 { cpu } else { cpu.storing_whole_words() };
    // SAFETY: the first call comes alone, as the header asks, and nobody reads before the table is there.
    unsafe { PROCESSOR.0.get().write(cpu) };
    TABLE.store(port.cast_mut(), Ordering::Release);
    0
}

/// Returns the table, once there is one.
pub(super) fn table() -> Option<&'static Table> {
    // SAFETY: NULL, or what the program has given for good.
    unsafe { TABLE.load(Ordering::Acquire).as_ref() }
}

/// Turns a number that a function of the table has returned into a result.
pub(super) const fn result(number: c_int) -> Result<(), Errno> {
    match number {
        0 => Ok(()),
        // More than 0 is nobody's number.
        1.. => Err(Errno::IO),
        _ => Err(Errno::from_raw(number.wrapping_neg())),
    }
}

fn refused(cause: Errno) -> ReserveError {
    match cause {
        Errno::NOMEM => ReserveError::CannotFit,
        Errno::EXIST => ReserveError::Occupied,
        cause => ReserveError::Failed(cause),
    }
}

/// The address space that the table is of. Its functions are there: `pmemset_new` looks.
pub(crate) struct Port;

fn pointer(range: Extent) -> *mut c_void {
    core::ptr::with_exposed_provenance_mut(range.start())
}

// SAFETY: the table's functions keep these promises, as the header asks.
unsafe impl Platform for Port {
    /// One leaf is enough for a small processor: no code for larger books.
    const SEGMENTS_MAX: usize = if cfg!(target_pointer_width = "64") { 65_536 } else { 64 };

    type Lock = Lock;
    /// A program has one table.
    type Space = ();

    fn space(&self) {}

    fn page_size_bytes(&self) -> usize {
        table().map_or(1, |table| table.page)
    }

    fn cpu(&self) -> &Cpu {
        // SAFETY: written before there was a set.
        unsafe { &*PROCESSOR.0.get() }
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let reserve = table().and_then(|table| table.reserve).ok_or(ReserveError::CannotFit)?;
        let mut start = core::ptr::null_mut();
        // SAFETY: length and alignment are as the header says; `start` is writable.
        result(unsafe { reserve(length_bytes, alignment_bytes, &raw mut start) }).map_err(refused)?;
        Extent::new(start.addr(), length_bytes).ok_or(ReserveError::CannotFit)
    }

    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        let reserve_at = table().and_then(|table| table.reserve_at).ok_or(ReserveError::CannotFit)?;
        // SAFETY: the window is as the header says.
        result(unsafe { reserve_at(pointer(window), window.length_bytes()) }).map_err(refused)
    }

    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        let release = table().and_then(|table| table.release).ok_or(Errno::INVAL)?;
        // SAFETY: reserved, and nothing is mapped in it, as the caller promises.
        result(unsafe { release(pointer(window), window.length_bytes()) })
    }
}
