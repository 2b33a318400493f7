//! By which pages memory is mapped: `PAGEMAP_SCAN` since Linux 6.7, entries of `/proc/self/pagemap` before.
#![allow(unsafe_code, reason = "an ioctl that fills a list, whose address is in its structure")]

use core::ffi::c_void;
use core::ptr;

use linux_raw_sys::general::{PAGE_IS_HUGE, PAGE_IS_PRESENT, page_region, pm_scan_arg};
use pmemset_core::{Errno, Extent};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use crate::auxv;
use crate::errno::errno;
use crate::fd::Fd;

use super::answers::FactError;
use super::vma;

/// How many runs of pages are asked for at a time.
const RUNS_MAX: usize = 32;
/// How many entries of the page map are read at a time.
const ENTRIES_MAX: usize = 256;
/// The bit of an entry that says that the page is in the page table.
const PRESENT: u64 = 1 << 63;

/// What of some memory is in the page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Resident {
    pub(super) bytes: usize,
    /// How many of them are in huge pages; `None` where the kernel does not say.
    pub(super) huge_bytes: Option<usize>,
}

/// `/proc/self/pagemap`.
#[derive(Debug)]
pub(super) struct PageMap {
    file: Fd,
    scans: bool,
}

impl PageMap {
    pub(super) fn open() -> Result<Self, FactError> {
        let file = vma::open(c"/proc/self/pagemap")?;
        let scans = Scan::new(0, 0).ask(file.as_fd()).is_ok();
        Ok(Self { file, scans })
    }

    /// As [`open`](Self::open) on a kernel that cannot scan, for tests of what is done there.
    #[cfg(test)]
    pub(super) fn open_old() -> Result<Self, FactError> {
        Ok(Self { scans: false, ..Self::open()? })
    }

    /// Looks which pages of `extent` are in the page tables; touches none.
    ///
    /// The kernel walks through what is there: a system call for each 32 runs of pages, or, before Linux 6.7, for each
    /// 256 pages.
    pub(super) fn look(&self, extent: Extent) -> Result<Resident, FactError> {
        let pages = extent.align_outward(auxv::page_size_bytes()).ok_or(FactError::Failed(Errno::OVERFLOW))?;
        let found = if self.scans { self.scan(pages) } else { self.read(pages) };
        found.map_err(FactError::Failed)
    }

    fn scan(&self, pages: Extent) -> Result<Resident, Errno> {
        let (mut bytes, mut huge_bytes) = (0_u64, 0_u64);
        let (mut from, end) = (pages.start() as u64, pages.end() as u64);
        while from < end {
            let mut scan = Scan::new(from, end);
            let count = scan.ask(self.file.as_fd())?;
            for run in scan.runs.iter().take(count) {
                let length_bytes = run.end.saturating_sub(run.start);
                bytes = bytes.saturating_add(length_bytes);
                if run.categories & u64::from(PAGE_IS_HUGE) != 0 {
                    huge_bytes = huge_bytes.saturating_add(length_bytes);
                }
            }
            // A walk that gets nowhere would be repeated for ever.
            if scan.argument.walk_end <= from {
                return Err(Errno::INVAL);
            }
            from = scan.argument.walk_end;
        }
        let size = |bytes| usize::try_from(bytes).map_err(|_| Errno::OVERFLOW);
        Ok(Resident { bytes: size(bytes)?, huge_bytes: Some(size(huge_bytes)?) })
    }

    fn read(&self, pages: Extent) -> Result<Resident, Errno> {
        const ENTRY_BYTES: usize = size_of::<u64>();
        let page_bytes = auxv::page_size_bytes();
        let mut entries = [[0_u8; ENTRY_BYTES]; ENTRIES_MAX];
        let (mut present, mut rest) = (0_usize, Some(pages));
        while let Some(left) = rest {
            let first = left.start().checked_div(page_bytes).unwrap_or(0);
            let count = left.length_bytes().checked_div(page_bytes).unwrap_or(0).min(ENTRIES_MAX);
            let room = entries.get_mut(..count).unwrap_or_default().as_flattened_mut();
            let at = (first as u64).saturating_mul(ENTRY_BYTES as u64);
            let read = io::retry_on_intr(|| io::pread(self.file.as_fd(), &mut *room, at)).map_err(errno)?;
            let read = read.checked_div(ENTRY_BYTES).unwrap_or(0);
            // Behind the end of the address space there is nothing.
            if read == 0 {
                break;
            }
            let found = entries.iter().take(read).filter(|entry| u64::from_ne_bytes(**entry) & PRESENT != 0);
            present = present.saturating_add(found.count());
            rest = left.starting_at(left.start().saturating_add(read.saturating_mul(page_bytes)));
        }
        Ok(Resident { bytes: present.saturating_mul(page_bytes), huge_bytes: None })
    }
}

const PAGEMAP_SCAN: Opcode = opcode::read_write::<pm_scan_arg>(b'f', 16);

/// One call: `struct pm_scan_arg` (`linux/fs.h`), and room for the answer.
struct Scan {
    argument: pm_scan_arg,
    runs: [page_region; RUNS_MAX],
}

impl Scan {
    /// Asks which pages from `start` to `end` are present, and which of these are huge.
    fn new(start: u64, end: u64) -> Self {
        let present = u64::from(PAGE_IS_PRESENT);
        let argument = pm_scan_arg {
            size: size_of::<pm_scan_arg>() as u64,
            flags: 0,
            start,
            end,
            walk_end: 0,
            vec: 0,
            vec_len: RUNS_MAX as u64,
            max_pages: 0,
            category_inverted: 0,
            category_mask: present,
            category_anyof_mask: 0,
            return_mask: present | u64::from(PAGE_IS_HUGE),
        };
        Self { argument, runs: [page_region { start: 0, end: 0, categories: 0 }; RUNS_MAX] }
    }

    /// Returns how many runs there are.
    fn ask(&mut self, page_map: BorrowedFd<'_>) -> Result<usize, Errno> {
        self.argument.vec = ptr::from_mut(&mut self.runs).expose_provenance() as u64;
        // SAFETY: the call writes to the structure and to the list alone, whose length the structure says.
        unsafe { ioctl(page_map, Call(&mut self.argument)) }.map_err(errno)
    }
}

struct Call<'a>(&'a mut pm_scan_arg);

// SAFETY: the number is PAGEMAP_SCAN's, made from the structure that is passed.
unsafe impl Ioctl for Call<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(count: IoctlOutput, _: *mut c_void) -> io::Result<usize> {
        usize::try_from(count).map_err(|_| io::Errno::INVAL)
    }
}

const _: () = assert!(size_of::<pm_scan_arg>() == 96 && size_of::<page_region>() == 24);
