//! Shutdown state: every row of the table on a real kernel, with counts that the host raises between two boots.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use pmemset_core::error::MapError;
use pmemset_core::observer::{FromFn, from_fn};
use pmemset_core::{
    Answer, Checked, Config, Event, Granularity, MapConfig, Observer, PartState, PartStates, Set, ShutdownRecord,
    ShutdownVerdict, Source,
};
use pmemset_linux::{Linux, Process, StripedRwLock};

use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{AnySet, Handle, file, map, store};

pub(crate) const CHECKS: &[Checks] = &[
    ("state-table", table),
    ("state-interleaved", one_of_two),
    ("state-devdax", device),
    ("state-no-count", no_count),
    ("state-no-module", no_count),
];

const RECORD: &str = "/mnt0/record";

/// Keeps each record durably before the event returns, as a program has to.
fn keep(event: &Event<'_, Handle>) -> Answer {
    let Event::SdsUpdate { record, .. } = event else { return Answer::Proceed };
    let write = || {
        let mut file = fs::File::create("/mnt0/record.new")?;
        file.write_all(&record.to_bytes())?;
        file.sync_all()?;
        fs::rename("/mnt0/record.new", RECORD)?;
        fs::File::open("/mnt0")?.sync_all()
    };
    match write() {
        Ok(()) => Answer::Proceed,
        Err(_) => Answer::Refuse,
    }
}

fn kept() -> Result<ShutdownRecord, Failure> {
    let bytes = fs::read(RECORD)?;
    Ok(ShutdownRecord::from_bytes(bytes.as_slice().try_into()?))
}

/// A source whose shutdown state is judged by what was kept, or by a new record.
pub(crate) fn judged(source: impl Source<Space = Process> + 'static) -> Result<Handle, Failure> {
    let record = if Path::new(RECORD).exists() { kept()? } else { ShutdownRecord::new() };
    Ok(Arc::new(Checked::<_, StripedRwLock>::new(source).shutdown_record(record)))
}

/// A file on one of the file systems, or the device on the region of that number.
fn checked(path: &str) -> Result<Handle, Failure> {
    match path {
        "dax1" => judged(super::devdax::device(1)?),
        _ => judged(file(path)?),
    }
}

/// An empty set that keeps its sources' records.
pub(crate) fn set<'a>(acceptable: PartStates) -> AnySet<'a> {
    static KEEPER: FromFn<fn(&Event<'_, Handle>) -> Answer> = from_fn(keep);
    let config = Config::new(Granularity::CacheLine).acceptable_states(acceptable);
    let keeper: &'static dyn Observer<Handle> = &KEEPER;
    Set::with_capacity(Linux::new(), config.observer(Some(keeper)), 64)
}

/// Maps with the default states, which must be refused, and returns why.
fn refusal(path: &str) -> Result<ShutdownVerdict, Failure> {
    let before = kept()?.to_bytes();
    let set = set(PartStates::DEFAULT);
    let refused = set.map(checked(path)?, &MapConfig::new().length(2 << 20));
    same("the record after a refusal", kept()?.to_bytes(), before)?;
    same("segments after a refusal", set.segment_count(), 0)?;
    match refused {
        Err(MapError::UndesirablePartState { verdict }) => Ok(verdict),
        other => Err(format!("mapping must be refused for its state: {other:?}").into()),
    }
}

/// Leaves the machine with the source mapped, as a crash does: the record stays dirty.
fn crash(lab: &mut Lab, set: AnySet<'_>) {
    core::mem::forget(set);
    lab.again();
}

fn table(lab: &mut Lab) -> Result<(), Failure> {
    let any = PartStates::all();
    match lab.phase() {
        // A new record; the same source again; then the machine stops.
        0 => {
            let (set, source) = (set(PartStates::DEFAULT), checked("/mnt0/file")?);
            let mapping = map(&set, source.clone(), 1 << 20)?;
            same("the first mapping", set.part_state(), Some(PartState::Ok))?;
            let record = kept()?;
            same("the record", (record.references(), record.unsafe_shutdowns()), (1, 5))?;
            check(!record.device_id().is_empty(), "the record names the device")?;
            set.map(source, &MapConfig::new().offset(1 << 20).length(1 << 20))?;
            same("references of two mappings", kept()?.references(), 2)?;
            store(mapping, 0, b"not flushed");
            crash(lab, set);
        }
        // In use, and nothing lost: interrupted. Accepted, in use again, and now the module counts an unsafe shutdown.
        1 => {
            let verdict = refusal("/mnt0/file")?;
            same("after a stop", verdict.state, PartState::OkButInterrupted)?;
            same("counts", (verdict.stored_count, verdict.current_count), (5, 5))?;
            let set = set(any);
            map(&set, checked("/mnt0/file")?, 1 << 20)?;
            same("references after counting starts again", kept()?.references(), 1)?;
            lab.ask("count 0 6 1")?;
            crash(lab, set);
        }
        // In use, and the count is another: corrupted. Accepted once, then removed cleanly.
        2 => {
            let verdict = refusal("/mnt0/file")?;
            same("after an unsafe shutdown", verdict.state, PartState::Corrupted)?;
            same("counts", (verdict.stored_count, verdict.current_count), (5, 6))?;
            let set = set(any);
            let mapping = map(&set, checked("/mnt0/file")?, 1 << 20)?;
            set.remove(set.part_at(mapping.start())?)?;
            same("references after removing", kept()?.references(), 0)?;
            lab.ask("count 0 7 1")?;
            lab.again();
        }
        // Not in use, and the count is another: nothing can have been lost. In use, then the disk moves elsewhere.
        3 => {
            let set = set(PartStates::DEFAULT);
            map(&set, checked("/mnt0/file")?, 1 << 20)?;
            same("not in use", set.part_state(), Some(PartState::Ok))?;
            same("count", kept()?.unsafe_shutdowns(), 7)?;
            crash(lab, set);
        }
        _ => elsewhere()?,
    }
    Ok(())
}

/// In use on another device: indeterminate, until it is repaired.
fn elsewhere() -> Result<(), Failure> {
    let verdict = refusal("/mnt1/file")?;
    same("on another device", (verdict.state, verdict.id_changed), (PartState::Indeterminate, true))?;
    let (set, source) = (set(PartStates::DEFAULT), checked("/mnt1/file")?);
    let repaired = set.repair_shutdown_state(&source)?;
    same("repaired", repaired.state, PartState::Indeterminate)?;
    let mapping = map(&set, source, 1 << 20)?;
    same("after repair", set.part_state(), Some(PartState::Ok))?;
    set.remove(set.part_at(mapping.start())?)?;
    // Clean, and on another device once more: that is no loss.
    map(&set, checked("/mnt0/file")?, 1 << 20)?;
    same("moved while clean", set.part_state(), Some(PartState::Ok))
}

/// The counts of all modules of a region are one: an unsafe shutdown of the second is noticed.
fn one_of_two(lab: &mut Lab) -> Result<(), Failure> {
    if lab.phase() == 0 {
        let set = set(PartStates::DEFAULT);
        map(&set, checked("/mnt0/file")?, 1 << 20)?;
        same("sum of the counts", kept()?.unsafe_shutdowns(), 7)?;
        lab.ask("count 1 5 1")?;
        crash(lab, set);
        return Ok(());
    }
    let verdict = refusal("/mnt0/file")?;
    same("state", verdict.state, PartState::Corrupted)?;
    same("counts", (verdict.stored_count, verdict.current_count), (7, 8))
}

/// A device: in use and stopped, then in use and an unsafe shutdown, then repaired.
fn device(lab: &mut Lab) -> Result<(), Failure> {
    match lab.phase() {
        0 => {
            let set = set(PartStates::DEFAULT);
            set.map(checked("dax1")?, &MapConfig::new().length(2 << 20))?;
            same("the record", (kept()?.references(), kept()?.unsafe_shutdowns()), (1, 5))?;
            crash(lab, set);
        }
        1 => {
            same("after a stop", refusal("dax1")?.state, PartState::OkButInterrupted)?;
            lab.ask("count 1 9 1")?;
            lab.again();
        }
        _ => {
            let verdict = refusal("dax1")?;
            same("after an unsafe shutdown", verdict.state, PartState::Corrupted)?;
            same("counts", (verdict.stored_count, verdict.current_count), (5, 9))?;
            let (set, source) = (set(PartStates::DEFAULT), checked("dax1")?);
            set.repair_shutdown_state(&source)?;
            let mapping = map(&set, source, 2 << 20)?;
            set.remove(set.part_at(mapping.start())?)?;
            same("the record", (kept()?.references(), kept()?.unsafe_shutdowns()), (0, 9))?;
        }
    }
    Ok(())
}

/// Memory that does not count unsafe shutdowns is not taken for memory that had none.
fn no_count(_: &mut Lab) -> Result<(), Failure> {
    let set = set(PartStates::all());
    let refused = set.map(checked("/mnt0/file")?, &MapConfig::new().length(1 << 20));
    same("a record", refused.map(|mapped| mapped.extent().length_bytes()), Err(MapError::ShutdownUnsupported))?;
    check(!Path::new(RECORD).exists(), "nothing was kept")
}
