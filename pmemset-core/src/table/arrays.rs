//! The arrays of a table whose room is known when it is compiled.

use super::{Cells, ROOM_MAX, Weigh};

/// Room for `N` entries, 1 to 65,536, in place; all bytes are zero, so that a static one takes no room in a program file.
#[derive(Debug)]
pub(crate) struct Arrays<V, const N: usize> {
    keys: [[usize; 2]; N],
    values: [[V; 2]; N],
    rows: [u32; N],
}

impl<V, const N: usize> Arrays<V, N> {
    pub(crate) const fn new<const W: usize>() -> Self
    where
        V: Weigh<W>,
    {
        const { assert!(1 <= N && N <= ROOM_MAX, "there is room for 1 to 65,536 entries") };
        Self { keys: [[0; 2]; N], values: [[V::BLANK; 2]; N], rows: [0; N] }
    }
}

impl<V, const N: usize> Cells for Arrays<V, N> {
    type Value = V;

    const MOST: usize = N;

    #[inline]
    fn keys(&self) -> &[usize] {
        self.keys.as_flattened()
    }

    #[inline]
    fn keys_mut(&mut self) -> &mut [usize] {
        self.keys.as_flattened_mut()
    }

    #[inline]
    fn values(&self) -> &[V] {
        self.values.as_flattened()
    }

    #[inline]
    fn values_mut(&mut self) -> &mut [V] {
        self.values.as_flattened_mut()
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
