//! Disks that are full, calls that fail, programs that are killed before they have waited for the medium.

use core::sync::atomic::{AtomicBool, Ordering};

use pmemset_core::Granularity;
use pmemset_core::error::MapError;
use pmemset_core::sim::{Call as SimCall, Explore, Explored, Failure, Fault, Machine};

use super::model::{Call, Found, Model};
use super::{GRANULARITIES, hardware, medium, open, options, records, try_open};
use crate::mistake::Mistake;
use crate::{AppendError, ChangeError};

#[test]
fn full_disk_refuses_and_goes_on_when_records_are_dropped() {
    for granularity in GRANULARITIES {
        let machine = Machine::new(hardware());
        // Room for three segments.
        let _ = machine.add_source(medium(granularity).growing_to((crate::log::HEAD_BYTES + 3 * 512) as u64));
        let log = open(&machine, &options(None));
        (1..=3).for_each(|sequence| assert_eq!(log.append(&[7; 420]).unwrap(), sequence));
        for length in [1, 24, 420, 5000] {
            let refused = log.append(&vec![8; length]).unwrap_err();
            assert!(matches!(
                refused,
                AppendError::Full(MapError::CannotGrow { .. }) | AppendError::TooManySegments { .. }
            ));
            assert_eq!((log.next(), log.segments(), log.is_running()), (4, 3, Ok(())));
        }
        log.drop_before(2).unwrap();
        assert_eq!(log.append(&[9; 420]).unwrap(), 4);
        drop(log);
        let log = open(&machine, &options(None));
        assert_eq!(records(&log).iter().map(|record| record.0).collect::<Vec<_>>(), [2, 3, 4]);
    }
}

use Call::{Append, Commit, DropBefore, Stage, StoreNote, TruncateAfter};

const LIFE: [Call; 12] = [
    Append(8),
    Append(500),
    Stage(20),
    Stage(400),
    Commit,
    StoreNote(30),
    DropBefore(2),
    Append(300),
    TruncateAfter(4),
    Append(400),
    DropBefore(5),
    Append(8),
];

/// Does the call; whether it did, or why the log goes on without it, or `Err` where it has stopped.
fn outcome(log: &super::SimLog, number: usize, call: Call) -> Result<bool, crate::Stop> {
    let bytes = |length| super::model::payload(number, length);
    let appended = |result: Result<u64, AppendError>| match result {
        Ok(_) => Ok(true),
        Err(AppendError::Stopped(stop)) => Err(stop),
        Err(_) => Ok(false),
    };
    let changed = |result: Result<(), ChangeError>| match result {
        Ok(()) | Err(ChangeError::Remove(_)) => Ok(true),
        Err(ChangeError::Stopped(stop)) => Err(stop),
        Err(_) => Ok(false),
    };
    match call {
        Append(length) => appended(log.append(&bytes(length))),
        Stage(length) => appended(log.stage(&bytes(length))),
        Commit => log.commit().map(|_| true),
        DropBefore(first) => changed(log.drop_before(first)),
        TruncateAfter(last) => changed(log.truncate_after(last)),
        StoreNote(length) => changed(log.store_note(0, &bytes(length))),
    }
}

/// Has the `nth` call of the machine fail, once or for good; returns whether there was one.
fn fails(granularity: Granularity, fault: Fault) -> bool {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(granularity));
    let log = open(&machine, &options(None));
    machine.fail(fault);
    let mut models = vec![Model::new()];
    for (number, call) in LIFE.into_iter().enumerate() {
        let mut after = models[0].clone();
        after.call(number, call);
        match outcome(&log, number, call) {
            Ok(true) => models = vec![after],
            // Nothing has changed; what the model says of later calls by number would not be true any more.
            Ok(false) => break,
            Err(stop) => {
                models.push(after);
                assert_eq!(log.append(&[1]), Err(AppendError::Stopped(stop)));
                assert_eq!(log.store_note(0, &[1]), Err(ChangeError::Stopped(stop)));
                break;
            }
        }
    }
    let failed = machine.failed_calls() > 0;
    machine.repair();
    drop(log);
    let log = try_open(&machine, &options(None)).unwrap_or_else(|error| panic!("{granularity:?}, {fault:?}: {error}"));
    let found = Found::of(&log);
    assert!(models.iter().any(|model| model.may_be(&found)), "{granularity:?}, {fault:?}: {found:?}");
    assert_eq!(log.append(&[1]).unwrap(), found.next());
    failed
}

#[test]
fn every_call_that_fails_loses_nothing_that_was_acknowledged() {
    let mut failures = 0;
    for granularity in [Granularity::CacheLine, Granularity::Page] {
        let nth = |nth| [Fault::nth(nth), Fault::nth(nth).for_good()];
        let tried = (0..).take_while(|at| nth(*at).map(|fault| fails(granularity, fault)) != [false; 2]);
        failures += tried.count();
    }
    println!("{failures} calls have failed");
    assert!(failures > 60, "{failures}");
}

/// Has a call of an opening fail that has something to make durable and something to erase, and cuts the power at any
/// step; returns whether there was such a call.
fn opening_fails(granularity: Granularity, fault: Fault) -> bool {
    let failed = AtomicBool::new(false);
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(granularity));
        let log = open(machine, &options(None));
        log.append(&[4; 8]).unwrap();
        machine.settle();
        log.stage(&[5; 8]).unwrap();
        log.stage(&[0; 500]).unwrap();
        drop(log);
        machine.acknowledge(2);
        machine.fail(fault);
        if let Ok(log) = try_open(machine, &options(None)) {
            machine.acknowledge(log.next());
            if let Ok(sequence) = log.append(&[7; 8]) {
                machine.acknowledge(sequence + 1);
            }
        }
        failed.fetch_or(machine.failed_calls() > 0, Ordering::Relaxed);
        machine.repair();
    };
    let explored = Explore::new(hardware()).run(work, found_again);
    explored.unwrap_or_else(|failure| panic!("{granularity:?}, {fault:?}: {failure}")).assert_complete();
    failed.into_inner()
}

#[test]
fn every_call_that_fails_while_opening_loses_nothing_that_was_told() {
    let mut failures = 0;
    for granularity in [Granularity::CacheLine, Granularity::Page] {
        let nth = |nth| [Fault::nth(nth), Fault::nth(nth).for_good()];
        let tried = (0..).take_while(|at| nth(*at).map(|fault| opening_fails(granularity, fault)) != [false; 2]);
        failures += tried.count();
    }
    println!("{failures} calls have failed");
    assert!(failures > 20, "{failures}");
}

/// A program is killed before it has waited for the medium; the next one finds records, says so, and the power goes.
fn killed(mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(Granularity::CacheLine));
        let log = open(machine, &options(None));
        log.append(&[4; 8]).unwrap();
        machine.settle();
        log.stage(&[5; 8]).unwrap();
        log.stage(&[6; 8]).unwrap();
        drop(log);
        machine.acknowledge(open(machine, &options(mistake)).next());
    };
    Explore::new(hardware()).run(work, found_again)
}

/// A synchronisation fails, and the kernel takes the pages for clean; the next program finds what is in them.
fn failed(mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(Granularity::Page));
        // What fails to be synchronised is in another page than the head of its segment, which is written again.
        let log = open(machine, &options(None).segment_bytes(1024));
        log.append(&[4; 500]).unwrap();
        machine.settle();
        machine.fail(Fault::nth(0).only(SimCall::Sync));
        log.append(&[5; 8]).unwrap_err();
        drop(log);
        machine.acknowledge(open(machine, &options(mistake)).next());
    };
    Explore::new(hardware()).run(work, found_again)
}

fn found_again(machine: &Machine) -> Result<(), String> {
    let (told, found) = (machine.acknowledged(), open(machine, &options(None)).next());
    if found < told { Err(format!("{told} was the next one, and now {found}")) } else { Ok(()) }
}

#[test]
fn what_opening_has_found_is_durable() {
    for explored in [killed(None), failed(None)] {
        explored.unwrap_or_else(|failure| panic!("{failure}")).assert_complete();
    }
    killed(Some(Mistake::FoundNotDurable)).unwrap_err();
    failed(Some(Mistake::FoundNotDurable)).unwrap_err();
    failed(Some(Mistake::FoundNotStored)).unwrap_err();
}
