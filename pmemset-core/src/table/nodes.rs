//! Where the leaves and inner nodes of a table lie in its arrays.
//!
//! The arrays always suffice. Every leaf but a lone one holds at least [`HALF`] of its [`FULL`] entries, so N entries
//! need at most `N / HALF` leaves, which is `2 * N` cells; where these are less than a full leaf's, there is one leaf.
//! Every inner node but the root has at least [`HALF`] rows, so there are at most `N / (HALF * HALF)` of them, and the
//! root; a root with [`FULL`] such children takes `FULL * HALF * HALF` = 65,536 entries, so three levels do. `over`
//! computes the words of their rows.

use core::ops::Range;

use super::cells::{Cells, CellsMut};
use crate::arch::prefetch_all;

/// Entries of a full leaf, rows of a full inner node.
pub(super) const FULL: usize = 64;
/// Entries or rows that every node but the root has at least.
pub(super) const HALF: usize = FULL / 2;
/// The most entries of a table.
pub(crate) const ROOM_MAX: usize = FULL * HALF * HALF;
/// The key of cells not in use in a node that is.
pub(super) const NO_KEY: usize = usize::MAX;

pub(super) const KEYS: usize = 0;
const CHILDREN: usize = 1;
const WEIGHTS: usize = 2;
/// The id of the node under a row; above it in the word is its length.
const ID_MASK: usize = 0xffff;

/// Entries that there is room for, for each word of inner nodes.
pub(super) const ENTRIES_A_WORD: usize = size_of::<usize>() / size_of::<u32>();

/// What a table keeps beside a key.
pub(crate) trait Weigh<const W: usize>: Copy {
    /// Whether the weights depend on the key.
    const BY_KEY: bool;

    /// Returns the entry's weights, by which a table can be searched.
    fn weigh(&self, key: usize) -> [usize; W];
}

/// A leaf (level 0) or an inner node, and how many entries or rows it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) level: usize,
    pub(super) id: usize,
    pub(super) len: usize,
}

/// Nodes never used are those from `fresh` on; freed ones are chained by their first key, from `freed - 1`.
#[derive(Clone, Copy, Debug)]
struct Pool {
    fresh: usize,
    freed: usize,
}

/// Which nodes of a table are in use.
#[derive(Debug)]
pub(super) struct Pools {
    leaves: Pool,
    inner: Pool,
}

impl Pools {
    /// No node is in use.
    pub(super) const NONE: Self = {
        let none = Pool { fresh: 0, freed: 0 };
        Self { leaves: none, inner: none }
    };
}

/// Returns how many rows an inner node has where there is room for `room` entries: [`FULL`], or what such a table
/// needs.
const fn rows_each(room: usize, columns: usize) -> usize {
    if room < (ENTRIES_A_WORD * FULL).wrapping_mul(columns) { room / HALF } else { FULL }
}

#[derive(Debug)]
pub(super) struct Nodes<C, const W: usize> {
    /// Leaf `i` has the keys and values from `i * FULL` on; inner node `i` has `2 + W` columns of words: lowest keys,
    /// children, and the most of each weight.
    cells: C,
    /// The words of a column.
    rows_each: usize,
}

impl<C: Cells<Value: Weigh<W>>, const W: usize> Nodes<C, W> {
    const COLUMNS: usize = W + WEIGHTS;
    /// One leaf has all entries: there are no other nodes, and no code for them.
    pub(super) const ONE_LEAF: bool = C::MOST <= FULL;

    /// Returns the nodes in these cells.
    pub(super) const fn over(cells: C, room: usize) -> Self {
        const {
            assert!(1 <= C::MOST && C::MOST <= ROOM_MAX, "a table has 1 to 65,536 entries");
            assert!(
                FULL <= u8::MAX as usize && 2 * ROOM_MAX / FULL <= u16::MAX as usize,
                "a path has room for ids and places"
            );
            assert!(1 <= W && W <= 3, "entries have 1 to 3 weights");
            assert!(1 <= size_of::<C::Value>() && size_of::<C::Value>() <= 64, "a value fits a cache line");
            let mut room = 1;
            while room <= ROOM_MAX {
                let inner_max = if room < FULL * HALF { 1 } else { room / (HALF * HALF) + 1 };
                assert!(inner_max * rows_each(room, Self::COLUMNS) * Self::COLUMNS <= room / ENTRIES_A_WORD);
                // Every room up to the first that has nodes of full size, and then what has one node more.
                room += if room < HALF * HALF { 1 } else { HALF * HALF };
            }
        }
        Self { cells, rows_each: rows_each(room, Self::COLUMNS) }
    }

    #[inline]
    pub(super) fn room(&self) -> usize {
        self.cells.room()
    }

    #[inline]
    pub(super) const fn is_leaf(node: Node) -> bool {
        Self::ONE_LEAF || node.level == 0
    }

    /// Returns where the cells of a leaf start.
    #[inline]
    const fn cells_at(leaf: Node) -> usize {
        leaf.id.wrapping_mul(FULL)
    }

    /// Returns where a column of an inner node starts.
    #[inline]
    const fn rows_at(&self, node: Node, column: usize) -> usize {
        node.id.wrapping_mul(Self::COLUMNS).wrapping_add(column).wrapping_mul(self.rows_each)
    }

    /// Returns the keys of a leaf.
    #[inline]
    pub(super) fn keys(&self, leaf: Node) -> &[C::Key] {
        leaf_of(self.cells.keys(), leaf)
    }

    /// Returns the row to take for `key`, and the node under it.
    #[inline(always)]
    pub(super) fn down(&self, node: Node, key: usize) -> (usize, Node) {
        // Columns of nodes of full size are arrays, whose length is known.
        let columns = self.cells.rows().as_chunks::<FULL>().0;
        let start = (node.id & ID_MASK).wrapping_mul(Self::COLUMNS);
        let (index, word) = match columns.get(start..start.wrapping_add(Self::COLUMNS)) {
            Some([keys, children, ..]) => {
                let index = last_of(keys, node.len, key, C::word_in).min(node.len.wrapping_sub(1));
                (index, children.get(index).map_or(0, C::word_in))
            }
            _ => self.down_small(node.id, node.len, key),
        };
        (index, Self::under(node, word))
    }

    /// As [`down`](Self::down), where there is one inner node, and room for less than a full one.
    #[cold]
    #[inline(never)]
    fn down_small(&self, id: usize, len: usize, key: usize) -> (usize, usize) {
        let node = Node { level: 1, id, len };
        let keys = self.column(node, KEYS).get(..len).unwrap_or_default();
        let index = keys.partition_point(|row| C::word_in(row) <= key).saturating_sub(1);
        (index, self.column(node, CHILDREN).get(index).map_or(0, C::word_in))
    }

    /// Returns the node that a row's word names.
    #[inline]
    const fn under(node: Node, word: usize) -> Node {
        Node { level: node.level.saturating_sub(1), id: word & ID_MASK, len: word >> 16 }
    }

    /// Returns a column of an inner node.
    #[inline]
    pub(super) fn column(&self, node: Node, column: usize) -> &[C::Word] {
        let start = self.rows_at(node, column);
        self.cells.rows().get(start..start.wrapping_add(self.rows_each)).unwrap_or_default()
    }

    /// Returns the place of the last key of a leaf that is at most `key`, unused ones among them; 0 where there is
    /// none.
    #[inline]
    pub(super) fn last_in_leaf(&self, leaf: Node, key: usize) -> usize {
        match whole_leaf(self.cells.keys(), leaf) {
            Some(keys) => last_at_most(keys, key, C::key_in),
            None => self.leaf_rank_small(leaf.len, key).saturating_sub(1),
        }
    }

    /// Returns how many keys of a leaf are at most `key`.
    #[inline]
    pub(super) fn leaf_rank(&self, leaf: Node, key: usize) -> usize {
        match whole_leaf(self.cells.keys(), leaf) {
            Some(keys) => rank(keys, key, C::key_in).min(leaf.len),
            None => self.leaf_rank_small(leaf.len, key),
        }
    }

    /// As [`leaf_rank`](Self::leaf_rank), where there is room for less than a full leaf.
    #[inline(never)]
    fn leaf_rank_small(&self, len: usize, key: usize) -> usize {
        self.cells.keys().get(..len).unwrap_or_default().partition_point(|other| C::key_in(other) <= key)
    }

    /// Returns the lowest key of an entry, or the one that no key under a row is below; 0 where there is none.
    #[inline]
    pub(super) fn key(&self, node: Node, index: usize) -> usize {
        let key = match Self::is_leaf(node) {
            true => self.keys(node).get(index).map(C::key_in),
            false => self.column(node, KEYS).get(index).map(C::word_in),
        };
        key.unwrap_or_default()
    }

    /// Returns the value of an entry.
    #[inline]
    pub(super) fn value(&self, leaf: Node, index: usize) -> Option<C::Value> {
        let value = match whole_leaf(self.cells.values(), leaf) {
            Some(values) => values.get(index),
            None => self.cells.values().get(index),
        };
        value.map(C::value_in)
    }

    /// Asks for the keys and values of a leaf before it is known which are wanted: one wait instead of several.
    #[inline]
    pub(super) fn prefetch(&self, leaf: Node) {
        if Self::is_leaf(leaf) {
            whole_leaf(self.cells.keys(), leaf).into_iter().for_each(prefetch_all);
            whole_leaf(self.cells.values(), leaf).into_iter().for_each(prefetch_all);
        }
    }

    #[inline]
    pub(super) fn values(&self, leaf: Node) -> &[C::Kept] {
        leaf_of(self.cells.values(), leaf)
    }

    /// Returns the node under a row.
    #[inline]
    pub(super) fn child(&self, node: Node, index: usize) -> Node {
        Self::under(node, self.column(node, CHILDREN).get(index).map_or(0, C::word_in))
    }

    /// Returns the most of each weight under a row.
    pub(super) fn row_weights(&self, node: Node, index: usize) -> [usize; W] {
        let mut weights = [0; W];
        for (lane, weight) in weights.iter_mut().enumerate() {
            *weight = self.column(node, lane.wrapping_add(WEIGHTS)).get(index).map_or(0, C::word_in);
        }
        weights
    }

    /// Returns the weights of an entry; reads the key only if they depend on it.
    #[inline]
    fn weights_of(key: &C::Key, value: &C::Kept) -> [usize; W] {
        C::value_in(value).weigh(if C::Value::BY_KEY { C::key_in(key) } else { 0 })
    }

    /// Returns the most of each weight in a node; stops looking when the weights have reached `enough`.
    pub(super) fn weights(&self, node: Node, enough: [usize; W]) -> [usize; W] {
        let mut weights = [0; W];
        if Self::is_leaf(node) {
            for (key, value) in self.keys(node).iter().zip(self.values(node)).take(node.len) {
                weights = most(weights, Self::weights_of(key, value));
                if weights.iter().zip(&enough).all(|(weight, enough)| weight >= enough) {
                    break;
                }
            }
            return weights;
        }
        for (lane, (weight, enough)) in weights.iter_mut().zip(enough).enumerate() {
            let mut rows = self.column(node, lane.wrapping_add(WEIGHTS)).iter().take(node.len);
            while *weight < enough
                && let Some(row) = rows.next()
            {
                *weight = (*weight).max(C::word_in(row));
            }
        }
        weights
    }

    /// Returns the first, or else the last, entry or row in `range` that has at least `at_least` of weight `lane`.
    pub(super) fn find(
        &self,
        node: Node,
        range: Range<usize>,
        first: bool,
        lane: usize,
        at_least: usize,
    ) -> Option<usize> {
        let start = range.start;
        let found = if Self::is_leaf(node) {
            let keys = self.keys(node).get(range.clone())?;
            let mut entries = keys.iter().zip(self.values(node).get(range)?);
            let fits = |(key, value): (&C::Key, &C::Kept)| {
                Self::weights_of(key, value).get(lane).is_some_and(|w| *w >= at_least)
            };
            if first { entries.position(fits) } else { entries.rposition(fits) }
        } else {
            let mut rows = self.column(node, lane.wrapping_add(WEIGHTS)).get(range)?.iter();
            let fits = |weight: &C::Word| C::word_in(weight) >= at_least;
            if first { rows.position(fits) } else { rows.rposition(fits) }
        };
        found.map(|found| start.wrapping_add(found))
    }
}

impl<C: CellsMut<Value: Weigh<W>>, const W: usize> Nodes<C, W> {
    fn set(&mut self, node: Node, column: usize, index: usize, word: usize) {
        if Self::is_leaf(node) {
            let at = Self::cells_at(node).wrapping_add(index);
            self.cells.set_key(at, word);
        } else {
            let at = self.rows_at(node, column).wrapping_add(index);
            self.cells.set_row(at, word);
        }
    }

    pub(super) fn set_key(&mut self, node: Node, index: usize, key: usize) {
        self.set(node, KEYS, index, key);
    }

    #[inline]
    pub(super) fn set_value(&mut self, leaf: Node, index: usize, value: C::Value) {
        self.cells.set_value(Self::cells_at(leaf).wrapping_add(index), value);
    }

    pub(super) fn set_child(&mut self, node: Node, index: usize, child: Node) {
        self.set(node, CHILDREN, index, child.id | child.len << 16);
    }

    pub(super) fn set_row_weights(&mut self, node: Node, index: usize, weights: [usize; W]) {
        for (lane, weight) in weights.into_iter().enumerate() {
            self.set(node, lane.wrapping_add(WEIGHTS), index, weight);
        }
    }

    /// Copies `count` entries or rows from `from.1` on to `to.1` on; nodes of one level, the places may overlap.
    pub(super) fn shift(&mut self, from: (Node, usize), to: (Node, usize), count: usize) {
        if count == 0 {
            return;
        }
        if Self::is_leaf(from.0) {
            let source = Self::cells_at(from.0).wrapping_add(from.1);
            let dest = Self::cells_at(to.0).wrapping_add(to.1);
            self.cells.shift_entries(source, dest, count);
            return;
        }
        for column in 0..Self::COLUMNS {
            let source = self.rows_at(from.0, column).wrapping_add(from.1);
            let dest = self.rows_at(to.0, column).wrapping_add(to.1);
            self.cells.shift_rows(source, dest, count);
        }
    }

    /// Makes the keys from the end of a node up to `len`, its length before, unused.
    pub(super) fn blank(&mut self, node: Node, len: usize) {
        for index in node.len..len {
            self.set_key(node, index, NO_KEY);
        }
    }

    /// Takes an unused node of this level, which gets `len` entries or rows.
    pub(super) fn take(&mut self, pools: &mut Pools, level: usize, len: usize) -> Node {
        let pool = Self::pool(pools, level);
        let node = match pool.freed.checked_sub(1) {
            Some(id) => {
                let node = Node { level, id, len };
                pool.freed = self.key(node, 0);
                node
            }
            None => {
                let id = pool.fresh;
                pool.fresh = id.wrapping_add(1);
                Node { level, id, len }
            }
        };
        let len = if level == 0 { FULL.min(self.cells.keys().len()) } else { self.rows_each };
        self.blank(node, len);
        node
    }

    /// Gives back a node whose entries or rows are elsewhere.
    pub(super) fn give_back(&mut self, pools: &mut Pools, node: Node) {
        let pool = Self::pool(pools, node.level);
        self.set(node, KEYS, 0, pool.freed);
        pool.freed = node.id.wrapping_add(1);
    }

    const fn pool(pools: &mut Pools, level: usize) -> &mut Pool {
        if Self::ONE_LEAF || level == 0 { &mut pools.leaves } else { &mut pools.inner }
    }
}

/// Returns how many of a leaf's keys are at most `key`, unused ones counted too.
#[inline]
fn rank<T>(keys: &[T; FULL], key: usize, read: impl Fn(&T) -> usize) -> usize {
    let last = last_at_most(keys, key, &read);
    last.wrapping_add(usize::from(keys.get(last).is_some_and(|other| read(other) <= key)))
}

/// As [`last_at_most`], with one step where few keys are in use, as in most roots.
#[inline]
fn last_of<T>(keys: &[T; FULL], len: usize, key: usize, read: impl Fn(&T) -> usize) -> usize {
    if len <= 4 { quarters(keys, 0, [1, 2, 3], key, &read) } else { last_at_most(keys, key, read) }
}

/// Returns the place of the last of a node's keys that is at most `key`, unused ones among them; 0 where there is none.
/// Without a branch that depends on them: in three steps, each of which looks at three keys at once and leaves a
/// quarter.
#[inline]
fn last_at_most<T>(keys: &[T; FULL], key: usize, read: impl Fn(&T) -> usize) -> usize {
    let mut at = 0;
    for step in [[16, 32, 48], [4, 8, 12], [1, 2, 3]] {
        at = quarters(keys, at, step, key, &read);
    }
    at
}

/// Looks at three keys behind `at`, and returns where the quarter begins that has the last one at most `key`.
#[inline]
fn quarters<T>(
    keys: &[T; FULL],
    at: usize,
    [first, second, third]: [usize; 3],
    key: usize,
    read: impl Fn(&T) -> usize,
) -> usize {
    let beyond = |at: usize| usize::from(keys.get(at & (FULL - 1)).is_some_and(|other| read(other) <= key));
    let quarters = beyond(at | first).wrapping_add(beyond(at | second)).wrapping_add(beyond(at | third));
    at | quarters.wrapping_mul(first)
}

/// Returns the cells of a leaf; `None` where there is not enough room for a full one.
#[inline]
fn whole_leaf<T>(cells: &[T], leaf: Node) -> Option<&[T; FULL]> {
    cells.as_chunks().0.get(leaf.id)
}

/// Returns the cells of a leaf: all, where there is not enough room for a full one.
#[inline]
fn leaf_of<T>(cells: &[T], leaf: Node) -> &[T] {
    whole_leaf(cells, leaf).map_or(cells, <[T; FULL]>::as_slice)
}

/// Returns the larger of each weight.
pub(super) fn most<const W: usize>(mut weights: [usize; W], other: [usize; W]) -> [usize; W] {
    for (weight, other) in weights.iter_mut().zip(other) {
        *weight = other.max(*weight);
    }
    weights
}
