#![cfg_attr(not(test), no_std)]
//! What of the unikernel needs no hardware, and is tested on the host: firmware tables, the flush queue, address
//! space, shutdown records.

pub mod acpi;
pub mod flush_queue;
pub mod ledger;
pub mod nfit;
pub mod space;
