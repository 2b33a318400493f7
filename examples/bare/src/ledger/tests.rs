//! Records are found as they were kept, also when the power is cut at any step of keeping them.

use std::sync::{Arc, Mutex};

use pmemset_core::lock::SpinRwLock;
use pmemset_core::observer::from_fn;
use pmemset_core::sim::{Explore, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Answer, Checked, Config, CopyFlags, Event, Granularity, MapConfig, PartState, Set};

use super::*;

const PAGE: usize = 2048;

type Book<'s> = Ledger<&'s Set<'static, SimPlatform, SimSource>>;

fn hardware() -> Hardware {
    Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE)
}

fn medium(pages: usize) -> Medium {
    Medium::new((pages * PAGE) as u64).granularity(Granularity::CacheLine)
}

/// Opens the ledger in the machine's first source, as at boot, and closes it when `act` is done.
fn with<T>(machine: &Machine, is_sound: bool, act: impl FnOnce(&mut Book<'_>) -> T) -> T {
    let set: Set<'static, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    let at = set.map(machine.source(0), &MapConfig::new()).unwrap().extent().start();
    let result = act(&mut Ledger::new(set.part_at(at).unwrap(), is_sound));
    set.remove(set.part_at(at).unwrap()).unwrap();
    result
}

fn id(name: &str) -> DeviceId {
    let mut id = DeviceId::new();
    id.push(name.as_bytes()).unwrap();
    id
}

/// Boots: judges place 0 for the device `name`, whose last power cut was bad or not.
fn boot(machine: &Machine, name: &str, was_cut_badly: bool, is_sound: bool) -> (u64, PartState) {
    with(machine, is_sound, |ledger| {
        let (count, record) = ledger.begin(0, &id(name), was_cut_badly).unwrap();
        (count, record.judge(0, &id(name), count).state)
    })
}

/// Keeps `record` for the device `name` at place 0.
fn keep(machine: &Machine, name: &str, record: &ShutdownRecord) {
    with(machine, true, |ledger| {
        ledger.begin(0, &id(name), false).unwrap();
        ledger.keep(0, record, 1).unwrap();
    });
}

/// The record of the device `name` at `count`, with `references` mappings.
fn record(name: &str, count: u64, references: u8) -> ShutdownRecord {
    let mut bytes = [0; ShutdownRecord::BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[520..528].copy_from_slice(&count.to_le_bytes());
    bytes[528] = references;
    ShutdownRecord::from_bytes(&bytes)
}

fn machine() -> Machine {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(2));
    machine
}

#[test]
fn states_are_those_of_the_specification() {
    let machine = machine();
    assert_eq!(boot(&machine, "a", false, true), (0, PartState::Ok), "never used");
    keep(&machine, "a", &record("a", 0, 1));
    assert_eq!(boot(&machine, "a", false, true), (0, PartState::OkButInterrupted));
    keep(&machine, "a", &record("a", 0, 0));
    assert_eq!(boot(&machine, "a", true, true), (1, PartState::Ok), "cut badly, but nothing was in use");
    keep(&machine, "a", &record("a", 1, 1));
    assert_eq!(boot(&machine, "a", true, true), (2, PartState::Corrupted));
    assert_eq!(boot(&machine, "a", false, true), (2, PartState::Corrupted), "the flag is gone, the bytes are not back");
}

#[test]
fn another_device_is_noticed_and_one_that_comes_back_was_not_counted() {
    let machine = machine();
    keep(&machine, "a", &record("a", 0, 1));
    assert_eq!(boot(&machine, "b", false, true).1, PartState::Indeterminate);
    assert_eq!(boot(&machine, "a", false, true).1, PartState::Corrupted);
}

#[test]
fn what_is_damaged_is_not_new() {
    let machine = machine();
    let state = boot(&machine, "a", false, false).1;
    assert_eq!(state, PartState::Indeterminate, "the ledger's own memory may have lost its bytes");
    let machine = self::machine();
    keep(&machine, "a", &record("a", 0, 1));
    keep(&machine, "a", &record("a", 0, 0));
    assert_eq!(boot(&machine, "a", false, true).1, PartState::Ok);
    for (slot, expected) in [(0, PartState::OkButInterrupted), (1, PartState::Indeterminate)] {
        with(&machine, true, |ledger| {
            let at = ledger.offset(0, slot).unwrap() + 100;
            ledger.part.write(at, &[0xff]).unwrap();
        });
        // The older record is believed once more; without either, none.
        assert_eq!(boot(&machine, "a", false, true).1, expected);
    }
}

#[test]
fn ledger_that_was_cut_badly_itself_vouches_for_nothing_in_use() {
    let machine = machine();
    keep(&machine, "a", &record("a", 0, 1));
    assert_eq!(boot(&machine, "a", false, false), (1, PartState::Corrupted));
    keep(&machine, "a", &record("a", 1, 0));
    assert_eq!(boot(&machine, "a", false, false), (2, PartState::Ok));
}

#[test]
fn older_records_and_places_that_are_not_there_are_refused() {
    let machine = machine();
    with(&machine, true, |ledger| {
        ledger.begin(0, &id("a"), false).unwrap();
        ledger.keep(0, &record("a", 0, 1), 5).unwrap();
        ledger.keep(0, &record("a", 0, 0), 4).unwrap();
    });
    assert_eq!(boot(&machine, "a", false, true).1, PartState::OkButInterrupted, "a late record does not count");
    with(&machine, true, |ledger| {
        assert_eq!(ledger.keep(1, &record("a", 0, 0), 1), Err(LedgerError::NoRoom), "not begun");
        assert!(ledger.begin(1, &id("b"), true).is_ok());
        assert_eq!(ledger.begin(2, &id("c"), false).map(drop), Err(LedgerError::NoRoom), "behind the part");
    });
    assert_eq!(boot(&machine, "a", false, true).1, PartState::OkButInterrupted, "places are apart");
}

type Pool = Arc<Checked<SimSource, SpinRwLock>>;

/// Boots, and stores `value` all over the pool, the machine's second source.
fn live(machine: &Machine, value: u8) {
    with(machine, true, |ledger| {
        let (_, record) = ledger.begin(0, &id("dimm"), false).unwrap();
        let ledger = Mutex::new(ledger);
        let pool: Pool = Arc::new(Checked::new(machine.source(1)).shutdown_record(record));
        let observer = from_fn(|event: &Event<'_, Pool>| match event {
            Event::SdsUpdate { record, sequence, .. } => {
                let kept = ledger.lock().unwrap().keep(0, record, *sequence);
                if kept.is_ok() { Answer::Proceed } else { Answer::Refuse }
            }
            _ => Answer::Proceed,
        });
        let set = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine).observer(&observer), 4);
        let part = set.map(Arc::clone(&pool), &MapConfig::new()).unwrap().extent();
        for at in (part.start()..part.end()).step_by(64) {
            set.fill(at, value, 64, CopyFlags::NOFLUSH).unwrap();
        }
        set.remove(set.part_at(part.start()).unwrap()).unwrap();
        machine.acknowledge(value.into());
    });
}

/// Cuts the power at every step of a run, and boots with firmware that calls it a bad cut, or does not.
fn explore(was_cut_badly: bool) -> Result<usize, String> {
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(1));
        let _ = machine.add_source(medium(1).device(b"dimm", 0));
        live(machine, 1);
        machine.settle();
        live(machine, 2);
    };
    let check = |machine: &Machine| {
        let done = machine.acknowledged() == 2;
        match boot(machine, "dimm", was_cut_badly, true).1 {
            PartState::Ok => {
                let bytes = machine.source(1).bytes(0, PAGE);
                match bytes[0] {
                    first if bytes.iter().any(|byte| *byte != first) => Err("good, and the bytes are torn".to_owned()),
                    2 => Ok(()),
                    _ if done => Err("good, and what was told to be durable is lost".into()),
                    _ => Ok(()),
                }
            }
            PartState::OkButInterrupted if was_cut_badly => Err("cut badly, and said to have lost nothing".into()),
            PartState::Corrupted if !was_cut_badly => Err("not cut badly, and said to be lost".into()),
            PartState::Indeterminate => Err("the record is lost".into()),
            state if done && state != PartState::Ok => Err(format!("closed, and {state:?}")),
            _ => Ok(()),
        }
    };
    let explored = Explore::new(hardware()).depth(1).run(work, check).map_err(|failure| failure.to_string())?;
    println!("EXPLORED ledger, cut badly {was_cut_badly}: {explored}");
    if explored.is_complete() { Ok(explored.ways) } else { Err(explored.to_string()) }
}

#[test]
fn power_cuts_at_every_step_leave_a_record_that_is_true() {
    for was_cut_badly in [false, true] {
        let states = explore(was_cut_badly).unwrap_or_else(|failure| panic!("{was_cut_badly}: {failure}"));
        assert!(states > 50, "{states}");
    }
}
