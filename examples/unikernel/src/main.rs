#![no_std]
#![no_main]
//! Boots without an operating system, finds persistent memory, and keeps a ring of records in it.

mod boot;
mod journal;
mod log;
mod nvdimm;
mod orders;
mod paging;
mod pci;
mod platform;
mod port;
mod virtio;

use core::fmt;
use core::panic::PanicInfo;

use firmware::{acpi, nfit};
use heapless::Vec;
use journal::{Handle, Journal, Parts, SEGMENTS_MAX};
use nvdimm::Nvdimm;
use orders::Orders;
use platform::Machine;
use pmemset_core::error::{MapError, PersistError, RemoveError};
use pmemset_core::{Answer, Coalescing, Config, Errno, Event, Granularity, MapConfig, Platform as _, Set};
use spin::Once;
use virtio::VirtioPmem;

/// The first 4 GiB, mapped one to one.
struct Low;

impl acpi::Memory for Low {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(length)?;
        // SAFETY: memory below 4 GiB is mapped; firmware tables are there, and nobody changes them.
        (start != 0 && end <= 1 << 32).then(|| unsafe { core::slice::from_raw_parts(start as *const u8, length) })
    }
}

/// Called in 64-bit mode with the address of the start info.
#[unsafe(no_mangle)]
extern "C" fn main(start_info: usize) -> ! {
    port::exit(match run(start_info) {
        Ok(()) => port::Exit::Good,
        Err(stop) => {
            say!("stopped {stop}");
            port::Exit::Bad
        }
    })
}

/// Why the kernel stopped before its work was done.
enum Stop {
    NoStartInfo,
    NoMemory,
    Disk(Errno),
    Map(MapError),
    Damaged,
    Append(PersistError),
    Remove(RemoveError),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStartInfo => f.write_str("not started by a PVH loader"),
            Self::NoMemory => f.write_str("no persistent memory"),
            Self::Disk(cause) => write!(f, "the disk does not start: {cause}"),
            Self::Map(error) => write!(f, "cannot map: {error}"),
            Self::Damaged => f.write_str("records are missing or damaged"),
            Self::Append(error) => write!(f, "a record is not durable: {error}"),
            Self::Remove(error) => write!(f, "cannot remove: {error}"),
        }
    }
}

static MACHINE: Once<Machine> = Once::new();
static DIMMS: Once<Vec<Nvdimm, SEGMENTS_MAX>> = Once::new();
static DISK: Once<VirtioPmem> = Once::new();
static DIMM_PARTS: Once<Parts> = Once::new();
static DISK_PARTS: Once<Parts> = Once::new();

fn run(start_info: usize) -> Result<(), Stop> {
    // SAFETY: called once, with what the loader left.
    let info = unsafe { boot::StartInfo::read(start_info) }.ok_or(Stop::NoStartInfo)?;
    let orders = Orders::read(&info);
    let machine = MACHINE.call_once(Machine::new);
    defmt::info!("booted; cache lines are written back with {=str}", machine.cpu().method().name());
    say!("cpu {}", machine.cpu().method());

    let mut journals: Vec<(&str, Journal<'static>), 2> = Vec::new();
    let dimms = DIMMS.call_once(|| find_dimms(info.rsdp));
    if !dimms.is_empty() {
        let handles = dimms.iter().map(|dimm| dimm as Handle);
        let set = DIMM_PARTS.call_once(|| Set::new(machine, Config::new(Granularity::CacheLine).observer(&observe)));
        journals.extend([("dimms", open("dimms", set, handles)?)]);
    }
    if let Some(function) = pci::find(virtio::IDENTITY).next() {
        let disk = VirtioPmem::start(function).map_err(Stop::Disk)?;
        let disk = DISK.call_once(|| disk);
        let set = DISK_PARTS.call_once(|| Set::new(machine, Config::new(Granularity::Page).observer(&observe)));
        journals.extend([("disk", open("disk", set, [disk as Handle].into_iter())?)]);
    }
    if journals.is_empty() {
        return Err(Stop::NoMemory);
    }
    let mut rounds = 0;
    while rounds < orders.records || orders.forever {
        for (name, journal) in &mut journals {
            say!("ack {name} {}", journal.append().map_err(Stop::Append)?);
        }
        rounds += 1;
    }
    for (name, journal) in journals {
        let part = journal.close();
        let set = part.set();
        set.remove(part).map_err(|refused| Stop::Remove(refused.error))?;
        say!("closed {name}");
    }
    Ok(())
}

/// Returns the usable ranges of persistent memory; the others are said and left alone.
fn find_dimms(rsdp: u64) -> Vec<Nvdimm, SEGMENTS_MAX> {
    let mut dimms = Vec::new();
    let Some(table) = acpi::find(&Low, rsdp, *b"NFIT") else { return dimms };
    let table = match nfit::parse(table) {
        Ok(table) => table,
        Err(error) => {
            say!("nfit refused {error:?}");
            return dimms;
        }
    };
    for range in &table.ranges {
        match Nvdimm::new(&table, *range) {
            Ok(dimm) => {
                say!("dimm {} usable at {:#x}", range.handle, range.base);
                dimms.extend([dimm]);
            }
            Err(error) => say!("dimm {} refused: {error}", range.handle),
        }
    }
    dimms
}

/// Maps all sources into one part, and finds the records in it.
fn open(name: &str, set: &'static Parts, sources: impl Iterator<Item = Handle>) -> Result<Journal<'static>, Stop> {
    set.set_coalescing(Coalescing::Full);
    for source in sources {
        set.map(source, &MapConfig::new()).map_err(Stop::Map)?;
    }
    let part = set.first_part().map_err(|_| Stop::NoMemory)?.ok_or(Stop::NoMemory)?;
    say!("part {name} {} granularity {:?} segments {}", part.extent(), set.granularity(), set.segments());
    let (journal, found) = Journal::open(part);
    match found {
        None => say!("found {name} nothing"),
        Some(found) if journal.verify(found) => say!("found {name} {} {}", found.first, found.last),
        Some(found) => {
            say!("damaged {name} {found:?}");
            return Err(Stop::Damaged);
        }
    }
    Ok(journal)
}

/// Logs what happens to a set; called outside its lock.
fn observe(_set: &Set<'_, &'static Machine, Handle, SEGMENTS_MAX>, event: &Event<'_, Handle>) -> Answer {
    match event {
        Event::PartAdd { segment, part, .. } => defmt::info!("mapped {} in part {}", segment, part),
        Event::PartRemove { part } => defmt::info!("removed {}", part),
        _ => {}
    }
    Answer::Proceed
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("panic {info}");
    port::exit(port::Exit::Panic)
}
