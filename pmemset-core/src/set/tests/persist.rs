//! What is written back, fenced and synchronised, how often, and what happens when it fails.

use super::fake::PAGE;
use super::world::Act::{DeepFlush as Deep, Fence, Sync, WriteBack};
use super::world::{Act, Memory, World};
use super::{late_set, leak};
use crate::error::{DeepFlushError, PersistError};
use crate::{Answer, Coalescing, Config, DeepFlush, Errno, Event, Extent, Granularity, MapConfig, Set};

type WorldSet<'a, O = ()> = Set<'a, &'a World, &'a Memory<'a>, O>;

fn set_on(world: &World) -> WorldSet<'_> {
    Set::with_capacity(world, Config::new(Granularity::Page), 16)
}

fn pages(count: usize) -> MapConfig {
    MapConfig::new().length(count * PAGE)
}

fn extent(start: usize, length_bytes: usize) -> Extent {
    Extent::new(start, length_bytes).unwrap()
}

/// Writing back, line by line: how lines are put together also depends on whether a source of another test has failed.
fn by_line(acts: &[Act]) -> Vec<Act> {
    let lines = |act: &Act| match act {
        WriteBack(range) => {
            let whole = range.align_outward(64).unwrap();
            (whole.start()..whole.end()).step_by(64).map(|line| WriteBack(extent(line, 64))).collect()
        }
        other => vec![*other],
    };
    acts.iter().flat_map(lines).collect()
}

#[test]
fn granularity_decides_what_persisting_does() {
    for granularity in [Granularity::Byte, Granularity::CacheLine, Granularity::Page] {
        let world = World::new(8);
        let source = Memory::new(&world, granularity);
        let set = set_on(&world);
        let part = set.map(&source, &pages(4).offset(PAGE as u64)).unwrap().extent();
        let range = extent(part.start() + PAGE - 1, PAGE + 2);
        let touched = extent(part.start(), 3 * PAGE);
        let (flushed, persisted) = match granularity {
            Granularity::Byte => (vec![], vec![Fence]),
            Granularity::CacheLine => (vec![WriteBack(range)], vec![WriteBack(range), Fence]),
            Granularity::Page => (vec![Sync(touched, PAGE as u64)], vec![Sync(touched, PAGE as u64)]),
        };
        let handle = set.part_at(part.start()).unwrap();
        world.take();
        set.persist(range.start(), range.length_bytes()).unwrap();
        assert_eq!(world.take(), persisted);
        handle.persist(PAGE - 1, PAGE + 2).unwrap();
        assert_eq!(world.take(), persisted);
        set.flush(range.start(), range.length_bytes()).unwrap();
        assert_eq!(world.take(), flushed);
        handle.flush(PAGE - 1, PAGE + 2).unwrap();
        assert_eq!(world.take(), flushed);
        set.drain();
        assert_eq!(world.take(), [Fence]);
        assert_eq!(set.deep_flush(range.start(), range.length_bytes()), Ok(DeepFlush::Done));
        let offset = PAGE as u64 + (PAGE - 1) as u64;
        assert_eq!(world.take(), [persisted, vec![Deep(range, offset)]].concat());
    }
}

#[test]
fn length_0_is_nothing_and_an_empty_set_has_answers() {
    let world = World::new(8);
    let set = set_on(&world);
    for address in [0, 5, usize::MAX] {
        assert_eq!(set.persist(address, 0), Ok(()));
        assert_eq!(set.flush(address, 0), Ok(()));
        assert_eq!(set.deep_flush(address, 0), Ok(DeepFlush::NotNeeded));
    }
    set.drain();
    assert_eq!(set.persist_many(&[]), Ok(()));
    assert_eq!(world.take(), [Fence]);
    let missing = PersistError::NotMapped { address: 4096 };
    assert_eq!(missing.code(), -200_012);
    assert_eq!(set.persist(4096, 8), Err(missing));
    assert_eq!(set.flush(4096, 8), Err(missing));
    assert_eq!(set.deep_flush(4096, 8), Err(missing.into()));
    assert_eq!(set.persist_many(&[extent(4096, 8)]), Err(missing));
    let wraps = PersistError::OutOfRange { start: usize::MAX - 1, length_bytes: 4 };
    assert_eq!(set.persist(usize::MAX - 1, 4), Err(wraps));
    assert_eq!(set.deep_flush(usize::MAX - 1, 4), Err(wraps.into()));
    assert_eq!(world.take(), []);
}

#[test]
fn range_outside_the_parts_is_refused_with_its_first_address() {
    let world = World::new(16);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set = set_on(&world);
    let one = set.map(&source, &pages(1)).unwrap().extent();
    let two = set.map(&source, &pages(2)).unwrap().extent();
    world.leave_hole();
    let three = set.map(&source, &pages(1)).unwrap().extent();
    assert_eq!(one.end(), two.start());
    let refused = |address: usize, length: usize, missing: usize| {
        let error = PersistError::NotMapped { address: missing };
        assert_eq!(set.persist(address, length), Err(error));
        assert_eq!(set.flush(address, length), Err(error));
        assert_eq!(set.deep_flush(address, length), Err(error.into()));
        assert_eq!(set.persist_many(&[extent(two.start(), 8), extent(address, length)]), Err(error));
        assert_eq!(world.take(), [], "{address:#x} {length}");
    };
    refused(one.start() - 1, 8, one.start() - 1);
    refused(one.start(), 3 * PAGE + 1, two.end());
    refused(two.end() - 1, 2, two.end());
    refused(two.start(), 5 * PAGE, two.end());
    refused(three.end(), 1, three.end());
    let handle = set.part_at(one.start()).unwrap();
    // A handle's offsets end where its part ends, also where another part follows.
    assert_eq!(handle.persist(PAGE - 1, 2), Err(PersistError::NotMapped { address: one.end() }));
    assert_eq!(handle.flush(2 * PAGE, 1), Err(PersistError::NotMapped { address: one.start() + 2 * PAGE }));
    assert_eq!(handle.persist(usize::MAX, 2), Err(PersistError::OutOfRange { start: usize::MAX, length_bytes: 2 }));
    assert_eq!(handle.persist(usize::MAX, 0), Ok(()));
    assert_eq!(world.take(), []);
    // Two parts side by side are mapped all the way.
    set.persist(one.start() + 100, 2 * PAGE).unwrap();
    assert_eq!(world.take(), [WriteBack(extent(one.start() + 100, 2 * PAGE)), Fence]);
}

#[test]
fn handle_follows_its_part_as_it_grows() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set = set_on(&world);
    set.set_coalescing(Coalescing::Full);
    let small = set.map(&source, &pages(1)).unwrap().extent();
    let handle = set.part_at(small.start()).unwrap();
    set.map(&source, &pages(1)).unwrap();
    handle.persist(PAGE - 8, 16).unwrap();
    assert_eq!(world.take(), [WriteBack(extent(small.end() - 8, 16)), Fence]);
}

#[test]
fn many_ranges_flush_each_line_once_and_fence_once() {
    let world = World::new(16);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set = set_on(&world);
    let one = set.map(&source, &pages(1)).unwrap().extent();
    let two = set.map(&source, &pages(1)).unwrap().extent();
    let at = one.start();
    let ranges = [extent(at + 200, 1), extent(at + 10, 100), extent(at + 60, 10), extent(two.end() - 1, 1)];
    world.take();
    set.persist_many(&ranges).unwrap();
    let lines = [WriteBack(extent(at, 128)), WriteBack(extent(at + 192, 64)), WriteBack(extent(two.end() - 64, 64))];
    assert_eq!(world.take(), [&lines[..], &[Fence]].concat());
    // Across the boundary of two parts.
    set.persist_many(&[extent(two.start() - 1, 2)]).unwrap();
    assert_eq!(by_line(&world.take()), by_line(&[WriteBack(extent(one.end() - 64, 128)), Fence]));
}

#[test]
fn ascending_ranges_flush_each_line_once() {
    let world = World::new(16);
    let source = Memory::new(&world, Granularity::CacheLine);
    let set = set_on(&world);
    let one = set.map(&source, &pages(1)).unwrap().extent();
    let two = set.map(&source, &pages(1)).unwrap().extent();
    let at = one.start();
    // In one line; over its end; in a line that is done; wholly behind; in the next part.
    let ranges =
        [(at + 10, 4), (at + 60, 10), (at + 61, 3), (at + 200, 100), (two.start() + 8, 8)].map(|(a, n)| extent(a, n));
    world.take();
    set.persist_many(&ranges).unwrap();
    let lines = [(at, 128), (at + 192, 128), (two.start(), 64)].map(|(a, n)| WriteBack(extent(a, n)));
    assert_eq!(by_line(&world.take()), by_line(&[&lines[..], &[Fence]].concat()));
    set.persist_many(&ranges[..4]).unwrap();
    assert_eq!(by_line(&world.take()), by_line(&[&lines[..2], &[Fence]].concat()));
    // As it is where no source has failed.
    let handle = set.part_at(at).unwrap();
    assert!(!handle.write_back_ascending(&ranges) && !handle.write_back_ascending(&[ranges[1], ranges[0]]));
    assert_eq!(world.take(), []);
    assert!(handle.write_back_ascending(&ranges[..4]));
    assert_eq!(world.take(), [(at + 10, 4), (at + 64, 6), (at + 200, 100)].map(|(a, n)| WriteBack(extent(a, n))));
}

#[test]
fn handle_persists_many_of_its_own_ranges_and_no_others() {
    for (granularity, wholly) in [Granularity::CacheLine, Granularity::Page].map(|g| [(g, false), (g, true)]).concat() {
        let world = World::new(16);
        let source = Memory::new(&world, granularity);
        let set = set_on(&world);
        set.set_coalescing(Coalescing::Full);
        let small = set.map(&source, &pages(2)).unwrap();
        let part = small.extent();
        let handle = if wholly { set.part_at(part.start()).unwrap() } else { small };
        let grown = set.map(&source, &pages(1)).unwrap().extent();
        assert_eq!(grown.start(), part.end());
        let (first, second) = (extent(part.start() + 8, 8), extent(part.start() + PAGE + 64, 8));
        world.take();
        handle.persist_many(&[first, second]).unwrap();
        let done = match granularity {
            Granularity::Page => vec![Sync(part, 0)],
            _ => vec![WriteBack(first), WriteBack(second), Fence],
        };
        assert_eq!(by_line(&world.take()), by_line(&done));
        // What the part has grown by is its own, where the handle is one to all of it.
        let more = extent(grown.start(), 8);
        let result = handle.persist_many(&[first, more]);
        if wholly {
            assert_eq!(result, Ok(()));
            assert_ne!(world.take(), []);
        } else {
            assert_eq!(result, Err(PersistError::NotMapped { address: grown.start() }));
        }
        let outside = [(part.start() - 8, 8, part.start() - 8), (grown.end() - 8, 16, grown.end())];
        for (address, length_bytes, missing) in outside {
            let missing = if wholly { missing } else { missing.min(grown.end() - 8) };
            let refused = handle.persist_many(&[first, extent(address, length_bytes), second]);
            assert_eq!(refused, Err(PersistError::NotMapped { address: missing }));
        }
        assert_eq!((handle.persist_many(&[]), world.take()), (Ok(()), vec![]));
    }
}

#[test]
fn many_ranges_synchronise_each_page_once() {
    let world = World::new(16);
    let source = Memory::new(&world, Granularity::Page);
    let set = set_on(&world);
    let part = set.map(&source, &pages(6)).unwrap().extent();
    let at = part.start();
    let ranges = [extent(at + 4 * PAGE, 8), extent(at + 8, 8), extent(at + 16, PAGE), extent(at + 24, 8)];
    world.take();
    set.persist_many(&ranges).unwrap();
    let four = 4 * PAGE as u64;
    assert_eq!(world.take(), [Sync(extent(at, 2 * PAGE), 0), Sync(extent(at + 4 * PAGE, PAGE), four)]);
}

#[test]
fn interrupted_sync_is_repeated() {
    let world = World::new(8);
    let source = Memory::new(&world, Granularity::Page);
    let set = set_on(&world);
    let part = set.map(&source, &pages(2)).unwrap().extent();
    source.sync_errors.lock().unwrap().extend([Errno::INTR, Errno::INTR]);
    set.persist(part.start(), 8).unwrap();
    assert_eq!((world.take().len(), source.failed.first()), (3, None));
}

#[test]
fn removal_makes_durable_first() {
    for granularity in [Granularity::CacheLine, Granularity::Page] {
        let world = World::new(16);
        let source = Memory::new(&world, granularity);
        let set = set_on(&world);
        let part = set.map(&source, &pages(2)).unwrap().extent();
        world.take();
        set.remove_range(part.start(), 1).unwrap();
        let made_durable = match granularity {
            Granularity::Page => vec![Sync(part, 0), Deep(part, 0)],
            _ => vec![WriteBack(part), Fence, Deep(part, 0)],
        };
        assert_eq!((world.take(), set.segment_count()), (made_durable, 0));
    }
}

#[test]
fn deep_flush_covers_every_segment_and_gives_the_worst_answer() {
    let world = World::new(32);
    let source = Memory::new(&world, Granularity::Page);
    let set = set_on(&world);
    set.set_coalescing(Coalescing::Full);
    let start = set.map(&source, &pages(2)).unwrap().extent().start();
    for _ in 1..8 {
        set.map(&source, &pages(2)).unwrap();
    }
    let size = 2 * PAGE;
    let flushes = |address: usize, length: usize| {
        world.take();
        set.deep_flush(address, length).unwrap();
        world.take().iter().filter(|act| matches!(act, Deep(..))).count()
    };
    assert_eq!(flushes(start, 8 * size), 8);
    assert_eq!(flushes(start + 4 * size, 4 * size), 4);
    assert_eq!(flushes(start + size / 2, 2 * size), 3);
    assert_eq!(flushes(start + 2 * size, size / 4), 1);
    assert_eq!(flushes(start + 5 * size, size), 1);
    assert_eq!(flushes(start + 5 * size, size + size / 2), 2);
    let answers = |answers: [DeepFlush; 2]| {
        source.deep_flushes.lock().unwrap().extend(answers.map(Ok));
        set.deep_flush(start, 2 * size).unwrap()
    };
    assert_eq!(answers([DeepFlush::NotNeeded, DeepFlush::NotNeeded]), DeepFlush::NotNeeded);
    assert_eq!(answers([DeepFlush::Done, DeepFlush::NotNeeded]), DeepFlush::Done);
    assert_eq!(answers([DeepFlush::NotPermitted, DeepFlush::Done]), DeepFlush::NotPermitted);
    source.deep_flushes.lock().unwrap().extend([Err(Errno::INTR), Ok(DeepFlush::Done), Err(Errno::IO)]);
    let segment = extent(start + size, size);
    assert_eq!(set.deep_flush(start, 2 * size), Err(DeepFlushError::Failed { segment, cause: Errno::IO }));
    // A deep flush leaves no handle behind.
    set.discard(set.part_at(start).unwrap()).unwrap();
}

#[test]
fn observer_is_told_in_order_and_may_call_the_set() {
    let world = leak(World::new(16));
    let source = leak(Memory::new(world, Granularity::CacheLine));
    let log = leak(std::sync::Mutex::new(Vec::new()));
    let set = late_set(world, Config::new(Granularity::Page), |set, event: &Event<'_, &Memory<'_>>| {
        assert!(set.parts().count() > 0);
        let told = match event {
            Event::Flush { range } => ("flush", Some(*range)),
            Event::Drain => ("drain", None),
            Event::Persist { range } => ("persist", Some(*range)),
            _ => return Answer::Proceed,
        };
        log.lock().unwrap().push((told, set.platform().take().len()));
        Answer::Proceed
    });
    let part = set.map(source, &pages(2)).unwrap().extent();
    let range = extent(part.start() + 100, 50);
    let told = |action: &dyn Fn()| {
        action();
        core::mem::take(&mut *log.lock().unwrap())
    };
    let handle = set.part_at(part.start()).unwrap();
    // Flush comes before anything is done; drain after the line and the fence.
    let persisted = [(("flush", Some(range)), 0), (("drain", None), 2), (("persist", Some(range)), 0)];
    assert_eq!(told(&|| set.persist(range.start(), 50).unwrap()), persisted);
    assert_eq!(told(&|| handle.persist(100, 50).unwrap()), persisted);
    assert_eq!(told(&|| set.persist_many(&[range]).unwrap()), persisted);
    assert_eq!(told(&|| handle.persist_many(&[range]).unwrap()), persisted);
    assert_eq!(told(&|| set.flush(range.start(), 50).unwrap()), [(("flush", Some(range)), 0)]);
    assert_eq!(told(&|| set.drain()), [(("drain", None), 2)]);
    assert_eq!(told(&|| assert!(set.persist(part.end(), 1).is_err())), []);
    assert_eq!(told(&|| set.persist(range.start(), 0).unwrap()), []);
}
