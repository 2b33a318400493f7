//! The power is cut at every step of a mirrored part's life; then either copy is lost.
#![allow(unsafe_code, clippy::cast_possible_truncation, reason = "slices of parts; numbers of small worlds")]

use core::cell::Cell;
use std::sync::Arc;

use pmemset_core::sim::{Explore, Explored, Failure, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Part, Set, SetRef};

use super::Mirror;
use Granularity::{Byte, CacheLine, Page};

const PAGE: usize = 512;
const CONFIG: Config = Config::new(Granularity::Page);

std::thread_local! {
    /// What the mirrors of this thread do wrong.
    pub(crate) static MISTAKE: Cell<&'static str> = const { Cell::new("") };
}

type Replicas = Set<'static, SimPlatform, SimSource>;
type SimMirror = Mirror<SimPlatform, SimSource>;

fn replica(machine: &Machine) -> Part<Arc<Replicas>> {
    let replicas: Arc<Replicas> = Arc::new(Set::with_capacity(machine.platform(), CONFIG, 1));
    replicas.map_owned(machine.source(1).reopen(), &MapConfig::new()).unwrap()
}

/// Appends entries of a word, and counts them, in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copy,
    Fill,
    Move,
    Slice,
    Drain,
}

const WAYS: [Way; 5] = [Way::Copy, Way::Fill, Way::Move, Way::Slice, Way::Drain];

fn entry(number: usize) -> [u8; 8] {
    [number as u8 + 1; 8]
}

fn append<R: SetRef>(part: &mut Part<R>, drain: impl Fn(), way: Way, number: usize) {
    let (at, scratch) = (64 + number * 8, 256);
    match way {
        Way::Copy => part.write(at, &entry(number)).unwrap(),
        Way::Fill => part.fill(at, entry(number)[0], 8, CopyFlags::empty()).unwrap(),
        Way::Move => {
            part.write(scratch, &entry(number)).unwrap();
            part.copy_within(scratch..scratch + 8, at, CopyFlags::empty()).unwrap();
        }
        Way::Slice => {
            // SAFETY: nobody else uses the part.
            unsafe { part.as_mut_slice(at, 8) }.unwrap().copy_from_slice(&entry(number));
            part.persist(at, 8).unwrap();
        }
        Way::Drain => {
            part.write_with(at, &entry(number), CopyFlags::NODRAIN).unwrap();
            drain();
        }
    }
    part.write(0, &(number as u64 + 1).to_le_bytes()).unwrap();
}

/// Appends three entries; tells of each when it is confirmed.
fn work(machine: &Machine, granularities: [Granularity; 2], way: Way) {
    for granularity in granularities {
        let _ = machine.add_source(Medium::new(PAGE as u64).granularity(granularity));
    }
    let mirror: Arc<SimMirror> = Mirror::new(replica(machine));
    let set = mirror.observed(machine.platform(), CONFIG, 1);
    let mut part = set.map(machine.source(0), &MapConfig::new()).unwrap();
    machine.settle();
    for number in 0..3 {
        append(&mut part, || set.drain(), way, number);
        mirror.confirm().unwrap();
        machine.acknowledge(number as u64 + 1);
    }
}

/// Whatever one copy, the only one that is left, counts is there, and it counts what was told.
fn alone(machine: &Machine, index: usize) -> Result<(), String> {
    let source = machine.source(index);
    let (count, told) = (source.words(0, 1)[0], machine.acknowledged());
    if count < told || count > 3 {
        return Err(format!("copy {index}: {told} were told, {count} are counted"));
    }
    machine.every(count as usize, |number| match source.bytes(64 + number * 8, 8) {
        found if found == entry(number) => Ok(()),
        found => Err(format!("copy {index}: entry {number} of {count} is {found:?}")),
    })
}

fn explore(granularities: [Granularity; 2], way: Way, index: usize) -> Result<Explored, Failure> {
    let hardware = Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE);
    Explore::new(hardware).run(|machine| work(machine, granularities, way), |machine| alone(machine, index))
}

#[test]
fn each_copy_alone_has_all_that_was_confirmed() {
    for granularities in [[CacheLine, CacheLine], [Page, Page], [Byte, Byte], [Page, CacheLine], [CacheLine, Page]] {
        for (way, index) in WAYS.into_iter().flat_map(|way| [(way, 0), (way, 1)]) {
            let explored = explore(granularities, way, index);
            explored.unwrap_or_else(|failure| panic!("{granularities:?}, {way:?}: {failure}")).assert_complete();
        }
    }
}

#[test]
fn mistakes_are_found() {
    for (mistake, way) in [
        ("does not wait", Way::Slice),
        ("does not look at flushes", Way::Slice),
        ("does not see moves", Way::Move),
        ("does not flush copies", Way::Copy),
        ("does not flush fills", Way::Fill),
    ] {
        MISTAKE.set(mistake);
        // Where the part itself has a fence, it is one for the replica, too.
        let explored = explore([Page, CacheLine], way, 1);
        MISTAKE.set("");
        let failure = explored.map(|explored| panic!("{mistake}, {way:?}: not found; {explored}")).unwrap_err();
        println!("{mistake}, {way:?}: {failure}");
    }
}

/// Resynchronised after a cut, and cut in that again: the primary is right all the time, and both are equal in the end.
#[test]
fn copies_are_equal_again_after_a_cut() {
    let check = |machine: &Machine| {
        alone(machine, 0)?;
        let mirror: Arc<SimMirror> = Mirror::new(replica(machine));
        let set = mirror.observed(machine.platform(), CONFIG, 1);
        let part = set.map(machine.source(0).reopen(), &MapConfig::new()).unwrap();
        mirror.resynchronise(&part).unwrap();
        let words = [0, 1].map(|index| machine.source(index).words(0, 16));
        if words[0] == words[1] { Ok(()) } else { Err(format!("{words:?}")) }
    };
    let hardware = Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE);
    for granularity in [CacheLine, Page] {
        let explored = Explore::new(hardware).depth(1).run(|machine| work(machine, [granularity; 2], Way::Copy), check);
        let explored = explored.unwrap_or_else(|failure| panic!("{granularity:?}: {failure}"));
        explored.assert_complete();
        println!("EXPLORED resynchronisation, {granularity:?}: {explored}");
    }
}

#[test]
fn a_replica_that_fails_is_told_and_left_behind() {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE));
    for _ in 0..2 {
        let _ = machine.add_source(Medium::new(PAGE as u64).granularity(Granularity::Page));
    }
    let mirror: Arc<SimMirror> = Mirror::new(replica(&machine));
    let set = mirror.observed(machine.platform(), CONFIG, 1);
    let part = set.map(machine.source(0), &MapConfig::new()).unwrap();
    part.write(0, &[1; 8]).unwrap();
    assert_eq!(mirror.confirm(), Ok(()));
    machine.fail(Fault::nth(0).only(pmemset_core::sim::Call::Sync));
    // The replica comes first, and fails; the part itself is well.
    part.write(0, &[2; 8]).unwrap();
    let failure = mirror.confirm().unwrap_err();
    part.write(0, &[3; 8]).unwrap();
    assert_eq!(mirror.confirm(), Err(failure));
    assert_eq!((machine.source(0).bytes(0, 1), machine.source(1).bytes(0, 1)), (vec![3], vec![2]));
}

/// The first part is mirrored, and no other: neither one beside it, nor one that lies there after it.
#[test]
fn other_parts_are_left_alone() {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE));
    for _ in 0..4 {
        let _ = machine.add_source(Medium::new(PAGE as u64).granularity(Granularity::Page));
    }
    let mirror: Arc<SimMirror> = Mirror::new(replica(&machine));
    let set = mirror.observed(machine.platform(), CONFIG, 3);
    let part = set.map(machine.source(0), &MapConfig::new()).unwrap();
    let other = set.map(machine.source(2), &MapConfig::new()).unwrap();
    part.write(0, &[1; 8]).unwrap();
    other.write(0, &[2; 8]).unwrap();
    other.fill(8, 2, 8, CopyFlags::empty()).unwrap();
    other.copy_within(0..8, 16, CopyFlags::empty()).unwrap();
    other.persist(0, 64).unwrap();
    assert_eq!(mirror.confirm(), Ok(()));
    set.remove(part).unwrap();
    let third = set.map(machine.source(3), &MapConfig::new()).unwrap();
    third.write(0, &[3; 8]).unwrap();
    assert_eq!(mirror.confirm(), Ok(()));
    assert_eq!((machine.source(1).bytes(0, 8), machine.source(1).bytes(8, 56)), (vec![1; 8], vec![0; 56]));
}
