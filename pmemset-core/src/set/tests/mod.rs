//! The rules of a set, one test each, on a platform that only keeps account.

mod badblocks;
mod bytes;
mod copies;
mod failed;
mod fake;
mod memory;
mod persist;
mod place;
mod range;
mod remains;
mod shared;
mod shutdown;
mod space;
mod turns;
mod world;

use core::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};

use crate::error::{LookupError, MapError, RemoveError};
use crate::reservation::Reservation;
use crate::set::event::from_fn;
use crate::{
    Answer, Coalescing, Config, Errno, Event, Extent, Granularity, GranularityLimit, MapConfig, Observer, Part,
    Platform, Set, SetRef, Source,
};
use fake::{Fake, FakeSource, PAGE};

/// Whether these are the tests of sets that unlock their books in calls, `set::tests`, or the same ones of those that
/// do not, `set::tests_locked`.
const UNLOCKED_CALLS: bool = matches!(module_path!().as_bytes(), [.., b's']);

type TestSet<'r, 'p, O = ()> = Set<'r, &'p Fake, &'p FakeSource<'p>, O>;

const KIB64: usize = 64 << 10;

fn set_on(platform: &Fake) -> TestSet<'_, '_> {
    Set::with_capacity(platform, Config::new(Granularity::Page), 16)
}

/// A set whose observer knows it: both stay for ever.
type LateSet<P, S> = Set<'static, P, S, &'static Late<P, S>>;

type Act<P, S> = Box<dyn Fn(&LateSet<P, S>, &Event<'_, S>) -> Answer + Send + Sync>;

/// An observer that gets its set after the set has got it.
struct Late<P: Platform<Lock: Send + Sync> + 'static, S: Source<Space = P::Space> + Clone + 'static> {
    set: OnceLock<&'static LateSet<P, S>>,
    act: Act<P, S>,
}

impl<P: Platform<Lock: Send + Sync>, S: Source<Space = P::Space> + Clone> Observer<S> for Late<P, S> {
    fn event(&self, event: &Event<'_, S>) -> Answer {
        (self.act)(self.set.get().unwrap(), event)
    }
}

/// Returns a set whose observer calls `act` with it.
fn late_set<P: Platform<Lock: Send + Sync>, S: Source<Space = P::Space> + Clone>(
    platform: P,
    config: Config,
    act: impl Fn(&LateSet<P, S>, &Event<'_, S>) -> Answer + Send + Sync + 'static,
) -> &'static LateSet<P, S> {
    let late: &'static Late<P, S> = leak(Late { set: OnceLock::new(), act: Box::new(act) });
    let set = leak(Set::with_capacity(platform, config.observer(late), 16));
    let _ = late.set.set(set);
    set
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn bytes(length_bytes: usize) -> MapConfig {
    MapConfig::new().length(length_bytes)
}

/// Where a map call has put its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    segment: Extent,
    part: Extent,
}

/// Returns where a map call has put its segment, and drops the handle.
fn placed<R: SetRef>(mapped: Result<Part<R>, MapError>) -> Placed {
    let handle = mapped.unwrap();
    Placed { segment: handle.extent(), part: handle.part_extent() }
}

fn extents<'p, P, O>(set: &Set<'_, P, &'p FakeSource<'p>, O>) -> Vec<Extent>
where
    P: Platform<Space = usize>,
    O: Observer<&'p FakeSource<'p>>,
{
    let extents: Vec<Extent> = set.extents().collect();
    assert!(set.parts().map(|part| part.extent()).eq(extents.iter().copied()));
    extents
}

#[test]
fn mapped_part_is_found_by_every_address() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    assert_eq!(set.granularity(), None);
    let mapped = set.map(&source, &bytes(KIB64)).unwrap().extent();
    assert_eq!(mapped, mapped);
    assert_eq!(mapped.length_bytes(), KIB64);
    assert_eq!(set.granularity(), Some(Granularity::Page));
    for address in [mapped.start(), mapped.start() + 5000, mapped.end() - 1] {
        assert_eq!(set.part_at(address).unwrap().extent(), mapped);
    }
    for address in [0x999, mapped.start() - 1, mapped.end(), usize::MAX] {
        assert_eq!(set.part_at(address).unwrap_err(), LookupError::NotMapped { address });
    }
}

#[test]
fn length_unset_is_the_rest_after_the_offset() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 8 * PAGE as u64);
    let empty = FakeSource::new(&platform, 0);
    let set = set_on(&platform);
    let mapped = set.map(&source, &MapConfig::new().offset(PAGE as u64)).unwrap().extent();
    assert_eq!(mapped.length_bytes(), 7 * PAGE);
    let behind = MapConfig::new().offset(8 * PAGE as u64);
    assert_eq!(set.map(&source, &behind).unwrap_err(), MapError::LengthUnset);
    assert_eq!(set.map(&empty, &MapConfig::new()).unwrap_err(), MapError::LengthUnset);
}

#[test]
fn offsets_and_lengths_beyond_32_bits_are_whole() {
    const FAR: u64 = (5 << 32) + PAGE as u64;
    let platform = Fake::default();
    let source = FakeSource { grows: true, ..FakeSource::new(&platform, 1 << 20) };
    let set = set_on(&platform);
    let far = bytes(2 * PAGE).offset(FAR);
    let part = set.map(&source, &far).unwrap().extent();
    assert_eq!(*source.length_bytes.lock().unwrap(), FAR + 2 * PAGE as u64, "grown to its whole length");
    set.persist(part.start() + PAGE, 1).unwrap();
    set.remove_range(part.start(), 1).unwrap();
    let offsets = source.offsets.lock().unwrap().clone();
    assert_eq!(offsets, [FAR, FAR + PAGE as u64, FAR, FAR, FAR]);
    let rest = MapConfig::new().offset(4 * PAGE as u64);
    if usize::BITS == 32 {
        let left = FAR - 2 * PAGE as u64;
        let out_of_range = MapError::LengthOutOfRange { offset: 4 * PAGE as u64, length_bytes: left };
        assert_eq!(set.map(&source, &rest).unwrap_err(), out_of_range, "more than the address space holds");
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn segments_of_4_gib_and_more_end_where_they_end() {
    const GIB4: usize = 1 << 32;
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 40);
    let set: TestSet<'_, '_, _> =
        Set::with_capacity(&platform, Config::new(Granularity::Page).reserve_ahead(6 * GIB4), 16);
    for length in [GIB4 - PAGE, GIB4, GIB4 + PAGE, 3 * GIB4] {
        let first = set.map(&source, &bytes(length)).unwrap().extent();
        set.set_coalescing(Coalescing::Full);
        let whole = placed(set.map(&source, &bytes(length))).part;
        set.set_coalescing(Coalescing::None);
        assert_eq!((whole.start(), whole.length_bytes()), (first.start(), 2 * length));
        for address in [first.start(), first.end() - 1, first.end(), whole.end() - 1] {
            assert_eq!(set.part_at(address).unwrap().extent(), whole, "{length:#x}");
        }
        assert!(set.part_at(whole.end()).is_err());
        set.remove_range(first.end() - 1, 1).unwrap();
        let rest = set.part_at(whole.end() - 1).unwrap();
        assert_eq!((rest.extent().start(), rest.extent().length_bytes()), (first.end(), length));
        set.remove(rest).unwrap();
        assert_eq!((set.segment_count(), platform.mapped_bytes()), (0, 0));
    }
}

#[test]
fn a_source_that_holds_its_bytes_is_not_prepared_and_refused_like_any_other() {
    let platform = Fake::default();
    let reservation = Reservation::with_capacity(&platform, 2 * PAGE, 16).unwrap();
    let source = FakeSource { holds: true, ..FakeSource::new(&platform, 1 << 20) };
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 16);
    set.map(&source, &bytes(PAGE)).unwrap();
    let refused = MapError::CannotFit { length_bytes: 2 * PAGE, alignment_bytes: PAGE };
    assert_eq!(set.map(&source, &bytes(2 * PAGE)).unwrap_err(), refused);
    assert_eq!((source.maps.load(Ordering::Relaxed), set.segment_count(), platform.mapped_bytes()), (1, 1, PAGE));
    set.map(&source, &bytes(PAGE)).unwrap();
}

#[test]
fn refused_requests_change_nothing() {
    let platform = Fake::default();
    let mut source = FakeSource::new(&platform, 1 << 20);
    source.grows = true;
    let odd = FakeSource { alignment_bytes: 3 * PAGE, ..FakeSource::new(&platform, 1 << 20) };
    let words = FakeSource { granule_bytes: 2, ..FakeSource::new(&platform, 1 << 20) };
    let small = FakeSource::new(&platform, PAGE as u64);
    let set = set_on(&platform);
    let at = |offset: u64, length: usize| set.map(&source, &bytes(length).offset(offset)).unwrap_err().code();
    assert_eq!(at(100, PAGE), -200_006);
    assert_eq!(at(0, 5000), -200_015);
    assert_eq!(at(4096, usize::MAX - 4095), -200_033);
    assert_eq!(at(i64::MAX as u64 - 4095, PAGE), -200_033);
    assert_eq!(at(0, 1 << (usize::BITS - 1)), -200_033);
    assert_eq!(at(1 << 63, PAGE), -200_024);
    assert_eq!(source.length_bytes.lock().unwrap().to_owned(), 1 << 20);
    assert_eq!((platform.reserved_bytes(), platform.mapped_bytes(), set.segment_count()), (0, 0, 0));
    assert_eq!(set.map(&odd, &bytes(PAGE)).unwrap_err().code(), -200_035);
    let refused = MapError::WriteGranule { granule_bytes: 2, narrowest_store_bytes: 1 };
    assert_eq!((set.map(&words, &bytes(PAGE)).unwrap_err(), refused.code()), (refused, -95));
    assert_eq!(
        set.map(&small, &bytes(2 * PAGE)).unwrap_err(),
        MapError::SourceTooSmall { needed_bytes: 8192, length_bytes: 4096 }
    );
}

#[test]
fn failing_platform_undoes_growth_and_claim() {
    let platform = Fake::default();
    let source = FakeSource { grows: true, ..FakeSource::new(&platform, 0) };
    let set = set_on(&platform);
    source.refuse_map.store(1, Ordering::Relaxed);
    let refused = set.map(&source, &bytes(KIB64)).unwrap_err();
    assert_eq!(refused.code(), -200_008);
    assert_eq!(*source.length_bytes.lock().unwrap(), 0);
    assert_eq!(platform.reserved_bytes(), 0);
    source.refuse_map.store(0, Ordering::Relaxed);
    platform.refuse_reserve.store(1, Ordering::Relaxed);
    assert_eq!(set.map(&source, &bytes(KIB64)).unwrap_err().code(), -12);
    assert_eq!(*source.length_bytes.lock().unwrap(), 0);
    assert_eq!((set.segment_count(), set.granularity()), (0, None));
    platform.refuse_reserve.store(0, Ordering::Relaxed);
    set.map(&source, &bytes(KIB64)).unwrap();
}

#[test]
fn full_table_is_found_before_the_platform_is_called() {
    let platform = Fake::default();
    let source = FakeSource { grows: true, ..FakeSource::new(&platform, 0) };
    let set = set_on(&platform);
    for _ in 0..16 {
        set.map(&source, &bytes(PAGE)).unwrap();
    }
    let (made, length) = (platform.reservations_made.load(Ordering::Relaxed), *source.length_bytes.lock().unwrap());
    assert_eq!(set.map(&source, &bytes(2 * PAGE)).unwrap_err(), MapError::TableFull { capacity: 16 });
    assert_eq!(platform.reservations_made.load(Ordering::Relaxed), made);
    assert_eq!(*source.length_bytes.lock().unwrap(), length);
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    set.map(&source, &bytes(PAGE)).unwrap();
}

#[test]
fn granularity_is_required_agreed_on_and_forgotten() {
    let platform = Fake::default();
    let limit = GranularityLimit::Volatile;
    let page = FakeSource { limit, ..FakeSource::new(&platform, 1 << 20) };
    let byte = FakeSource { granularity: Granularity::Byte, ..FakeSource::new(&platform, 1 << 20) };
    let strict: TestSet<'_, '_, _> = Set::with_capacity(&platform, Config::new(Granularity::Byte), 16);
    let (required, available) = (Granularity::Byte, Granularity::Page);
    let refused = MapError::GranularityNotSupported { required, available, limit };
    assert_eq!(strict.map(&page, &bytes(PAGE)).unwrap_err(), refused);
    let set = set_on(&platform);
    set.map(&byte, &bytes(PAGE)).unwrap();
    let mismatch = MapError::GranularityMismatch { set: Granularity::Byte, source: Granularity::Page };
    assert_eq!(set.map(&page, &bytes(PAGE)).unwrap_err(), mismatch);
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!(set.granularity(), None);
    set.map(&page, &bytes(PAGE)).unwrap();
    assert_eq!(set.granularity(), Some(Granularity::Page));
}

#[test]
fn lines_that_cannot_be_written_back_mean_page_granularity() {
    let platform = Fake::default();
    let limit = GranularityLimit::NoCaches;
    let line = FakeSource { granularity: Granularity::CacheLine, limit, ..FakeSource::new(&platform, 1 << 20) };
    let set = set_on(&platform);
    set.map(&line, &bytes(PAGE)).unwrap();
    assert_eq!(set.granularity(), Some(Granularity::Page));
    let available = Granularity::Page;
    for (required, limit) in [
        (Granularity::CacheLine, GranularityLimit::NoWriteBack),
        // Here another processor would not help.
        (Granularity::Byte, GranularityLimit::NoCaches),
    ] {
        let strict: TestSet<'_, '_, _> = Set::with_capacity(&platform, Config::new(required), 16);
        let refused = MapError::GranularityNotSupported { required, available, limit };
        assert_eq!(strict.map(&line, &bytes(PAGE)).unwrap_err(), refused);
    }
}

#[test]
fn pinned_part_stays_and_its_handle_comes_back() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
    let (one, two) = (set.part_at(part.start()).unwrap(), set.part_at(part.start()).unwrap());
    let refused = set.try_remove(one).unwrap_err();
    assert_eq!(refused.error, RemoveError::Pinned { part });
    assert_eq!(set.remove_range(part.start(), 1), Err(RemoveError::Pinned { part }));
    drop(two);
    assert_eq!(set.remove_range(part.start(), 1), Err(RemoveError::Pinned { part }));
    set.remove(refused.part).unwrap();
    assert_eq!((set.segment_count(), platform.reserved_bytes(), platform.mapped_bytes()), (0, 0, 0));
}

#[test]
fn handle_of_another_set_is_refused() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let (set, other) = (set_on(&platform), set_on(&platform));
    let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
    other.map(&source, &bytes(PAGE)).unwrap();
    let refused = other.remove(set.part_at(part.start()).unwrap()).unwrap_err();
    assert_eq!(refused, RemoveError::OtherSet);
    assert_eq!((set.segment_count(), other.segment_count()), (1, 1));
}

#[test]
fn removal_stops_at_a_failed_deep_flush() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
    source.refuse_flush.store(1, Ordering::Relaxed);
    let refused = set.remove(set.part_at(part.start()).unwrap()).unwrap_err();
    assert_eq!(refused.code(), -200_018);
    assert_eq!(set.remove_range(part.start(), 1).unwrap_err().code(), -200_018);
    assert_eq!(extents(&set), [part]);
    // The bytes may be lost: that the next call comes through says nothing of them.
    source.refuse_flush.store(0, Ordering::Relaxed);
    let failed = RemoveError::FailedBefore { segment: part, cause: Errno::IO };
    assert_eq!(set.remove_range(part.start(), 1), Err(failed));
    assert_eq!((source.flushes.load(Ordering::Relaxed), extents(&set)), (0, vec![part]));
}

#[test]
fn dropped_set_leaves_no_mapping_and_no_reservation() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.set_coalescing(Coalescing::Opportunistic);
    for _ in 0..5 {
        set.map(&source, &bytes(PAGE)).unwrap();
    }
    drop(set);
    assert_eq!((platform.reserved_bytes(), platform.mapped_bytes()), (0, 0));
}

#[test]
fn observer_may_call_the_set_from_every_event() {
    let platform = leak(Fake::default());
    let source = leak(FakeSource::new(platform, 1 << 20));
    let log = leak(Mutex::new(Vec::new()));
    let set = late_set(platform, Config::new(Granularity::Page), |set, event: &Event<'_, &FakeSource<'_>>| {
        let seen = set.parts().count();
        set.remove_range(0x1000, 0x1000).unwrap();
        log.lock().unwrap().push(match event {
            Event::PartAdd { segment, part, .. } => ("add", Some(*segment), *part, seen),
            Event::PartRemove { part } => ("remove", None, *part, seen),
            Event::RemoveRange { range } => ("range", None, *range, seen),
            other => panic!("{other:?}"),
        });
        Answer::Proceed
    });
    let one = set.map(source, &bytes(PAGE)).unwrap().extent();
    let two = set.map(source, &bytes(KIB64)).unwrap().extent();
    let range = Extent::between(one.end() - 1, two.start() + 1).unwrap();
    set.remove_range(range.start(), range.length_bytes()).unwrap();
    let told = core::mem::take(&mut *log.lock().unwrap());
    let added = [("add", Some(one), one, 1), ("add", Some(two), two, 2)];
    assert_eq!(told[..2], added);
    assert_eq!(told[2..], [("range", None, range, 0), ("remove", None, one, 0), ("remove", None, two, 0)]);
}
