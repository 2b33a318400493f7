#![no_std]
//! libpmemset 1.0 for C: each function turns its arguments into a call of pmemset, and what that returns into a number.
//!
//! There are two of it: the library of a C program on Linux (`include/libpmemset.h`, feature `hosted`), with messages
//! and objects on the heap; and that of a kernel or firmware (`include/pmemset_port.h`, feature `port`), with neither.
//!
//! What a pointer leads to is the caller's duty, as in every C interface; NULL is refused wherever there is a way to
//! say so.
#![allow(clippy::missing_safety_doc, reason = "the headers say what the functions want")]

#[cfg(feature = "hosted")]
extern crate alloc;

mod bytes;
mod code;
mod config;
mod event;
#[cfg(feature = "hosted")]
mod hosted;
mod part;
#[cfg(not(feature = "hosted"))]
mod port;
mod set;
mod source;

#[cfg(feature = "hosted")]
use hosted as host;
#[cfg(not(feature = "hosted"))]
use port as host;
