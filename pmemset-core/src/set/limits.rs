//! How long those that look without the lock of the books go on trying; the model for loom has others.

/// How often books that change are looked at before the lock is taken.
pub(crate) const TRIES: u32 = 8;

/// How often a reader looks whether a change has ended before it gives up: a change takes less than a microsecond.
pub(crate) const LOOKS: u32 = 32;
