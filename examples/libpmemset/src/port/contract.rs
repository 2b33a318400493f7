//! The contract suite: every duty of the table and of one source, told one by one.

use core::ffi::{c_char, c_int, c_uint, c_void};

use pmemset_core::contract::{self, Finding, Outcome};

use super::source::Source;
use super::table::{Port, table};
use crate::code;

/// `struct pmemset_port_finding`.
#[repr(C)]
pub struct Found {
    duty: *const c_char,
    outcome: c_uint,
    text: *const c_char,
    number: u64,
    address: *mut c_void,
    length: usize,
    error: c_int,
}

/// `pmemset_port_report`.
type Report = unsafe extern "C" fn(*const Found, *mut c_void);

/// A text as C has it; what is longer is cut off.
struct Text([u8; 160]);

impl Text {
    fn new(text: &str) -> Self {
        let mut bytes = [0; 160];
        let room = bytes.len().saturating_sub(1);
        bytes.iter_mut().take(room).zip(text.bytes()).for_each(|(to, from)| *to = from);
        Self(bytes)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmemset_port_contract(src: *const Source, report: Option<Report>, arg: *mut c_void) -> c_int {
    let (Some(report), Some(_)) = (report, table()) else { return code::EINVAL };
    let mut breaches: c_int = 0;
    let mut tell = |duty: &'static str, finding: Finding| {
        let (outcome, text, breach) = match finding {
            Ok(Outcome::Kept) => (0, "", None),
            Ok(Outcome::Skipped(reason)) => (1, reason, None),
            Err(breach) => (2, breach.expected, Some(breach)),
        };
        breaches = breaches.wrapping_add(c_int::from(breach.is_some()));
        let (duty, text) = (Text::new(duty), Text::new(text));
        let extent = breach.and_then(|breach| breach.extent);
        let found = Found {
            duty: duty.0.as_ptr().cast(),
            outcome,
            text: text.0.as_ptr().cast(),
            number: breach.and_then(|breach| breach.number).unwrap_or(0),
            address: core::ptr::with_exposed_provenance_mut(extent.map_or(0, |extent| extent.start())),
            length: extent.map_or(0, |extent| extent.length_bytes()),
            error: breach.and_then(|breach| breach.errno).map_or(0, |errno| errno.code()),
        };
        // SAFETY: the C program's own function and argument.
        unsafe { report(&raw const found, arg) };
    };
    // SAFETY: the caller's pointer.
    match unsafe { src.as_ref() } {
        None => contract::platform(&Port, &mut tell),
        Some(source) => contract::source(&Port, source, &mut tell),
    }
    breaches
}
