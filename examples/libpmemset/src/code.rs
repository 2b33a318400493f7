//! Numbers that this layer gives itself; others come from `code()` of an error.

use core::ffi::c_int;

pub(crate) const NOSUPP: c_int = -200_001;
pub(crate) const INVALID_PMEM2_SOURCE: c_int = -200_002;
pub(crate) const INVALID_SOURCE_PATH: c_int = -200_003;
pub(crate) const INVALID_SOURCE_TYPE: c_int = -200_004;
pub(crate) const GRANULARITY_NOT_SUPPORTED: c_int = -200_007;
pub(crate) const GRANULARITY_NOT_SET: c_int = -200_010;
pub(crate) const NO_PART_MAPPED: c_int = -200_012;
pub(crate) const PART_NOT_FOUND: c_int = -200_016;
pub(crate) const INVALID_COALESCING_VALUE: c_int = -200_017;
pub(crate) const CANNOT_GROW_SOURCE_FILE: c_int = -200_021;
pub(crate) const OFFSET_OUT_OF_RANGE: c_int = -200_024;
pub(crate) const INVALID_PART_STATES: c_int = -200_025;
pub(crate) const SDS_ALREADY_SET: c_int = -200_027;
pub(crate) const SDS_NOSUPP: c_int = -200_028;
pub(crate) const LENGTH_OUT_OF_RANGE: c_int = -200_033;
pub(crate) const INVALID_ALIGNMENT_VALUE: c_int = -200_035;
pub(crate) const BADBLOCK_NOSUPP: c_int = -200_038;
pub(crate) const ENOENT: c_int = -2;
pub(crate) const ENOMEM: c_int = -12;
pub(crate) const EBUSY: c_int = -16;
pub(crate) const EISDIR: c_int = -21;
pub(crate) const EINVAL: c_int = -22;

const ENOTSUP: c_int = 95;

/// `pmemset_err_to_errno`: an errno for what a function returned.
#[unsafe(no_mangle)]
pub extern "C" fn pmemset_err_to_errno(err: c_int) -> c_int {
    match err {
        NOSUPP | SDS_NOSUPP | BADBLOCK_NOSUPP => ENOTSUP,
        // A number of libpmem2, or none that was returned.
        ..=-100_000 | 1.. => EINVAL.wrapping_neg(),
        _ => err.wrapping_neg(),
    }
}
