//! The arrays of a table that others look into while it changes: all that is in them are atomics.
#![allow(unsafe_code, reason = "halves of words are lent as words; cells that nobody looks at are moved")]

use core::marker::PhantomData;
use core::slice;

use super::array::SharedArray;
use super::cells::{Cells, CellsMut};
use super::nodes::{ENTRIES_A_WORD, ROOM_MAX};
use crate::Platform;
use crate::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A value of two halves, which is kept in a [`Pair`].
pub(crate) trait Watch: Copy {
    fn halves(self) -> [u32; 2];
    fn of(halves: [u32; 2]) -> Self;
}

/// What a value is kept in: whoever looks while it changes gets nothing worse than half of one and half of another.
///
/// All zero bytes when it is not in use, so that an empty table takes no room in a program.
#[derive(Debug)]
pub(crate) struct Pair(
    #[cfg(target_pointer_width = "64")] AtomicUsize,
    #[cfg(not(target_pointer_width = "64"))] [AtomicU32; 2],
);

#[cfg(target_pointer_width = "64")]
impl Pair {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes a cell of its own")]
    const BLANK: Self = Self(AtomicUsize::new(0));

    #[inline]
    fn load(&self) -> [u32; 2] {
        Self::split(self.0.load(Ordering::Relaxed))
    }

    /// # Safety
    ///
    /// Nobody stores meanwhile.
    #[inline]
    unsafe fn read(&self) -> [u32; 2] {
        // SAFETY: the caller's promise.
        Self::split(unsafe { read(&self.0) })
    }

    #[inline]
    fn store(&self, [low, high]: [u32; 2]) {
        self.0.store(low as usize | (high as usize) << 32, Ordering::Relaxed);
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "halves")]
    const fn split(word: usize) -> [u32; 2] {
        [word as u32, (word >> 32) as u32]
    }

    #[inline]
    fn copy_to(&self, other: &Self) {
        copy_word(&self.0, &other.0);
    }
}

#[cfg(not(target_pointer_width = "64"))]
impl Pair {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes a cell of its own")]
    const BLANK: Self = Self([const { AtomicU32::new(0) }; 2]);

    fn load(&self) -> [u32; 2] {
        let [low, high] = &self.0;
        [low.load(Ordering::Relaxed), high.load(Ordering::Relaxed)]
    }

    /// # Safety
    ///
    /// None: it is for the sake of the other kind.
    unsafe fn read(&self) -> [u32; 2] {
        self.load()
    }

    fn store(&self, halves: [u32; 2]) {
        let [low, high] = &self.0;
        low.store(halves[0], Ordering::Relaxed);
        high.store(halves[1], Ordering::Relaxed);
    }

    fn copy_to(&self, other: &Self) {
        other.store(self.load());
    }
}

/// Returns what is in a word, by an access that the compiler may make part of another instruction.
///
/// # Safety
///
/// Nobody stores meanwhile.
#[inline]
unsafe fn read(word: &AtomicUsize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { word.as_ptr().read() }
}

/// Memory for such arrays, as [`Slab`](super::Slab).
#[derive(Debug)]
pub(crate) struct WatchedSlab<V, const N: usize> {
    keys: [[AtomicUsize; 2]; N],
    values: [[Pair; 2]; N],
    rows: Halves<N>,
    of: PhantomData<V>,
}

/// Words of inner nodes, of which there are 32 bits for each entry.
#[derive(Debug)]
#[cfg_attr(target_pointer_width = "64", repr(align(8)))]
struct Halves<const N: usize>([AtomicU32; N]);

impl<const N: usize> Halves<N> {
    const fn words(&self) -> &[AtomicUsize] {
        // SAFETY: as many bytes as these words have, and aligned like them; nobody takes them for anything but words.
        unsafe { slice::from_raw_parts((&raw const self.0).cast(), N / ENTRIES_A_WORD) }
    }
}

impl<V, const N: usize> WatchedSlab<V, N> {
    pub(crate) const fn new() -> Self {
        const { assert!(1 <= N && N <= ROOM_MAX, "there is room for 1 to 65,536 segments") };
        Self {
            keys: [const { [const { AtomicUsize::new(0) }; 2] }; N],
            values: [const { [const { Pair::BLANK }; 2] }; N],
            rows: Halves([const { AtomicU32::new(0) }; N]),
            of: PhantomData,
        }
    }

    /// Lends the memory.
    pub(crate) const fn lend(&mut self) -> LentSlab<'_, V, N> {
        LentSlab(self)
    }
}

/// Such memory as it is lent, once at a time.
#[derive(Debug)]
pub(crate) struct LentSlab<'m, V, const N: usize>(&'m WatchedSlab<V, N>);

impl<'m, V, const N: usize> LentSlab<'m, V, N> {
    /// Returns the arrays for those who look into the table.
    pub(crate) const fn watching<P>(&self) -> Watching<'m, V, P> {
        Watching(self.shelves())
    }

    /// Returns the arrays for the table.
    pub(crate) const fn watched<P>(self) -> Watched<'m, V, P> {
        Watched(self.shelves())
    }

    const fn shelves<P>(&self) -> Shelves<'m, V, P> {
        let WatchedSlab { keys, values, rows, .. } = self.0;
        Shelves {
            keys: SharedArray::Lent(keys.as_flattened()),
            values: SharedArray::Lent(values.as_flattened()),
            rows: SharedArray::Lent(rows.words()),
            of: PhantomData,
        }
    }
}

#[derive(Debug)]
struct Shelves<'m, V, P> {
    keys: SharedArray<'m, AtomicUsize>,
    values: SharedArray<'m, Pair>,
    rows: SharedArray<'m, AtomicUsize>,
    of: PhantomData<fn() -> (V, P)>,
}

/// Such arrays, of a table on platform `P`, which says how much room there is at most. There is one for each, and only
/// with that can anything be stored.
#[derive(Debug)]
pub(crate) struct Watched<'m, V, P>(Shelves<'m, V, P>);

/// The same arrays, of those who look into the table.
#[derive(Debug)]
pub(crate) struct Watching<'m, V, P>(Shelves<'m, V, P>);

/// Returns arrays on the heap, with room for `room` entries.
#[cfg(feature = "alloc")]
pub(crate) fn on_heap<'m, V, P>(room: usize) -> (Watched<'m, V, P>, Watching<'m, V, P>) {
    let cells = room.saturating_mul(2);
    let keys = SharedArray::on_heap(cells, || AtomicUsize::new(0));
    let values = SharedArray::on_heap(cells, || Pair::BLANK);
    let rows = SharedArray::on_heap(room / ENTRIES_A_WORD, || AtomicUsize::new(0));
    let watching = Shelves { keys: keys.share(), values: values.share(), rows: rows.share(), of: PhantomData };
    (Watched(Shelves { keys, values, rows, of: PhantomData }), Watching(watching))
}

macro_rules! cells {
    ($name:ident, $word:ident, $pair:ident) => {
        impl<V: Watch, P: Platform> Cells for $name<'_, V, P> {
            type Value = V;
            type Key = AtomicUsize;
            type Kept = Pair;
            type Word = AtomicUsize;

            const MOST: usize = P::SEGMENTS_MAX;

            #[inline]
            fn room(&self) -> usize {
                self.0.keys.len() / 2
            }

            #[inline]
            fn keys(&self) -> &[AtomicUsize] {
                &self.0.keys
            }

            #[inline]
            fn values(&self) -> &[Pair] {
                &self.0.values
            }

            #[inline]
            fn rows(&self) -> &[AtomicUsize] {
                &self.0.rows
            }

            #[inline]
            fn key_in(cell: &AtomicUsize) -> usize {
                Self::$word(cell)
            }

            #[inline]
            fn value_in(cell: &Pair) -> V {
                V::of(Self::$pair(cell))
            }

            #[inline]
            fn word_in(cell: &AtomicUsize) -> usize {
                Self::$word(cell)
            }
        }
    };
}

// All loads and stores are relaxed: whether what was read belongs together is found out in another way
// (`set/sequence.rs`), which orders them.
impl<V, P> Watching<'_, V, P> {
    #[inline]
    fn word(cell: &AtomicUsize) -> usize {
        cell.load(Ordering::Relaxed)
    }

    #[inline]
    fn pair(cell: &Pair) -> [u32; 2] {
        cell.load()
    }
}

impl<V, P> Watched<'_, V, P> {
    /// Returns what is in a word that was got by way of a reference to this.
    #[inline]
    fn word(cell: &AtomicUsize) -> usize {
        // SAFETY: only `&mut` to the one that there is for these arrays stores.
        unsafe { read(cell) }
    }

    #[inline]
    fn pair(cell: &Pair) -> [u32; 2] {
        // SAFETY: the same.
        unsafe { cell.read() }
    }
}

cells!(Watching, word, pair);
cells!(Watched, word, pair);

impl<V: Watch, P: Platform> CellsMut for Watched<'_, V, P> {
    #[inline]
    fn set_key(&mut self, at: usize, key: usize) {
        self.0.keys.get(at).into_iter().for_each(|cell| cell.store(key, Ordering::Relaxed));
    }

    #[inline]
    fn set_value(&mut self, at: usize, value: V) {
        if let Some(cell) = self.0.values.get(at) {
            cell.store(value.halves());
        }
    }

    #[inline]
    fn set_row(&mut self, at: usize, word: usize) {
        self.0.rows.get(at).into_iter().for_each(|cell| cell.store(word, Ordering::Relaxed));
    }

    #[inline]
    fn shift_entries(&mut self, from: usize, to: usize, count: usize) {
        if !P::UNLOCKED_CALLS {
            // SAFETY: the table alone has them; `Index` looks into none where calls are not unlocked.
            unsafe { move_unwatched(&self.0.keys, from, to, count) };
            // SAFETY: the same.
            return unsafe { move_unwatched(&self.0.values, from, to, count) };
        }
        relocate(&self.0.keys, &self.0.values, from, to, count);
    }

    #[inline]
    fn shift_rows(&mut self, from: usize, to: usize, count: usize) {
        if !P::UNLOCKED_CALLS {
            // SAFETY: as in `shift_entries`.
            return unsafe { move_unwatched(&self.0.rows, from, to, count) };
        }
        let Some((low, high)) = places(&self.0.rows, from, to, count) else { return };
        if to < from {
            low.iter().zip(high).for_each(|(low, high)| copy_word(high, low));
        } else {
            low.iter().zip(high).rev().for_each(|(low, high)| copy_word(low, high));
        }
    }
}

/// As [`relocate`](super::arrays::relocate), in less code.
///
/// # Safety
///
/// The cells are atomics, and nobody else is at them.
#[inline]
unsafe fn move_unwatched<T>(cells: &[T], from: usize, to: usize, count: usize) {
    let lowest = from.min(to);
    let Some(cells) = cells.get(lowest..from.max(to).wrapping_add(count)) else { return };
    let base = cells.as_ptr().cast_mut();
    let (from, to) = (base.wrapping_add(from.wrapping_sub(lowest)), base.wrapping_add(to.wrapping_sub(lowest)));
    // SAFETY: one of the two is the first of `cells`, the other as far behind it as `cells` is longer than `count`; and
    // atomics may be changed behind a shared reference.
    unsafe { core::ptr::copy(from, to, count) };
}

#[inline]
fn copy_word(from: &AtomicUsize, to: &AtomicUsize) {
    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Returns the `count` cells from the lower of two places on, and from the higher one.
#[inline]
fn places<T>(cells: &[T], from: usize, to: usize, count: usize) -> Option<(&[T], &[T])> {
    let low = cells.get(from.min(to)..)?;
    Some((low.get(..count)?, low.get(from.abs_diff(to)..)?.get(..count)?))
}

/// How many entries are moved at a time.
const AT_ONCE: usize = 4;

/// Copies `count` entries from `from` on to `to` on, as if by way of elsewhere.
fn relocate(keys: &[AtomicUsize], values: &[Pair], from: usize, to: usize, count: usize) {
    let (Some((low, high)), Some((low_values, high_values))) =
        (places(keys, from, to, count), places(values, from, to, count))
    else {
        return;
    };
    let copy = |(from, to): (&AtomicUsize, &AtomicUsize), (from_value, to_value): (&Pair, &Pair)| {
        copy_word(from, to);
        from_value.copy_to(to_value);
    };
    if to < from {
        let ((low, low_rest), (high, high_rest)) = (low.as_chunks::<AT_ONCE>(), high.as_chunks::<AT_ONCE>());
        let (low_values, low_values_rest) = low_values.as_chunks::<AT_ONCE>();
        let (high_values, high_values_rest) = high_values.as_chunks::<AT_ONCE>();
        for ((low, high), (low_values, high_values)) in low.iter().zip(high).zip(low_values.iter().zip(high_values)) {
            let values = high_values.iter().zip(low_values);
            high.iter().zip(low).zip(values).for_each(|(key, value)| copy(key, value));
        }
        let values = high_values_rest.iter().zip(low_values_rest);
        high_rest.iter().zip(low_rest).zip(values).for_each(|(key, value)| copy(key, value));
    } else {
        let ((low_rest, low), (high_rest, high)) = (low.as_rchunks::<AT_ONCE>(), high.as_rchunks::<AT_ONCE>());
        let (low_values_rest, low_values) = low_values.as_rchunks::<AT_ONCE>();
        let (high_values_rest, high_values) = high_values.as_rchunks::<AT_ONCE>();
        for ((low, high), (low_values, high_values)) in
            low.iter().zip(high).zip(low_values.iter().zip(high_values)).rev()
        {
            let values = low_values.iter().zip(high_values);
            low.iter().zip(high).zip(values).rev().for_each(|(key, value)| copy(key, value));
        }
        let values = low_values_rest.iter().zip(high_values_rest);
        low_rest.iter().zip(high_rest).zip(values).rev().for_each(|(key, value)| copy(key, value));
    }
}
