//! Configurations of sets and of maps.

use core::ffi::{c_int, c_uint, c_void};

use pmemset_core::{Config, Granularity, PartStates};

use crate::code;
use crate::event::{Callback, Teller};
use crate::host::{SetPlace, fail};
use crate::set::Pmemset;

/// `struct pmemset_config`. All zeros is one in which nothing has been set.
#[repr(C)]
pub struct SetConfig {
    /// One more than the number of the granularity, once it is set.
    granularity: c_uint,
    /// Twice the bits of the states and one more, once they are set.
    states: c_uint,
    callback: Option<Callback>,
    argument: *mut c_void,
    pub(crate) place: SetPlace,
}

impl SetConfig {
    #[cfg(feature = "hosted")]
    pub(crate) const fn new(place: SetPlace) -> Self {
        Self { granularity: 0, states: 0, callback: None, argument: core::ptr::null_mut(), place }
    }

    pub(crate) const fn granularity(&self) -> Option<Granularity> {
        match self.granularity {
            1 => Some(Granularity::Byte),
            2 => Some(Granularity::CacheLine),
            3 => Some(Granularity::Page),
            _ => None,
        }
    }

    /// Returns whether somebody is told of events.
    pub(crate) const fn tells(&self) -> bool {
        self.callback.is_some()
    }

    /// Returns how the set at `set` is made, whose callback is told of it.
    pub(crate) fn of_set(&self, granularity: Granularity, set: *mut Pmemset) -> Config<Teller> {
        let states = if self.states == 0 {
            PartStates::DEFAULT
        } else {
            PartStates::from_bits_truncate(u64::from(self.states >> 1))
        };
        let teller = Teller::new(self.callback, self.argument, set);
        Config::new(granularity).acceptable_states(states).observer(teller)
    }
}

/// `struct pmemset_map_config`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct MapConfig {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_config_set_required_store_granularity(cfg: *mut SetConfig, g: c_int) -> c_int {
    let Some(number) = c_uint::try_from(g).ok().filter(|number| *number <= 2) else {
        return fail(code::GRANULARITY_NOT_SUPPORTED, format_args!("there is no granularity {g}"));
    };
    // SAFETY: the caller's pointer.
    match unsafe { cfg.as_mut() } {
        Some(config) => config.granularity = number.wrapping_add(1),
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
pub unsafe extern "C" fn pmemset_config_set_acceptable_states(cfg: *mut SetConfig, states: u64) -> c_int {
    let bits = c_uint::try_from(states).ok().filter(|_| PartStates::from_bits(states).is_some());
    let Some(bits) = bits else {
        return fail(code::INVALID_PART_STATES, format_args!("there are no states of all the bits {states:#x}"));
    };
    // SAFETY: the caller's pointer.
    match unsafe { cfg.as_mut() } {
        Some(config) => config.states = bits << 1 | 1,
        None => return fail(code::EINVAL, "the configuration is NULL"),
    }
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
