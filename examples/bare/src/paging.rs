//! Page tables of x86-64, where physical memory that holds tables is mapped one to one.
#![allow(unsafe_code, reason = "page tables decide what addresses mean")]

use lock_api::RwLock;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Errno, Extent};
use x86_64::structures::paging::mapper::MapToError;
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags, PhysFrame, Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

use crate::{LARGE_BYTES, PAGE_BYTES};

/// How a mapping is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// As memory: write back.
    Memory,
    /// Not at all: device registers.
    Device,
}

/// Where a kernel's page tables are.
///
/// # Safety
///
/// [`root`](Self::root) is the address of the tables in use. All of them are mapped one to one, and of the windows that
/// are mapped here nobody else changes an entry. [`frame`](Self::frame) gives memory away that nobody else has.
pub unsafe trait Tables: Send + Sync {
    /// Returns the address of the root table: by default that of this processor.
    fn root(&mut self) -> *mut PageTable {
        let (frame, _) = x86_64::registers::control::Cr3::read();
        core::ptr::with_exposed_provenance_mut(usize::try_from(frame.start_address().as_u64()).unwrap_or(0))
    }

    /// Returns a frame for a new table, which stays one.
    fn frame(&mut self) -> Option<PhysFrame>;

    /// Forgets what processors remember of a page whose entry has changed: by default this processor alone.
    fn forget(&mut self, page: VirtAddr) {
        x86_64::instructions::tlb::flush(page);
    }
}

/// The page tables of a kernel, changed by one caller at a time. The lock spins.
#[derive(Debug)]
pub struct Paging<T>(RwLock<SpinRwLock, T>);

/// Gives frames to the crate `x86_64`.
struct Frames<'t, T>(&'t mut T);

// SAFETY: nobody else has the frames.
unsafe impl<T: Tables> FrameAllocator<Size4KiB> for Frames<'_, T> {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0.frame()
    }
}

/// Returns the tables. One caller at a time: the lock is held.
fn mapper<'t, T: Tables>(tables: &mut T) -> OffsetPageTable<'t> {
    let root = tables.root();
    // SAFETY: the tables in use are there, and nobody else changes them meanwhile.
    let root = unsafe { &mut *root };
    // SAFETY: tables are mapped one to one.
    unsafe { OffsetPageTable::new(root, VirtAddr::zero()) }
}

fn put<S: PageSize, T: Tables>(tables: &mut T, at: VirtAddr, physical: u64, flags: PageTableFlags) -> Result<(), Errno>
where
    for<'t> OffsetPageTable<'t>: Mapper<S>,
{
    let frame = PhysFrame::<S>::containing_address(PhysAddr::try_new(physical).map_err(|_| Errno::INVAL)?);
    let page = Page::<S>::containing_address(at);
    let mut mapper = mapper(tables);
    // SAFETY: the window is the caller's, and nothing uses it yet.
    match unsafe { mapper.map_to(page, frame, flags, &mut Frames(tables)) } {
        Ok(flush) => flush.ignore(),
        Err(MapToError::FrameAllocationFailed) => return Err(Errno::NOMEM),
        Err(MapToError::ParentEntryHugePage | MapToError::PageAlreadyMapped(_)) => return Err(Errno::EXIST),
    }
    tables.forget(at);
    Ok(())
}

fn take<S: PageSize, T: Tables>(tables: &mut T, at: VirtAddr) -> bool
where
    for<'t> OffsetPageTable<'t>: Mapper<S>,
{
    let taken = mapper(tables).unmap(Page::<S>::containing_address(at));
    let is_taken = taken.map(|(_, flush)| flush.ignore()).is_ok();
    if is_taken {
        tables.forget(at);
    }
    is_taken
}

/// Returns the addresses of `window` one after the other; each says how long its page is.
fn each(window: Extent, mut visit: impl FnMut(Extent, VirtAddr) -> Result<usize, Errno>) -> Result<(), Errno> {
    let mut rest = Some(window);
    while let Some(left) = rest {
        let at = VirtAddr::try_new(left.start() as u64).map_err(|_| Errno::INVAL)?;
        rest = left.starting_at(left.start() + visit(left, at)?);
    }
    Ok(())
}

fn can_be_large(left: Extent) -> bool {
    left.start().is_multiple_of(LARGE_BYTES) && left.length_bytes() >= LARGE_BYTES
}

impl<T: Tables> Paging<T> {
    /// Returns the page tables.
    #[must_use]
    pub const fn new(tables: T) -> Self {
        Self(RwLock::new(tables))
    }

    /// Maps `window` to the physical memory from `physical` on, in pages of 2 MiB where both sides allow for them.
    ///
    /// # Errors
    ///
    /// What was mapped of the window is unmapped again.
    ///
    /// - `EINVAL`: window or memory are not on pages, or no addresses of the processor's.
    /// - `EEXIST`: something is mapped in the window.
    /// - `ENOMEM`: there is no frame for a table.
    ///
    /// # Safety
    ///
    /// See [`Kernel::map`](crate::Kernel::map): the window is the caller's, and nobody uses it.
    pub unsafe fn map(&self, window: Extent, physical: u64, cache: Cache) -> Result<(), Errno> {
        let mut flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
        if cache == Cache::Device {
            flags |= PageTableFlags::NO_CACHE | PageTableFlags::WRITE_THROUGH;
        }
        if !window.is_aligned(PAGE_BYTES) || !physical.is_multiple_of(PAGE_BYTES as u64) {
            return Err(Errno::INVAL);
        }
        let tables = &mut *self.0.write();
        let mut at = window.start();
        let mapped = each(window, |left, address| {
            at = left.start();
            let target = physical.checked_add((at - window.start()) as u64).ok_or(Errno::INVAL)?;
            if cache == Cache::Memory && can_be_large(left) && target.is_multiple_of(LARGE_BYTES as u64) {
                put::<Size2MiB, T>(tables, address, target, flags).map(|()| LARGE_BYTES)
            } else {
                put::<Size4KiB, T>(tables, address, target, flags).map(|()| PAGE_BYTES)
            }
        });
        if mapped.is_err() {
            window.ending_at(at).into_iter().for_each(|done| remove(tables, done));
        }
        mapped
    }

    /// Unmaps `window`, which [`map`](Self::map) has mapped. Tables that were needed for it stay.
    ///
    /// # Safety
    ///
    /// Nobody uses the window any more.
    pub unsafe fn unmap(&self, window: Extent) {
        remove(&mut *self.0.write(), window);
    }
}

fn remove<T: Tables>(tables: &mut T, window: Extent) {
    let removed = each(window, |left, at| {
        if can_be_large(left) && take::<Size2MiB, T>(tables, at) {
            return Ok(LARGE_BYTES);
        }
        take::<Size4KiB, T>(tables, at);
        Ok(PAGE_BYTES)
    });
    debug_assert!(removed.is_ok(), "what was mapped has addresses of the processor's");
}
