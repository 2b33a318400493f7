//! What the library is made of on Linux: files, the heap of the C program, a message for each thread.

mod handles;
mod heap;
mod place;
mod source;
mod thread;

use alloc::sync::Arc;
use core::ffi::{c_int, c_void};

use pmemset_core::Granularity;

pub(crate) use self::handles::Handles;
pub(crate) use self::place::Place;
use self::place::Pmem2Reservation;
pub(crate) use self::source::{Pmem2Source, Source, attach, share};
pub(crate) use self::thread::{Copying, copying, fail, set_copying};
use crate::code;
use crate::config::{MapConfig, SetConfig};
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
        Pmemset::new(Handles::new(), set, config.tells())
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
