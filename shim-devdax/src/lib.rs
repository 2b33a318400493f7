#![no_std]
//! Device DAX sources for pmemset on Linux.
