//! The firmware as the library sees it: all memory is mapped, one to one, and stays so.

use bare::nfit::{Nfit, Range};
use bare::{Addresses, Kernel, Nvdimm};
use pmemset_core::{Errno, Extent, Source as _, Span};
use uefi::boot::{self, MemoryType};
use uefi::mem::memory_map::{MemoryMap as _, MemoryMapOwned};
use uefi::runtime::{self, ResetType};
use uefi::table::cfg::ConfigTableEntry;
use uefi::{Status, println, system};

/// Size of the pages that the firmware counts memory in.
const PAGE_BYTES: u64 = 4096;

/// The firmware, and what it says of memory.
#[derive(Debug)]
pub struct Firmware {
    memory: MemoryMapOwned,
}

impl Firmware {
    /// Asks the firmware for its memory map.
    ///
    /// # Errors
    ///
    /// The firmware's reason.
    pub fn new() -> uefi::Result<Self> {
        boot::memory_map(MemoryType::LOADER_DATA).map(|memory| Self { memory })
    }
}

// SAFETY: the map is only read; what it lies in is not given back before the application ends.
unsafe impl Sync for Firmware {}

/// What could not be done, as it has been said.
pub type Said<T> = Result<T, ()>;

/// Says why something failed.
pub fn why<T, E: core::fmt::Display>(what: &str, result: Result<T, E>) -> Said<T> {
    result.map_err(|error| println!("{what}: {error}"))
}

/// A range of persistent memory, and the platform over its addresses: it cannot be anywhere else.
pub fn open<'f>(firmware: &'f Firmware, table: &Nfit, range: Range) -> Said<(Nvdimm<&'f Firmware>, Addresses<16>)> {
    let dimm = why("refused", Nvdimm::new(firmware, table, range, None))?;
    let memory = usize::try_from(range.length_bytes).ok().zip(dimm.fixed_address());
    let memory = memory.and_then(|(length_bytes, start)| Extent::new(start, length_bytes)).ok_or(())?;
    Ok((dimm, Addresses::new(memory)))
}

/// Says how it went, and turns the machine off.
pub fn end(result: Said<()>) -> ! {
    let status = if result.is_ok() { Status::SUCCESS } else { Status::DEVICE_ERROR };
    println!("{}", if status.is_success() { "good" } else { "bad" });
    runtime::reset(ResetType::SHUTDOWN, status, None)
}

/// Does something with each range of persistent memory.
pub fn each(mut act: impl FnMut(&Firmware, &Nfit, Range) -> Said<()>) -> Said<()> {
    let firmware = why("memory map", Firmware::new())?;
    let table = firmware.nfit().ok_or_else(|| println!("no NVDIMM"))?;
    let table = why("NVDIMM table", table)?;
    table.ranges.iter().try_for_each(|range| act(&firmware, &table, *range))
}

// SAFETY: nothing is mapped or unmapped, as memory is where it is; firmware tables are not changed. Registers are
// mapped one to one as well, and belong to whoever the firmware has told of them.
unsafe impl Kernel for Firmware {
    fn bytes(&self, physical: u64, length_bytes: usize) -> Option<&[u8]> {
        let start = usize::try_from(physical).ok().filter(|start| *start != 0)?;
        start.checked_add(length_bytes)?;
        // SAFETY: a firmware table, in memory that is mapped one to one; nobody changes it.
        Some(unsafe { core::slice::from_raw_parts(start as *const u8, length_bytes) })
    }

    fn acpi_root(&self) -> Option<u64> {
        system::with_config_table(|tables| {
            let acpi = tables.iter().find(|table| table.guid == ConfigTableEntry::ACPI2_GUID)?;
            Some(acpi.address as u64)
        })
    }

    fn is_in_use(&self, range: Span) -> bool {
        const FREE: [MemoryType; 3] = [MemoryType::PERSISTENT_MEMORY, MemoryType::MMIO, MemoryType::MMIO_PORT_SPACE];
        let used = self.memory.entries().filter(|entry| !FREE.contains(&entry.ty));
        let used = used.filter_map(|entry| Span::new(entry.phys_start, entry.page_count.checked_mul(PAGE_BYTES)?));
        used.into_iter().any(|used| used.overlaps(range))
    }

    unsafe fn map(&self, window: Extent, physical: u64) -> Result<(), Errno> {
        if window.start() as u64 == physical { Ok(()) } else { Err(Errno::INVAL) }
    }

    unsafe fn unmap(&self, _window: Extent) -> Result<(), Errno> {
        Ok(())
    }

    fn map_registers(&self, physical: u64, _length_bytes: usize) -> Result<usize, Errno> {
        usize::try_from(physical).map_err(|_| Errno::OVERFLOW)
    }

    fn fixed_address(&self, physical: u64) -> Option<usize> {
        usize::try_from(physical).ok()
    }
}
