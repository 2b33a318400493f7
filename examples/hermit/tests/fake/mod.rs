//! Hermit's allocators, and a processor with memory management: page tables in this process's memory decide what this
//! process finds at an address.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use bare::paging::Tables;
use free_list::{AllocError, FreeList, PageLayout, PageRange};
use hermit_port::Hermit;
use pmemset_core::Span;
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};
use x86_64::structures::paging::mapper::{MappedFrame, TranslateResult};
use x86_64::structures::paging::{OffsetPageTable, PageTable, PageTableFlags, PhysFrame, Translate};
use x86_64::{PhysAddr, VirtAddr};

/// Physical memory: what the kernel has, then what is persistent.
pub(crate) const RAM_BYTES: u64 = 16 << 20;
pub(crate) const DIMM_BYTES: u64 = 8 << 20;
/// Addresses that the kernel gives away.
const PAGES_BYTES: usize = 64 << 20;

/// A machine that Hermit runs on.
#[derive(Debug)]
pub(crate) struct Machine {
    memory: File,
    root: usize,
    pages: Mutex<FreeList<16>>,
    start: usize,
    /// How many frames there are for tables.
    pub(crate) frames: Mutex<usize>,
    /// The pages that are mapped, and their lengths.
    mapped: Mutex<BTreeMap<usize, usize>>,
}

/// The kernel of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel(pub(crate) &'static Machine);

/// Returns a file that is the memory of a machine; what is persistent in it is left to the next one.
pub(crate) fn memory() -> File {
    let memory = File::from(rustix::fs::memfd_create("memory", MemfdFlags::CLOEXEC).unwrap());
    memory.set_len(RAM_BYTES + DIMM_BYTES).unwrap();
    memory
}

fn put(at: usize, length: usize, prot: ProtFlags, flags: MapFlags, backing: Option<(&File, u64)>) -> usize {
    let at = core::ptr::with_exposed_provenance_mut(at);
    let mapped = match backing {
        // SAFETY: addresses of the machine's own, or any that are free.
        Some((file, offset)) => unsafe { rustix::mm::mmap(at, length, prot, flags, file, offset) },
        // SAFETY: as above.
        None => unsafe { rustix::mm::mmap_anonymous(at, length, prot, flags) },
    };
    mapped.unwrap().expose_provenance()
}

/// Returns a page of this process's memory that is a table: virtual is physical.
fn table() -> usize {
    put(0, 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE, None)
}

impl Machine {
    pub(crate) fn start(memory: &File) -> Kernel {
        let all = put(0, PAGES_BYTES + (2 << 20), ProtFlags::empty(), MapFlags::PRIVATE, None);
        let start = all.next_multiple_of(2 << 20);
        let mut pages = FreeList::new();
        // SAFETY: nobody else has them.
        unsafe { pages.deallocate(PageRange::from_start_len(start, PAGES_BYTES).unwrap()) }.unwrap();
        Kernel(Box::leak(Box::new(Self {
            memory: memory.try_clone().unwrap(),
            root: table(),
            pages: Mutex::new(pages),
            start,
            frames: Mutex::new(64),
            mapped: Mutex::default(),
        })))
    }

    /// Stores bytes at a physical address, as firmware does.
    pub(crate) fn store(memory: &File, physical: u64, bytes: &[u8]) {
        memory.write_all_at(bytes, physical).unwrap();
    }

    pub(crate) fn free_bytes(&self) -> usize {
        self.pages.lock().unwrap().free_space()
    }

    /// Returns the lengths of the pages that are mapped.
    pub(crate) fn mapped(&self) -> Vec<usize> {
        self.mapped.lock().unwrap().values().copied().collect()
    }

    /// Returns how the page at an address is mapped.
    pub(crate) fn flags(&self, address: usize) -> Option<PageTableFlags> {
        match self.translate(VirtAddr::new(address as u64)) {
            TranslateResult::Mapped { flags, .. } => Some(flags),
            _ => None,
        }
    }

    fn translate(&self, address: VirtAddr) -> TranslateResult {
        // SAFETY: the root table is there, and nobody changes it meanwhile.
        let root = unsafe { &mut *core::ptr::with_exposed_provenance_mut::<PageTable>(self.root) };
        // SAFETY: virtual is physical.
        unsafe { OffsetPageTable::new(root, VirtAddr::zero()) }.translate(address)
    }
}

// SAFETY: the tables are the machine's.
unsafe impl Tables for Kernel {
    fn root(&mut self) -> *mut PageTable {
        core::ptr::with_exposed_provenance_mut(self.0.root)
    }

    fn frame(&mut self) -> Option<PhysFrame> {
        let mut left = self.0.frames.lock().unwrap();
        *left = left.checked_sub(1)?;
        Some(PhysFrame::containing_address(PhysAddr::new(table() as u64)))
    }

    /// What a processor does at the next access: it looks into the tables.
    fn forget(&mut self, page: VirtAddr) {
        let (machine, at) = (self.0, usize::try_from(page.as_u64()).unwrap());
        assert!((machine.start..machine.start + PAGES_BYTES).contains(&at), "an address that is not the caller's");
        let mut mapped = machine.mapped.lock().unwrap();
        let (length, physical) = match machine.translate(page) {
            TranslateResult::Mapped { frame: MappedFrame::Size4KiB(frame), .. } => (4096, frame.start_address()),
            TranslateResult::Mapped { frame: MappedFrame::Size2MiB(frame), .. } => (2 << 20, frame.start_address()),
            TranslateResult::NotMapped => {
                let length = mapped.remove(&at).unwrap();
                put(at, length, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::FIXED, None);
                return;
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(mapped.insert(at, length), None, "mapped twice");
        let backing = Some((&machine.memory, physical.as_u64()));
        put(at, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED, backing);
    }
}

// SAFETY: the list gives nothing away twice.
unsafe impl Hermit for Kernel {
    fn allocate(&self, layout: PageLayout) -> Result<PageRange, AllocError> {
        self.0.pages.lock().unwrap().allocate(layout)
    }

    fn allocate_at(&self, range: PageRange) -> Result<(), AllocError> {
        self.0.pages.lock().unwrap().allocate_at(range)
    }

    unsafe fn deallocate(&self, range: PageRange) {
        // SAFETY: the caller's promise. The kernel panics, too, where it is not kept.
        unsafe { self.0.pages.lock().unwrap().deallocate(range) }.unwrap();
    }

    fn is_in_use(&self, range: Span) -> bool {
        range.start() < RAM_BYTES
    }
}
