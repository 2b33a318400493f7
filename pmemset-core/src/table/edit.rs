//! Changing a table: entries come, change and go, and the nodes above them stay balanced and weighed.

use super::cells::CellsMut;
use super::nodes::{FULL, HALF, NO_KEY, Node, Nodes, Weigh, most};
use super::{Found, Full, Path, Step, Table};

/// What a changed value did to the weights of its leaf, and what is left to be changed in another one.
#[derive(Clone, Copy, Debug)]
struct Change<V, const W: usize> {
    removed: [usize; W],
    added: [usize; W],
    left: Option<V>,
}

impl<C: CellsMut<Value: Weigh<W>>, const W: usize> Table<C, W> {
    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is no room, and when there is an entry with this key.
    pub(crate) fn insert(&mut self, key: usize, value: C::Value) -> Result<(), Full> {
        let mut path = self.descend(key);
        if self.is_full() || self.has(&path, key) {
            return Err(Full);
        }
        if self.len == 0 || path.step(0).node.len == FULL {
            path = self.make_room(key);
        }
        let Step { node: leaf, index } = path.step(0);
        let behind = index.wrapping_add(1);
        self.nodes.shift((leaf, index), (leaf, behind), leaf.len.wrapping_sub(index));
        self.nodes.set_key(leaf, index, key);
        self.nodes.set_value(leaf, index, value);
        self.len = self.len.wrapping_add(1);
        self.resize(&path, 0, leaf.len.wrapping_add(1));
        if index == 0 {
            self.lower(&path, key);
        }
        self.reweigh(&path, [0; W], value.weigh(key));
        Ok(())
    }

    /// Gives an entry another key, which lies between those of its neighbours, and another value.
    pub(crate) fn replace(&mut self, found: &Found<C::Value>, key: usize, value: C::Value) {
        let Step { node: leaf, index: behind } = found.path.step(0);
        if found.key < key && behind == leaf.len && found.next.is_some() {
            return self.move_on(found, key, value);
        }
        let index = behind.wrapping_sub(1);
        self.nodes.set_key(leaf, index, key);
        self.nodes.set_value(leaf, index, value);
        if index == 0 {
            self.lower(&found.path, key);
        }
        self.reweigh(&found.path, found.value.weigh(found.key), value.weigh(key));
    }

    /// As [`replace`](Self::replace), where the key may have to be in the next leaf: what the row above that says may
    /// be less than its lowest key.
    #[cold]
    #[inline(never)]
    fn move_on(&mut self, found: &Found<C::Value>, key: usize, value: C::Value) {
        self.remove(found, None);
        let inserted = self.insert(key, value);
        debug_assert!(inserted.is_ok(), "there was room for it a moment ago, and no such key");
    }

    /// Makes sure that no row of the path says that all keys under it are above `key`.
    #[inline(never)]
    fn lower(&mut self, path: &Path, key: usize) {
        for level in 1..self.levels() {
            let Step { node, index } = path.step(level);
            if key < self.nodes.key(node, index) {
                self.nodes.set_key(node, index, key);
            }
        }
    }

    /// Changes the value of `key`; returns whether there was one.
    pub(crate) fn set(&mut self, key: usize, value: C::Value) -> bool {
        let path = self.descend(key);
        let Step { node: leaf, index: rank } = path.step(0);
        if !self.has(&path, key) {
            return false;
        }
        let change = self.change(leaf, rank.wrapping_sub(1), Some(value));
        self.reweigh(&path, change.removed, change.added);
        true
    }

    /// Removes an entry; the one behind it, if there is one, gets the value `next`, if there is one.
    pub(crate) fn remove(&mut self, found: &Found<C::Value>, next: Option<C::Value>) {
        let Step { node: leaf, index: behind } = found.path.step(0);
        let change = self.change(leaf, behind, next);
        self.nodes.shift((leaf, behind), (leaf, behind.wrapping_sub(1)), leaf.len.wrapping_sub(behind));
        self.len = self.len.wrapping_sub(1);
        self.resize(&found.path, 0, leaf.len.wrapping_sub(1));
        self.nodes.set_key(leaf, leaf.len.wrapping_sub(1), NO_KEY);
        self.reweigh(&found.path, most(change.removed, found.value.weigh(found.key)), change.added);
        if leaf.len <= HALF && self.levels() != 1 {
            self.rebalance(&found.path);
        }
        if self.len == 0 {
            self.nodes.give_back(&mut self.pools, self.root);
        }
        self.finish(change, found.key);
    }

    /// Gives the entry at `index` the value `value`; one in the next leaf is left for [`finish`](Self::finish).
    fn change(&mut self, leaf: Node, index: usize, value: Option<C::Value>) -> Change<C::Value, W> {
        let mut change = Change { removed: [0; W], added: [0; W], left: value };
        if let Some(value) = value
            && index < leaf.len
            && let Some((key, old)) = self.entry(leaf, index)
        {
            self.nodes.set_value(leaf, index, value);
            change = Change { removed: old.weigh(key), added: value.weigh(key), left: None };
        }
        change
    }

    /// Gives the entry behind `key` the value that is left to be given.
    #[inline]
    fn finish(&mut self, change: Change<C::Value, W>, key: usize) {
        if let Some(value) = change.left {
            self.set_next(key, value);
        }
    }

    /// Gives the entry behind `key`, if there is one, the value `value`.
    #[cold]
    #[inline(never)]
    fn set_next(&mut self, key: usize, value: C::Value) {
        if let Some((next, _)) = self.after(key) {
            self.set(next, value);
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
    #[inline]
    fn reweigh(&mut self, path: &Path, removed: [usize; W], added: [usize; W]) {
        if removed != added && self.levels() != 1 {
            self.reweigh_rows(path, removed, added);
        }
    }

    #[inline(never)]
    fn reweigh_rows(&mut self, path: &Path, mut removed: [usize; W], mut added: [usize; W]) {
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

    /// Makes room for `key`, and returns the way to it.
    ///
    /// Apart from what is done each time: its code, and what it needs of the stack, are not in the way then.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, key: usize) -> Path {
        if self.len == 0 {
            self.root = self.nodes.take(&mut self.pools, 0, 0);
        } else {
            self.split_path(key);
        }
        self.descend(key)
    }

    /// Makes room in the full leaf on the way to `key`, and before it in the full nodes above it.
    ///
    /// What comes in order fills its leaves: the leaf before takes what it has room for, if `key` stays behind that.
    /// Other nodes are split.
    fn split_path(&mut self, key: usize) {
        if Nodes::<C, W>::ONE_LEAF {
            return;
        }
        if self.root.len == FULL {
            let old = self.root;
            self.root = self.nodes.take(&mut self.pools, old.level.wrapping_add(1), 1);
            self.set_row(self.root, 0, old);
        }
        for level in (1..self.levels()).rev() {
            let path = self.descend(key);
            let Step { node: parent, index } = path.step(level);
            let left = self.nodes.child(parent, index);
            let before = index.saturating_sub(1);
            let space = FULL.wrapping_sub(self.nodes.child(parent, before).len);
            if level == 1 && space != 0 && path.step(0).index > space {
                self.share(parent, before, FULL);
            } else if left.len == FULL {
                let right = self.nodes.take(&mut self.pools, left.level, HALF);
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
    #[cold]
    #[inline(never)]
    fn rebalance(&mut self, path: &Path) {
        for level in 1..self.levels() {
            let Step { node: parent, index } = path.step(level);
            if self.nodes.child(parent, index).len >= HALF {
                return;
            }
            let index = index.saturating_sub(1);
            let behind = index.wrapping_add(1);
            let (left, right) = (self.nodes.child(parent, index), self.nodes.child(parent, behind));
            let total = left.len.wrapping_add(right.len);
            if total >= FULL {
                return self.share(parent, index, total / 2);
            }
            self.nodes.shift((right, 0), (left, left.len), right.len);
            self.nodes.give_back(&mut self.pools, right);
            self.nodes.set_child(parent, index, Node { len: total, ..left });
            let weights = most(self.nodes.row_weights(parent, index), self.nodes.row_weights(parent, behind));
            self.nodes.set_row_weights(parent, index, weights);
            let next = behind.wrapping_add(1);
            self.nodes.shift((parent, next), (parent, behind), parent.len.wrapping_sub(next));
            self.resize(path, level, parent.len.wrapping_sub(1));
            self.nodes.set_key(parent, parent.len.wrapping_sub(1), NO_KEY);
        }
        if self.levels() != 1 && self.root.len == 1 {
            let old = self.root;
            self.root = self.nodes.child(old, 0);
            self.nodes.give_back(&mut self.pools, old);
        }
    }

    /// Moves entries or rows between the nodes under a row and the one behind it, so that the first has `left_len`.
    fn share(&mut self, parent: Node, index: usize, left_len: usize) {
        let behind = index.wrapping_add(1);
        let (left, right) = (self.nodes.child(parent, index), self.nodes.child(parent, behind));
        let right_len = left.len.wrapping_add(right.len).wrapping_sub(left_len);
        let (new_left, new_right) = (Node { len: left_len, ..left }, Node { len: right_len, ..right });
        if left_len > left.len {
            let count = left_len.wrapping_sub(left.len);
            self.nodes.shift((right, 0), (left, left.len), count);
            self.nodes.shift((right, count), (right, 0), right_len);
            self.nodes.blank(new_right, right.len);
        } else {
            let count = left.len.wrapping_sub(left_len);
            self.nodes.shift((right, 0), (right, count), right.len);
            self.nodes.shift((left, left_len), (right, 0), count);
            self.nodes.blank(new_left, left.len);
        }
        let lowest = self.nodes.key(parent, index);
        self.set_row(parent, index, new_left);
        self.nodes.set_key(parent, index, lowest);
        self.set_row(parent, behind, new_right);
    }
}
