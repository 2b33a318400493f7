//! Reading, storing, copying and filling the bytes of parts.
#![allow(unsafe_code, reason = "looks at slices of parts")]

use super::fake::PAGE;
use super::world::Act::{Fence, Store, Sync, WriteBack};
use super::world::{Act, Memory, World};
use crate::arch::StoreKind::{Cached, Streaming};
use crate::error::PersistError;
use crate::set::event::from_fn;
use crate::{Answer, Config, CopyFlags, Errno, Event, Extent, Granularity, MapConfig, Set};

type WorldSet<'a, O = ()> = Set<'a, &'a World, &'a Memory<'a>, O>;

/// libpmemset's ten flag sets.
pub(super) const FLAG_SETS: [CopyFlags; 10] = [
    CopyFlags::empty(),
    CopyFlags::NODRAIN,
    CopyFlags::NONTEMPORAL,
    CopyFlags::TEMPORAL,
    CopyFlags::NONTEMPORAL.union(CopyFlags::TEMPORAL),
    CopyFlags::NONTEMPORAL.union(CopyFlags::NODRAIN),
    CopyFlags::WC,
    CopyFlags::WB,
    CopyFlags::NOFLUSH,
    CopyFlags::all(),
];

fn extent(start: usize, length_bytes: usize) -> Extent {
    Extent::new(start, length_bytes).unwrap()
}

fn pages(count: usize) -> MapConfig {
    MapConfig::new().length(count * PAGE)
}

fn content(set: &WorldSet<'_>, address: usize, length_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; length_bytes];
    set.read(address, &mut bytes).unwrap();
    bytes
}

#[test]
fn flags_decide_how_bytes_become_durable() {
    for granularity in [Granularity::Byte, Granularity::CacheLine, Granularity::Page] {
        let world = World::new(8);
        let source = Memory::new(&world, granularity);
        let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
        let part = set.map(&source, &pages(3)).unwrap().extent();
        let dest = extent(part.start() + PAGE - 4, 20);
        let synced = Sync(extent(part.start(), 2 * PAGE), 0);
        for flags in FLAG_SETS {
            let noflush = flags.contains(CopyFlags::NOFLUSH);
            let wants_streams = flags.intersects(CopyFlags::NONTEMPORAL | CopyFlags::WC);
            let wants_cached = flags.intersects(CopyFlags::TEMPORAL | CopyFlags::WB);
            let streams = !noflush
                && match granularity {
                    Granularity::Byte => flags.contains(CopyFlags::NONTEMPORAL),
                    Granularity::CacheLine => wants_streams || !wants_cached,
                    Granularity::Page => false,
                };
            let mut expected = vec![Store(dest, if streams { Streaming } else { Cached })];
            if !noflush && granularity == Granularity::CacheLine && !streams {
                expected.push(WriteBack(dest));
            }
            if !noflush && granularity == Granularity::Page {
                expected.push(synced);
            } else if !noflush && !flags.contains(CopyFlags::NODRAIN) {
                expected.push(Fence);
            }
            let handle = set.part_at(part.start()).unwrap();
            let done = |action: &dyn Fn() -> Result<(), PersistError>| {
                world.take();
                action().unwrap();
                assert_eq!(world.take(), expected, "{granularity:?} {flags:?}");
            };
            done(&|| set.write_with(dest.start(), &[7; 20], flags));
            done(&|| handle.write_with(PAGE - 4, &[8; 20], flags));
            done(&|| set.fill(dest.start(), 9, 20, flags));
            done(&|| handle.fill(PAGE - 4, 10, 20, flags));
            done(&|| set.copy_within(dest.start() - 3..dest.start() - 3 + 20, dest.start(), flags));
            done(&|| handle.copy_within(PAGE - 4..PAGE - 4 + 20, PAGE - 4, flags));
        }
    }
}

#[test]
fn a_read_gets_whole_words_wherever_the_buffer_lies() {
    const WORD: usize = size_of::<usize>();
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::Page);
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
    let part = set.map(&source, &pages(1)).unwrap().extent();
    let handle = set.part_at(part.start()).unwrap();
    for skew in 0..WORD {
        let mut buffer = [0_u8; 80];
        let loaded = crate::arch::access::notes::loads(|| handle.read(64, &mut buffer[skew..skew + 64]).unwrap());
        let words: Vec<_> = (64..128).step_by(WORD).map(|at| (part.start() + at, WORD)).collect();
        assert_eq!(loaded, words, "each word at once, for a buffer {skew} bytes into a word");
    }
}

#[test]
fn outside_the_part_nothing_is_stored() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
    let flags = CopyFlags::empty();
    assert_eq!(set.write_with(0x1000, &[1], flags), Err(PersistError::NotMapped { address: 0x1000 }));
    assert_eq!(set.fill(0x1000, 1, 1, flags), Err(PersistError::NotMapped { address: 0x1000 }));
    assert_eq!(set.copy_within(0x2000..0x2000 + 1, 0x1000, flags), Err(PersistError::NotMapped { address: 0x2000 }));
    assert_eq!(set.read(0x1000, &mut [0]), Err(PersistError::NotMapped { address: 0x1000 }));
    let part = set.map(&source, &pages(2)).unwrap().extent();
    let handle = set.part_at(part.start()).unwrap();
    world.take();
    let behind = PersistError::NotMapped { address: part.end() };
    assert_eq!(handle.write_with(2 * PAGE - 1, &[1, 2], flags), Err(behind));
    assert_eq!(handle.fill(2 * PAGE - 1, 1, 2, flags), Err(behind));
    assert_eq!(handle.copy_within(2 * PAGE - 1..2 * PAGE - 1 + 2, 0, flags), Err(behind));
    assert_eq!(handle.copy_within(0..2, 2 * PAGE - 1, flags), Err(behind));
    assert_eq!(handle.read(2 * PAGE - 1, &mut [0, 0]), Err(behind));
    assert_eq!(handle.as_ptr(2 * PAGE, 1), Err(behind));
    // SAFETY: nothing else uses the bytes.
    assert_eq!(unsafe { handle.as_slice(0, 2 * PAGE + 1) }, Err(behind));
    let wraps = PersistError::OutOfRange { start: usize::MAX, length_bytes: 2 };
    assert_eq!(handle.write_with(usize::MAX, &[1, 2], flags), Err(wraps));
    assert_eq!(set.write_with(usize::MAX, &[1, 2], flags), Err(wraps));
    for zero in [handle.write_with(9999, &[], flags), set.write_with(1, &[], flags), handle.fill(9999, 1, 0, flags)] {
        assert_eq!(zero, Ok(()));
    }
    assert_eq!(world.take(), []);
    assert_eq!(content(&set, part.start(), 2 * PAGE), [0; 2 * PAGE]);
}

#[test]
fn failed_synchronisation_is_reported_with_the_bytes_stored() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::Page);
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
    let part = set.map(&source, &pages(1)).unwrap().extent();
    source.sync_errors.lock().unwrap().push_back(Errno::IO);
    let error = set.write(part.start(), &[5; 8]);
    assert_eq!(error, Err(PersistError::Sync { segment: part, cause: Errno::IO }));
    assert_eq!(content(&set, part.start(), 8), [5; 8]);
    let failed = PersistError::FailedBefore { segment: part, cause: Errno::IO };
    assert_eq!(set.fill(part.start(), 6, 8, CopyFlags::empty()), Err(failed));
    assert_eq!(set.fill(part.start(), 6, 8, CopyFlags::NOFLUSH), Ok(()));
}

#[test]
fn copies_cross_parts_in_both_directions() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
    let start = set.map(&source, &pages(1)).unwrap().extent().start();
    set.map(&source, &pages(1)).unwrap();
    set.map(&source, &pages(2)).unwrap();
    let size = 4 * PAGE;
    let mut model: Vec<u8> = (0..size).map(|at| (at * 31 + at / PAGE) as u8).collect();
    set.write(start, &model).unwrap();
    assert!(content(&set, start, size) == model);
    for (dest, from, length) in
        [(100, 200, 9000), (200, 100, 9000), (1, 0, size - 1), (0, 1, size - 1), (PAGE, 0, PAGE), (4000, 4000, 5000)]
    {
        model.copy_within(from..from + length, dest);
        set.copy_within(start + from..start + from + length, start + dest, CopyFlags::empty()).unwrap();
        assert!(content(&set, start, size) == model, "{length} bytes from {from} to {dest}");
    }
    world.take();
    set.fill(start + 4000, 3, 5000, CopyFlags::TEMPORAL).unwrap();
    model[4000..9000].fill(3);
    assert!(content(&set, start, size) == model);
    let acts = world.take();
    assert_eq!(acts.iter().filter(|act| **act == Fence).count(), 1);
    assert_eq!(acts.iter().filter(|act| matches!(act, WriteBack(_))).count(), 1);
}

#[test]
fn observer_sees_stores_before_they_happen_and_no_drain_after_noflush() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::CacheLine);
    let log = std::sync::Mutex::new(Vec::new());
    let observer = from_fn(|event: &Event<'_, &Memory<'_>>| {
        let (name, dest) = match event {
            Event::Write { dest, bytes, .. } => {
                assert_eq!(dest.length_bytes(), bytes.len());
                ("copy", Some(dest))
            }
            Event::CopyWithin { dest, .. } => ("move", Some(dest)),
            Event::Fill { dest, .. } => ("set", Some(dest)),
            Event::Drain => ("drain", None),
            Event::PartAdd { .. } => return Answer::Proceed,
            other => panic!("{other:?}"),
        };
        let stored = world.take().iter().any(|act| matches!(act, Act::Store(..)));
        log.lock().unwrap().push((name, dest.copied(), stored));
        Answer::Proceed
    });
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page).observer(&observer), 16);
    let part = set.map(&source, &pages(1)).unwrap().extent();
    let handle = set.part_at(part.start()).unwrap();
    let dest = Some(extent(part.start() + 64, 10));
    for flags in FLAG_SETS {
        let told = |action: &dyn Fn()| {
            world.take();
            action();
            core::mem::take(&mut *log.lock().unwrap())
        };
        let drains = !flags.intersects(CopyFlags::NODRAIN | CopyFlags::NOFLUSH);
        let expected = |name| {
            let mut expected = vec![(name, dest, false)];
            expected.extend(drains.then_some(("drain", None, true)));
            expected
        };
        assert_eq!(told(&|| handle.write_with(64, &[1; 10], flags).unwrap()), expected("copy"));
        assert_eq!(told(&|| set.write_with(part.start() + 64, &[1; 10], flags).unwrap()), expected("copy"));
        assert_eq!(told(&|| handle.copy_within(60..70, 64, flags).unwrap()), expected("move"));
        assert_eq!(told(&|| handle.fill(64, 2, 10, flags).unwrap()), expected("set"));
        assert_eq!(told(&|| assert!(handle.fill(PAGE, 2, 10, flags).is_err())), []);
    }
}

#[test]
fn slices_are_the_bytes_of_the_part() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set: WorldSet<'_, _> = Set::with_capacity(&world, Config::new(Granularity::Page), 16);
    let part = set.map(&source, &pages(2)).unwrap().extent();
    let mut handle = set.part_at(part.start()).unwrap();
    // SAFETY: nothing else uses the bytes.
    let bytes = unsafe { handle.as_mut_slice(10, 20) }.unwrap();
    bytes.fill(0xee);
    handle.persist(10, 20).unwrap();
    // SAFETY: nothing stores to the bytes.
    assert_eq!(unsafe { handle.as_slice(9, 22) }.unwrap(), [&[0][..], &[0xee; 20], &[0]].concat());
    // SAFETY: there are no bytes.
    assert!(unsafe { handle.as_slice(usize::MAX, 0) }.unwrap().is_empty());
    assert_eq!(handle.as_ptr(10, 20).unwrap().addr(), part.start() + 10);
}
