//! One small error per operation; each knows libpmemset's number, and says the platform's reason.
//!
//! The [`Display`](core::fmt::Display) of an error says all of it, and none has a
//! [`source`](core::error::Error::source): printed with its chain, it still says its cause once.

#[cfg(feature = "embedded-io")]
mod cursor;
#[cfg(feature = "embedded-storage")]
mod flash;
mod give_back;
mod lookup;
mod map;
mod persist;
mod remove;
mod repair;
mod reserve;
mod share;

#[cfg(feature = "embedded-io")]
pub use cursor::CursorError;
#[cfg(feature = "embedded-storage")]
pub use flash::FlashError;
pub use give_back::GiveBackError;
pub use lookup::LookupError;
pub use map::{MapError, MapFailure, PrepareError};
pub use persist::{DeepFlushError, PersistError};
pub use remove::RemoveError;
pub use repair::RepairError;
pub use reserve::{ReservationError, ReserveError};
pub use share::ShareError;

pub use crate::extent::EmptyRange;
pub use crate::health::{BadBlocksError, ClearError, DeviceError, McsafeError};
