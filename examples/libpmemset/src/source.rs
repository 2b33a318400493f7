//! What is asked of a source, whatever it is: its shutdown record, bad blocks, and copies past damage.

use core::ffi::{c_int, c_void};

use pmemset_core::error::McsafeError;
use pmemset_core::{Health, Source as _, Span};

use crate::code;
use crate::event::{BadBlock, Sds};
use crate::host::{self, Source, fail};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_set_sds(src: *const Source, sds: *const Sds, state_ptr: *mut c_int) -> c_int {
    // SAFETY: the caller's pointer.
    let source = unsafe { host::share(src) };
    // SAFETY: the caller's pointer.
    let (Some(source), Some(sds)) = (source, unsafe { sds.as_ref() }) else {
        return fail(code::EINVAL, "the source or the shutdown record is NULL");
    };
    host::attach(&source, sds.record(), state_ptr)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_set_badblock_detection(src: *const Source, value: bool) {
    // SAFETY: the caller's pointer.
    if let Some(source) = unsafe { src.as_ref() } {
        source.detect_bad_blocks(value);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_alignment(src: *const Source, alignment: *mut usize) -> c_int {
    // SAFETY: the caller's pointers.
    let (Some(source), false) = (unsafe { src.as_ref() }, alignment.is_null()) else {
        return fail(code::INVALID_ALIGNMENT_VALUE, "the source, or the place for its alignment, is NULL");
    };
    // SAFETY: the caller's pointer.
    unsafe { alignment.write(source.alignment_bytes()) };
    0
}

/// What a copy past damage came to.
fn survived(result: Result<(), McsafeError>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => fail(error.code(), error),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_pread_mcsafe(
    src: *const Source,
    buf: *mut c_void,
    size: usize,
    offset: usize,
) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(source) = unsafe { src.as_ref() }.filter(|_| !buf.is_null() || size == 0) else {
        return fail(code::EINVAL, "the source or the buffer is NULL");
    };
    if size == 0 {
        return survived(source.read_mcsafe(offset as u64, &mut []));
    }
    if isize::try_from(size).is_err() {
        return fail(code::LENGTH_OUT_OF_RANGE, format_args!("no buffer has {size} bytes"));
    }
    // SAFETY: the caller's buffer.
    let bytes = unsafe { core::slice::from_raw_parts_mut(buf.cast(), size) };
    survived(source.read_mcsafe(offset as u64, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_source_pwrite_mcsafe(
    src: *const Source,
    buf: *const c_void,
    size: usize,
    offset: usize,
) -> c_int {
    // SAFETY: the caller's pointer.
    let Some(source) = unsafe { src.as_ref() }.filter(|_| !buf.is_null() || size == 0) else {
        return fail(code::EINVAL, "the source or the buffer is NULL");
    };
    if size == 0 {
        return survived(source.write_mcsafe(offset as u64, &[]));
    }
    if isize::try_from(size).is_err() {
        return fail(code::LENGTH_OUT_OF_RANGE, format_args!("no buffer has {size} bytes"));
    }
    // SAFETY: the caller's buffer.
    let bytes = unsafe { core::slice::from_raw_parts(buf.cast(), size) };
    survived(source.write_mcsafe(offset as u64, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_badblock_clear(bb: *const BadBlock, src: *const Source) -> c_int {
    // SAFETY: the caller's pointers.
    let (Some(block), Some(source)) = (unsafe { bb.as_ref() }, unsafe { src.as_ref() }) else {
        return fail(code::EINVAL, "the block or the source is NULL");
    };
    if i64::try_from(block.offset).is_err() {
        return fail(
            code::OFFSET_OUT_OF_RANGE,
            format_args!("offset {} is past the largest file offset", block.offset),
        );
    }
    let Some(span) = Span::new(block.offset as u64, block.length as u64) else {
        return fail(
            code::LENGTH_OUT_OF_RANGE,
            format_args!("no block has {} bytes from {} on", block.length, block.offset),
        );
    };
    match source.clear_bad_block(span) {
        Ok(()) => 0,
        Err(error) => fail(error.code(), error),
    }
}
