#![no_std]
//! libpmemset 1.0 for C (`include/libpmemset.h`): each function turns its arguments into a call of pmemset, and what that
//! returns into a number and a message.
//!
//! What a pointer leads to is the caller's duty, as in every C interface; NULL is refused wherever there is a way to say so.
#![allow(clippy::missing_safety_doc, reason = "the header says what the functions want")]

extern crate alloc;

mod bytes;
mod code;
mod config;
mod event;
mod heap;
mod part;
mod place;
mod set;
mod source;
mod thread;

unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it has no precondition.
    unsafe { abort() }
}
