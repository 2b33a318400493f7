//! Where a table keeps what it has.

use crate::atomic::{AtomicUsize, Ordering};

/// What is kept beside a key, and the atomics that it is kept in: one that looks without the lock may meet one that
/// writes, and must get nothing worse than a mixture of old and new.
pub(crate) trait Value: Copy {
    type Cell;

    /// A cell not in use; all zero bytes, so that an empty table takes no room in a program.
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes a cell of its own")]
    const BLANK: Self::Cell;

    fn load(cell: &Self::Cell) -> Self;

    fn store(self, cell: &Self::Cell);

    /// Copies `count` values within `cells`, as if by way of elsewhere; nothing if they are not all inside.
    fn relocate(cells: &[Self::Cell], from: usize, to: usize, count: usize);
}

/// The arrays of a table: two keys, two values and 32 bits of words for each entry that there is room for.
///
/// While a table is empty it does not matter what is in them.
pub(crate) trait Cells {
    /// What is kept beside a key.
    type Value: Value;

    /// The most entries that such arrays ever have room for, known when it is compiled: where one leaf has all entries,
    /// there is no code for other nodes.
    const MOST: usize;

    fn keys(&self) -> &[AtomicUsize];
    fn values(&self) -> &[<Self::Value as Value>::Cell];
    fn rows(&self) -> &[AtomicUsize];
}

/// Copies `count` cells as [`Value::relocate`] does, each by `copy`.
#[inline]
pub(crate) fn relocate<T>(cells: &[T], from: usize, to: usize, count: usize, copy: impl Fn(&T, &T)) {
    let lowest = from.min(to);
    let distance = from.max(to).wrapping_sub(lowest);
    let Some(cells) = cells.get(lowest..lowest.wrapping_add(distance).wrapping_add(count)) else { return };
    let pairs = cells.iter().zip(cells.get(distance..).unwrap_or_default());
    if to < from {
        pairs.for_each(|(low, high)| copy(high, low));
    } else {
        pairs.rev().for_each(|(low, high)| copy(low, high));
    }
}

/// As [`relocate`], of words.
#[inline(never)]
pub(crate) fn relocate_words(cells: &[AtomicUsize], from: usize, to: usize, count: usize) {
    relocate(cells, from, to, count, |from, to| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed));
}
