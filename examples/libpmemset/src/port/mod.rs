//! What the library is made of in a kernel or firmware: the table of functions that the C program gives, and its
//! memory.

mod contract;
mod lock;
mod memory;
mod source;
mod table;

use core::ffi::c_int;
use core::fmt::Display;

pub(crate) use self::memory::{Handles, SetPlace, delete_set, new_set};
pub(crate) use self::source::{Source, SourceHandle, attach, pointer, share};
pub(crate) use self::table::Port as Place;

/// `struct pmem2_source`, which nobody has here.
pub enum Pmem2Source {}

/// What a copy was asked for, which nothing here remembers: there is no place for each thread.
pub(crate) struct Copying {
    pub(crate) moves: bool,
    pub(crate) value: c_int,
}

pub(crate) const fn set_copying(_: Copying) {}

pub(crate) const fn copying() -> Option<Copying> {
    None
}

/// Returns `code`: there are no messages here.
pub(crate) fn fail(code: c_int, _: impl Display) -> c_int {
    code
}

unsafe extern "C" {
    /// The C program's: tells of the place, and does not return.
    fn pmemset_port_panic(file: *const u8, length: usize, line: u32) -> !;
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    // SAFETY: it may read the text, which is as long as it says.
    unsafe { pmemset_port_panic(file.as_ptr(), file.len(), line) }
}
