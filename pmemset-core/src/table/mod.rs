//! An ordered table of fixed capacity: a B+-tree in arrays, searchable by key and by weight.

mod nodes;
#[cfg(test)]
pub(crate) mod tests;

use core::ops::Range;

pub(crate) use nodes::Weigh;
use nodes::{FULL, HALF, NO_KEY, Node, Nodes, most};

/// The table has no room, or has the key already; it is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Up to `N` (at most 65,536) values by key, in key order, with `W` weights each.
///
/// Takes `3 * size_of::<usize>() + 2 * size_of::<V>()` bytes an entry and 80 bytes besides. Every operation but
/// [`new`](Self::new) is O(log N) and looks into three nodes; none recurses or panics.
#[derive(Debug)]
pub(crate) struct Table<V, const W: usize, const N: usize> {
    nodes: Nodes<V, W, N>,
    root: Node,
    len: usize,
}

/// The entries at or before a key, and behind it.
pub(crate) type Neighbours<V> = (Option<(usize, V)>, Option<(usize, V)>);

/// An entry or row of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    node: Node,
    index: usize,
}

/// The way from the root to a leaf, by level. In the leaf, `index` is the number of keys not above the one looked for;
/// elsewhere it is the row taken.
#[derive(Clone, Copy, Debug, Default)]
struct Path([Step; 3]);

impl Path {
    fn step(&self, level: usize) -> Step {
        self.0.get(level).copied().unwrap_or_default()
    }

    fn set(&mut self, step: Step) {
        if let Some(place) = self.0.get_mut(step.node.level) {
            *place = step;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl<V: Weigh<W>, const W: usize, const N: usize> Table<V, W, N> {
    /// Returns an empty table: all bytes are zero, so a static one takes no room in a program file.
    pub(crate) const fn new() -> Self {
        Self { nodes: Nodes::new(), root: Node { level: 0, id: 0, len: 0 }, len: 0 }
    }

    /// Returns the number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Returns how many levels there are: 1, and known when it is compiled, where one leaf has all entries.
    #[inline]
    const fn levels(&self) -> usize {
        if Nodes::<V, W, N>::ONE_LEAF { 1 } else { self.root.level.wrapping_add(1) }
    }

    /// Returns whether there are as many entries as fit.
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= N
    }

    /// Returns the entry with the highest key that is not above `key`.
    #[inline]
    pub(crate) fn at_or_before(&self, key: usize) -> Option<(usize, V)> {
        let (leaf, rank) = self.place(key);
        match rank.checked_sub(1) {
            Some(index) => self.entry(leaf, index),
            None => self.seek(Some(&self.descend(key)), Way::Down, 0, 0),
        }
    }

    /// Returns what [`at_or_before`](Self::at_or_before) and [`after`](Self::after) do, for little more than one.
    #[inline]
    pub(crate) fn around(&self, key: usize) -> Neighbours<V> {
        let (leaf, rank) = self.place(key);
        let before = match rank.checked_sub(1) {
            Some(index) => self.entry(leaf, index),
            None => self.at_or_before(key),
        };
        let behind = if rank < leaf.len { self.entry(leaf, rank) } else { self.after(key) };
        (before, behind)
    }

    /// Returns the entry with the lowest key that is above `key`.
    pub(crate) fn after(&self, key: usize) -> Option<(usize, V)> {
        self.seek(Some(&self.descend(key)), Way::Up, 0, 0)
    }

    /// Returns the entry with the lowest key.
    pub(crate) fn first(&self) -> Option<(usize, V)> {
        self.seek(None, Way::Up, 0, 0)
    }

    /// Returns the entry with the highest key.
    pub(crate) fn last(&self) -> Option<(usize, V)> {
        self.seek(None, Way::Down, 0, 0)
    }

    /// Returns the first entry, of those with a key above `key` or of all, with at least `at_least` of weight `lane`.
    pub(crate) fn first_after_with(&self, key: Option<usize>, lane: usize, at_least: usize) -> Option<(usize, V)> {
        match key {
            Some(key) => self.seek(Some(&self.descend(key)), Way::Up, lane, at_least),
            None => self.seek(None, Way::Up, lane, at_least),
        }
    }

    /// Returns the last entry with a key not above `key` and with at least `at_least` of weight `lane`.
    pub(crate) fn last_at_or_before_with(&self, key: usize, lane: usize, at_least: usize) -> Option<(usize, V)> {
        self.seek(Some(&self.descend(key)), Way::Down, lane, at_least)
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room, and when there is an entry with this key.
    pub(crate) fn insert(&mut self, key: usize, value: V) -> Result<(), Full> {
        let mut path = self.descend(key);
        if self.is_full() || self.found(&path, key).is_some() {
            return Err(Full);
        }
        if self.len == 0 {
            self.root = self.nodes.take(0, 0);
            path = self.descend(key);
        } else if path.step(0).node.len == FULL {
            self.make_room(key);
            path = self.descend(key);
        }
        let Step { node: leaf, index } = path.step(0);
        self.nodes.shift((leaf, index), (leaf, index.wrapping_add(1)), leaf.len.wrapping_sub(index));
        self.nodes.set_key(leaf, index, key);
        self.nodes.set_value(leaf, index, value);
        self.len = self.len.wrapping_add(1);
        self.resize(&path, 0, leaf.len.wrapping_add(1));
        for level in 1..self.levels() {
            let Step { node, index } = path.step(level);
            if key < self.nodes.key(node, index) {
                self.nodes.set_key(node, index, key);
            }
        }
        self.reweigh(&path, [0; W], value.weigh(key));
        Ok(())
    }

    /// Changes the value of `key`; returns whether there was one.
    pub(crate) fn set(&mut self, key: usize, value: V) -> bool {
        let path = self.descend(key);
        let Some((index, old)) = self.found(&path, key) else { return false };
        self.nodes.set_value(path.step(0).node, index, value);
        self.reweigh(&path, old.weigh(key), value.weigh(key));
        true
    }

    /// Removes the entry of `key` and returns its value.
    pub(crate) fn remove(&mut self, key: usize) -> Option<V> {
        let path = self.descend(key);
        let (index, value) = self.found(&path, key)?;
        let leaf = path.step(0).node;
        let behind = index.wrapping_add(1);
        self.nodes.shift((leaf, behind), (leaf, index), leaf.len.wrapping_sub(behind));
        self.len = self.len.wrapping_sub(1);
        self.resize(&path, 0, leaf.len.wrapping_sub(1));
        self.nodes.set_key(leaf, leaf.len.wrapping_sub(1), NO_KEY);
        self.reweigh(&path, value.weigh(key), [0; W]);
        self.rebalance(&path);
        if self.len == 0 {
            self.nodes.give_back(self.root);
        }
        Some(value)
    }

    #[inline]
    fn descend(&self, key: usize) -> Path {
        let mut path = Path::default();
        let mut node = self.root;
        while !Nodes::<V, W, N>::is_leaf(node) {
            let index = self.nodes.rank(node, key).saturating_sub(1);
            path.set(Step { node, index });
            node = self.nodes.child(node, index);
        }
        path.set(Step { node, index: self.nodes.rank(node, key) });
        path
    }

    /// Returns the leaf that `key` belongs in and how many of its keys are not above `key`.
    #[inline]
    fn place(&self, key: usize) -> (Node, usize) {
        let mut node = self.root;
        while !Nodes::<V, W, N>::is_leaf(node) {
            node = self.nodes.child(node, self.nodes.rank(node, key).saturating_sub(1));
        }
        self.nodes.prefetch_values(node);
        (node, self.nodes.rank(node, key))
    }

    #[inline]
    fn entry(&self, leaf: Node, index: usize) -> Option<(usize, V)> {
        Some((self.nodes.key(leaf, index), self.nodes.value(leaf, index)?))
    }

    fn found(&self, path: &Path, key: usize) -> Option<(usize, V)> {
        let leaf = path.step(0);
        let index = leaf.index.checked_sub(1)?;
        let (found, value) = self.entry(leaf.node, index)?;
        if found == key { Some((index, value)) } else { None }
    }

    /// Looks for the next entry behind or before a path's place, or the first or last of all.
    fn seek(&self, path: Option<&Path>, way: Way, lane: usize, at_least: usize) -> Option<(usize, V)> {
        let mut node = self.root;
        let mut found = None;
        for level in 0..self.levels() {
            let Some(path) = path else {
                found = self.scan(node, 0..node.len, way, lane, at_least);
                break;
            };
            let step = path.step(level);
            let range = match way {
                Way::Up => step.index.wrapping_add(usize::from(level != 0))..step.node.len,
                Way::Down => 0..step.index,
            };
            node = step.node;
            found = self.scan(node, range, way, lane, at_least);
            if found.is_some() {
                break;
            }
        }
        while !Nodes::<V, W, N>::is_leaf(node) {
            node = self.nodes.child(node, found?);
            found = self.scan(node, 0..node.len, way, lane, at_least);
        }
        self.entry(node, found?)
    }

    fn scan(&self, node: Node, mut range: Range<usize>, way: Way, lane: usize, at_least: usize) -> Option<usize> {
        match (way, at_least) {
            (Way::Up, 0) => range.next(),
            (Way::Down, 0) => range.next_back(),
            _ => self.nodes.find(node, range, way == Way::Up, lane, at_least),
        }
    }

    /// Writes down the length of the path's node of this level.
    fn resize(&mut self, path: &Path, level: usize, len: usize) {
        if level.wrapping_add(1) == self.levels() {
            self.root.len = len;
        } else {
            let Step { node, index } = path.step(level.wrapping_add(1));
            let child = self.nodes.child(node, index);
            self.nodes.set_child(node, index, Node { len, ..child });
        }
    }

    /// Brings the weights above the path's leaf up to date after an entry of weight `removed` became one of `added`.
    fn reweigh(&mut self, path: &Path, mut removed: [usize; W], mut added: [usize; W]) {
        for level in 1..self.levels() {
            let Step { node, index } = path.step(level);
            let old = self.nodes.row_weights(node, index);
            let mut new = most(old, added);
            let lost = |((removed, added), old): ((usize, usize), usize)| removed >= old && added < old;
            if removed.into_iter().zip(added).zip(old).any(lost) {
                new = self.nodes.weights(self.nodes.child(node, index), new);
            }
            if new == old {
                return;
            }
            self.nodes.set_row_weights(node, index, new);
            (removed, added) = (old, new);
        }
    }

    /// Splits the full leaf on the way to `key`, and before it the full nodes above it.
    fn make_room(&mut self, key: usize) {
        if Nodes::<V, W, N>::ONE_LEAF {
            return;
        }
        if self.root.len == FULL {
            let old = self.root;
            self.root = self.nodes.take(old.level.wrapping_add(1), 1);
            self.set_row(self.root, 0, old);
        }
        for level in (1..self.levels()).rev() {
            let path = self.descend(key);
            let Step { node: parent, index } = path.step(level);
            let left = self.nodes.child(parent, index);
            if left.len == FULL {
                let right = self.nodes.take(left.level, HALF);
                let left = Node { len: HALF, ..left };
                self.nodes.shift((left, HALF), (right, 0), HALF);
                self.nodes.blank(left, FULL);
                let behind = index.wrapping_add(1);
                let count = parent.len.wrapping_sub(behind);
                self.nodes.shift((parent, behind), (parent, behind.wrapping_add(1)), count);
                self.resize(&path, level, parent.len.wrapping_add(1));
                let lowest = self.nodes.key(parent, index);
                self.set_row(parent, index, left);
                self.nodes.set_key(parent, index, lowest);
                self.set_row(parent, behind, right);
            }
        }
    }

    fn set_row(&mut self, parent: Node, index: usize, child: Node) {
        self.nodes.set_key(parent, index, self.nodes.key(child, 0));
        self.nodes.set_child(parent, index, child);
        let weights = self.nodes.weights(child, [usize::MAX; W]);
        self.nodes.set_row_weights(parent, index, weights);
    }

    /// Refills the nodes of a path that have become less than half full, and lowers the root that has one row left.
    fn rebalance(&mut self, path: &Path) {
        for level in 1..self.levels() {
            let Step { node: parent, index } = path.step(level);
            if self.nodes.child(parent, index).len >= HALF {
                return;
            }
            let index = index.saturating_sub(1);
            let behind = index.wrapping_add(1);
            let (left, right) = (self.nodes.child(parent, index), self.nodes.child(parent, behind));
            let lowest = self.nodes.key(parent, index);
            let total = left.len.wrapping_add(right.len);
            if total >= FULL {
                let (left, right) = self.share(left, right);
                self.set_row(parent, index, left);
                self.set_row(parent, behind, right);
                self.nodes.set_key(parent, index, lowest);
                return;
            }
            self.nodes.shift((right, 0), (left, left.len), right.len);
            self.nodes.give_back(right);
            self.set_row(parent, index, Node { len: total, ..left });
            self.nodes.set_key(parent, index, lowest);
            let next = behind.wrapping_add(1);
            self.nodes.shift((parent, next), (parent, behind), parent.len.wrapping_sub(next));
            self.resize(path, level, parent.len.wrapping_sub(1));
            self.nodes.set_key(parent, parent.len.wrapping_sub(1), NO_KEY);
        }
        if self.levels() != 1 && self.root.len == 1 {
            let old = self.root;
            self.root = self.nodes.child(old, 0);
            self.nodes.give_back(old);
        }
    }

    /// Gives two neighbours the same number of entries or rows.
    fn share(&mut self, left: Node, right: Node) -> (Node, Node) {
        let total = left.len.wrapping_add(right.len);
        let (new_left, new_right) =
            (Node { len: total / 2, ..left }, Node { len: total.wrapping_sub(total / 2), ..right });
        if new_left.len > left.len {
            let count = new_left.len.wrapping_sub(left.len);
            self.nodes.shift((right, 0), (left, left.len), count);
            self.nodes.shift((right, count), (right, 0), new_right.len);
            self.nodes.blank(new_right, right.len);
        } else {
            let count = left.len.wrapping_sub(new_left.len);
            self.nodes.shift((right, 0), (right, count), right.len);
            self.nodes.shift((left, new_left.len), (right, 0), count);
            self.nodes.blank(new_left, left.len);
        }
        (new_left, new_right)
    }
}
