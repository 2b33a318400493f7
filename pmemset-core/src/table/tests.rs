//! The table against an ordered map, with the structure of the tree checked on the way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cells::CellsMut;
use super::glass::MARK_MAX;
use super::nodes::ROOM_MAX;
use super::nodes::{FULL, HALF, KEYS, NO_KEY};
use super::*;

/// A platform whose sets have one leaf, if there is room for no more: there are no other nodes, and no code for them.
struct Small<const MOST: usize, const UNLOCKED: bool = false>;

// SAFETY: gives no address away.
#[allow(unsafe_code, reason = "a platform that has no addresses")]
unsafe impl<const MOST: usize, const UNLOCKED: bool> crate::Platform for Small<MOST, UNLOCKED> {
    type Lock = crate::lock::SpinRwLock;
    type Space = ();

    const SEGMENTS_MAX: usize = MOST;
    const UNLOCKED_CALLS: bool = UNLOCKED;

    fn space(&self) {}
    fn page_size_bytes(&self) -> usize {
        4096
    }
    fn cpu(&self) -> &crate::arch::Cpu {
        &crate::arch::Cpu::NONE
    }
    fn reserve(&self, _: usize, _: usize) -> Result<crate::Extent, crate::error::ReserveError> {
        Err(crate::error::ReserveError::CannotFit)
    }
    fn reserve_at(&self, _: crate::Extent) -> Result<(), crate::error::ReserveError> {
        Err(crate::error::ReserveError::CannotFit)
    }
    unsafe fn release(&self, _: crate::Extent) -> Result<(), crate::Errno> {
        Ok(())
    }
}

type Plain<V, const MOST: usize> = Arrays<'static, V, Small<MOST>>;

/// Returns arrays for `room` entries that were used before, of which it is not known when it is compiled how long they
/// are.
fn used<V: Weigh<W> + Blank, const W: usize, const MOST: usize>(room: usize) -> Plain<V, MOST> {
    let mut cells = Arrays::on_heap(room);
    (0..2 * room).for_each(|at| cells.set_key(at, 0xdead));
    (0..cells.rows().len()).for_each(|at| cells.set_row(at, 0xdead_0000_dead_u64 as usize));
    cells
}

/// Returns a table with room for `room` entries.
fn sliced<V: Weigh<W> + Blank, const W: usize>(room: usize) -> Table<Plain<V, ROOM_MAX>, W> {
    Table::over(used(room), room)
}

/// Returns a table that has one leaf.
fn one_leaf<V: Weigh<W> + Blank, const W: usize>(room: usize) -> Table<Plain<V, FULL>, W> {
    Table::over(used(room), room)
}

type Atomics<V, const MOST: usize, const UNLOCKED: bool> = Watched<'static, V, Small<MOST, UNLOCKED>>;

/// Returns a table whose cells are atomics.
fn watched<V: Watch + Weigh<W>, const W: usize, const MOST: usize, const UNLOCKED: bool>(
    room: usize,
) -> Table<Atomics<V, MOST, UNLOCKED>, W> {
    Table::over(on_heap(room).0, room)
}

impl Watch for u32 {
    fn halves(self) -> [u32; 2] {
        [self, !self]
    }

    fn of([value, other]: [u32; 2]) -> Self {
        assert!(value == !other || (value, other) == (0, 0));
        value
    }
}

impl Watch for usize {
    fn halves(self) -> [u32; 2] {
        u32::try_from(self).unwrap().halves()
    }

    fn of(halves: [u32; 2]) -> Self {
        u32::of(halves) as usize
    }
}

impl Blank for u32 {
    const BLANK: Self = 0;
}

impl Blank for usize {
    const BLANK: Self = 0;
}

impl Weigh<1> for u32 {
    const BY_KEY: bool = false;

    fn weigh(&self, _: usize) -> [usize; 1] {
        [usize::from(self & 1 != 0)]
    }
}

impl Weigh<3> for usize {
    const BY_KEY: bool = true;

    fn weigh(&self, key: usize) -> [usize; 3] {
        [*self, *self & !7, key.wrapping_sub(*self) % 100]
    }
}

/// A small deterministic generator (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    }

    fn shuffle(&mut self, keys: &mut [usize]) {
        for i in (1..keys.len()).rev() {
            keys.swap(i, self.next() % (i + 1));
        }
    }
}

impl<C: Cells<Value: Weigh<W>>, const W: usize> Nodes<C, W> {
    fn key_is_unused(&self, node: Node, index: usize) -> bool {
        let room = if node.level == 0 { self.keys(node).len() } else { self.column(node, KEYS).len() };
        index >= room || self.key(node, index) == NO_KEY
    }
}

impl<C: CellsMut<Value: Weigh<W>>, const W: usize> Table<C, W> {
    fn take(&mut self, key: usize) -> Option<C::Value> {
        let found = self.find_at_or_before(key).filter(|found| found.key == key)?;
        self.remove(&found, None);
        Some(found.value)
    }

    /// Checks the whole tree and returns its entries.
    fn audit(&self) -> Vec<(usize, C::Value)> {
        let (mut entries, mut used) = (Vec::new(), (Vec::new(), Vec::new()));
        self.audit_node(self.root, None, usize::MAX, &mut entries, &mut used);
        assert_eq!(entries.len(), self.len());
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        for (ids, most) in [(&mut used.0, self.room().div_ceil(HALF)), (&mut used.1, self.room() / (HALF * HALF) + 1)] {
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "a node is reached twice");
            assert!(ids.iter().all(|&id| id < most), "{ids:?}");
        }
        entries
    }

    fn audit_node(
        &self,
        node: Node,
        low: Option<usize>,
        high: usize,
        entries: &mut Vec<(usize, C::Value)>,
        used: &mut (Vec<usize>, Vec<usize>),
    ) {
        assert!(node.len <= FULL && (node == self.root || node.len >= HALF), "{node:?}");
        assert!(node.len == 0 || (node.len..FULL).all(|index| self.nodes.key_is_unused(node, index)), "{node:?}");
        if node.level == 0 {
            used.0.push(node.id);
            for index in 0..node.len {
                let (key, value) = self.entry(node, index).unwrap();
                assert!(low.is_none_or(|low| low <= key) && key <= high);
                entries.push((key, value));
            }
            return;
        }
        used.1.push(node.id);
        assert!(node.len >= 2);
        for index in 0..node.len {
            let child = self.nodes.child(node, index);
            let key = self.nodes.key(node, index);
            assert!(low.is_none_or(|low| low <= key));
            let high = if index + 1 < node.len { self.nodes.key(node, index + 1) - 1 } else { high };
            assert_eq!(self.nodes.row_weights(node, index), self.nodes.weights(child, [usize::MAX; W]));
            self.audit_node(child, Some(key), high, entries, used);
        }
    }
}

/// Applies one operation to table and model and compares what they say.
fn step(
    table: &mut Table<impl CellsMut<Value = usize>, 3>,
    model: &mut BTreeMap<usize, usize>,
    op: usize,
    key: usize,
    value: usize,
) {
    let above = (core::ops::Bound::Excluded(key), core::ops::Bound::Unbounded);
    // Some removals change the entry behind too.
    let next = value.is_multiple_of(3).then_some(value * 7 % 120);
    let change_next = |model: &mut BTreeMap<usize, usize>| {
        if let (Some(next), Some((_, behind))) = (next, model.range_mut(above).next()) {
            *behind = next;
        }
    };
    match op {
        0 | 1 => {
            let refused = model.len() == table.room() || model.contains_key(&key);
            assert_eq!(table.insert(key, value), if refused { Err(Full) } else { Ok(()) });
            if !refused {
                model.insert(key, value);
            }
        }
        2 => {
            let found = table.find_at_or_before(key).filter(|found| found.key == key);
            assert_eq!(found.map(|found| (found.key, found.value)), model.get(&key).map(|value| (key, *value)));
            if let Some(found) = found {
                assert_eq!(found.next, table.after(key));
                table.remove(&found, next);
                model.remove(&key);
                change_next(model);
            }
        }
        3 => {
            // As far down or up as it may go, or a little.
            let low = model.range(..key).next_back().map_or(0, |(below, _)| below + 1);
            let high = model.range(above).next().map_or(key.max(usize::MAX - 1), |(behind, _)| behind - 1);
            let to = [low, high, key.saturating_sub(1).max(low), key.saturating_add(1).min(high)][value % 4];
            if let Some(found) = table.find_at_or_before(key).filter(|found| found.key == key) {
                table.replace(&found, to, value);
                model.remove(&key);
                model.insert(to, value);
            }
        }
        _ => {
            let old = model.get_mut(&key);
            assert_eq!(table.set(key, value), old.is_some());
            if let Some(old) = old {
                *old = value;
            }
        }
    }
    let pair = |(k, v): (&usize, &usize)| (*k, *v);
    assert_eq!(table.len(), model.len());
    assert_eq!(table.is_full(), model.len() == table.room());
    assert_eq!(table.at_or_before(key), model.range(..=key).next_back().map(pair));
    assert_eq!(table.after(key), model.range(above).next().map(pair));
    assert_eq!(table.around(key), (table.at_or_before(key), table.after(key)));
    let found = table.find_at_or_before(key).map(|found| ((found.key, found.value), found.next));
    assert_eq!(found, table.at_or_before(key).map(|entry| (entry, table.after(entry.0))));
    assert_eq!(table.first(), model.first_key_value().map(pair));
    assert_eq!(table.last(), model.last_key_value().map(pair));
    for lane in 0..3 {
        let fits = |(k, v): &(&usize, &usize)| v.weigh(**k)[lane] >= value;
        assert_eq!(table.first_after_with(Some(key), lane, value), model.range(above).find(fits).map(pair));
        assert_eq!(table.first_after_with(None, lane, value), model.iter().find(fits).map(pair));
        assert_eq!(table.last_at_or_before_with(key, lane, value), model.range(..=key).rev().find(fits).map(pair));
        if let Some(found) = table.find_at_or_before(key) {
            let before = model.range(..found.key).rev().find(fits).map(pair);
            assert_eq!(table.last_before_with(&found, lane, value), before);
        }
    }
}

fn compare(table: &Table<impl CellsMut<Value = usize>, 3>, model: &BTreeMap<usize, usize>) {
    assert!(table.audit().into_iter().eq(model.iter().map(|(k, v)| (*k, *v))));
}

fn random_operations(mut table: Table<impl CellsMut<Value = usize>, 3>, seed: u64, steps: usize, keys: usize) {
    let (mut random, mut model, room) = (Random(seed), BTreeMap::new(), table.room());
    for i in 0..steps {
        // Whole phases of mostly inserting and mostly removing, so that the tree grows and shrinks through every level.
        let bias = if (i / (2 * room + 10)).is_multiple_of(2) { [0, 1, 0, 1, 2, 3, 4] } else { [2, 2, 2, 2, 0, 3, 4] };
        let key = match random.next() % keys {
            0 => usize::MAX,
            1 => 0,
            key => key,
        };
        step(&mut table, &mut model, bias[random.next() % bias.len()], key, random.next() % 120);
        if i % (1 + room / 16) == 0 {
            compare(&table, &model);
        }
    }
    compare(&table, &model);
}

#[test]
fn agrees_with_an_ordered_map() {
    for room in [1, 2, 10, 31, 32, 33, 63, 64] {
        random_operations(one_leaf(room), room as u64, 3_000, room * 3 / 2 + 4);
    }
    // The last that have a node smaller than others, with 1 and 3 weights, are those of 383 and 639.
    for room in [1, 2, 10, 31, 32, 33, 63, 64, 65, 129, 383, 384, 639, 640, 1000] {
        random_operations(sliced(room), room as u64, 5_000 + 10 * room, room * 3 / 2 + 4);
    }
    random_operations(sliced(3000), 9, 40_000, 3_500);
}

#[test]
fn agrees_with_an_ordered_map_in_atomics() {
    for room in [1, 2, 33, 64] {
        random_operations(watched::<_, 3, FULL, false>(room), room as u64, 2_000, room * 3 / 2 + 4);
        random_operations(watched::<_, 3, FULL, true>(room), room as u64, 2_000, room * 3 / 2 + 4);
    }
    for room in [1, 2, 33, 63, 64, 65, 129, 384, 640, 1000] {
        random_operations(watched::<_, 3, ROOM_MAX, false>(room), room as u64, 5_000, room * 3 / 2 + 4);
        random_operations(watched::<_, 3, ROOM_MAX, true>(room), room as u64, 5_000, room * 3 / 2 + 4);
    }
    fill_and_empty(watched::<_, 1, ROOM_MAX, true>(65_536));
}

/// Whoever looks through the glass sees what the table has, and what is behind that, in the next leaf too.
#[test]
fn a_glass_shows_the_table() {
    for room in [1, 2, 10, 63, 64, 65, 129, 384, 1000, 9_000] {
        let (mut random, (cells, watching)) = (Random(room as u64), on_heap::<u32, Small<ROOM_MAX, true>>(room));
        let (mut table, glass) = (Table::<_, 1>::over(cells, room), Glass::<_, 1>::over(watching, room));
        assert!(glass.look(7).is_none());
        for step in 0..6 * room + 50 {
            let (key, mark) = (random.next() % (3 * room), step % (MARK_MAX + 1));
            if step / (2 * room) % 2 == 0 {
                let _ = table.insert(key, step as u32);
            } else {
                table.take(key);
            }
            glass.follow(&table, mark);
            for key in [key, key + 1, random.next() % (3 * room), usize::MAX] {
                let Step { index, .. } = table.descend(key).step(0);
                let Some(seen) = glass.look(key) else {
                    assert!(index == 0 || key == usize::MAX, "{key} of {room}");
                    continue;
                };
                let value = |(_, value)| value;
                assert_eq!(Some((seen.key, seen.value)), table.at_or_before(key));
                assert_eq!(glass.next(&seen), table.after(seen.key).map(value));
                assert_eq!(seen.mark(), mark);
            }
        }
    }
}

/// Nothing that is in the cells, and no root, keeps whoever looks from coming back.
#[test]
fn a_glass_over_anything_comes_back() {
    let mut random = Random(3);
    for room in [1, 10, 64, 100, 384, 5_000] {
        let (mut cells, watching) = on_heap::<usize, Small<ROOM_MAX, true>>(room);
        let glass = Glass::<_, 3>::over(watching, room);
        let mut table = Table::<_, 3>::over(on_heap::<usize, Small<ROOM_MAX, true>>(room).0, room);
        for _ in 0..2_000 {
            let at = random.next();
            cells.set_key(at % (2 * room), random.next());
            cells.set_row(at % room, random.next());
            let [level, id, len] = [4, 1 << 16, 1 << 8].map(|below| random.next() % below);
            table.root = Node { level, id, len };
            glass.follow(&table, 0);
            let _ = glass.look(random.next()).map(|seen| glass.next(&seen));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_an_ordered_map_on_any_operations(
        ops in prop::collection::vec((0_usize..5, 0_usize..300, 0_usize..120), 1..600)
    ) {
        let (mut table, mut model) = (sliced::<usize, 3>(200), BTreeMap::new());
        for (op, key, value) in ops {
            step(&mut table, &mut model, op, key, value);
        }
        compare(&table, &model);
    }
}

/// Runs every sequence of `depth` operations out of `ops` on the keys `around`, from a table that holds `fill` others.
fn every_sequence(room: usize, fill: usize, around: [usize; 3], ops: &[usize], depth: u32) {
    let choices = ops.len() * around.len();
    for code in 0..choices.pow(depth) {
        let (mut table, mut model, mut rest) = (sliced::<usize, 3>(room), BTreeMap::new(), code);
        for key in 0..fill {
            table.insert(10 * key + 5, key).unwrap();
            model.insert(10 * key + 5, key);
        }
        for _ in 0..depth {
            let key = around[rest % choices / ops.len()];
            step(&mut table, &mut model, ops[rest % ops.len()], key, 3);
            rest /= choices;
        }
        compare(&table, &model);
    }
}

#[test]
fn every_short_sequence_in_small_tables() {
    // Inserted and removed; with keys replaced as well, sequences are shorter.
    for (ops, depth) in [(&[0, 2][..], 5), (&[0, 2, 3][..], 4)] {
        every_sequence(1, 0, [1, 2, 3], ops, depth);
        every_sequence(2, 0, [1, 2, 3], ops, depth);
        every_sequence(3, 1, [1, 5, 9], ops, depth);
        for (room, fill, middle) in
            [(31, 30, 155), (32, 31, 155), (33, 32, 155), (63, 62, 315), (64, 63, 315), (65, 64, 315), (66, 64, 325)]
        {
            every_sequence(room, fill, [1, middle, 700], ops, depth - 1);
        }
    }
}

fn fill_and_empty(mut table: Table<impl CellsMut<Value = u32>, 1>) {
    let room = table.room();
    let ascending: Vec<usize> = (1..=room).map(|i| i * 4096).collect();
    let mut orders = [ascending.clone(), ascending.iter().rev().copied().collect(), ascending.clone(), Vec::new()];
    Random(room as u64).shuffle(&mut orders[2]);
    let (front, back) = ascending.split_at(room / 2);
    orders[3] = back.iter().chain(front.iter().rev()).copied().collect();
    for (fill, empty) in [(0, 0), (0, 1), (1, 2), (2, 0), (2, 3), (3, 2)] {
        for &key in &orders[fill] {
            assert_eq!(table.insert(key, (key / 4096) as u32), Ok(()), "{key:#x} of {room}");
        }
        assert!(table.is_full());
        assert_eq!(table.insert(1, 0), Err(Full));
        assert!(table.audit().iter().map(|entry| entry.0).eq(ascending.iter().copied()));
        for (i, &key) in orders[empty].iter().enumerate() {
            assert_eq!(table.take(key), Some((key / 4096) as u32));
            if i == room / 3 || i == room / 2 {
                table.audit();
            }
        }
        assert_eq!((table.len(), table.first()), (0, None));
    }
}

#[test]
fn capacity_is_always_reached() {
    for room in [1, 10, 31, 64] {
        fill_and_empty(one_leaf(room));
    }
    for room in [1, 2, 10, 31, 32, 33, 63, 64, 65, 100, 191, 192, 383, 384, 1000, 2048, 2049, 4096, 65_536] {
        fill_and_empty(sliced(room));
    }
}

/// Removes entries until every node of a full table has as few as it may, then fills the table again at one end: the
/// most nodes that a table ever needs.
#[test]
fn capacity_is_reached_with_every_node_half_empty() {
    fn sparse(room: usize) {
        let mut table = sliced::<u32, 1>(room);
        for key in 0..room {
            table.insert(key << 16, 1).unwrap();
        }
        for round in 1..8 {
            let half: Vec<usize> =
                table.audit().iter().map(|entry| entry.0).filter(|key| (key >> 16) % 2 == round % 2).collect();
            for key in half.iter().take(room / 2) {
                table.take(*key);
            }
            table.audit();
            // Downwards leaves half of each node empty, upwards none of it.
            let missing = room - table.len();
            for step in 0..missing {
                let place = if round % 3 == 0 { step } else { missing - step };
                table.insert(round + 8 * place, 1).unwrap();
            }
            assert!(table.is_full());
            table.audit();
        }
    }
    for room in [65, 130, 383, 384, 2049, 5000, 65_536] {
        sparse(room);
    }
}

/// Half-full leaves would take twice the memory, and nearly each removal would merge two.
#[test]
fn entries_in_order_fill_their_leaves() {
    let mut table = sliced::<u32, 1>(2048);
    for key in 0..10 * FULL {
        table.insert(key << 12, 1).unwrap();
        assert!(table.root.level == 0 || table.root.len <= 2 + key / FULL, "{} leaves, {key} entries", table.root.len);
    }
    table.audit();
}

#[test]
fn size_per_entry_is_bounded() {
    const N: usize = 65_536;
    let word = size_of::<usize>();
    assert!(size_of::<Slab<u32, N>>() <= N * (2 * word + 4 + 2 * size_of::<u32>()));
    assert!(size_of::<Slab<usize, N>>() <= N * (4 * word + 4));
    assert!(size_of::<WatchedSlab<u32, N>>() <= N * (2 * word + 4 + 16));
    assert!(size_of::<Table<(), 1>>() <= 80);
}

#[test]
fn an_empty_table_finds_nothing() {
    let mut table = sliced::<u32, 1>(10);
    assert_eq!(
        (table.at_or_before(0), table.at_or_before(usize::MAX), table.after(0), table.take(0)),
        (None, None, None, None)
    );
    assert!(!table.set(0, 1));
    assert_eq!(table.first_after_with(None, 0, 1), None);
}
