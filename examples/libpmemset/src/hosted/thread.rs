//! What is kept for each thread (glue.c): the message of its last failure, and what its copy was asked for.

use core::ffi::c_int;
use core::fmt::{self, Write};

const MESSAGE_BYTES: usize = 8192;

/// `struct pmemset_thread_` of glue.c.
#[repr(C)]
struct Thread {
    message: [u8; MESSAGE_BYTES],
    moves: u32,
    value: c_int,
}

unsafe extern "C" {
    fn pmemset_thread_() -> *mut Thread;
}

/// Text for a buffer; what does not fit is cut off, and a NUL is behind it.
struct Text<'b> {
    rest: &'b mut [u8],
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.rest.len().saturating_sub(1);
        for (to, from) in self.rest.iter_mut().take(room).zip(text.bytes()) {
            *to = from;
        }
        let rest = core::mem::take(&mut self.rest);
        self.rest = rest.get_mut(text.len().min(room)..).unwrap_or_default();
        if let Some(end) = self.rest.first_mut() {
            *end = 0;
        }
        Ok(())
    }
}

/// Leaves `reason` as this thread's message, and returns `code`.
#[cold]
pub(crate) fn fail(code: c_int, reason: impl fmt::Display) -> c_int {
    // SAFETY: it has no precondition.
    let thread = unsafe { pmemset_thread_() };
    // SAFETY: this thread's own, and no other reference to it is kept; C reads it between calls.
    let message = unsafe { &mut (*thread).message };
    let _ = write!(Text { rest: message }, "{reason}");
    code
}

/// What the copy in progress was asked for, for the event that tells of it.
#[derive(Clone, Copy)]
pub(crate) struct Copying {
    /// `pmemset_memmove` rather than `pmemset_memcpy`.
    pub(crate) moves: bool,
    /// The value of `pmemset_memset`, all of it.
    pub(crate) value: c_int,
}

pub(crate) fn set_copying(copying: Copying) {
    // SAFETY: it has no precondition.
    let thread = unsafe { pmemset_thread_() };
    // SAFETY: this thread's own.
    unsafe { (*thread).moves = u32::from(copying.moves) };
    // SAFETY: this thread's own.
    unsafe { (*thread).value = copying.value };
}

pub(crate) fn copying() -> Option<Copying> {
    // SAFETY: it has no precondition.
    let thread = unsafe { pmemset_thread_() };
    // SAFETY: this thread's own.
    let Thread { moves, value, .. } = unsafe { &*thread };
    Some(Copying { moves: *moves != 0, value: *value })
}
