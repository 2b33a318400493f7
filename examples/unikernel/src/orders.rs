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
    /// Acknowledge records that were not flushed (`careless`): whoever cuts the power has to find some lost.
    pub careless: bool,
    /// The handle of the module that keeps shutdown records (`state=HANDLE`); none are kept without it.
    pub state: Option<u32>,
    /// Forget what the shutdown records hold against the ranges (`repair`).
    pub repair: bool,
    /// Check the duties of this port instead, and overwrite everything (`contract`).
    pub contract: bool,
    /// The same with a port that breaks some of them (`flawed`).
    pub flawed: bool,
}

impl Orders {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// The first word that is not understood: an order that is misspelt is not one that was not given.
    pub fn read(info: &StartInfo) -> Result<Self, &'static str> {
        let mut orders = Self {
            records: 100,
            forever: false,
            careless: false,
            state: None,
            repair: false,
            contract: false,
            flawed: false,
        };
        for word in text(info).split_ascii_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("records", number) => orders.records = number.parse().map_err(|_| word)?,
                ("state", handle) => orders.state = Some(handle.parse().map_err(|_| word)?),
                ("forever", "") => orders.forever = true,
                ("careless", "") => orders.careless = true,
                ("repair", "") => orders.repair = true,
                ("contract", "") => orders.contract = true,
                ("flawed", "") => orders.flawed = true,
                _ => return Err(word),
            }
        }
        Ok(orders)
    }
}

fn text(info: &StartInfo) -> &'static str {
    if info.command_line == 0 {
        return "";
    }
    // SAFETY: the loader has put a C string below 4 GiB, which nobody changes.
    unsafe { CStr::from_ptr(info.command_line as *const core::ffi::c_char) }.to_str().unwrap_or_default()
}
