//! What the losses are made of: a file of its own, so that a model can put others in their place.

pub(super) use rustix_futex_sync::{Condvar, Mutex, MutexGuard};
