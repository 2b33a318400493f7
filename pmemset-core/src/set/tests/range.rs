//! Range removal: whole segments, splits, several parts, all or nothing.

use core::sync::atomic::Ordering;
use std::sync::Mutex;

use super::fake::{Fake, FakeSource, PAGE};
use super::{bytes, extents};
use crate::error::RemoveError;
use crate::reservation::Reservation;
use crate::set::books::{Cursor, Retired};
use crate::set::event::from_fn;
use crate::{Answer, Coalescing, Config, Event, Extent, Granularity, Observer, Set};

/// A set in the caller's reservation.
type Inside<'r, 'm, 'p, O = ()> = Set<'r, &'r Reservation<'m, &'p Fake>, &'p FakeSource<'p>, O>;

/// A part of `segments` pages that starts `before` pages into a reservation of 16.
fn coalesced<'r, 'm, 'p>(
    reservation: &'r Reservation<'m, &'p Fake>,
    source: &'p FakeSource<'p>,
    before: usize,
    segments: usize,
) -> (Inside<'r, 'm, 'p>, usize) {
    let set: Inside<'r, 'm, 'p> = Set::with_capacity(reservation, Config::new(Granularity::Page), 16);
    for _ in 0..=before {
        set.map(source, &bytes(PAGE)).unwrap();
    }
    set.set_coalescing(Coalescing::Full);
    for _ in 1..segments {
        set.map(source, &bytes(PAGE)).unwrap();
    }
    (set, reservation.extent().start())
}

fn pages<'p, O: Observer<&'p FakeSource<'p>>>(set: &Inside<'_, '_, 'p, O>, base: usize) -> Vec<(usize, usize)> {
    extents(set).into_iter().map(|part| ((part.start() - base) / PAGE, part.length_bytes() / PAGE)).collect()
}

#[test]
fn head_tail_and_middle_away_from_the_reservation_start() {
    for (remove, expected) in [
        (2, vec![(0, 1), (1, 1), (3, 3)]),
        (5, vec![(0, 1), (1, 1), (2, 3)]),
        (3, vec![(0, 1), (1, 1), (2, 1), (4, 2)]),
    ] {
        let platform = Fake::default();
        let source = FakeSource::new(&platform, 1 << 20);
        let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
        let (set, base) = coalesced(&reservation, &source, 2, 4);
        set.remove_range(base + remove * PAGE + 17, 1).unwrap();
        assert_eq!(pages(&set, base), expected);
        assert_eq!(platform.mapped_bytes(), 5 * PAGE);
        while let Some(part) = set.first_part().unwrap() {
            set.remove(part).unwrap();
        }
        assert_eq!(platform.mapped_bytes(), 0);
    }
}

#[test]
fn range_over_two_parts_of_one_reservation_touches_only_its_segments() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 0, 2);
    set.set_coalescing(Coalescing::None);
    set.map(&source, &bytes(PAGE)).unwrap();
    set.set_coalescing(Coalescing::Full);
    set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(pages(&set, base), [(0, 2), (2, 2)]);
    set.remove_range(base + 2 * PAGE - 1, 2).unwrap();
    assert_eq!(pages(&set, base), [(0, 1), (3, 1)]);
}

#[test]
fn nothing_to_remove_is_nothing_done() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 0, 3);
    let before = pages(&set, base);
    set.remove_range(base, 0).unwrap();
    set.remove_range(base + 100, 0).unwrap();
    set.remove_range(base + 3 * PAGE, PAGE).unwrap();
    let wraps = RemoveError::OutOfRange { address: base, length_bytes: usize::MAX };
    assert_eq!(set.remove_range(base, usize::MAX), Err(wraps));
    assert_eq!(pages(&set, base), before);
    assert_eq!(source.flushes.load(Ordering::Relaxed), 0);
}

#[test]
fn pinned_part_in_the_middle_keeps_everything() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 3, 1);
    let pin = set.part_at(base + 2 * PAGE).unwrap();
    let before = pages(&set, base);
    assert_eq!(set.remove_range(base, 4 * PAGE), Err(RemoveError::Pinned { part: pin.extent() }));
    assert_eq!(pages(&set, base), before);
    drop(pin);
    set.remove_range(base, 4 * PAGE).unwrap();
    assert_eq!(pages(&set, base), []);
}

#[test]
fn coalescing_goes_on_behind_what_a_split_has_left() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 0, 3);
    set.remove_range(base + PAGE, 1).unwrap();
    set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(pages(&set, base), [(0, 2), (2, 1)]);
    set.remove_range(base, 1).unwrap();
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), -200_014);
    assert_eq!(pages(&set, base), [(1, 1), (2, 1)]);
}

#[test]
fn what_was_found_is_looked_for_again_when_the_books_have_changed() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 4, 1);
    set.remove_range(base, PAGE).unwrap();
    let mut cursor = Cursor::new();
    let mut starts_at = |page: usize| {
        let books = set.books.read();
        let place = books.locate(&mut cursor, base + page * PAGE)?;
        Some((place.entry.extent.start() - base) / PAGE)
    };
    assert_eq!((starts_at(0), starts_at(0), starts_at(2), starts_at(5)), (Some(1), Some(1), Some(2), None));
    assert_eq!((starts_at(0), starts_at(3)), (Some(1), Some(3)));
    // All that is behind it moves up.
    set.set_coalescing(Coalescing::None);
    set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!((starts_at(3), starts_at(3)), (Some(3), Some(3)));
    let third = Extent::new(base + 3 * PAGE, PAGE).unwrap();
    set.unmap_range(&mut set.alone(), third, &mut cursor, &mut Retired::new()).unwrap();
    assert_eq!(pages(&set, base), [(0, 1), (1, 1), (2, 1), (4, 1)]);
}

#[test]
fn interrupted_removal_leaves_the_books_as_the_mappings_are() {
    for left in 0..4 {
        let platform = Fake::default();
        let source = FakeSource::new(&platform, 1 << 20);
        let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
        let told = Mutex::new(Vec::new());
        let observer = from_fn(|event: &Event<'_, &FakeSource<'_>>| {
            match event {
                Event::PartRemove { part } => told.lock().unwrap().push(("part", *part)),
                Event::RemoveRange { range } => told.lock().unwrap().push(("range", *range)),
                _ => {}
            }
            Answer::Proceed
        });
        let config = Config::new(Granularity::Page).observer(&observer);
        let set: Inside<'_, '_, '_, _> = Set::with_capacity(&reservation, config, 16);
        let base = reservation.extent().start();
        set.set_coalescing(Coalescing::Full);
        for _ in 0..4 {
            set.map(&source, &bytes(PAGE)).unwrap();
        }
        source.unmaps_left.store(left, Ordering::Relaxed);
        let handle = set.part_at(base).unwrap();
        let refused = set.try_remove(handle).unwrap_err();
        let at = base + left as usize * PAGE;
        let (segment, removed) = (Extent::new(at, PAGE).unwrap(), Extent::between(base, at));
        assert_eq!(refused.error, RemoveError::Unmap { segment, removed, cause: crate::Errno::NOMEM });
        assert_eq!(refused.part.current_extent(), Extent::between(at, base + 4 * PAGE).unwrap());
        assert_eq!(platform.mapped_bytes(), (4 - left as usize) * PAGE);
        let half: Vec<_> = removed.map(|removed| ("range", removed)).into_iter().collect();
        assert_eq!(core::mem::take(&mut *told.lock().unwrap()), half, "what is gone is told of");
        source.unmaps_left.store(u32::MAX, Ordering::Relaxed);
        let rest = refused.part.current_extent();
        set.remove(refused.part).unwrap();
        assert_eq!((set.segment_count(), &told.lock().unwrap()[..]), (0, &[("part", rest)][..]));
    }
}

#[test]
fn segments_of_a_range_are_those_that_it_touches() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
    let (set, base) = coalesced(&reservation, &source, 1, 4);
    set.remove_range(base + 3 * PAGE, 1).unwrap();
    let touched = |from: usize, length_bytes: usize| -> Vec<usize> {
        let range = Extent::new(base + from, length_bytes).unwrap();
        let segments = set.segments(range).inspect(|segment| {
            assert!(core::ptr::eq(segment.source, &source) && segment.offset == 0);
            assert_eq!(segment.extent.length_bytes(), PAGE);
        });
        segments.map(|segment| (segment.extent.start() - base) / PAGE).collect()
    };
    assert_eq!(touched(0, 16 * PAGE), [0, 1, 2, 4], "parts and holes are passed over");
    assert_eq!(touched(PAGE - 1, 2), [0, 1]);
    assert_eq!(touched(PAGE, PAGE), [1]);
    assert_eq!(touched(3 * PAGE, PAGE), [0; 0], "a hole");
    assert_eq!(touched(2 * PAGE + 1, PAGE), [2]);
    assert_eq!(touched(5 * PAGE, PAGE), [0; 0], "behind all of them");
    let whole = Extent::between(0, usize::MAX).unwrap();
    assert_eq!(set.segments(whole).count(), 4);
}
