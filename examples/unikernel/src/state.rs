//! Shutdown state: which ranges have a record, and the module that keeps the records.
//!
//! A kernel without an interpreter of ACPI's methods cannot read the modules' own counts of unsafe shutdowns. It has
//! what the firmware table says of the last power cut, and counts these cuts itself: see [`Ledger::begin`]. A cut that
//! nobody saw is not counted: one while the kernel was starting, or while the machine ran another system. One that the
//! firmware goes on to show after a restart is counted again, and the state is worse than it need be.

use bare::ledger::{Ledger, LedgerError};
use bare::nfit::{Nfit, Range};
use bare::{Device, Nvdimm};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::{Answer, Checked, Config, DeviceId, Granularity, MapConfig, Set, ShutdownRecord};
use spin::{Mutex, Once};

use crate::Stop;
use crate::journal::{Parts, Room};
use crate::platform::{Machine, Own};

/// A range of persistent memory, judged before it is mapped if its records are kept.
pub type Dimm = Checked<Nvdimm<Own>, SpinRwLock>;

static MEMORY: Once<Nvdimm<Own>> = Once::new();
static PARTS: Once<Parts> = Once::new();
static LEDGER: Once<Mutex<Ledger<&'static Parts>>> = Once::new();
static mut ROOM: Room = Room::new();

/// Keeps records in `range` from here on.
pub fn keep_in(machine: &'static Machine, own: Own, table: &Nfit, range: &Range) -> Result<(), Stop> {
    let memory = Nvdimm::new(own, table, *range, None).map_err(Stop::State)?;
    let memory = MEMORY.call_once(|| memory);
    let set = PARTS.call_once(|| {
        let config = Config::new(Granularity::CacheLine).observer(None);
        Set::new(machine, config, crate::room(&raw mut ROOM))
    });
    set.map(memory, &MapConfig::new()).map_err(Stop::Map)?;
    let part = set.first_part().map_err(|_| Stop::NoMemory)?.ok_or(Stop::NoMemory)?;
    LEDGER.call_once(|| Mutex::new(Ledger::new(part, !range.was_cut_badly())));
    Ok(())
}

/// Returns `range` as a source; if records are kept, with that of place `place`.
pub fn attach(own: Own, table: &Nfit, range: &Range, place: usize) -> Result<Dimm, Stop> {
    let Some(ledger) = LEDGER.get() else {
        return Nvdimm::new(own, table, *range, None).map(Checked::new).map_err(Stop::Range);
    };
    let mut id = DeviceId::new();
    // A range without an id is refused when it is mapped: it was asked to be judged, and cannot be.
    let (device, record) = match table.device(range, &mut id) {
        Err(_) => (None, ShutdownRecord::new()),
        Ok(()) => {
            let (unsafe_shutdowns, record) =
                ledger.lock().begin(place, &id, range.was_cut_badly()).map_err(Stop::Ledger)?;
            (Some(Device { place, id, unsafe_shutdowns }), record)
        }
    };
    let dimm = Nvdimm::new(own, table, *range, device).map_err(Stop::Range)?;
    Ok(Checked::new(dimm).shutdown_record(record))
}

/// Keeps the record of the range `dimm`.
pub fn keep(dimm: &Dimm, record: &ShutdownRecord, sequence: u64) -> Answer {
    let kept = match (LEDGER.get(), dimm.source().place()) {
        (Some(ledger), Some(place)) => ledger.lock().keep(place, record, sequence),
        _ => Err(LedgerError::NoRoom),
    };
    if kept.is_ok() { Answer::Proceed } else { Answer::Refuse }
}
