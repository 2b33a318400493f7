#![no_std]
//! pmemset on Linux without libc.
