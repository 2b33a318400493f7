//! The system calls that a program would make itself.

use core::ffi::c_void;
use core::hint::black_box;
use core::ptr::null_mut;

use pmemset_bench::PAGE;
use pmemset_core::Extent;
use rustix::fd::BorrowedFd;
use rustix::fs;
use rustix::mm::{self, MapFlags, MsyncFlags, ProtFlags};

const NOTHING: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A file that is mapped page by page.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) file: BorrowedFd<'a>,
}

impl Plain<'_> {
    /// Maps page `page` of the file over address space of the caller's.
    pub(crate) fn map_at(self, address: usize, page: usize, pages: usize) {
        black_box(fs::fstat(self.file).unwrap());
        let at: *mut c_void = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the callers name pages of what they have reserved.
        unsafe {
            mm::mmap(at, pages * PAGE, ACCESS, MapFlags::SHARED | MapFlags::FIXED, self.file, (page * PAGE) as u64)
        }
        .unwrap();
    }

    /// Synchronises a mapping, and reserves its addresses again.
    pub(crate) fn remove_at(self, address: usize, pages: usize) {
        let at: *mut c_void = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the callers name pages that they have mapped.
        unsafe { mm::msync(at, pages * PAGE, MsyncFlags::SYNC) }.unwrap();
        // SAFETY: as above.
        unsafe { mm::mmap_anonymous(at, pages * PAGE, ProtFlags::empty(), NOTHING | MapFlags::FIXED) }.unwrap();
    }

    /// Reserves address space where the kernel likes, and maps page `page` of the file there.
    pub(crate) fn map(self, page: usize) -> usize {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { mm::mmap_anonymous(null_mut(), PAGE, ProtFlags::empty(), NOTHING) }.unwrap();
        self.map_at(at.expose_provenance(), page, 1);
        at.addr()
    }

    /// Synchronises a mapping, and gives its addresses back.
    pub(crate) fn remove(self, address: usize) {
        let at: *mut c_void = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the callers name pages that they have mapped.
        unsafe { mm::msync(at, PAGE, MsyncFlags::SYNC) }.unwrap();
        // SAFETY: as above.
        unsafe { mm::munmap(at, PAGE) }.unwrap();
    }
}

/// Synchronises the pages that a range touches.
pub(crate) fn synchronise(range: Extent) {
    let start = range.start() / PAGE * PAGE;
    let at: *mut c_void = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the callers name what is mapped.
    unsafe { mm::msync(at, range.end() - start, MsyncFlags::SYNC) }.unwrap();
}
