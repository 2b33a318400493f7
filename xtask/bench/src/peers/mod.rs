//! What pmemset is measured beside.
#![allow(unsafe_code, reason = "the peers are system calls, C libraries and bare instructions")]

pub(crate) mod c;
pub(crate) mod libpmem2;
pub(crate) mod lines;
pub(crate) mod plain;
