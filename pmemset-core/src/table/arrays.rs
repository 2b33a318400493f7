//! The arrays of a table: a slab's, or on the heap.

use core::marker::PhantomData;

use super::array::Array;
use super::cells::Cells;
use super::nodes::{ROOM_MAX, Weigh};
use crate::Platform;

/// Memory for the arrays of a table with room for `N` entries, 1 to 65,536; all bytes are zero, so that a static one
/// takes no room in a program file.
#[derive(Debug)]
pub(crate) struct Slab<V, const N: usize> {
    keys: [[usize; 2]; N],
    values: [[V; 2]; N],
    rows: [u32; N],
}

impl<V, const N: usize> Slab<V, N> {
    pub(crate) const fn new<const W: usize>() -> Self
    where
        V: Weigh<W>,
    {
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
impl<V, P> Arrays<'_, V, P> {
    /// Returns arrays on the heap, with room for `room` entries.
    pub(crate) fn on_heap<const W: usize>(room: usize) -> Self
    where
        V: Weigh<W>,
    {
        let cells = room.saturating_mul(2);
        Self {
            keys: Array::on_heap(cells, || 0),
            values: Array::on_heap(cells, || V::BLANK),
            rows: Array::on_heap(room, || 0),
            platform: PhantomData,
        }
    }
}

impl<V, P: Platform> Cells for Arrays<'_, V, P> {
    type Value = V;

    const MOST: usize = P::SEGMENTS_MAX;

    #[inline]
    fn keys(&self) -> &[usize] {
        &self.keys
    }

    #[inline]
    fn keys_mut(&mut self) -> &mut [usize] {
        &mut self.keys
    }

    #[inline]
    fn values(&self) -> &[V] {
        &self.values
    }

    #[inline]
    fn values_mut(&mut self) -> &mut [V] {
        &mut self.values
    }

    #[inline]
    fn rows(&self) -> &[u32] {
        &self.rows
    }

    #[inline]
    fn rows_mut(&mut self) -> &mut [u32] {
        &mut self.rows
    }
}
