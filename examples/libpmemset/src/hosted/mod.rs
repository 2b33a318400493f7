//! What the library is made of on Linux: files, the heap of the C program, a message for each thread.

mod heap;
mod place;
mod source;
mod thread;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use lock_api::Mutex;
use pmemset_core::Granularity;
use rustix_futex_sync::RawMutex;

pub(crate) use self::place::Place;
use self::place::Pmem2Reservation;
pub(crate) use self::source::{Pmem2Source, Source, attach, share};
pub(crate) use self::thread::{Copying, copying, fail, set_copying};
use crate::code;
use crate::config::{MapConfig, SetConfig};
use crate::part::{self, PartMap};
use crate::set::{Pmemset, Set};

/// Room for as many segments as the kernel lets a process map; memory that is not used is not taken.
const CAPACITY: usize = 65_536;

/// What a set has of a source.
pub(crate) type SourceHandle = Arc<Source>;

/// Returns the source as C has it.
pub(crate) fn pointer(source: &SourceHandle) -> *mut Source {
    Arc::as_ptr(source).cast_mut()
}

unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it has no precondition.
    unsafe { abort() }
}

/// What a set is made with besides what every set is.
pub(crate) struct SetPlace {
    reservation: *mut Pmem2Reservation,
}

/// Makes a set.
pub(crate) fn new_set(config: &SetConfig, granularity: Granularity) -> Result<*mut Pmemset, c_int> {
    let place = Place::new(config.place.reservation).map_err(|error| fail(error.code(), error))?;
    heap::new_with(|made| {
        let set = Set::with_capacity(place, config.of_set(granularity, made), CAPACITY);
        Pmemset::new(Handles::new(), set)
    })
    .ok_or_else(|| fail(code::ENOMEM, "out of memory"))
}

/// Deletes what [`new_set`] has made.
///
/// # Safety
///
/// Nobody uses the set, or a handle of it, any more.
pub(crate) unsafe fn delete_set(mut set: *mut Pmemset) {
    // SAFETY: as the caller promises.
    unsafe { heap::delete(&raw mut set) };
}

/// The records of the handles of one set; when they are dropped, so are the handles that are out.
pub(crate) struct Handles {
    /// A spare record, or NULL: a program that has one handle at a time takes no lock.
    ready: AtomicPtr<PartMap>,
    records: Mutex<RawMutex, Records>,
}

/// Records stay on the heap for the next handle: as many as have ever been out at a time.
struct Records {
    all: Vec<*mut PartMap>,
    /// The place of the spare record that was given back last, which knows the one before; past the end for none.
    next: usize,
}

impl Handles {
    const fn new() -> Self {
        let records = Records { all: Vec::new(), next: usize::MAX };
        Self { ready: AtomicPtr::new(core::ptr::null_mut()), records: Mutex::new(records) }
    }

    /// Makes the record that `record` returns, given its place in the list.
    pub(crate) fn list(&self, record: impl FnOnce(usize) -> PartMap) -> Option<*mut PartMap> {
        let ready = self.ready.swap(core::ptr::null_mut(), Ordering::Acquire);
        if !ready.is_null() {
            // SAFETY: listed, and no other handle's: whoever takes a record leaves none.
            let place = unsafe { (*ready).place };
            // SAFETY: as above; nothing is left in it to drop.
            unsafe { ready.write(record(place)) };
            return Some(ready);
        }
        let mut records = self.records.lock();
        let place = records.next.min(records.all.len());
        if let Some(spare) = records.all.get(place).copied() {
            // SAFETY: a record that was given back, which says which one was before.
            records.next = unsafe { (*spare).place };
            // SAFETY: as above; nothing is left in it to drop.
            unsafe { spare.write(record(place)) };
            return Some(spare);
        }
        records.all.try_reserve(1).ok()?;
        let handle = heap::new_with(|_| record(place))?;
        records.all.push(handle);
        Some(handle)
    }

    /// Ends a handle, and keeps its record.
    ///
    /// # Safety
    ///
    /// It is in this list, and nobody uses it any more.
    pub(crate) unsafe fn unlist(&self, handle: *mut PartMap) {
        // SAFETY: as the caller promises.
        unsafe { part::end(handle) };
        let none = core::ptr::null_mut();
        if self.ready.compare_exchange(none, handle, Ordering::Release, Ordering::Relaxed).is_ok() {
            return;
        }
        let mut records = self.records.lock();
        // SAFETY: a record of this list, which is nobody's now.
        core::mem::swap(unsafe { &mut (*handle).place }, &mut records.next);
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for mut handle in core::mem::take(&mut self.records.get_mut().all) {
            // SAFETY: made by `new_with`, and the C program uses neither set nor handles any more.
            unsafe { heap::delete(&raw mut handle) };
        }
    }
}

/// Makes `*object` lead to `value`, or to nothing.
///
/// # Safety
///
/// `object` is NULL or writable.
unsafe fn hand_out<T>(object: *mut *mut T, value: T) -> c_int {
    if object.is_null() {
        return fail(code::EINVAL, "no place for the new object: the argument is NULL");
    }
    let made = heap::new_with(|_| value);
    // SAFETY: as the caller promises.
    unsafe { object.write(made.unwrap_or(core::ptr::null_mut())) };
    if made.is_some() { 0 } else { fail(code::ENOMEM, "out of memory") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_new(cfg: *mut *mut SetConfig) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { hand_out(cfg, SetConfig::new(SetPlace { reservation: core::ptr::null_mut() })) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_delete(cfg: *mut *mut SetConfig) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { heap::delete(cfg) };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_reservation(cfg: *mut SetConfig, res: *mut c_void) {
    // SAFETY: the caller's pointer.
    if let Some(config) = unsafe { cfg.as_mut() } {
        config.place.reservation = res.cast();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_map_config_new(map_cfg: *mut *mut MapConfig) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { hand_out(map_cfg, MapConfig::default()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_map_config_delete(map_cfg: *mut *mut MapConfig) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { heap::delete(map_cfg) };
    0
}
