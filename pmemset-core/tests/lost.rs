//! Write-back fails, and the pages are taken for clean, as the kernel does it: what a set says after that is still true
//! wherever the power goes.

use core::cell::Cell;
use std::sync::Arc;

use pmemset_core::lock::SpinRwLock;
use pmemset_core::observer::from_fn;
use pmemset_core::sim::{Call, Explore, Explored, Failure, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{
    Answer, Checked, Config, CopyFlags, Event, Granularity, MapConfig, Part, Set, SetRef, ShutdownRecord, Source,
};

const PAGE: usize = 256;

type Handle = Arc<Checked<SimSource, SpinRwLock>>;
type LostSet<'s, O = ()> = Set<'s, SimPlatform, Handle, O>;

fn store<R: SetRef>(part: &Part<R>) {
    part.write_with(0, &[1; 8], CopyFlags::NOFLUSH).unwrap();
}

/// Stores to a page in each of two sets, and insists on making both durable, whatever fails: what was told in the end
/// is acknowledged, a bit for each page.
fn insist(machine: &Machine, source: &Handle, nth: u64, call: Call) -> u64 {
    let observer = from_fn(|event: &Event<'_, Handle>| {
        if let Event::SdsUpdate { record, .. } = event {
            machine.keep(&record.to_bytes());
        }
        Answer::Proceed
    });
    let sets = [0, 1]
        .map(|_| LostSet::with_capacity(machine.platform(), Config::new(Granularity::Page).observer(&observer), 4));
    let starts = [0, 1].map(|page| {
        let config = MapConfig::new().offset((page * PAGE) as u64).length(PAGE);
        sets[page].map(Arc::clone(source), &config).unwrap().extent().start()
    });
    let tell = |page: usize, done: bool| machine.acknowledge(machine.acknowledged() | u64::from(done) << page);
    machine.settle();
    for page in [0, 1] {
        store(&sets[page].part_at(starts[page]).unwrap());
    }
    machine.fail(Fault::nth(nth).only(call));
    for page in [0, 1, 0] {
        tell(page, sets[page].persist(starts[page], 8).is_ok());
    }
    tell(1, sets[1].deep_flush(starts[1], 8).is_ok());
    for page in [0, 1] {
        match sets[page].try_remove(sets[page].part_at(starts[page]).unwrap()) {
            Ok(()) => tell(page, true),
            Err(refused) => sets[page].discard(refused.part).unwrap(),
        }
    }
    machine.failed_calls()
}

fn explore(granularity: Granularity, call: Call, nth: u64) -> (Result<Explored, Failure>, bool) {
    let failed = Cell::new(0);
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE)).run(
        |machine| {
            let medium = Medium::new(2 * PAGE as u64).granularity(granularity).device(b"dimm", 7);
            let source = Arc::new(Checked::new(machine.add_source(medium)).shutdown_record(ShutdownRecord::new()));
            failed.set(insist(machine, &source, nth, call));
        },
        |machine| {
            let record = machine.kept().try_into().map(|bytes| ShutdownRecord::from_bytes(&bytes));
            let is_clean = record.is_ok_and(|record: ShutdownRecord| record.references() == 0);
            machine.every(2, |page| {
                let promised = machine.acknowledged() >> page & 1 == 1;
                if (promised || is_clean) && machine.source(0).words(page * PAGE, 1)[0] == 0 {
                    return Err(format!("page {page} is lost; promised: {promised}, record clean: {is_clean}"));
                }
                Ok(())
            })
        },
    );
    (outcome, failed.get() > 0)
}

#[test]
fn nothing_that_was_lost_is_promised_or_called_clean() {
    let mut failures = 0;
    for (granularity, call) in [(Granularity::Page, Call::Sync), (Granularity::CacheLine, Call::DeepFlush)] {
        for nth in 0.. {
            let (outcome, failed) = explore(granularity, call, nth);
            let explored = outcome.unwrap_or_else(|failure| panic!("{granularity:?}, {call:?} {nth} fails: {failure}"));
            explored.assert_complete();
            if !failed {
                break;
            }
            failures += 1;
        }
    }
    assert!(failures >= 6, "{failures}");
}

#[test]
fn source_that_is_opened_anew_works_again() {
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE)).run(
        |machine| {
            let source = machine.add_source(Medium::new(PAGE as u64).granularity(Granularity::Page));
            let set: Set<'_, SimPlatform, SimSource, _> =
                Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
            let start = set.map(source.clone(), &MapConfig::new()).unwrap().extent().start();
            machine.settle();
            set.write_with(start, &[1; 8], CopyFlags::NOFLUSH).unwrap();
            machine.fail(Fault::nth(0).only(Call::Sync));
            set.persist(start, 8).unwrap_err();
            set.persist(start, 8).unwrap_err();
            set.discard(set.part_at(start).unwrap()).unwrap();
            // What was lost has to be stored again.
            let start = set.map(source.reopen(), &MapConfig::new()).unwrap().extent().start();
            set.write(start, &[2; 8]).unwrap();
            machine.acknowledge(1);
        },
        |machine| match (machine.acknowledged(), machine.source(0).words(0, 1)[0] & 0xff) {
            (1, 2) | (0, 0..=2) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    outcome.unwrap().assert_complete();
}

#[test]
fn a_program_that_goes_on_without_a_set_is_found() {
    // What the kernel says after a failure, believed.
    let outcome = Explore::new(Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE)).run(
        |machine| {
            let source = machine.add_source(Medium::new(PAGE as u64).granularity(Granularity::Page));
            let set: Set<'_, SimPlatform, SimSource, _> =
                Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
            let part = set.map(source.clone(), &MapConfig::new()).unwrap().extent();
            machine.settle();
            set.write_with(part.start(), &[1; 8], CopyFlags::NOFLUSH).unwrap();
            machine.fail(Fault::nth(0).only(Call::Sync));
            source.sync(part, 0).unwrap_err();
            source.sync(part, 0).unwrap();
            machine.acknowledge(1);
        },
        |machine| match machine.source(0).words(0, 1)[0] {
            0 if machine.acknowledged() == 1 => Err("lost".to_owned()),
            _ => Ok(()),
        },
    );
    assert_eq!(outcome.unwrap_err().message, "lost");
}
