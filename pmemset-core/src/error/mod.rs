//! One small error per operation; each knows libpmemset's number, and says the platform's reason.
//!
//! The [`Display`](core::fmt::Display) of an error says all of it, and none has a
//! [`source`](core::error::Error::source): printed with its chain, it still says its cause once.

mod lookup;
mod map;
mod persist;
mod remove;
mod repair;
mod reserve;

pub use lookup::LookupError;
pub use map::{MapError, MapFailure, PrepareError};
pub use persist::{DeepFlushError, PersistError};
pub use remove::RemoveError;
pub use repair::RepairError;
pub use reserve::{ReservationError, ReserveError};

#[cfg(feature = "embedded-io")]
pub use crate::cursor::CursorError;
pub use crate::extent::EmptyRange;
#[cfg(feature = "embedded-storage")]
pub use crate::flash::FlashError;
pub use crate::health::{BadBlocksError, ClearError, DeviceError, McsafeError};
