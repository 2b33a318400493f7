//! Sets, mapping and removal.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::{Coalescing, Extent, Granularity, Health, PartState};

use crate::code;
use crate::config::{MapConfig, SetConfig};
use crate::event::Teller;
use crate::host::{self, Handles, Place, Source, SourceHandle, fail};

/// The set of pmemset in which the parts are.
pub(crate) type Set = pmemset_core::Set<'static, Place, SourceHandle, Teller>;

/// `struct pmemset`.
pub struct Pmemset {
    /// Before `set`: handles go first.
    pub(crate) handles: Handles,
    pub(crate) set: Set,
    /// Whether somebody is told of events.
    pub(crate) tells: bool,
    /// Whether maps have ever been told to continue parts; until then, each part is one segment.
    joins: AtomicBool,
}

impl Pmemset {
    pub(crate) const fn new(handles: Handles, set: Set, tells: bool) -> Self {
        Self { handles, set, tells, joins: AtomicBool::new(false) }
    }
}

/// `struct pmemset_part_descriptor`.
#[repr(C)]
pub struct Descriptor {
    pub(crate) address: *mut c_void,
    pub(crate) size: usize,
}

impl From<Extent> for Descriptor {
    fn from(part: Extent) -> Self {
        Self { address: core::ptr::with_exposed_provenance_mut(part.start()), size: part.length_bytes() }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_new(set: *mut *mut Pmemset, cfg: *const SetConfig) -> c_int {
    // SAFETY: the caller's pointer.
    let (Some(config), false) = (unsafe { cfg.as_ref() }, set.is_null()) else {
        return fail(code::EINVAL, "the configuration, or the place for the set, is NULL");
    };
    let Some(granularity) = config.granularity() else {
        return fail(code::GRANULARITY_NOT_SET, "no granularity: call pmemset_config_set_required_store_granularity");
    };
    // SAFETY: the caller's pointer.
    unsafe { set.write(core::ptr::null_mut()) };
    match host::new_set(config, granularity) {
        Ok(made) => {
            // SAFETY: the caller's pointer.
            unsafe { set.write(made) };
            0
        }
        Err(code) => code,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_delete(set: *mut *mut Pmemset) -> c_int {
    if set.is_null() {
        return 0;
    }
    // SAFETY: the caller's pointer.
    let inside = unsafe { set.replace(core::ptr::null_mut()) };
    if !inside.is_null() {
        // SAFETY: the caller has given up the set, and its handles with it.
        unsafe { host::delete_set(inside) };
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_get_store_granularity(set: *const Pmemset, g: *mut c_int) -> c_int {
    // SAFETY: the caller's pointer.
    let (Some(set), false) = (unsafe { set.as_ref() }, g.is_null()) else {
        return fail(code::EINVAL, "the set, or the place for its granularity, is NULL");
    };
    let number = match set.set.granularity() {
        None => return fail(code::NO_PART_MAPPED, "no part is mapped, so the set has no granularity"),
        Some(Granularity::Byte) => 0,
        Some(Granularity::CacheLine) => 1,
        Some(Granularity::Page) => 2,
    };
    // SAFETY: the caller's pointer.
    unsafe { g.write(number) };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_set_contiguous_part_coalescing(set: *const Pmemset, value: c_int) -> c_int {
    let coalescing = match value {
        0 => Coalescing::None,
        1 => Coalescing::Opportunistic,
        2 => Coalescing::Full,
        _ => return fail(code::INVALID_COALESCING_VALUE, format_args!("there is no coalescing {value}")),
    };
    // SAFETY: the caller's pointer.
    match unsafe { set.as_ref() } {
        Some(set) => {
            if coalescing != Coalescing::None {
                set.joins.store(true, Ordering::SeqCst);
            }
            set.set.set_coalescing(coalescing);
        }
        None => return fail(code::EINVAL, "the set is NULL"),
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_map(
    set: *const Pmemset,
    src: *const Source,
    map_cfg: *const MapConfig,
    desc: *mut Descriptor,
) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(source) = (unsafe { host::share(src) }) else {
        return fail(code::INVALID_SOURCE_TYPE, "the source is NULL");
    };
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    // SAFETY: the caller's pointer.
    let MapConfig { offset, length } = unsafe { map_cfg.as_ref() }.copied().unwrap_or_default();
    let end = (offset as u64).checked_add(length as u64).filter(|end| i64::try_from(*end).is_ok());
    if source.grows() && end.is_none() {
        return fail(
            code::CANNOT_GROW_SOURCE_FILE,
            format_args!("no file grows to {length} bytes from offset {offset} on"),
        );
    }
    // Counted here, because a record's own verdict is that of the first mapping.
    let shutdown = source.shutdown();
    let open_already = shutdown.and_then(|shutdown| shutdown.part_state()).is_some();
    let config = pmemset_core::MapConfig::new().offset(offset as u64).length(length);
    match set.set.map(SourceHandle::clone(&source), &config) {
        Ok(segment) => {
            if shutdown.is_some()
                && let Some(verdict) = segment.shutdown_verdict()
            {
                source.found(if open_already { PartState::OkButAlreadyOpen } else { verdict.state });
            }
            if !desc.is_null() {
                let part = if set.joins.load(Ordering::SeqCst) { segment.part_extent() } else { segment.extent() };
                // SAFETY: the caller's pointer.
                unsafe { desc.write(part.into()) };
            }
            0
        }
        Err(error) => {
            if let MapError::UndesirablePartState { verdict } = error {
                source.found(verdict.state);
            }
            fail(error.code(), error)
        }
    }
}

/// What a removal came to.
pub(crate) fn removed(result: Result<(), RemoveError>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => fail(error.code(), error),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_remove_range(set: *const Pmemset, addr: *const c_void, len: usize) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    let start = addr.addr();
    // To the end of the address space, where it would go past it.
    removed(set.set.remove_range(start, len.min(usize::MAX.wrapping_sub(start))))
}
