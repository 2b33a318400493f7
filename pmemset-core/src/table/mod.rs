//! An ordered table with room for so many entries: a B+-tree in arrays that are elsewhere, searchable by key and by
//! weight.

mod array;
mod arrays;
mod cells;
mod edit;
mod glass;
mod nodes;
#[cfg(test)]
pub(crate) mod tests;
mod watched;

use core::ops::Range;

pub(crate) use array::Array;
pub(crate) use arrays::{Arrays, Blank, Slab};
use cells::Cells;
pub(crate) use glass::{Glass, Seen};
pub(crate) use nodes::Weigh;
use nodes::{Node, Nodes, Pools};
#[cfg(feature = "alloc")]
pub(crate) use watched::on_heap;
pub(crate) use watched::{Watch, Watched, WatchedSlab, Watching};

/// The table has no room, or has the key already; it is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Values by key, in key order, with `W` weights each, in cells that are elsewhere: as many as there is room for, and
/// at most [`ROOM_MAX`].
///
/// Takes `2 * size_of::<usize>() + 4 + 2 * size_of::<C::Value>()` bytes an entry. Every operation is O(log room) and
/// looks into three nodes; none recurses or panics.
#[derive(Debug)]
pub(crate) struct Table<C, const W: usize> {
    nodes: Nodes<C, W>,
    pools: Pools,
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

/// A [`Step`] as a path keeps it: it is copied often.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    id: u16,
    len: u8,
    index: u8,
}

impl Mark {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "there are up to 2,048 nodes of up to 64 entries")]
    const fn of(Step { node, index }: Step) -> Self {
        Self { id: node.id as u16, len: node.len as u8, index: index as u8 }
    }

    /// Returns the step that this is one of on its level.
    #[inline]
    fn step(self, level: usize) -> Step {
        let Self { id, len, index } = self;
        Step { node: Node { level, id: usize::from(id), len: usize::from(len) }, index: usize::from(index) }
    }
}

/// The way from the root to a leaf, by level. In the leaf, `index` is the number of keys not above the one looked for;
/// elsewhere it is the row taken.
#[derive(Clone, Copy, Debug, Default)]
struct Path([Mark; 3]);

impl Path {
    #[inline]
    fn step(&self, level: usize) -> Step {
        self.0.get(level).copied().unwrap_or_default().step(level)
    }

    #[inline]
    fn set(&mut self, step: Step) {
        if let Some(place) = self.0.get_mut(step.node.level) {
            *place = Mark::of(step);
        }
    }
}

/// An entry, the way to it, and the entry behind it; good until the table changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<V> {
    path: Path,
    pub(crate) key: usize,
    pub(crate) value: V,
    pub(crate) next: Option<(usize, V)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl<C: Cells<Value: Weigh<W>>, const W: usize> Table<C, W> {
    /// Returns an empty table in these cells, which have room for `room` entries.
    pub(crate) const fn over(cells: C, room: usize) -> Self {
        Self { nodes: Nodes::over(cells, room), pools: Pools::NONE, root: Node { level: 0, id: 0, len: 0 }, len: 0 }
    }

    /// Returns how many entries there is room for.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.nodes.room()
    }

    /// Returns the number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Returns how many levels there are: 1, and known when it is compiled, where one leaf has all entries.
    #[inline]
    const fn levels(&self) -> usize {
        if Nodes::<C, W>::ONE_LEAF { 1 } else { self.root.level.wrapping_add(1) }
    }

    /// Returns whether there are as many entries as fit.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.room()
    }

    /// Returns the entry with the highest key that is not above `key`.
    #[inline]
    pub(crate) fn at_or_before(&self, key: usize) -> Option<(usize, C::Value)> {
        let Step { node: leaf, index: rank } = self.place(key).step(0);
        match rank.checked_sub(1) {
            Some(index) => self.entry(leaf, index),
            None => self.before_leaf(key),
        }
    }

    /// As [`at_or_before`](Self::at_or_before), where that is the last entry of the leaf before.
    #[cold]
    #[inline(never)]
    fn before_leaf(&self, key: usize) -> Option<(usize, C::Value)> {
        self.seek(Some(&self.descend(key)), Way::Down, 0, 0)
    }

    /// Returns what [`at_or_before`](Self::at_or_before) and [`after`](Self::after) do, for little more than one.
    #[inline]
    pub(crate) fn around(&self, key: usize) -> Neighbours<C::Value> {
        let Step { node: leaf, index: rank } = self.place(key).step(0);
        if rank < leaf.len
            && let Some([found, next]) = rank.checked_sub(1).and_then(|index| self.pair(leaf, index))
        {
            return (Some(found), Some(next));
        }
        self.around_edge(key)
    }

    /// Returns an entry of a leaf and the one behind it.
    #[inline]
    fn pair(&self, leaf: Node, index: usize) -> Option<[(usize, C::Value); 2]> {
        let [found, next] = self.nodes.keys(leaf).get(index..)?.first_chunk()?;
        let [value, next_value] = self.nodes.values(leaf).get(index..)?.first_chunk()?;
        Some([(C::key_in(found), C::value_in(value)), (C::key_in(next), C::value_in(next_value))])
    }

    /// As [`around`](Self::around), where the neighbours are in different leaves, or there is only one.
    #[inline(never)]
    fn around_edge(&self, key: usize) -> Neighbours<C::Value> {
        (self.at_or_before(key), self.after(key))
    }

    /// Returns the entry with the lowest key that is above `key`.
    pub(crate) fn after(&self, key: usize) -> Option<(usize, C::Value)> {
        self.seek(Some(&self.descend(key)), Way::Up, 0, 0)
    }

    /// Returns the entry with the lowest key.
    pub(crate) fn first(&self) -> Option<(usize, C::Value)> {
        self.seek(None, Way::Up, 0, 0)
    }

    /// Returns the entry with the highest key.
    pub(crate) fn last(&self) -> Option<(usize, C::Value)> {
        self.seek(None, Way::Down, 0, 0)
    }

    /// Returns the first entry, of those with a key above `key` or of all, with at least `at_least` of weight `lane`.
    pub(crate) fn first_after_with(
        &self,
        key: Option<usize>,
        lane: usize,
        at_least: usize,
    ) -> Option<(usize, C::Value)> {
        match key {
            Some(key) => self.seek(Some(&self.descend(key)), Way::Up, lane, at_least),
            None => self.seek(None, Way::Up, lane, at_least),
        }
    }

    /// Returns the last entry with a key not above `key` and with at least `at_least` of weight `lane`.
    pub(crate) fn last_at_or_before_with(&self, key: usize, lane: usize, at_least: usize) -> Option<(usize, C::Value)> {
        self.seek(Some(&self.descend(key)), Way::Down, lane, at_least)
    }

    /// Returns the last entry in front of `found` with at least `at_least` of weight `lane`.
    pub(crate) fn last_before_with(
        &self,
        found: &Found<C::Value>,
        lane: usize,
        at_least: usize,
    ) -> Option<(usize, C::Value)> {
        let mut path = found.path;
        let Step { node, index } = path.step(0);
        path.set(Step { node, index: index.wrapping_sub(1) });
        self.seek(Some(&path), Way::Down, lane, at_least)
    }

    /// Returns the entry with the highest key that is not above `key`.
    #[inline(never)]
    pub(crate) fn find_at_or_before(&self, key: usize) -> Option<Found<C::Value>> {
        let mut path = self.descend(key);
        if path.step(0).index == 0 {
            // It is the last one of the leaf before.
            path = self.path_to(self.seek(Some(&path), Way::Down, 0, 0)?.0);
        }
        let Step { node: leaf, index: rank } = path.step(0);
        let (key, value) = self.entry(leaf, rank.checked_sub(1)?)?;
        let next = if rank < leaf.len { self.entry(leaf, rank) } else { self.seek(Some(&path), Way::Up, 0, 0) };
        Some(Found { path, key, value, next })
    }

    /// As [`descend`](Self::descend), where that is rare.
    #[cold]
    #[inline(never)]
    fn path_to(&self, key: usize) -> Path {
        self.descend(key)
    }

    #[inline]
    fn descend(&self, key: usize) -> Path {
        let mut path = Path::default();
        let mut node = self.root;
        while !Nodes::<C, W>::is_leaf(node) {
            let (index, child) = self.nodes.down(node, key);
            path.set(Step { node, index });
            node = child;
            self.prefetch(node);
        }
        path.set(Step { node, index: self.nodes.leaf_rank(node, key) });
        path
    }

    /// Asks for a leaf early, unless the table is so small that it is not far away.
    #[inline]
    fn prefetch(&self, node: Node) {
        if self.root.level > 1 {
            self.nodes.prefetch(node);
        }
    }

    /// Returns the leaf that `key` belongs in and how many of its keys are not above `key`: what fits a register.
    #[inline]
    fn place(&self, key: usize) -> Mark {
        let mut node = self.root;
        while !Nodes::<C, W>::is_leaf(node) {
            (_, node) = self.nodes.down(node, key);
            self.prefetch(node);
        }
        Mark::of(Step { node, index: self.nodes.leaf_rank(node, key) })
    }

    #[inline]
    fn entry(&self, leaf: Node, index: usize) -> Option<(usize, C::Value)> {
        Some((C::key_in(self.nodes.keys(leaf).get(index)?), self.nodes.value(leaf, index)?))
    }

    /// Returns whether the path to `key` ends at an entry.
    fn has(&self, path: &Path, key: usize) -> bool {
        let Step { node: leaf, index: rank } = path.step(0);
        rank.checked_sub(1)
            .and_then(|index| self.nodes.keys(leaf).get(index))
            .is_some_and(|other| C::key_in(other) == key)
    }

    /// Looks for the next entry behind or before a path's place, or the first or last of all.
    fn seek(&self, path: Option<&Path>, way: Way, lane: usize, at_least: usize) -> Option<(usize, C::Value)> {
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
        while !Nodes::<C, W>::is_leaf(node) {
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

    /// Calls `each` with the entries in key order, from the last one that is not above `key` on, until it returns
    /// `false`.
    #[inline]
    pub(crate) fn walk(&self, key: usize, mut each: impl FnMut(usize, C::Value) -> bool) {
        let mut next = self.at_or_before(key).map_or(Some(key), |(first, _)| Some(first));
        while let Some(from) = next {
            let Step { node: leaf, index: rank } = self.place(from).step(0);
            // Of the entry that `from` is, or of the first one where there is none below.
            let first = rank.saturating_sub(1);
            let keys = self.nodes.keys(leaf).get(first..leaf.len).unwrap_or_default();
            let values = self.nodes.values(leaf).get(first..leaf.len).unwrap_or_default();
            let Some(last) = keys.last() else { return };
            if !keys.iter().zip(values).all(|(key, value)| each(C::key_in(key), C::value_in(value))) {
                return;
            }
            next = self.after(C::key_in(last)).map(|(next, _)| next);
        }
    }
}
