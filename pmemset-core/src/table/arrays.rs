//! The arrays of a table: a slab's, or on the heap.
#![allow(unsafe_code, reason = "halves of words are lent as words")]

use core::marker::PhantomData;
use core::slice;

use super::array::Shared;
use super::cells::{Cells, Value};
use super::nodes::{ENTRIES_A_WORD, ROOM_MAX};
use crate::Platform;
use crate::atomic::{AtomicU32, AtomicUsize};

/// Memory for the arrays of a table with room for `N` entries, 1 to 65,536; all bytes are zero, so that a static one
/// takes no room in a program file.
#[derive(Debug)]
pub(crate) struct Slab<V: Value, const N: usize> {
    keys: [[AtomicUsize; 2]; N],
    values: [[V::Cell; 2]; N],
    rows: Halves<N>,
}

/// Words of inner nodes, of which each entry has room for 32 bits.
#[derive(Debug)]
#[cfg_attr(target_pointer_width = "64", repr(align(8)))]
struct Halves<const N: usize>([AtomicU32; N]);

impl<const N: usize> Halves<N> {
    const fn words(&self) -> &[AtomicUsize] {
        // SAFETY: as many bytes as these words have, and aligned like them; nobody takes them for anything but words.
        unsafe { slice::from_raw_parts((&raw const self.0).cast(), N / ENTRIES_A_WORD) }
    }
}

impl<V: Value, const N: usize> Slab<V, N> {
    pub(crate) const fn new() -> Self {
        const { assert!(1 <= N && N <= ROOM_MAX, "there is room for 1 to 65,536 segments") };
        Self {
            keys: [const { [const { AtomicUsize::new(0) }; 2] }; N],
            values: [const { [const { V::BLANK }; 2] }; N],
            rows: Halves([const { AtomicU32::new(0) }; N]),
        }
    }

    /// Lends the memory to a table, and to who looks into it without the table's lock.
    pub(crate) const fn lend<P>(&self) -> Arrays<'_, V, P> {
        Arrays {
            keys: Shared::Lent(self.keys.as_flattened()),
            values: Shared::Lent(self.values.as_flattened()),
            rows: Shared::Lent(self.rows.words()),
            platform: PhantomData,
        }
    }
}

/// The arrays of a table on platform `P`, which says how much room there is at most.
#[derive(Debug)]
pub(crate) struct Arrays<'m, V: Value, P> {
    keys: Shared<'m, AtomicUsize>,
    values: Shared<'m, V::Cell>,
    rows: Shared<'m, AtomicUsize>,
    platform: PhantomData<fn() -> P>,
}

impl<V: Value, P> Arrays<'_, V, P> {
    /// Returns the same arrays once more.
    #[cfg(feature = "alloc")]
    pub(crate) fn share(&self) -> Self {
        Self { keys: self.keys.share(), values: self.values.share(), rows: self.rows.share(), platform: PhantomData }
    }

    /// Returns arrays on the heap, with room for `room` entries.
    #[cfg(feature = "alloc")]
    pub(crate) fn on_heap(room: usize) -> Self {
        let cells = room.saturating_mul(2);
        Self {
            keys: Shared::on_heap(cells, || AtomicUsize::new(0)),
            values: Shared::on_heap(cells, || V::BLANK),
            rows: Shared::on_heap(room / ENTRIES_A_WORD, || AtomicUsize::new(0)),
            platform: PhantomData,
        }
    }
}

impl<V: Value, P: Platform> Cells for Arrays<'_, V, P> {
    type Value = V;

    const MOST: usize = P::SEGMENTS_MAX;

    #[inline]
    fn keys(&self) -> &[AtomicUsize] {
        &self.keys
    }

    #[inline]
    fn values(&self) -> &[V::Cell] {
        &self.values
    }

    #[inline]
    fn rows(&self) -> &[AtomicUsize] {
        &self.rows
    }
}
