//! A set of parts: its books, and the operations on them.

use core::marker::PhantomData;

use crate::{Platform, Source};

/// A set of parts with one granularity.
#[derive(Debug)]
pub struct Set<'a, P: Platform, S: Source + Clone, const N: usize> {
    platform: P,
    source: PhantomData<(&'a (), fn() -> S)>,
}
