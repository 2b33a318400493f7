//! Persistent memory on Linux's nd bus and in sysfs: what it guarantees, and why it may not be accepted as persistent.

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
