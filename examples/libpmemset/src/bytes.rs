//! Bytes: copies, and what makes them durable.

use core::ffi::{c_int, c_uint, c_void};
use core::ops::Range;

use pmemset_core::CopyFlags;
use pmemset_core::error::PersistError;

use crate::code;
use crate::host::{Copying, fail, set_copying};
use crate::set::Pmemset;

fn done(result: Result<(), PersistError>) -> c_int {
    match result {
        Ok(()) => 0,
        // As where nothing has been mapped yet.
        Err(error @ PersistError::NotMapped { .. }) => fail(code::NO_PART_MAPPED, error),
        Err(error) => fail(error.code(), error),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_persist(set: *const Pmemset, ptr: *const c_void, size: usize) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    done(set.set.persist(ptr.addr(), size))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_flush(set: *const Pmemset, ptr: *const c_void, size: usize) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    done(set.set.flush(ptr.addr(), size))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_drain(set: *const Pmemset) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    set.set.drain();
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_deep_flush(set: *const Pmemset, ptr: *const c_void, size: usize) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else { return fail(code::EINVAL, "the set is NULL") };
    match set.set.deep_flush(ptr.addr(), size) {
        Ok(_) => 0,
        Err(error) if error.code() == -200_013 => fail(code::NO_PART_MAPPED, error),
        Err(error) => fail(error.code(), error),
    }
}

/// Copies, and leaves a message where that was refused: the result has no room for a number.
///
/// # Safety
///
/// `src` is readable for `length` bytes; the set is NULL, or not deleted meanwhile.
unsafe fn copy(
    set: *const Pmemset,
    dest: *mut c_void,
    src: *const c_void,
    length: usize,
    flags: c_uint,
    moves: bool,
) -> *mut c_void {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else {
        fail(code::EINVAL, "the set is NULL");
        return dest;
    };
    if set.tells {
        set_copying(Copying { moves, value: 0 });
    }
    let (from, to) = (src.addr(), dest.addr());
    let flags = CopyFlags::from_bits_truncate(flags);
    let overlap = from.abs_diff(to) < length;
    let result = match from.checked_add(length) {
        // No reference to bytes that the copy changes: they are mapped, like the destination.
        Some(end) if overlap => overlapping(set, from..end, to, flags),
        Some(_) if isize::try_from(length).is_ok() && (length == 0 || !src.is_null()) => {
            // SAFETY: the caller's bytes, which lie apart from the destination.
            let bytes = if length == 0 { &[] } else { unsafe { core::slice::from_raw_parts(src.cast(), length) } };
            set.set.write_with(to, bytes, flags)
        }
        _ => Err(PersistError::OutOfRange { start: from, length_bytes: length }),
    };
    done(result);
    dest
}

/// Apart, so that other copies save fewer registers.
#[inline(never)]
fn overlapping(set: &Pmemset, source: Range<usize>, to: usize, flags: CopyFlags) -> Result<(), PersistError> {
    set.set.copy_within(source, to, flags)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_memmove(
    set: *const Pmemset,
    dest: *mut c_void,
    src: *const c_void,
    len: usize,
    flags: c_uint,
) -> *mut c_void {
    // SAFETY: the caller's pointers.
    unsafe { copy(set, dest, src, len, flags, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_memcpy(
    set: *const Pmemset,
    dest: *mut c_void,
    src: *const c_void,
    len: usize,
    flags: c_uint,
) -> *mut c_void {
    // SAFETY: the caller's pointers.
    unsafe { copy(set, dest, src, len, flags, false) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_memset(
    set: *const Pmemset,
    dest: *mut c_void,
    c: c_int,
    len: usize,
    flags: c_uint,
) -> *mut c_void {
    // SAFETY: the caller's pointer.
    let Some(set) = (unsafe { set.as_ref() }) else {
        fail(code::EINVAL, "the set is NULL");
        return dest;
    };
    if set.tells {
        set_copying(Copying { moves: false, value: c });
    }
    let [value, ..] = c.to_le_bytes();
    done(set.set.fill(dest.addr(), value, len, CopyFlags::from_bits_truncate(flags)));
    dest
}
