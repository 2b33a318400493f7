//! A part as memory of a virtual machine, for what is written for `vm-memory`.
#![allow(unsafe_code, reason = "hands out mapped memory")]

use core::num::NonZeroUsize;

use pmemset_core::error::PersistError;
use pmemset_core::{Part, SetRef};
use vm_memory::bitmap::{AtomicBitmap, BS, Bitmap};
use vm_memory::volatile_memory::{Error, Result};
use vm_memory::{VolatileMemory, VolatileSlice};

/// How many bytes a bit stands for.
const PAGE_BYTES: NonZeroUsize = match NonZeroUsize::new(4096) {
    Some(bytes) => bytes,
    None => NonZeroUsize::MIN,
};

/// A part as `vm-memory`'s [`VolatileMemory`]: safe slices of it, and a bitmap that marks the pages that were stored to
/// through them.
///
/// Stores are durable after [`persist_dirty`](Self::persist_dirty), and until then may reach the medium in any order.
/// Stores that a guest makes through its page tables are not marked: mark them in the bitmap, or persist them through
/// the part.
///
/// # Example
///
/// ```
/// use pmemset_linux::{GuestPart, Part, SetRef};
/// use vm_memory::{Bytes, VolatileMemory};
///
/// fn answer<R: SetRef>(part: Part<R>) -> Result<GuestPart<R>, Box<dyn std::error::Error>> {
///     let memory = GuestPart::new(part);
///     let request: u32 = memory.as_volatile_slice().read_obj(0x1000)?;
///     memory.get_slice(0x2000, 8)?.write_obj(u64::from(request) + 1, 0)?;
///     memory.persist_dirty()?; // that page
///     Ok(memory)
/// }
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, Granularity, MapConfig, Set};
/// # let machine = Machine::new(Hardware::new());
/// # let source = machine.add_source(Medium::new(4 << 12));
/// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
/// # let part = set.map(source, &MapConfig::new()).unwrap();
/// # assert_eq!(answer(part).unwrap().into_part().read_as(0x2000), Ok(1_u64));
/// ```
#[derive(Debug)]
pub struct GuestPart<R: SetRef> {
    part: Part<R>,
    dirty: AtomicBitmap,
}

impl<R: SetRef> GuestPart<R> {
    /// Returns `part` as memory without dirty pages.
    #[must_use]
    pub fn new(part: Part<R>) -> Self {
        let dirty = AtomicBitmap::new(part.extent().length_bytes(), PAGE_BYTES);
        Self { part, dirty }
    }

    /// Makes durable what was stored through slices before the call, one run of dirty pages after the other.
    ///
    /// Bytes that other threads store meanwhile are dirty or durable afterwards.
    ///
    /// # Errors
    ///
    /// See [`PersistError`]; the pages that are not durable are still dirty.
    pub fn persist_dirty(&self) -> core::result::Result<(), PersistError> {
        let mut page = 0;
        while page < self.dirty.len() {
            // A bit is taken away before its page is written back: a store that comes later sets it again.
            let taken = (page..self.dirty.len()).take_while(|page| {
                let is_dirty = self.dirty.is_bit_set(*page);
                if is_dirty {
                    self.dirty.reset_bit(*page);
                }
                is_dirty
            });
            let pages = taken.count();
            let start = page.saturating_mul(PAGE_BYTES.get());
            let rest = self.len().saturating_sub(start);
            let length_bytes = pages.saturating_mul(PAGE_BYTES.get()).min(rest);
            if let Err(error) = self.part.persist(start, length_bytes) {
                self.dirty.set_addr_range(start, length_bytes);
                return Err(error);
            }
            page = page.saturating_add(pages).saturating_add(1);
        }
        Ok(())
    }

    /// Returns the bitmap: a bit for each 4 KiB, set if the page has bytes that are not durable yet.
    #[must_use]
    pub const fn dirty(&self) -> &AtomicBitmap {
        &self.dirty
    }

    /// Returns the part. Dirty pages are not made durable.
    #[must_use]
    pub fn into_part(self) -> Part<R> {
        self.part
    }
}

impl<R: SetRef> VolatileMemory for GuestPart<R> {
    type B = AtomicBitmap;

    fn len(&self) -> usize {
        self.part.extent().length_bytes()
    }

    fn get_slice(&self, offset: usize, count: usize) -> Result<VolatileSlice<'_, BS<'_, AtomicBitmap>>> {
        let end = offset.checked_add(count).ok_or(Error::Overflow { base: offset, offset: count })?;
        let start = self.part.as_ptr(offset, count).map_err(|_| Error::OutOfBounds { addr: end })?;
        // SAFETY: so many bytes of the part, which is pinned as long as `self` is borrowed; volatile accesses of memory
        // that is no allocation of the language are no data race.
        Ok(unsafe { VolatileSlice::with_bitmap(start, count, self.dirty.slice_at(offset), None) })
    }
}
