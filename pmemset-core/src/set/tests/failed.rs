//! A synchronisation or a deep flush that fails is a fact about the source: whoever maps it, in whatever set, gets it.

use super::fake::PAGE;
use super::world::{Memory, World};
use super::{late_set, leak};
use crate::arch::Cpu;
use crate::error::{DeepFlushError, MapError, PersistError, RemoveError};
use crate::health::PartState;
use crate::lock::SpinRwLock;
use crate::set::event::from_fn;
use crate::sim::{Call, Fault, Hardware, Machine, Medium, SimPlatform, SimSource};
use crate::{
    Answer, Checked, Config, CopyFlags, Errno, Event, Extent, Granularity, Health as _, MapConfig, Set, ShutdownRecord,
};

type WorldSet<'a, O = ()> = Set<'a, &'a World, &'a Memory<'a>, O>;

const ALL: [Granularity; 3] = [Granularity::Byte, Granularity::CacheLine, Granularity::Page];

fn set_on(world: &World) -> WorldSet<'_> {
    Set::with_capacity(world, Config::new(Granularity::Page), 16)
}

fn pages(count: usize) -> MapConfig {
    MapConfig::new().length(count * PAGE)
}

/// Makes the next synchronisation of `source` fail, or its next deep flush where there is none, and has `part` meet it.
fn lose(set: &WorldSet<'_>, source: &Memory<'_>, part: Extent, granularity: Granularity, cause: Errno) {
    if granularity == Granularity::Page {
        source.sync_errors.lock().unwrap().push_back(cause);
        assert_eq!(set.persist(part.start(), 8), Err(PersistError::Sync { segment: part, cause }));
    } else {
        source.deep_flushes.lock().unwrap().push_back(Err(cause));
        let failed = DeepFlushError::Failed { segment: part, cause };
        assert_eq!(set.deep_flush(part.start(), 8), Err(failed));
        assert_eq!(failed.code(), -200_018);
    }
}

#[test]
fn every_mapping_in_every_set_fails_with_the_first_reason_and_nothing_is_asked_again() {
    for (granularity, cause) in ALL.into_iter().flat_map(|g| [(g, Errno::IO), (g, Errno::NOSPC)]) {
        let world = World::on(Cpu::simulated(64), 16);
        let (bad, good) = (Memory::new(&world, granularity), Memory::new(&world, granularity));
        let (set, second) = (set_on(&world), set_on(&world));
        let first = set.map(&bad, &pages(2)).unwrap().extent();
        let other = set.map(&good, &pages(1)).unwrap().extent();
        let sibling = set.map(&bad, &pages(1)).unwrap().extent();
        let elsewhere = second.map(&bad, &pages(1)).unwrap().extent();
        lose(&set, &bad, first, granularity, cause);
        world.take();
        for (set, part) in [(&set, first), (&set, sibling), (&second, elsewhere)] {
            let failed = PersistError::FailedBefore { segment: part, cause };
            let handle = set.part_at(part.start()).unwrap();
            assert_eq!(set.persist(part.start(), 8), Err(failed), "{granularity:?}");
            assert_eq!(set.flush(part.start(), 8), Err(failed));
            assert_eq!(set.persist_many(&[Extent::new(part.start(), 1).unwrap()]), Err(failed));
            assert_eq!(set.deep_flush(part.start(), 8), Err(failed.into()));
            assert_eq!(DeepFlushError::from(failed).code(), -200_018);
            assert_eq!((handle.persist(0, 8), handle.flush(1, 1)), (Err(failed), Err(failed)));
            assert_eq!(handle.deep_flush(0, 8), Err(failed.into()));
            drop(handle);
            let removed = RemoveError::FailedBefore { segment: part, cause };
            assert_eq!(set.remove(set.part_at(part.start()).unwrap()).unwrap_err(), removed);
            assert_eq!((set.remove_range(part.start(), 1), removed.code()), (Err(removed), -200_018));
            assert_eq!(world.take(), [], "{granularity:?}");
        }
        assert_eq!((set.segment_count(), second.segment_count()), (3, 1));
        assert_eq!(second.map(&bad, &pages(1)).unwrap_err(), MapError::FailedBefore { cause });
        // Only the source that has failed is affected, also in a set where another has.
        set.persist(other.start(), 8).unwrap();
        set.part_at(other.start()).unwrap().write(0, b"other").unwrap();
        set.remove(set.part_at(other.start()).unwrap()).unwrap();
    }
}

#[test]
fn copies_store_and_say_that_they_are_not_durable() {
    for granularity in ALL {
        let world = World::on(Cpu::simulated(64), 8);
        let source = Memory::new(&world, granularity);
        let set = set_on(&world);
        let part = set.map(&source, &pages(2)).unwrap().extent();
        lose(&set, &source, part, granularity, Errno::IO);
        let failed = Err(PersistError::FailedBefore { segment: part, cause: Errno::IO });
        let handle = set.part_at(part.start()).unwrap();
        for flags in [CopyFlags::empty(), CopyFlags::NODRAIN, CopyFlags::TEMPORAL, CopyFlags::NONTEMPORAL] {
            assert_eq!(set.write_with(part.start(), b"lost", flags), failed, "{granularity:?} {flags:?}");
            assert_eq!(set.fill(part.start(), 1, 8, flags), failed);
            assert_eq!(set.copy_within(part.start()..part.start() + 8, part.start() + 8, flags), failed);
            assert_eq!(handle.write_with(16, b"there", flags), failed);
            assert_eq!(handle.fill(24, 2, 8, flags), failed);
            assert_eq!(handle.copy_within(24..32, 32, flags), failed);
        }
        let mut bytes = [0; 5];
        handle.read(16, &mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        assert_eq!(handle.write_with(0, b"nobody asked for more", CopyFlags::NOFLUSH), Ok(()));
    }
}

#[test]
fn a_part_that_has_failed_goes_by_being_discarded() {
    let world = World::new(16);
    let (bad, good) = (Memory::new(&world, Granularity::Page), Memory::new(&world, Granularity::Page));
    let set = set_on(&world);
    let first = set.map(&bad, &pages(2)).unwrap().extent();
    let second = set.map(&bad, &pages(1)).unwrap().extent();
    let other = set.map(&good, &pages(1)).unwrap().extent();
    lose(&set, &bad, first, Granularity::Page, Errno::IO);
    world.take();
    // As for removal: not while somebody has a handle, and not by another set's.
    let (one, two) = (set.part_at(first.start()).unwrap(), set.part_at(first.start()).unwrap());
    let pinned = RemoveError::Pinned { part: first };
    assert_eq!(set.discard(one).unwrap_err(), pinned);
    assert_eq!(set.discard_range(first.start(), 1), Err(pinned));
    assert_eq!(set_on(&world).discard(two).unwrap_err(), RemoveError::OtherSet);
    assert_eq!(set.segment_count(), 3);
    let wraps = RemoveError::OutOfRange { address: usize::MAX, length_bytes: 2 };
    assert_eq!((set.discard_range(usize::MAX, 2), set.discard_range(1, 0)), (Err(wraps), Ok(())));
    set.discard(set.part_at(first.start()).unwrap()).unwrap();
    set.discard_range(second.start() + 5, 1).unwrap();
    assert_eq!((world.take(), set.segment_count()), (vec![], 1));
    // A part that is in order goes that way, too.
    set.discard(set.part_at(other.start()).unwrap()).unwrap();
    assert_eq!((world.take(), set.segment_count()), (vec![], 0));
}

type Pool = Checked<SimSource, SpinRwLock>;

/// Returns a pool whose record is to be kept, and the machine that it is in.
fn pool(record: ShutdownRecord) -> (Machine, Pool) {
    let machine = Machine::new(Hardware::new());
    let medium = Medium::new(4 * PAGE as u64).granularity(Granularity::Page).device(b"dimm", 1);
    let source = machine.add_source(medium);
    (machine, Checked::new(source).shutdown_record(record))
}

#[test]
fn a_record_stays_dirty_when_bytes_were_lost_whatever_ends_the_part() {
    for ending in 0..5 {
        let (machine, pool) = pool(ShutdownRecord::new());
        let kept = std::sync::Mutex::new(ShutdownRecord::new());
        let events = std::sync::Mutex::new(Vec::new());
        let keep = from_fn(|event: &Event<'_, &Pool>| {
            match event {
                Event::SdsUpdate { record, .. } => *kept.lock().unwrap() = **record,
                Event::PartRemove { part } => events.lock().unwrap().push(*part),
                _ => {}
            }
            Answer::Proceed
        });
        let set = Set::with_capacity(machine.platform(), Config::new(Granularity::Page).observer(&keep), 4);
        let one = pages(1);
        let part = set.map(&pool, &one).unwrap().extent();
        let good = set.map(&pool, &one.offset(PAGE as u64)).unwrap().extent();
        set.remove(set.part_at(good.start()).unwrap()).unwrap();
        machine.fail(Fault::nth(0).only(Call::Sync));
        if ending == 0 {
            set.remove_range(part.start(), 1).unwrap_err();
        } else {
            set.persist(part.start(), 8).unwrap_err();
        }
        events.lock().unwrap().clear();
        match ending {
            0 | 1 => set.discard(set.part_at(part.start()).unwrap()).unwrap(),
            2 => set.discard_range(part.start(), PAGE).unwrap(),
            3 => {
                set.remove(set.part_at(part.start()).unwrap()).unwrap_err();
                set.remove_range(part.start(), 1).unwrap_err();
                set.discard(set.part_at(part.start()).unwrap()).unwrap();
            }
            _ => drop(set),
        }
        if ending < 4 {
            assert_eq!(*events.lock().unwrap(), [part]);
        }
        let record = *kept.lock().unwrap();
        assert_eq!(record.references(), 1, "ending {ending}");
        assert_eq!(pool.shutdown().unwrap().record().record.references(), 1);
        // The next to open it gets the error.
        let again: Pool = Checked::new(pool.source().reopen()).shutdown_record(record);
        let set: Set<'_, SimPlatform, &Pool, _> =
            Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
        let error = set.map(&again, &one).unwrap_err();
        let state = PartState::OkButInterrupted;
        assert!(matches!(error, MapError::UndesirablePartState { verdict } if verdict.state == state), "{error:?}");
    }
}

/// The part was flushed and taken out in time, and another thread meets the failure before the record is published.
#[test]
fn a_failure_before_the_clean_record_is_published_keeps_it_dirty() {
    let (machine, pool) = pool(ShutdownRecord::new());
    let pool = leak(pool);
    let set = late_set(machine.platform(), Config::new(Granularity::Page), |set, event: &Event<'_, &Pool>| {
        if let (Event::PartRemove { .. }, Ok(Some(other))) = (event, set.first_part()) {
            other.persist(0, 8).unwrap_err();
        }
        Answer::Proceed
    });
    let one = pages(1);
    let part = set.map(pool, &one).unwrap().extent();
    set.map(pool, &one.offset(PAGE as u64)).unwrap();
    machine.fail(Fault::nth(1).only(Call::Sync));
    set.remove(set.part_at(part.start()).unwrap()).unwrap();
    set.discard_range(0, usize::MAX).unwrap();
    assert_eq!(pool.shutdown().unwrap().record().record.references(), 2);
}

#[test]
fn a_source_that_is_opened_anew_starts_again() {
    let (machine, pool) = pool(ShutdownRecord::new());
    let (clone, anew);
    let set: Set<'_, SimPlatform, &SimSource, _> =
        Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    let part = set.map(pool.source(), &pages(1)).unwrap().extent();
    machine.fail(Fault::nth(0).only(Call::DeepFlush));
    set.deep_flush(part.start(), 8).unwrap_err();
    // Another handle to it is the same source.
    clone = pool.source().clone();
    assert_eq!(set.map(&clone, &pages(1)).unwrap_err(), MapError::FailedBefore { cause: Errno::IO });
    set.discard(set.part_at(part.start()).unwrap()).unwrap();
    anew = pool.source().reopen();
    let part = set.map(&anew, &pages(1)).unwrap().extent();
    set.persist(part.start(), 8).unwrap();
    set.remove(set.part_at(part.start()).unwrap()).unwrap();
}
