//! Persistent memory as Linux's nd bus and sysfs show it: what it promises, and why it may not be believed.

pub(crate) mod bad_blocks;
pub(crate) mod block_device;
pub(crate) mod device_mapper;
pub(crate) mod ioctl;
pub(crate) mod parse;
pub(crate) mod region;
pub(crate) mod sysfs;

pub use parse::PersistenceDomain;
pub use region::Doubt;
pub use sysfs::{Attribute, NdError};
