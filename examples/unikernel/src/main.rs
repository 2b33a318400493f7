#![no_std]
#![no_main]
//! Boots without an operating system, finds persistent memory, and keeps a ring of records in it.

mod boot;
mod duties;
mod journal;
mod log;
mod orders;
mod paging;
mod platform;
mod port;
mod state;

use core::fmt;
use core::panic::PanicInfo;

use bare::flush_queue::Rings;
use bare::ledger::LedgerError;
use bare::{Kernel as _, VirtioPmem, nfit, pci};
use heapless::Vec;
use journal::{Handle, Journal, Observe, Parts, Room, SEGMENTS_MAX};
use orders::Orders;
use platform::{Machine, Own};
use pmemset_core::error::{MapError, PersistError, RemoveError, RepairError};
use pmemset_core::observer::from_fn;
use pmemset_core::{
    Answer, Coalescing, Config, CopyFlags, Errno, Event, Granularity, MapConfig, PartStates, Platform as _, Set,
};
use spin::Once;
use state::Dimm;

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
    Order(&'static str),
    NoMemory,
    NoState,
    State(Errno),
    Ledger(LedgerError),
    Range(Errno),
    Disk(Errno),
    Repair(RepairError),
    Map(MapError),
    Damaged,
    Append(PersistError),
    Remove(RemoveError),
    Duties,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStartInfo => f.write_str("not started by a PVH loader"),
            Self::Order(word) => write!(f, "not understood: {word}"),
            Self::NoMemory => f.write_str("no persistent memory"),
            Self::NoState => f.write_str("the module for shutdown records is not there"),
            Self::State(cause) => write!(f, "the module for shutdown records cannot be used: {cause}"),
            Self::Ledger(error) => write!(f, "{error}"),
            Self::Range(cause) => write!(f, "{cause}"),
            Self::Repair(error) => write!(f, "cannot repair: {error}"),
            Self::Disk(cause) => write!(f, "the disk does not start: {cause}"),
            Self::Map(error) => write!(f, "cannot map: {error}"),
            Self::Damaged => f.write_str("records are missing or damaged"),
            Self::Append(error) => write!(f, "a record is not durable: {error}"),
            Self::Remove(error) => write!(f, "cannot remove: {error}"),
            Self::Duties => f.write_str("duties of the port are broken"),
        }
    }
}

/// A disk of this kernel.
type Disk = VirtioPmem<Own, pci::Function>;

/// What the disk reads and writes.
static mut RINGS: Rings = Rings::new();
/// Each is made where it stays: all of them would fill the stack.
static DIMMS: [Once<Dimm>; SEGMENTS_MAX] = [const { Once::new() }; SEGMENTS_MAX];
static DISK: Once<Disk> = Once::new();
static DIMM_PARTS: Once<Parts> = Once::new();
static mut DIMM_ROOM: Room = Room::new();
static mut DISK_ROOM: Room = Room::new();
const OBSERVE: Observe = from_fn(observe);
static DISK_PARTS: Once<Parts> = Once::new();

fn run(start_info: usize) -> Result<(), Stop> {
    // SAFETY: called once, with what the loader left.
    let info = unsafe { boot::StartInfo::read(start_info) }.ok_or(Stop::NoStartInfo)?;
    let orders = Orders::read(&info).map_err(Stop::Order)?;
    let (own, machine) = (Own::new(info), platform::machine());
    defmt::info!("booted; cache lines are written back with {=str}", machine.cpu().method().name());
    say!("cpu {}", machine.cpu().method());

    find_dimms(machine, own, &orders)?;
    let disk = match pci::find(Disk::IDENTITY).next() {
        Some(function) => {
            let rings = &raw mut RINGS;
            // SAFETY: the kernel runs this once, and takes the first disk.
            let disk = VirtioPmem::start(own, function, unsafe { &mut *rings }, rings as u64).map_err(Stop::Disk)?;
            Some(DISK.call_once(|| disk) as Handle)
        }
        None => None,
    };
    let dimms = || DIMMS.iter().filter_map(Once::get).map(|dimm| dimm as Handle);
    if orders.contract {
        return duties::check(machine, dimms().chain(disk), orders.flawed).map_err(|duties::Broken| Stop::Duties);
    }
    let mut journals: Vec<(&str, Journal), 2> = Vec::new();
    if dimms().next().is_some() {
        let config = Config::new(Granularity::CacheLine).observer(Some(OBSERVE));
        // A ring that was interrupted is found whole: its records have numbers and checksums.
        let config = config.acceptable_states(PartStates::DEFAULT.union(PartStates::OK_BUT_INTERRUPTED));
        let set = DIMM_PARTS.call_once(|| Set::new(machine, config, room(&raw mut DIMM_ROOM)));
        journals.extend([("dimms", open("dimms", set, dimms(), orders.repair)?)]);
    }
    if let Some(disk) = disk {
        let config = Config::new(Granularity::Page).observer(Some(OBSERVE));
        let set = DISK_PARTS.call_once(|| Set::new(machine, config, room(&raw mut DISK_ROOM)));
        journals.extend([("disk", open("disk", set, [disk].into_iter(), false)?)]);
    }
    if journals.is_empty() {
        return Err(Stop::NoMemory);
    }
    work(journals, &orders)
}

/// Appends as many records as were ordered, and closes the journals.
fn work(mut journals: Vec<(&str, Journal), 2>, orders: &Orders) -> Result<(), Stop> {
    let mut rounds = 0;
    let flags = if orders.careless { CopyFlags::NOFLUSH } else { CopyFlags::empty() };
    while rounds < orders.records || orders.forever {
        for (name, journal) in &mut journals {
            say!("ack {name} {}", journal.append(flags).map_err(Stop::Append)?);
        }
        rounds += 1;
    }
    for (name, journal) in journals {
        let part = journal.close();
        let set = *part.set();
        set.remove(part).map_err(Stop::Remove)?;
        say!("closed {name}");
    }
    Ok(())
}

/// Finds the usable ranges of persistent memory; the others are said and left alone.
fn find_dimms(machine: &'static Machine, own: Own, orders: &Orders) -> Result<(), Stop> {
    let table = match own.nfit() {
        Some(Ok(table)) => table,
        Some(Err(error)) => {
            say!("nfit refused {error:?}");
            return Ok(());
        }
        None => return Ok(()),
    };
    let is_state = |range: &&nfit::Range| orders.state == Some(range.handle);
    if orders.state.is_some() {
        let range = table.ranges.iter().find(is_state).ok_or(Stop::NoState)?;
        state::keep_in(machine, own, &table, range)?;
    }
    let ranges = table.ranges.iter().filter(|range| !is_state(range));
    for (place, (range, dimm)) in ranges.zip(&DIMMS).enumerate() {
        match state::attach(own, &table, range, place) {
            Ok(source) => {
                say!("dimm {} usable at {:#x}", range.handle, range.base);
                dimm.call_once(|| source);
            }
            Err(Stop::Range(error)) => say!("dimm {} refused: {error}", range.handle),
            Err(stop) => return Err(stop),
        }
    }
    Ok(())
}

/// Maps all sources into one part, and finds the records in it.
fn open(name: &str, set: &'static Parts, sources: impl Iterator<Item = Handle>, repair: bool) -> Result<Journal, Stop> {
    set.set_coalescing(Coalescing::Full);
    for source in sources {
        if repair {
            let verdict = set.repair_shutdown_state(&source).map_err(Stop::Repair)?;
            say!("repaired {name} {:?}", verdict.state);
        }
        set.map(source, &MapConfig::new()).map_err(Stop::Map)?;
    }
    let part = set.first_part().map_err(|_| Stop::NoMemory)?.ok_or(Stop::NoMemory)?;
    say!("part {name} {} granularity {:?} segments {}", part.extent(), set.granularity(), set.segment_count());
    if let Some(state) = set.part_state() {
        say!("state {name} {state:?}");
    }
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

/// Lends the memory of a set for good.
fn room(room: *mut Room) -> &'static mut Room {
    // SAFETY: the kernel makes each set once, from memory of its own.
    unsafe { &mut *room }
}

/// Logs what happens to a set, and keeps shutdown records; called outside its lock.
fn observe(event: &Event<'_, Handle>) -> Answer {
    match event {
        Event::PartAdd { segment, part, .. } => defmt::info!("mapped {} in part {}", segment, part),
        Event::PartRemove { part } => defmt::info!("removed {}", part),
        Event::SdsUpdate { source, record, sequence } => {
            let dimm = DIMMS.iter().filter_map(Once::get).find(|dimm| core::ptr::addr_eq(*dimm, **source));
            return dimm.map_or(Answer::Refuse, |dimm| state::keep(dimm, record, *sequence));
        }
        _ => {}
    }
    Answer::Proceed
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("panic {info}");
    port::exit(port::Exit::Panic)
}
