//! Numbers that this layer gives itself, among them those that nothing below gives; others come from `code()` of an
//! error.
#![cfg_attr(
    not(feature = "hosted"),
    allow(dead_code, unused_imports, reason = "sources that are opened fail in more ways")
)]

use core::ffi::c_int;

use pmemset_core::{Errno, code};

pub(crate) use pmemset_core::code::{
    CANNOT_GROW_SOURCE_FILE, GRANULARITY_NOT_SUPPORTED, INVALID_ALIGNMENT_VALUE, INVALID_SOURCE_PATH,
    LENGTH_OUT_OF_RANGE, NO_PART_MAPPED, OFFSET_OUT_OF_RANGE, PART_NOT_FOUND,
};

pub(crate) const NOSUPP: c_int = -200_001;
pub(crate) const INVALID_PMEM2_SOURCE: c_int = -200_002;
pub(crate) const INVALID_SOURCE_TYPE: c_int = -200_004;
pub(crate) const GRANULARITY_NOT_SET: c_int = -200_010;
pub(crate) const INVALID_COALESCING_VALUE: c_int = -200_017;
pub(crate) const INVALID_PART_STATES: c_int = -200_025;
pub(crate) const SDS_ALREADY_SET: c_int = -200_027;
pub(crate) const ENOENT: c_int = -2;
pub(crate) const ENOMEM: c_int = -12;
pub(crate) const EBUSY: c_int = -16;
pub(crate) const EISDIR: c_int = -21;
pub(crate) const EINVAL: c_int = -22;
#[cfg(not(feature = "hosted"))]
pub(crate) const EOPNOTSUPP: c_int = -95;

/// `pmemset_err_to_errno`: an errno for what a function returned.
#[unsafe(no_mangle)]
pub extern "C" fn pmemset_err_to_errno(err: c_int) -> c_int {
    match err {
        // What the library does not return itself.
        NOSUPP => Errno::OPNOTSUPP.raw(),
        0 => 0,
        _ => code::to_errno(err).raw(),
    }
}

#[cfg(not(feature = "hosted"))]
mod names {
    use core::ffi::{CStr, c_char, c_int};

    /// The header's names, from -200000 downwards.
    const NAMES: [&CStr; 39] = [
        c"UNKNOWN",
        c"NOSUPP",
        c"INVALID_PMEM2_SOURCE",
        c"INVALID_SOURCE_PATH",
        c"INVALID_SOURCE_TYPE",
        c"CANNOT_ALLOCATE_INTERNAL_STRUCTURE",
        c"INVALID_OFFSET_VALUE",
        c"GRANULARITY_NOT_SUPPORTED",
        c"INVALID_PMEM2_MAP",
        c"PART_EXISTS",
        c"GRANULARITY_NOT_SET",
        c"GRANULARITY_MISMATCH",
        c"NO_PART_MAPPED",
        c"CANNOT_FIND_PART_MAP",
        c"CANNOT_COALESCE_PARTS",
        c"LENGTH_UNALIGNED",
        c"PART_NOT_FOUND",
        c"INVALID_COALESCING_VALUE",
        c"DEEP_FLUSH_FAIL",
        c"INVALID_SOURCE_FILE_CREATE_FLAGS",
        c"CANNOT_CREATE_TEMP_FILE",
        c"CANNOT_GROW_SOURCE_FILE",
        c"PART_MAP_POSSIBLE_USE_AFTER_DROP",
        c"CANNOT_FIT_PART_MAP",
        c"OFFSET_OUT_OF_RANGE",
        c"INVALID_PART_STATES",
        c"UNDESIRABLE_PART_STATE",
        c"SDS_ALREADY_SET",
        c"SDS_NOSUPP",
        c"SDS_DEVICE_ID_LEN_TOO_BIG",
        c"MAP_LENGTH_UNSET",
        c"SOURCE_FILE_IS_TOO_SMALL",
        c"IO_FAIL",
        c"LENGTH_OUT_OF_RANGE",
        c"?",
        c"INVALID_ALIGNMENT_VALUE",
        c"DAX_REGION_NOT_FOUND",
        c"CANNOT_READ_BOUNDS",
        c"BADBLOCK_NOSUPP",
    ];

    /// `pmemset_port_error`: the name of what a function returned.
    #[unsafe(no_mangle)]
    pub extern "C" fn pmemset_port_error(err: c_int) -> *const c_char {
        let text = match err {
            -4095..=-1 => c"errno",
            _ => {
                let place = usize::try_from((-200_000_i32).wrapping_sub(err)).ok();
                place.and_then(|place| NAMES.get(place).copied()).unwrap_or(c"?")
            }
        };
        text.as_ptr()
    }
}
