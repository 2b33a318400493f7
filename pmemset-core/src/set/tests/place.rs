//! Where segments go: coalescing, the caller's reservation, the set's own, fixed addresses.

use core::sync::atomic::Ordering;

use super::fake::{Fake, FakeSource, PAGE};
use super::{KIB64, TestSet, bytes, extents, set_on};
use crate::error::MapError;
use crate::{Coalescing, Config, Extent, Granularity, Set};

#[test]
fn full_coalescing_grows_the_previous_part_or_refuses() {
    let platform = Fake::default();
    platform.slack.store(KIB64, Ordering::Relaxed);
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Full);
    let one = set.map(&source, &bytes(KIB64)).unwrap();
    let two = set.map(&source, &bytes(KIB64)).unwrap();
    assert_eq!(two.segment.start(), one.part.end());
    assert_eq!(two.part, Extent::between(one.part.start(), two.segment.end()).unwrap());
    assert_eq!(platform.reserved_bytes(), 2 * KIB64);
    assert_eq!(set.map(&source, &bytes(KIB64)), Err(MapError::CannotCoalesce { at: two.part.end() }));
    assert_eq!((extents(&set), platform.reserved_bytes()), (vec![two.part], 2 * KIB64));
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!((set.segments(), platform.reserved_bytes()), (0, 0));
}

#[test]
fn failed_map_takes_back_the_extension() {
    let platform = Fake::default();
    platform.slack.store(KIB64, Ordering::Relaxed);
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Full);
    let one = set.map(&source, &bytes(PAGE)).unwrap();
    source.refuse_map.store(1, Ordering::Relaxed);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), -200_008);
    assert_eq!((extents(&set), platform.reserved_bytes()), (vec![one.part], PAGE));
    source.refuse_map.store(0, Ordering::Relaxed);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().part.length_bytes(), 2 * PAGE);
}

#[test]
fn opportunistic_coalescing_falls_back() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Opportunistic);
    set.map(&source, &bytes(PAGE)).unwrap();
    set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(extents(&set).len(), 2);
}

#[test]
fn reserve_ahead_leaves_room_for_coalescing() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set: TestSet<'_> = Set::new(&platform, Config::new(Granularity::Page).reserve_ahead(3 * PAGE - 1));
    set.set_coalescing(Coalescing::Full);
    for _ in 0..3 {
        set.map(&source, &bytes(PAGE)).unwrap();
    }
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), -200_014);
    assert_eq!((extents(&set).len(), platform.reserved_bytes()), (1, 3 * PAGE));
}

#[test]
fn previous_part_is_the_lower_neighbour_after_removal() {
    let platform = Fake::default();
    platform.slack.store(PAGE, Ordering::Relaxed);
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    let parts: Vec<Extent> = (0..3).map(|_| set.map(&source, &bytes(PAGE)).unwrap().part).collect();
    set.set_coalescing(Coalescing::Full);
    set.remove(set.part_at(parts[2].start()).unwrap()).unwrap();
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().part.start(), parts[1].start());
    set.remove(set.part_at(parts[0].start()).unwrap()).unwrap();
    set.remove(set.part_at(parts[1].start()).unwrap()).unwrap();
    let alone = set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(alone.part, alone.segment);
}
