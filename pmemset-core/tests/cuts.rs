//! The power is cut at every step of what a set does: the medium has its old state or its new one, the shutdown record
//! never says more than is true, and a retry works.
#![allow(unsafe_code, reason = "stores to simulated memory")]

mod compare;

use std::sync::Arc;

use compare::compared;
use pmemset_core::error::{MapError, PersistError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::observer::from_fn;
use pmemset_core::sim::{Explore, Explored, Failure, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{
    Answer, Checked, Coalescing, Config, CopyFlags, Event, Extent, Granularity, MapConfig, Observer, PartState, Set,
    ShutdownRecord, Source,
};

const PAGE: usize = 256;
const WORDS: usize = PAGE / 8;

type Handle = Arc<Checked<SimSource, SpinRwLock>>;
type CutSet<'s, O = ()> = Set<'s, SimPlatform, Handle, O>;

fn machine_of(granularity: Granularity) -> (Hardware, Medium) {
    let medium = Medium::new(PAGE as u64).growing_to(8 * PAGE as u64).granularity(granularity).device(b"dimm", 7);
    (Hardware::new().page_bytes(PAGE).address_space_bytes(64 * PAGE), medium)
}

/// Keeps every record, if `keeps`.
fn keeper(machine: &Machine, keeps: bool) -> impl Observer<Handle> + '_ {
    from_fn(move |event: &Event<'_, Handle>| {
        if let (Event::SdsUpdate { record, .. }, true) = (event, keeps) {
            machine.keep(&record.to_bytes());
        }
        Answer::Proceed
    })
}

fn kept_record(machine: &Machine) -> ShutdownRecord {
    machine.kept().try_into().map_or(ShutdownRecord::new(), |bytes| ShutdownRecord::from_bytes(&bytes))
}

/// Stores `value` to every word, and flushes nothing.
fn store(part: Extent, value: u64) {
    for at in (part.start()..part.end()).step_by(8) {
        let word = core::ptr::with_exposed_provenance_mut::<u64>(at);
        // SAFETY: the caller has mapped the part.
        unsafe { word.write_volatile(value) }
    }
}

/// Maps two pages, one of them new, stores to them, removes the part, and says so.
fn map_store_remove(machine: &Machine, source: &Handle, keeps: bool) {
    let observer = keeper(machine, keeps);
    let set = CutSet::with_capacity(machine.platform(), Config::new(Granularity::Page).observer(&observer), 8);
    let mapped = set.map(Arc::clone(source), &MapConfig::new().length(2 * PAGE)).unwrap().extent();
    store(mapped, 7);
    set.remove(set.part_at(mapped.start()).unwrap()).unwrap();
    machine.acknowledge(1);
}

/// Explores the life of a mapping; the check begins it anew, and is cut in its turn.
fn explore_life(granularity: Granularity, keeps: bool, depth: usize) -> Result<Explored, Failure> {
    let (hardware, medium) = machine_of(granularity);
    let work = |machine: &Machine| {
        let source = Checked::new(machine.add_source(medium)).shutdown_record(ShutdownRecord::new());
        let source = Arc::new(source);
        machine.settle();
        map_store_remove(machine, &source, keeps);
    };
    let check = |machine: &Machine| {
        let source = Arc::new(Checked::new(machine.source(0)).shutdown_record(kept_record(machine)));
        let length_bytes = source.length_bytes().unwrap();
        if length_bytes != PAGE as u64 && length_bytes != 2 * PAGE as u64 {
            return Err(format!("{length_bytes} bytes long"));
        }
        judge(machine, &source, keeps)?;
        map_store_remove(machine, &source, keeps);
        Ok(())
    };
    compared(&format!("map, store, remove, {granularity:?}"), 64, Explore::new(hardware).depth(depth), work, check)
}

/// Gives the first page whole bytes again, durably, and past the record: before that is repaired.
fn restore(machine: &Machine) {
    let set: Set<'_, SimPlatform, SimSource, _> =
        Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 2);
    let part = set.map(machine.source(0), &MapConfig::new().length(PAGE)).unwrap().extent();
    set.fill(part.start(), 0, PAGE, CopyFlags::empty()).unwrap();
    set.remove(set.part_at(part.start()).unwrap()).unwrap();
}

/// Fails where the shutdown state is good, and the bytes are not.
///
/// Asks for the state first: bytes that no record vouches for are not looked at.
fn judge(machine: &Machine, source: &Handle, keeps: bool) -> Result<(), String> {
    let observer = keeper(machine, keeps);
    let set = CutSet::with_capacity(machine.platform(), Config::new(Granularity::Page).observer(&observer), 8);
    let told = machine.acknowledged() == 1;
    // From here on the source is in use again, and what was told before is of no use after a cut of this check.
    machine.acknowledge(0);
    match set.map(Arc::clone(source), &MapConfig::new()) {
        Ok(mapped) => {
            let words = machine.source(0).words(0, WORDS);
            if words.iter().any(|word| *word != words[0]) {
                return Err(format!("state good, and the bytes are {words:?}"));
            }
            if told && words[0] != 7 {
                return Err("removal was told, and the bytes are lost".to_owned());
            }
            set.remove(mapped).map_err(|error| error.to_string())
        }
        Err(MapError::UndesirablePartState { verdict }) if !told && verdict.state == PartState::Corrupted => {
            restore(machine);
            set.repair_shutdown_state(source).map(|_| ()).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("told: {told}; {error}")),
    }
}

#[test]
fn record_is_never_better_than_the_bytes() {
    for granularity in [Granularity::CacheLine, Granularity::Page, Granularity::Byte] {
        let explored = explore_life(granularity, true, 1);
        let explored = explored.unwrap_or_else(|failure| panic!("{granularity:?}: {failure}"));
        println!("EXPLORED map, store, remove ({granularity:?}): {explored}");
        assert!(explored.is_complete() && explored.cut_points > 150 && explored.runs > 10, "{explored}");
    }
}

#[test]
fn record_that_is_not_kept_is_found() {
    let failure = explore_life(Granularity::CacheLine, false, 0).unwrap_err();
    assert!(failure.message.starts_with("state good, and the bytes are"), "{failure}");
}

/// Removes ranges of a coalesced part of three segments; what was told to be removed is durable.
#[test]
fn removed_ranges_are_durable() {
    let (hardware, medium) = machine_of(Granularity::CacheLine);
    let work = |machine: &Machine| {
        let source = Arc::new(Checked::new(machine.add_source(medium)));
        let set = CutSet::with_capacity(machine.platform(), Config::new(Granularity::Page), 8);
        set.set_coalescing(Coalescing::Full);
        let map = |page: usize| {
            set.map(Arc::clone(&source), &MapConfig::new().offset((page * PAGE) as u64).length(PAGE)).unwrap()
        };
        let part = [0, 1, 2].map(|page| map(page).part_extent())[2];
        machine.settle();
        store(part, 9);
        set.remove_range(part.start() + PAGE, 1).unwrap();
        machine.acknowledge(1);
        set.remove_range(part.start(), 3 * PAGE).unwrap();
        machine.acknowledge(2);
    };
    let check = |machine: &Machine| {
        let nines = |page: usize| machine.source(0).words(page * PAGE, WORDS).iter().all(|word| *word == 9);
        match machine.acknowledged() {
            1 if !nines(1) => Err("the middle is lost".to_owned()),
            2 if !(nines(0) && nines(1) && nines(2)) => Err("something is lost".to_owned()),
            _ => Ok(()),
        }
    };
    let explored = compared("remove ranges", 64, Explore::new(hardware), work, check);
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(explored.is_complete(), "{explored}");
    println!("EXPLORED remove ranges: {explored}");
}

const AT: usize = 13;
const LENGTH: usize = 200;

/// A way to store 0x77 to the bytes from [`AT`] on.
type StoreAndPersist = fn(&CutSet<'_>, usize) -> Result<(), PersistError>;

const WAYS: [(&str, StoreAndPersist); 10] = [
    ("copy", |set, at| set.write(at, &[0x77; LENGTH])),
    ("copy around the cache", |set, at| set.write_with(at, &[0x77; LENGTH], CopyFlags::NONTEMPORAL)),
    ("copy through the cache", |set, at| set.write_with(at, &[0x77; LENGTH], CopyFlags::TEMPORAL)),
    ("copy, then drain", |set, at| {
        set.write_with(at, &[0x77; LENGTH], CopyFlags::NODRAIN)?;
        set.drain();
        Ok(())
    }),
    ("fill", |set, at| set.fill(at, 0x77, LENGTH, CopyFlags::empty())),
    ("copy without a flush, then persist", |set, at| {
        set.write_with(at, &[0x77; LENGTH], CopyFlags::NOFLUSH)?;
        set.persist(at, LENGTH)
    }),
    ("fill without a flush, then persist many", |set, at| {
        set.fill(at, 0x77, LENGTH, CopyFlags::NOFLUSH)?;
        let halves = [Extent::new(at, 100).unwrap(), Extent::new(at + 100, LENGTH - 100).unwrap()];
        set.persist_many(&halves)
    }),
    ("write to a part", |set, at| {
        let part = set.part_at(at)?;
        part.write(at - part.extent().start(), &[0x77; LENGTH])
    }),
    ("fill a part", |set, at| {
        let part = set.part_at(at)?;
        part.fill(at - part.extent().start(), 0x77, LENGTH, CopyFlags::empty())
    }),
    ("write to a part without a flush, then persist", |set, at| {
        let part = set.part_at(at)?;
        let offset = at - part.extent().start();
        part.write_with(offset, &[0x77; LENGTH], CopyFlags::NOFLUSH)?;
        part.persist(offset, LENGTH)
    }),
];

fn explore_stores(granularity: Granularity, way: StoreAndPersist) -> Result<Explored, Failure> {
    let (hardware, medium) = machine_of(granularity);
    let work = |machine: &Machine| {
        let source = Arc::new(Checked::new(machine.add_source(medium)));
        let set = CutSet::with_capacity(machine.platform(), Config::new(Granularity::Page), 8);
        let part = set.map(source, &MapConfig::new()).unwrap().extent();
        machine.settle();
        way(&set, part.start() + AT).unwrap();
        machine.acknowledge(1);
    };
    let check = |machine: &Machine| {
        let stored = |at: usize| (AT..AT + LENGTH).contains(&at);
        machine.every(WORDS, |unit| {
            let bytes = machine.source(0).bytes(unit * 8, 8);
            let wrong = |(at, byte): (usize, &u8)| match byte {
                0x77 => !stored(at),
                0 => stored(at) && machine.acknowledged() == 1,
                _ => true,
            };
            let torn = (unit * 8..unit * 8 + 8).all(stored) && bytes.iter().any(|byte| *byte != bytes[0]);
            if torn || (unit * 8..).zip(&bytes).any(wrong) { Err(format!("unit {unit}: {bytes:?}")) } else { Ok(()) }
        })
    };
    compared(&format!("ways to store, {granularity:?}"), 128, Explore::new(hardware), work, check)
}

#[test]
fn stores_told_to_be_durable_are() {
    for granularity in [Granularity::Byte, Granularity::CacheLine, Granularity::Page] {
        let mut all = Explored::default();
        for (name, way) in WAYS {
            all +=
                explore_stores(granularity, way).unwrap_or_else(|failure| panic!("{name}, {granularity:?}: {failure}"));
        }
        println!("EXPLORED stores ({granularity:?}): {all}");
        assert!(all.is_complete() && all.ways > WAYS.len() * 30, "{all}");
    }
}

#[test]
fn stores_not_told_to_be_durable_are_not_at_cache_line_granularity() {
    let forgotten: [StoreAndPersist; 2] = [
        |set, at| set.write_with(at, &[0x77; LENGTH], CopyFlags::NOFLUSH),
        |set, at| set.write_with(at, &[0x77; LENGTH], CopyFlags::NODRAIN),
    ];
    for way in forgotten {
        explore_stores(Granularity::CacheLine, way).unwrap_err();
    }
}
