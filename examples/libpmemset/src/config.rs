//! Configurations of sets and of maps.

use core::ffi::{c_int, c_void};

use pmemset_core::{Granularity, PartStates};

use crate::code;
use crate::event::Callback;
use crate::heap;
use crate::place::Pmem2Reservation;
use crate::thread::fail;

/// `struct pmemset_config`.
pub struct SetConfig {
    pub(crate) granularity: Option<Granularity>,
    pub(crate) callback: Option<Callback>,
    pub(crate) argument: *mut c_void,
    pub(crate) reservation: *mut Pmem2Reservation,
    pub(crate) states: PartStates,
}

/// `struct pmemset_map_config`.
#[derive(Clone, Copy, Default)]
pub struct MapConfig {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// Makes `*object` lead to `value`, or to nothing.
///
/// # Safety
///
/// `object` is NULL or writable.
pub(crate) unsafe fn hand_out<T>(object: *mut *mut T, value: T) -> c_int {
    if object.is_null() {
        return fail(code::EINVAL, "no place for the new object: the argument is NULL");
    }
    let made = heap::new(value);
    // SAFETY: as the caller promises.
    unsafe { object.write(made.unwrap_or(core::ptr::null_mut())) };
    if made.is_some() { 0 } else { fail(code::ENOMEM, "out of memory") }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_new(cfg: *mut *mut SetConfig) -> c_int {
    let config = SetConfig {
        granularity: None,
        callback: None,
        argument: core::ptr::null_mut(),
        reservation: core::ptr::null_mut(),
        states: PartStates::DEFAULT,
    };
    // SAFETY: the caller's pointer.
    unsafe { hand_out(cfg, config) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_delete(cfg: *mut *mut SetConfig) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { heap::delete(cfg) };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_required_store_granularity(cfg: *mut SetConfig, g: c_int) -> c_int {
    let granularity = match g {
        0 => Granularity::Byte,
        1 => Granularity::CacheLine,
        2 => Granularity::Page,
        _ => return fail(code::GRANULARITY_NOT_SUPPORTED, format_args!("there is no granularity {g}")),
    };
    // SAFETY: the caller's pointer.
    match unsafe { cfg.as_mut() } {
        Some(config) => config.granularity = Some(granularity),
        None => return fail(code::EINVAL, "the configuration is NULL"),
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_event_callback(
    cfg: *mut SetConfig,
    callback: Option<Callback>,
    arg: *mut c_void,
) {
    // SAFETY: the caller's pointer.
    if let Some(config) = unsafe { cfg.as_mut() } {
        (config.callback, config.argument) = (callback, arg);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_reservation(cfg: *mut SetConfig, res: *mut Pmem2Reservation) {
    // SAFETY: the caller's pointer.
    if let Some(config) = unsafe { cfg.as_mut() } {
        config.reservation = res;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_acceptable_states(cfg: *mut SetConfig, states: u64) -> c_int {
    let Some(states) = PartStates::from_bits(states) else {
        return fail(code::INVALID_PART_STATES, format_args!("there are no states of all the bits {states:#x}"));
    };
    // SAFETY: the caller's pointer.
    match unsafe { cfg.as_mut() } {
        Some(config) => config.states = states,
        None => return fail(code::EINVAL, "the configuration is NULL"),
    }
    0
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

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_map_config_set_offset(map_cfg: *mut MapConfig, offset: usize) -> c_int {
    if i64::try_from(offset).is_err() {
        return fail(code::OFFSET_OUT_OF_RANGE, format_args!("offset {offset} is past the largest file offset"));
    }
    // SAFETY: the caller's pointer.
    match unsafe { map_cfg.as_mut() } {
        Some(config) => config.offset = offset,
        None => return fail(code::EINVAL, "the map configuration is NULL"),
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_map_config_set_length(map_cfg: *mut MapConfig, length: usize) {
    // SAFETY: the caller's pointer.
    if let Some(config) = unsafe { map_cfg.as_mut() } {
        config.length = length;
    }
}
