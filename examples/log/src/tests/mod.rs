//! Logs in simulated memory whose power is cut at every step, right and with one mistake each.
#![allow(clippy::cast_possible_truncation, reason = "numbers of small worlds")]

mod copies;
mod cuts;
mod damage;
mod faults;
mod lost;
mod missing;
mod model;
mod pieces;
mod threads;

use pmemset_core::sim::{Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};

use self::model::{Call, Model, call};
use crate::mistake::Mistake;
use crate::{Log, OnDamage, OpenError, Options, Table};

pub(crate) type SimLog = Log<'static, SimPlatform, SimSource>;

pub(crate) const PAGE: usize = 512;
/// Segments of the smallest kind: a page, 448 bytes of which are for records.
pub(crate) const SEGMENTS: usize = 6;
pub(crate) const GRANULARITIES: [Granularity; 3] = [Granularity::CacheLine, Granularity::Page, Granularity::Byte];

pub(crate) fn hardware() -> Hardware {
    Hardware::new().page_bytes(PAGE).address_space_bytes(96 * PAGE)
}

/// Returns a file that has nothing in it, on a disk with room for the head and six segments.
pub(crate) fn medium(granularity: Granularity) -> Medium {
    Medium::new(0).growing_to((crate::log::HEAD_BYTES + SEGMENTS * PAGE) as u64).granularity(granularity)
}

/// Returns a device of the same length, which neither grows nor gives storage back.
pub(crate) fn device(granularity: Granularity) -> Medium {
    Medium::new((crate::log::HEAD_BYTES + SEGMENTS * PAGE) as u64).granularity(granularity)
}

pub(crate) fn options(mistake: Option<Mistake>) -> Options {
    Options { mistake, ..Options::new().segment_bytes(PAGE) }
}

/// Opens the log in source 0, as a program does that has just started.
pub(crate) fn try_open(machine: &Machine, options: &Options) -> Result<SimLog, OpenError> {
    let config = Config::new(Granularity::Page).reserve_ahead(8 * PAGE);
    let set = Set::with_capacity(machine.platform(), config, SEGMENTS + 1);
    Log::open(set, machine.source(0).reopen(), options, Table::on_heap(SEGMENTS))
}

pub(crate) fn open(machine: &Machine, options: &Options) -> SimLog {
    try_open(machine, options).unwrap_or_else(|error| panic!("{error}"))
}

/// Opens the log past damage.
pub(crate) fn open_cutting(machine: &Machine) -> SimLog {
    open(machine, &options(None).on_damage(OnDamage::CutThere))
}

/// Returns the numbers and payloads of all records.
pub(crate) fn records(log: &SimLog) -> Vec<(u64, Vec<u8>)> {
    log.iter(0).map(|record| record.map(|record| (record.sequence, record.payload)).unwrap()).collect()
}

/// Stores to the source, past the log.
pub(crate) fn overwrite(machine: &Machine, offset: usize, bytes: &[u8]) {
    let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 1);
    let part = set.map(machine.source(0).reopen(), &MapConfig::new()).unwrap();
    part.write_with(offset, bytes, CopyFlags::empty()).unwrap();
}

/// Calls before an exploration begins, and calls that are explored.
pub(crate) type Life = (&'static [Call], &'static [Call]);

/// Returns what a log has to hold before the first call of a life, and after each.
pub(crate) fn models((before, explored): Life) -> Vec<Model> {
    let mut models = vec![Model::new()];
    for (number, call) in before.iter().chain(explored).enumerate() {
        let mut next = models[number].clone();
        next.call(number, *call);
        models.push(next);
    }
    models
}

/// Lives a life on a new source: the work of an exploration. Acknowledged is how many calls have returned, opening
/// among them.
pub(crate) fn live_on(machine: &Machine, medium: Medium, options: &Options, (before, explored): Life) {
    let _ = machine.add_source(medium);
    let log = open(machine, options);
    machine.acknowledge(1);
    for (number, what) in before.iter().chain(explored).enumerate() {
        if number == before.len() && number > 0 {
            machine.settle();
        }
        call(&log, number, *what);
        machine.acknowledge(number as u64 + 2);
    }
}
