//! Where segments go: coalescing, the caller's reservation, the set's own, fixed addresses.

use core::sync::atomic::Ordering;

use super::fake::{FAR, Fake, FakeSource, PAGE};
use super::{KIB64, TestSet, bytes, extents, placed, set_on};
use crate::error::{MapError, ReservationError};
use crate::reservation::Reservation;
use crate::{Coalescing, Config, Errno, Extent, Granularity, Set};

/// A set in the caller's reservation.
type Inside<'r, 'm, 'p> = Set<'r, &'r Reservation<'m, &'p Fake>, &'p FakeSource<'p>>;

fn in_reservation<'r, 'm, 'p>(reservation: &'r Reservation<'m, &'p Fake>) -> Inside<'r, 'm, 'p> {
    Set::with_capacity(reservation, Config::new(Granularity::Page), 16)
}

#[test]
fn full_coalescing_grows_the_previous_part_or_refuses() {
    let platform = Fake::default();
    platform.slack.store(KIB64, Ordering::Relaxed);
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Full);
    let one = placed(set.map(&source, &bytes(KIB64)));
    let two = placed(set.map(&source, &bytes(KIB64)));
    assert_eq!(two.segment.start(), one.part.end());
    assert_eq!(two.part, Extent::between(one.part.start(), two.segment.end()).unwrap());
    assert_eq!(platform.reserved_bytes(), 2 * KIB64);
    assert_eq!(set.map(&source, &bytes(KIB64)).unwrap_err(), MapError::CannotCoalesce { at: two.part.end() });
    assert_eq!((extents(&set), platform.reserved_bytes()), (vec![two.part], 2 * KIB64));
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!((set.segment_count(), platform.reserved_bytes()), (0, 0));
}

#[test]
fn what_comes_next_goes_where_the_previous_part_ends_now() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 8 * PAGE, 16).unwrap();
    let at = |page: usize| reservation.extent().start() + page * PAGE;
    // Which of three segments goes, and where the part starts and ends that the next one continues.
    for (gone, first, end) in [(0, 1, 3), (1, 0, 1), (2, 0, 2)] {
        let set = in_reservation(&reservation);
        set.set_coalescing(Coalescing::Full);
        (0..3).for_each(|page| assert_eq!(placed(set.map(&source, &bytes(PAGE))).segment.start(), at(page)));
        set.remove_range(at(gone), PAGE).unwrap();
        for end in [end, end + 1] {
            let next = set.map(&source, &bytes(PAGE));
            if end == 2 && gone == 1 {
                assert_eq!(next.unwrap_err(), MapError::CannotCoalesce { at: at(2) }, "the rest of it is there");
                continue;
            }
            let expected = Extent::between(at(first), at(end + 1)).unwrap();
            assert_eq!(placed(next).part, expected, "{gone} has gone");
        }
    }
}

#[test]
fn room_behind_a_part_goes_with_its_last_segment_whichever_part_is_continued() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let config = Config::new(Granularity::Page).reserve_ahead(3 * PAGE);
    let set: TestSet<'_, '_> = Set::with_capacity(&platform, config, 16);
    let first = set.map(&source, &bytes(PAGE)).unwrap().extent();
    let previous = set.map(&source, &bytes(PAGE)).unwrap().extent();
    set.set_coalescing(Coalescing::Full);
    let behind = set.map(&source, &bytes(PAGE).after(first.start())).unwrap().extent();
    let next = set.map(&source, &bytes(PAGE)).unwrap().extent();
    assert_eq!((behind.start(), next.start()), (first.end(), previous.end()));
    assert_eq!(platform.reserved_bytes(), 6 * PAGE);
    set.remove_range(first.start(), PAGE).unwrap();
    set.remove_range(previous.start(), PAGE).unwrap();
    assert_eq!(platform.reserved_bytes(), 4 * PAGE, "what lies behind those is not theirs any more");
    set.remove_range(behind.start(), PAGE).unwrap();
    set.remove_range(next.start(), PAGE).unwrap();
    assert_eq!(platform.reserved_bytes(), 0);
}

#[test]
fn failed_map_takes_back_the_extension() {
    let platform = Fake::default();
    platform.slack.store(KIB64, Ordering::Relaxed);
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Full);
    let one = placed(set.map(&source, &bytes(PAGE)));
    source.refuse_map.store(1, Ordering::Relaxed);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), -200_008);
    assert_eq!((extents(&set), platform.reserved_bytes()), (vec![one.part], PAGE));
    source.refuse_map.store(0, Ordering::Relaxed);
    assert_eq!(placed(set.map(&source, &bytes(PAGE))).part.length_bytes(), 2 * PAGE);
}

#[test]
fn an_alignment_that_is_only_wished_for_refuses_nothing() {
    let platform = Fake::default();
    const LARGE: usize = 2 << 20;
    let source = FakeSource::new(&platform, LARGE as u64);
    let needy = FakeSource { alignment_bytes: KIB64, ..FakeSource::new(&platform, 1 << 20) };
    let set = set_on(&platform);
    platform.wish_bytes.store(LARGE, Ordering::Relaxed);
    let start = |length: usize| set.map(&source, &bytes(length)).unwrap().extent().start();
    assert_eq!(start(PAGE) % PAGE, 0);
    assert_eq!(start(LARGE) % LARGE, 0, "where it can be had");
    assert_ne!(start(LARGE - PAGE) % LARGE, 0, "what has no large page costs no more than its length");
    set.set_coalescing(Coalescing::Opportunistic);
    assert_eq!(start(PAGE) % LARGE, 0, "unless it may become longer");
    set.set_coalescing(Coalescing::None);
    platform.refuse_above_bytes.store(PAGE, Ordering::Relaxed);
    assert_eq!(set.map(&source, &bytes(LARGE)).unwrap().extent().length_bytes(), LARGE);
    assert_eq!(Reservation::with_capacity(&platform, KIB64, 4).unwrap().extent().length_bytes(), KIB64);
    // What the source needs is not given up.
    assert_eq!(set.map(&needy, &bytes(KIB64)).unwrap_err(), MapError::AddressSpace { cause: Errno::NOMEM });
}

#[test]
fn a_platform_that_reserves_elsewhere_is_not_mapped_into() {
    let platform = Fake::default();
    let source = FakeSource { alignment_bytes: KIB64, ..FakeSource::new(&platform, 1 << 20) };
    platform.astray_bytes.store(PAGE, Ordering::Relaxed);
    let set = set_on(&platform);
    assert_eq!(set.map(&source, &bytes(KIB64)).unwrap_err(), MapError::AddressSpace { cause: Errno::INVAL });
    assert_eq!((platform.reserved_bytes(), platform.mapped_bytes()), (0, 0));
}

#[test]
fn a_source_that_was_shortened_behind_its_back_is_prepared_once_more() {
    let platform = Fake::default();
    let stale = |grows| FakeSource { holds: true, grows, ..FakeSource::new(&platform, 1 << 20) };
    let (growing, fixed, refusing) = (stale(true), stale(false), stale(true));
    let set = set_on(&platform);
    growing.really_bytes.store(PAGE as u64, Ordering::Relaxed);
    assert_eq!(set.map(&growing, &bytes(KIB64)).unwrap().extent().length_bytes(), KIB64);
    assert_eq!(*growing.length_bytes.lock().unwrap(), KIB64 as u64, "it has grown again");
    fixed.really_bytes.store(PAGE as u64, Ordering::Relaxed);
    let error = MapError::SourceTooSmall { needed_bytes: KIB64 as u64, length_bytes: PAGE as u64 };
    assert_eq!(set.map(&fixed, &bytes(KIB64)).unwrap_err(), error, "the error that it is");
    // Another reason is told as it is, once.
    refusing.refuse_map.store(1, Ordering::Relaxed);
    assert_eq!(set.map(&refusing, &bytes(KIB64)).unwrap_err().code(), -200_008);
    assert_eq!(set.segment_count(), 1);
}

/// Nothing is ever mapped into or released of a lost window: `Fake` looks.
#[test]
fn a_lost_window_of_a_reservation_stays_taken() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let mut reservation = Reservation::with_capacity(&platform, 4 * PAGE, 16).unwrap();
    let whole = reservation.extent();
    {
        let set = in_reservation(&reservation);
        let first = set.map(&source, &bytes(PAGE)).unwrap().extent();
        source.lose_window.store(1, Ordering::Relaxed);
        let window = whole.slice(PAGE, 2 * PAGE).unwrap();
        let error = set.map(&source, &bytes(2 * PAGE)).unwrap_err();
        assert_eq!(error, MapError::WindowLost { window, cause: Errno::IO });
        assert_eq!(error.code(), -200_008);
        source.lose_window.store(0, Ordering::Relaxed);
        // What is left of the reservation is of use.
        set.remove(set.part_at(first.start()).unwrap()).unwrap();
        for start in [whole.start(), whole.start() + 3 * PAGE] {
            assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().extent().start(), start);
        }
        let full = set.map(&source, &bytes(PAGE)).unwrap_err();
        assert_eq!(full, MapError::CannotFit { length_bytes: PAGE, alignment_bytes: PAGE });
    }
    assert_eq!(platform.mapped_bytes(), 0);
    assert_eq!(reservation.close(), Err(ReservationError::NotEmpty { window: whole }), "it keeps what it has lost");
    drop(reservation);
    assert_eq!(platform.reserved_bytes(), 4 * PAGE);
}

#[test]
fn a_lost_window_of_the_sets_own_is_never_given_back() {
    // A reservation that was made for it; what was spare behind the previous part; what was reserved behind that.
    for (ahead_bytes, slack_bytes, coalescing, lost_bytes) in
        [(0, 0, Coalescing::None, PAGE), (4 * PAGE, 0, Coalescing::Full, 3 * PAGE), (0, KIB64, Coalescing::Full, PAGE)]
    {
        let platform = Fake::default();
        platform.slack.store(slack_bytes, Ordering::Relaxed);
        let source = FakeSource::new(&platform, 1 << 20);
        let set: TestSet<'_, '_, _> =
            Set::with_capacity(&platform, Config::new(Granularity::Page).reserve_ahead(ahead_bytes), 16);
        set.set_coalescing(coalescing);
        let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
        source.lose_window.store(1, Ordering::Relaxed);
        let error = set.map(&source, &bytes(PAGE)).unwrap_err();
        source.lose_window.store(0, Ordering::Relaxed);
        let MapError::WindowLost { window, cause: Errno::IO } = error else { panic!("{error:?}") };
        assert_eq!(window.start() == part.end(), coalescing == Coalescing::Full);
        assert_eq!(extents(&set), [part]);
        match set.map(&source, &bytes(PAGE)) {
            Ok(mapped) => assert!(coalescing == Coalescing::None && !mapped.extent().overlaps(window)),
            Err(error) => assert_eq!(error, MapError::CannotCoalesce { at: part.end() }),
        }
        set.remove_range(0, usize::MAX).unwrap();
        assert_eq!((platform.mapped_bytes(), platform.reserved_bytes()), (0, lost_bytes));
    }
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
    let set: TestSet<'_, '_, _> =
        Set::with_capacity(&platform, Config::new(Granularity::Page).reserve_ahead(3 * PAGE - 1), 16);
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
    let parts: Vec<Extent> = (0..3).map(|_| set.map(&source, &bytes(PAGE)).unwrap().extent()).collect();
    set.set_coalescing(Coalescing::Full);
    set.remove(set.part_at(parts[2].start()).unwrap()).unwrap();
    assert_eq!(placed(set.map(&source, &bytes(PAGE))).part.start(), parts[1].start());
    set.remove(set.part_at(parts[0].start()).unwrap()).unwrap();
    set.remove(set.part_at(parts[1].start()).unwrap()).unwrap();
    let alone = placed(set.map(&source, &bytes(PAGE)));
    assert_eq!(alone.part, alone.segment);
}

#[test]
fn caller_reservation_is_filled_first_fit_and_never_resized() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let mut reservation = Reservation::with_capacity(&platform, 3 * KIB64, 16).unwrap();
    let window = reservation.extent();
    {
        let set = in_reservation(&reservation);
        let parts: Vec<Extent> = (0..3).map(|_| set.map(&source, &bytes(KIB64)).unwrap().extent()).collect();
        assert_eq!(parts[0].start(), window.start());
        assert_eq!(parts[2].end(), window.end());
        let no_room = MapError::CannotFit { length_bytes: PAGE, alignment_bytes: PAGE };
        assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err(), no_room);
        set.remove(set.part_at(parts[1].start()).unwrap()).unwrap();
        assert_eq!(set.map(&source, &bytes(2 * KIB64)).unwrap_err().code(), -200_023);
        assert_eq!(set.map(&source, &bytes(KIB64)).unwrap().extent(), parts[1]);
        assert_eq!((reservation.extent(), platform.reserved_bytes()), (window, 3 * KIB64));
    }
    assert_eq!(platform.mapped_bytes(), 0);
    reservation.close().unwrap();
    assert_eq!(platform.reserved_bytes(), 0);
}

#[test]
fn coalescing_at_the_end_of_the_reservation() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 2 * PAGE, 16).unwrap();
    let set = in_reservation(&reservation);
    let first = set.map(&source, &bytes(PAGE)).unwrap().extent();
    let second = set.map(&source, &bytes(PAGE)).unwrap().extent();
    set.remove(set.part_at(first.start()).unwrap()).unwrap();
    set.set_coalescing(Coalescing::Full);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err(), MapError::CannotCoalesce { at: second.end() });
    set.set_coalescing(Coalescing::Opportunistic);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().extent(), first);
}

#[test]
fn sets_sharing_a_reservation_keep_out_of_each_others_way() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let reservation = Reservation::with_capacity(&platform, 4 * PAGE, 16).unwrap();
    let (one, two) = (in_reservation(&reservation), in_reservation(&reservation));
    let a = one.map(&source, &bytes(PAGE)).unwrap().extent();
    let b = two.map(&source, &bytes(PAGE)).unwrap().extent();
    one.set_coalescing(Coalescing::Full);
    assert_eq!(one.map(&source, &bytes(PAGE)).unwrap_err(), MapError::CannotCoalesce { at: a.end() });
    one.remove_range(a.start(), 4 * PAGE).unwrap();
    assert_eq!((extents(&one), extents(&two)), (vec![], vec![b]));
    assert_eq!(one.map(&source, &bytes(PAGE)).unwrap().extent(), a);
}

#[test]
fn fixed_source_is_where_it_can_be_or_nowhere() {
    let platform = Fake::default();
    let window = Extent::new(FAR, 8 * PAGE).unwrap();
    let base = window.start() + 2 * PAGE;
    let source = FakeSource { fixed: Some(base), ..FakeSource::new(&platform, 1 << 20) };
    let reservation = Reservation::with_capacity(&platform, 8 * PAGE, 16).unwrap();
    assert_eq!(reservation.extent(), window);
    let set = in_reservation(&reservation);
    let page2 = bytes(PAGE).offset(2 * PAGE as u64);
    assert_eq!(set.map(&source, &page2).unwrap().extent().start(), base + 2 * PAGE);
    assert_eq!(set.map(&source, &page2).unwrap_err().code(), -17);
    let outside = bytes(PAGE).offset(6 * PAGE as u64);
    assert_eq!(set.map(&source, &outside).unwrap_err().code(), -200_023);
    set.set_coalescing(Coalescing::Full);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), -200_014);
    let page3 = bytes(PAGE).offset(3 * PAGE as u64);
    assert_eq!(placed(set.map(&source, &page3)).part.length_bytes(), 2 * PAGE);
}
