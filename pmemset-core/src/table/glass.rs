//! Looking into a table that may be changing.

use super::Table;
use super::cells::Cells;
use super::nodes::{Node, Nodes, Weigh};
use crate::atomic::{AtomicUsize, Ordering};

/// What those have who look into a table while it may be changing, whose cells have to be atomics.
///
/// Whatever is in the cells, looking ends and does not panic. What it returns means something only where the table has
/// not changed meanwhile.
#[derive(Debug)]
pub(crate) struct Glass<C, const W: usize> {
    nodes: Nodes<C, W>,
    /// The root and a mark in one word, which is never half of one and half of another.
    root: AtomicUsize,
}

/// What was found in a table that may have changed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<V> {
    pub(crate) key: usize,
    pub(crate) value: V,
    /// Where it is.
    leaf: Node,
    index: usize,
    root: usize,
}

impl<V> Seen<V> {
    /// Returns what the table was marked with.
    #[inline]
    pub(crate) const fn mark(&self) -> usize {
        self.root >> (ID + LEN + LEVEL)
    }
}

const ID: u32 = 16;
const LEN: u32 = 8;
const LEVEL: u32 = 2;
/// What fits in a word of 32 bits beside them.
#[cfg(test)]
pub(super) const MARK_MAX: usize = (1 << (u32::BITS - ID - LEN - LEVEL)) - 1;

impl<C: Cells<Value: Weigh<W>>, const W: usize> Glass<C, W> {
    /// Returns what looks into a table that is empty, in the same cells with room for `room` entries.
    pub(crate) const fn over(cells: C, room: usize) -> Self {
        Self { nodes: Nodes::over(cells, room), root: AtomicUsize::new(0) }
    }

    /// Looks into the table as it has become, which is marked.
    #[inline]
    pub(crate) fn follow<T>(&self, table: &Table<T, W>, mark: usize) {
        let Node { level, id, len } = table.root;
        self.root.store(id | (len | (level | mark << LEVEL) << LEN) << ID, Ordering::Relaxed);
    }

    /// Returns the entry with the highest key that is not above `key`; `None` also where that is the last one of a
    /// leaf, and `key` belongs in the next.
    #[inline(always)]
    pub(crate) fn look(&self, key: usize) -> Option<Seen<C::Value>> {
        let root = self.root.load(Ordering::Relaxed);
        let mut leaf = Self::root_in(root);
        let far = leaf.level > 1;
        while !Nodes::<C, W>::is_leaf(leaf) {
            (_, leaf) = self.nodes.down(leaf, key);
            if far {
                self.nodes.prefetch(leaf);
            }
        }
        let index = self.nodes.last_in_leaf(leaf, key);
        let (found, value) = (C::key_in(self.nodes.keys(leaf).get(index)?), self.nodes.value(leaf, index)?);
        if found > key || index >= leaf.len {
            return None;
        }
        Some(Seen { key: found, value, leaf, index, root })
    }

    /// Returns the value of the entry behind one that was seen, if there is one.
    #[inline]
    pub(crate) fn next(&self, seen: &Seen<C::Value>) -> Option<C::Value> {
        let behind = seen.index.wrapping_add(1);
        if behind < seen.leaf.len { self.nodes.value(seen.leaf, behind) } else { self.next_leaf(seen.root, seen.key) }
    }

    /// Returns the first value of the leaf behind the one that `key` belongs in, if there is one.
    #[cold]
    #[inline(never)]
    fn next_leaf(&self, root: usize, key: usize) -> Option<C::Value> {
        let (mut node, mut next) = (Self::root_in(root), None);
        while !Nodes::<C, W>::is_leaf(node) {
            let (index, child) = self.nodes.down(node, key);
            let behind = index.wrapping_add(1);
            if behind < node.len {
                next = Some(self.nodes.child(node, behind));
            }
            node = child;
        }
        let mut node = next?;
        while !Nodes::<C, W>::is_leaf(node) {
            node = self.nodes.child(node, 0);
        }
        self.nodes.value(node, 0)
    }

    #[inline]
    fn root_in(word: usize) -> Node {
        let part = |low: u32, bits: u32| word >> low & !(usize::MAX << bits);
        Node { id: part(0, ID), len: part(ID, LEN), level: part(ID + LEN, LEVEL) }
    }
}
