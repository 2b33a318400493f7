//! Files as sources of parts.

mod damage;
pub(crate) mod extents;
pub(crate) mod grow;
mod limit;
pub(crate) mod open;
pub(crate) mod probe;
pub(crate) mod source;
mod temporary;

pub use grow::Backing;
pub use open::{FileSystem, OpenError, OpenOptions};
pub use probe::GranularityReason;
pub use source::{FileFacts, FileSource};
