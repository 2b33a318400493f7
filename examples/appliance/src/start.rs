//! What libc would bring: the entry point, the arguments, and the memory functions that the compiler calls.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char, c_int, c_void};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the entry point is written for x86-64 Linux");

// The kernel enters with the arguments on the stack (System V ABI for x86-64, section 3.4.1).
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

extern "C" fn entry(stack: *const usize) -> ! {
    exit(crate::run(&Arguments { stack }))
}

/// Ends the program (`exit_group(2)`).
pub fn exit(status: c_int) -> ! {
    // SAFETY: the call does not return.
    unsafe { asm!("syscall", in("eax") 231, in("edi") status, options(noreturn, nostack)) }
}

/// The program's arguments.
#[derive(Debug)]
pub struct Arguments {
    stack: *const usize,
}

impl Arguments {
    /// Returns argument `index`; number 0 is the program itself.
    pub fn get(&self, index: usize) -> Option<&'static CStr> {
        // SAFETY: the kernel has put the number of arguments on top of the stack.
        let count = unsafe { self.stack.read() };
        if index >= count {
            return None;
        }
        let slot = self.stack.wrapping_add(1).wrapping_add(index).cast::<*const c_char>();
        // SAFETY: that many addresses follow it.
        let text = unsafe { slot.read() };
        // SAFETY: they are those of C strings, which stay for ever.
        Some(unsafe { CStr::from_ptr(text) })
    }
}

/// Copies bytes upwards.
///
/// # Safety
///
/// As for `memcpy(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(dest: *mut c_void, source: *const c_void, length: usize) -> *mut c_void {
    // In assembly because the compiler turns a loop that copies into a call of this function.
    // SAFETY: the caller answers for both ranges; the direction flag is clear as the ABI says.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") dest => _, inout("rsi") source => _,
             options(nostack, preserves_flags));
    }
    dest
}

/// Copies bytes whose ranges may overlap.
///
/// # Safety
///
/// As for `memmove(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(dest: *mut c_void, source: *const c_void, length: usize) -> *mut c_void {
    if (dest as usize).wrapping_sub(source as usize) >= length {
        // SAFETY: a copy upwards reads each byte before it is overwritten.
        return unsafe { memcpy(dest, source, length) };
    }
    let back = length.wrapping_sub(1);
    // SAFETY: as above, downwards; the direction flag is put back.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _, inout("rdi") dest.wrapping_byte_add(back) => _,
             inout("rsi") source.wrapping_byte_add(back) => _, options(nostack));
    }
    dest
}

/// Fills bytes.
///
/// # Safety
///
/// As for `memset(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(dest: *mut c_void, value: c_int, length: usize) -> *mut c_void {
    // SAFETY: the caller answers for the range.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") dest => _, in("al") value as u8,
             options(nostack, preserves_flags));
    }
    dest
}

/// Compares bytes.
///
/// # Safety
///
/// As for `memcmp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const c_void, right: *const c_void, length: usize) -> c_int {
    for at in 0..length {
        // SAFETY: the caller answers for both ranges.
        let one = unsafe { left.wrapping_byte_add(at).cast::<u8>().read_volatile() };
        // SAFETY: as above.
        let other = unsafe { right.wrapping_byte_add(at).cast::<u8>().read_volatile() };
        if one != other {
            return c_int::from(one).wrapping_sub(c_int::from(other));
        }
    }
    0
}

/// Compares bytes for equality.
///
/// # Safety
///
/// As for `bcmp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const c_void, right: *const c_void, length: usize) -> c_int {
    // SAFETY: the caller's promise is passed on as it is.
    unsafe { memcmp(left, right, length) }
}

/// Returns the length of a C string.
///
/// # Safety
///
/// As for `strlen(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0_usize;
    // SAFETY: the string ends with a zero, and everything before it is readable.
    while unsafe { text.wrapping_add(length).read_volatile() } != 0 {
        length = length.wrapping_add(1);
    }
    length
}
