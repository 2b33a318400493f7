//! What publishing and refreshing write back, drop and fence, and whom they refuse.

use super::fake::PAGE;
use super::world::Act::{Drop, Fence, FullFence, WriteBack};
use super::world::{Memory, World};
use crate::arch::Cpu;
use crate::error::{PersistError, ShareError};
use crate::{Config, CopyFlags, Errno, Extent, Granularity, MapConfig, Reservation, Set, Shared, Sharing, Source};

type Handle<'a> = &'a (dyn Source<Space = usize> + 'a);
type WorldSet<'a> = Set<'a, &'a World, Handle<'a>>;

fn set_on(world: &World) -> WorldSet<'_> {
    Set::with_capacity(world, Config::new(Granularity::Page), 16)
}

fn pages(count: usize) -> MapConfig {
    MapConfig::new().length(count * PAGE)
}

fn extent(start: usize, length_bytes: usize) -> Extent {
    Extent::new(start, length_bytes).unwrap()
}

fn leak<'w>(source: impl Source<Space = usize> + 'w) -> Handle<'w> {
    Box::leak(Box::new(source))
}

/// A source of the world that says how it is shared.
fn source<'w>(world: &'w World, granularity: Granularity, sharing: Sharing) -> Handle<'w> {
    leak(Shared::new(Memory::new(world, granularity), sharing))
}

#[test]
fn sharing_decides_what_is_done_whatever_the_granularity() {
    for granularity in [Granularity::Byte, Granularity::CacheLine, Granularity::Page] {
        for sharing in [Sharing::Coherent, Sharing::Incoherent] {
            let world = World::new(8);
            let set = set_on(&world);
            let part = set.map(source(&world, granularity, sharing), &pages(2)).unwrap();
            let range = extent(part.extent().start() + 70, PAGE);
            let (published, refreshed) = match sharing {
                Sharing::Coherent => (vec![Fence], vec![FullFence]),
                _ => (vec![WriteBack(range), Fence], vec![FullFence, Drop(range), FullFence]),
            };
            world.take();
            set.publish(range.start(), range.length_bytes()).unwrap();
            assert_eq!(world.take(), published);
            set.refresh(range.start(), range.length_bytes()).unwrap();
            assert_eq!(world.take(), refreshed);
            let part = part.into_shared().unwrap();
            assert_eq!(part.is_coherent(), sharing == Sharing::Coherent);
            part.publish(70, PAGE).unwrap();
            assert_eq!(world.take(), published);
            part.refresh(70, PAGE).unwrap();
            assert_eq!(world.take(), refreshed);
            part.write_with(70, b"stored", CopyFlags::NOFLUSH).unwrap();
            part.refresh(70, 6).unwrap();
            let mut bytes = [0; 6];
            part.read(70, &mut bytes).unwrap();
            assert_eq!(&bytes, b"stored", "a refresh loses nothing that was stored here");
            set.remove(part.into_part()).unwrap();
        }
    }
}

#[test]
fn who_is_not_shared_is_refused_and_nothing_is_done() {
    let world = World::new(8);
    let set = set_on(&world);
    let memory: Handle<'_> = leak(Memory::new(&world, Granularity::CacheLine));
    assert_eq!(memory.sharing(), Sharing::Private, "unless somebody says otherwise");
    let shared = set.map(source(&world, Granularity::CacheLine, Sharing::Incoherent), &pages(1)).unwrap().extent();
    let part = set.map(memory, &pages(1)).unwrap();
    let private = part.extent();
    assert_eq!(shared.end(), private.start(), "side by side");
    let refused = ShareError::Private { segment: private };
    assert_eq!(refused.code(), Errno::OPNOTSUPP.code());
    world.take();
    assert_eq!(set.publish(private.start(), 8), Err(refused));
    assert_eq!(set.refresh(private.start(), 8), Err(refused));
    // The first piece of the range alone would do.
    assert_eq!(set.publish(shared.start(), 2 * PAGE), Err(refused));
    assert_eq!(set.refresh(private.start() - 1, 2), Err(refused));
    assert_eq!(part.into_shared().unwrap_err(), refused);
    assert_eq!(set.part_at(private.start()).unwrap().extent(), private, "it stays mapped");
    assert_eq!(world.take(), []);
    let message = refused.to_string();
    assert!(message.starts_with("the memory at "), "{message}");
}

#[test]
fn a_processor_without_the_instructions_is_refused_unless_barriers_are_enough() {
    let world = World::on(Cpu::NONE, 8);
    let set = set_on(&world);
    let part = set.map(source(&world, Granularity::Page, Sharing::Incoherent), &pages(1)).unwrap();
    let at = part.extent().start();
    world.take();
    assert_eq!(set.publish(at, 8), Err(ShareError::NoInstruction));
    assert_eq!(set.refresh(at, 8), Err(ShareError::NoInstruction));
    assert_eq!(part.into_shared().unwrap_err(), ShareError::NoInstruction);
    assert_eq!(world.take(), []);
    let part = set.map(source(&world, Granularity::Page, Sharing::Coherent), &pages(1)).unwrap();
    let part = part.into_shared().unwrap();
    part.refresh(0, 8).unwrap();
    part.publish(0, 8).unwrap();
    assert_eq!(world.take(), [FullFence, Fence]);
    // One of each is as the worse of them.
    assert_eq!(set.refresh(part.extent().start() - 8, 16), Err(ShareError::NoInstruction));
}

#[test]
fn a_reservation_has_its_platform_write_back_and_drop() {
    let world = World::new(8);
    let reservation = Reservation::with_capacity(&world, 4 * PAGE, 4).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 4);
    let shared = source(&world, Granularity::CacheLine, Sharing::Incoherent);
    let part = set.map(shared, &pages(1)).unwrap().into_shared().unwrap();
    world.take();
    part.publish(0, 8).unwrap();
    part.refresh(0, 8).unwrap();
    let range = extent(part.extent().start(), 8);
    assert_eq!(world.take(), [WriteBack(range), Fence, FullFence, Drop(range), FullFence]);
}

#[test]
fn a_range_that_is_not_all_there_is_refused() {
    let world = World::new(8);
    let set = set_on(&world);
    let memory = source(&world, Granularity::CacheLine, Sharing::Incoherent);
    let part = set.map(memory, &pages(1)).unwrap().into_shared().unwrap();
    let end = part.extent().end();
    world.leave_hole();
    let behind = set.map(memory, &pages(1)).unwrap().extent();
    assert!(behind.start() > end);
    world.take();
    let missing = PersistError::NotMapped { address: end };
    assert_eq!(set.publish(end - 8, PAGE + 16), Err(missing.into()), "over a hole into the next part");
    assert_eq!(set.refresh(end - 8, PAGE + 16), Err(missing.into()));
    assert_eq!(set.refresh(end, 1), Err(missing.into()));
    assert_eq!(part.publish(PAGE - 8, 9), Err(missing));
    assert_eq!(part.refresh(PAGE, 1), Err(missing));
    assert_eq!(part.refresh(PAGE + 5, 1), Err(PersistError::NotMapped { address: end + 5 }));
    let wraps = PersistError::OutOfRange { start: usize::MAX - 1, length_bytes: 4 };
    assert_eq!(set.publish(usize::MAX - 1, 4), Err(wraps.into()));
    assert_eq!(part.publish(usize::MAX - 1, 4), Err(wraps));
    for address in [0, 5, usize::MAX] {
        assert_eq!(set.publish(address, 0), Ok(()));
        assert_eq!(set.refresh(address, 0), Ok(()));
        assert_eq!((part.publish(address, 0), part.refresh(address, 0)), (Ok(()), Ok(())));
    }
    assert_eq!(world.take(), []);
}

#[test]
fn a_part_that_grows_is_shared_as_far_as_was_asked() {
    let world = World::new(8);
    let set = set_on(&world);
    let first = set.map(source(&world, Granularity::CacheLine, Sharing::Incoherent), &pages(1)).unwrap().extent();
    let part = set.part_at(first.start()).unwrap().into_shared().unwrap();
    set.set_coalescing(crate::Coalescing::Full);
    let private: Handle<'_> = leak(Memory::new(&world, Granularity::CacheLine));
    set.map(private, &pages(1)).unwrap();
    assert_eq!(part.current_extent().length_bytes(), 2 * PAGE);
    part.publish(0, PAGE).unwrap();
    assert_eq!(part.publish(PAGE, 1), Err(PersistError::NotMapped { address: first.end() }));
    assert!(matches!(set.publish(first.start(), 2 * PAGE), Err(ShareError::Private { .. })));
}
