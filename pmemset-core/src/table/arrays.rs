//! The arrays of a table that nobody looks into while it changes: a slab's, or on the heap.

use core::marker::PhantomData;

use super::array::Array;
use super::cells::{Cells, CellsMut};
use super::nodes::{ENTRIES_A_WORD, ROOM_MAX};
use crate::Platform;

/// A word of an inner node. There are more halves than `N` words' worth of room is needed for, so rows are kept in
/// them.
type Word = [u32; ENTRIES_A_WORD];

#[inline]
const fn joined(word: &Word) -> usize {
    #[cfg(target_pointer_width = "64")]
    return word[0] as usize | (word[1] as usize) << 32;
    #[cfg(target_pointer_width = "32")]
    return word[0] as usize;
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "halves")]
const fn split(word: usize) -> Word {
    #[cfg(target_pointer_width = "64")]
    return [word as u32, (word >> 32) as u32];
    #[cfg(target_pointer_width = "32")]
    return [word as u32];
}

/// The value of cells not in use; all zero bytes, so that an empty table takes no room in a program.
pub(crate) trait Blank: Copy {
    const BLANK: Self;
}

/// Memory for the arrays of a table with room for `N` entries, 1 to 65,536; all bytes are zero, so that a static one
/// takes no room in a program file.
#[derive(Debug)]
pub(crate) struct Slab<V, const N: usize> {
    keys: [[usize; 2]; N],
    values: [[V; 2]; N],
    rows: [u32; N],
}

impl<V: Blank, const N: usize> Slab<V, N> {
    pub(crate) const fn new() -> Self {
        const { assert!(1 <= N && N <= ROOM_MAX, "there is room for 1 to 65,536 segments") };
        Self { keys: [[0; 2]; N], values: [[V::BLANK; 2]; N], rows: [0; N] }
    }

    /// Lends the memory to a table.
    pub(crate) const fn lend<P>(&mut self) -> Arrays<'_, V, P> {
        Arrays {
            keys: Array::Lent(self.keys.as_flattened_mut()),
            values: Array::Lent(self.values.as_flattened_mut()),
            rows: Array::Lent(&mut self.rows),
            platform: PhantomData,
        }
    }
}

/// The arrays of a table on platform `P`, which says how much room there is at most.
#[derive(Debug)]
pub(crate) struct Arrays<'m, V, P> {
    keys: Array<'m, usize>,
    values: Array<'m, V>,
    rows: Array<'m, u32>,
    platform: PhantomData<fn() -> P>,
}

#[cfg(feature = "alloc")]
impl<V: Blank, P> Arrays<'_, V, P> {
    /// Returns arrays on the heap, with room for `room` entries.
    pub(crate) fn on_heap(room: usize) -> Self {
        let cells = room.saturating_mul(2);
        Self {
            keys: Array::on_heap(cells, || 0),
            values: Array::on_heap(cells, || V::BLANK),
            rows: Array::on_heap(room, || 0),
            platform: PhantomData,
        }
    }
}

impl<V: Copy, P: Platform> Cells for Arrays<'_, V, P> {
    type Value = V;
    type Key = usize;
    type Kept = V;
    type Word = Word;

    const MOST: usize = P::SEGMENTS_MAX;

    #[inline]
    fn room(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    fn keys(&self) -> &[usize] {
        &self.keys
    }

    #[inline]
    fn values(&self) -> &[V] {
        &self.values
    }

    #[inline]
    fn rows(&self) -> &[Word] {
        self.rows.as_chunks().0
    }

    #[inline]
    fn key_in(cell: &usize) -> usize {
        *cell
    }

    #[inline]
    fn value_in(cell: &V) -> V {
        *cell
    }

    #[inline]
    fn word_in(cell: &Word) -> usize {
        joined(cell)
    }
}

impl<V: Copy, P: Platform> CellsMut for Arrays<'_, V, P> {
    #[inline]
    fn set_key(&mut self, at: usize, key: usize) {
        self.keys.get_mut(at).into_iter().for_each(|cell| *cell = key);
    }

    #[inline]
    fn set_value(&mut self, at: usize, value: V) {
        self.values.get_mut(at).into_iter().for_each(|cell| *cell = value);
    }

    #[inline]
    fn set_row(&mut self, at: usize, word: usize) {
        self.rows.as_chunks_mut().0.get_mut(at).into_iter().for_each(|cell| *cell = split(word));
    }

    #[inline]
    fn shift_entries(&mut self, from: usize, to: usize, count: usize) {
        relocate(&mut self.keys, from, to, count);
        relocate(&mut self.values, from, to, count);
    }

    #[inline]
    fn shift_rows(&mut self, from: usize, to: usize, count: usize) {
        relocate(self.rows.as_chunks_mut::<ENTRIES_A_WORD>().0, from, to, count);
    }
}

/// Copies `count` elements within `cells`, as if by way of elsewhere; nothing if they are not all inside.
///
/// `copy_within` would look once more, and a build for size does not see that it cannot panic.
#[inline]
#[allow(unsafe_code, reason = "no safe way to move elements is seen to be free of panics with every optimiser setting")]
fn relocate<T: Copy>(cells: &mut [T], from: usize, to: usize, count: usize) {
    let lowest = from.min(to);
    let Some(cells) = cells.get_mut(lowest..from.max(to).wrapping_add(count)) else { return };
    let base = cells.as_mut_ptr();
    let (from, to) = (base.wrapping_add(from.wrapping_sub(lowest)), base.wrapping_add(to.wrapping_sub(lowest)));
    // SAFETY: one of the two is the first of `cells`, the other as far behind it as `cells` is longer than `count`.
    unsafe { core::ptr::copy(from, to, count) };
}
