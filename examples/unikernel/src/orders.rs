//! What the command line asks for.

use core::ffi::CStr;

use crate::boot::StartInfo;

/// What to do after the records have been found.
#[derive(Debug, Clone, Copy)]
pub struct Orders {
    /// How many records to append to each ring (`records=N`).
    pub records: u64,
    /// Append until the power is cut (`forever`).
    pub forever: bool,
}

impl Orders {
    /// Reads the command line; words that mean nothing here are ignored.
    pub fn read(info: &StartInfo) -> Self {
        let mut orders = Self { records: 100, forever: false };
        for word in text(info).split_ascii_whitespace() {
            if let Some(records) = word.strip_prefix("records=").and_then(|number| number.parse().ok()) {
                orders.records = records;
            }
            orders.forever |= word == "forever";
        }
        orders
    }
}

fn text(info: &StartInfo) -> &'static str {
    if info.command_line == 0 {
        return "";
    }
    // SAFETY: the loader has put a C string below 4 GiB, which nobody changes.
    unsafe { CStr::from_ptr(info.command_line as *const core::ffi::c_char) }.to_str().unwrap_or_default()
}
