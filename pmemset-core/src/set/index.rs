//! The part of the books that is looked at without their lock.

use super::books::Tag;
use super::sequence::Sequence;
use crate::Platform;
use crate::atomic::AtomicUsize;
use crate::table::{Arrays, Tree};

/// The arrays of the table, and what it takes to look into them while a writer changes them.
#[derive(Debug)]
pub(super) struct Index<'m, P> {
    pub(super) tree: Tree<Arrays<'m, Tag, P>, 1>,
    pub(super) sequence: Sequence,
    /// The granularity of the set, as a number.
    pub(super) granularity: AtomicUsize,
}

impl<'m, P: Platform> Index<'m, P> {
    /// Returns an index over the arrays of an empty table with room for `room` segments.
    pub(super) const fn over(arrays: Arrays<'m, Tag, P>, room: usize) -> Self {
        let (steps, granularity) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { tree: Tree::over(arrays, room), sequence: Sequence::new(steps), granularity }
    }
}
