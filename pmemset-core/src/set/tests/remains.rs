//! What a removal leaves behind, whoever fails half-way: the platform, an observer, the drop of a source, the books.
#![allow(unsafe_code, reason = "a lock that knows whether it is held")]

use core::cell::{Cell, RefCell};
use core::mem::ManuallyDrop;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, Ordering};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

use lock_api::RawRwLock;

use super::fake::{Fake, FakeSource, Goodbye, PAGE};
use super::{TestSet, bytes, extents, set_on};
use crate::error::{LookupError, MapError, RemoveError};
use crate::lock::SpinRwLock;
use crate::reservation::Reservation;
use crate::set::books::{Cursor, Retired, Segment};
use crate::set::event::from_fn;
use crate::set::handle::Operations;
use crate::sim::{Hardware, Machine, Medium, SimSource};
use crate::{Answer, Checked, Coalescing, Config, Event, Extent, Granularity, MapConfig, Set};
use crate::{PartStates, ShutdownRecord, WithLock};

#[test]
fn a_part_that_grows_while_it_is_iterated_over_comes_once() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set: TestSet<'_, '_, _> =
        Set::with_capacity(&platform, Config::new(Granularity::Page).reserve_ahead(16 * PAGE), 16);
    let first = set.map(&source, &bytes(PAGE)).unwrap().extent();
    set.set_coalescing(Coalescing::Full);
    let mut seen = Vec::new();
    for part in set.parts().take(14) {
        seen.push(part.extent());
        set.map(&source, &bytes(PAGE)).unwrap();
        if seen.len() == 1 {
            // And a part above, which is seen.
            set.set_coalescing(Coalescing::None);
            set.map(&source, &bytes(PAGE)).unwrap();
            set.set_coalescing(Coalescing::Full);
        }
    }
    let parts = extents(&set);
    assert_eq!((seen[0], parts[0].length_bytes()), (first, 2 * PAGE));
    let starts = |parts: &[Extent]| parts.iter().map(|part| part.start()).collect::<Vec<_>>();
    assert_eq!(starts(&seen), starts(&parts), "each part once");
}

std::thread_local! {
    /// Locks that this thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// How many it held when each source was dropped.
    static GOODBYES: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// A lock that counts, in [`HELD`], how often this thread has it.
#[derive(Debug)]
struct Watched(SpinRwLock);

// SAFETY: the lock inside keeps the promises.
unsafe impl RawRwLock for Watched {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait asks for it")]
    const INIT: Self = Self(SpinRwLock::INIT);

    type GuardMarker = <SpinRwLock as RawRwLock>::GuardMarker;

    fn lock_shared(&self) {
        self.0.lock_shared();
        HELD.set(HELD.get() + 1);
    }
    fn try_lock_shared(&self) -> bool {
        let taken = self.0.try_lock_shared();
        HELD.set(HELD.get() + u32::from(taken));
        taken
    }
    unsafe fn unlock_shared(&self) {
        HELD.set(HELD.get() - 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.unlock_shared() };
    }
    fn lock_exclusive(&self) {
        self.0.lock_exclusive();
        HELD.set(HELD.get() + 1);
    }
    fn try_lock_exclusive(&self) -> bool {
        let taken = self.0.try_lock_exclusive();
        HELD.set(HELD.get() + u32::from(taken));
        taken
    }
    unsafe fn unlock_exclusive(&self) {
        HELD.set(HELD.get() - 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.unlock_exclusive() };
    }
}

#[test]
fn the_last_handle_to_a_source_is_dropped_under_no_lock() {
    for drops_the_set in [false, true] {
        let platform = Fake::default();
        let watched: WithLock<&Fake, Watched> = WithLock::new(&platform);
        let set: Set<'_, _, Arc<FakeSource<'_>>, _> = Set::with_capacity(watched, Config::new(Granularity::Page), 8);
        for _ in 0..3 {
            let _goodbye = Goodbye(Some(|| GOODBYES.with_borrow_mut(|all| all.push(HELD.get()))));
            let source = FakeSource { _goodbye, ..FakeSource::new(&platform, PAGE as u64) };
            set.map(Arc::new(source), &bytes(PAGE)).unwrap();
        }
        if !drops_the_set {
            set.remove_range(0, usize::MAX).unwrap();
            assert_eq!(set.segment_count(), 0);
        }
        drop(set);
        assert_eq!(GOODBYES.take(), [0; 3], "locks held when the sources went");
    }
}

#[test]
fn a_set_that_is_dropped_unmaps_what_lies_around_a_mapping_that_stays() {
    for stays in 0..4_usize {
        let platform = Fake::default();
        let mut reservation = Reservation::with_capacity(&platform, 16 * PAGE, 16).unwrap();
        let source = FakeSource::new(&platform, 1 << 20);
        *source.stays.lock().unwrap() = Some((stays * PAGE) as u64);
        let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), 16);
        // Two parts of two segments.
        for at in 0..4_usize {
            set.set_coalescing(if at % 2 == 0 { Coalescing::None } else { Coalescing::Full });
            set.map(&source, &bytes(PAGE).offset((at * PAGE) as u64)).unwrap();
        }
        drop(set);
        assert_eq!(platform.mapped_bytes(), PAGE, "only what will not go is left");
        assert!(reservation.close().is_err(), "its addresses are not given back");
        let other = Set::with_capacity(&reservation, Config::new(Granularity::Page), 16);
        for _ in 0..15 {
            other.map(&source, &bytes(PAGE).offset(8 * PAGE as u64)).unwrap();
        }
        assert_eq!(other.segment_count(), 15, "all others are");
    }
}

#[test]
fn a_range_removed_half_way_is_told_of_as_far_as_it_is_gone() {
    for stays in 0..4_usize {
        let platform = Fake::default();
        let source = FakeSource::new(&platform, 1 << 20);
        *source.stays.lock().unwrap() = Some((stays * PAGE) as u64);
        let told = Mutex::new(Vec::new());
        let observer = from_fn(|event: &Event<'_, &FakeSource<'_>>| {
            match event {
                Event::PartRemove { part } => told.lock().unwrap().push(("part", *part)),
                Event::RemoveRange { range } => told.lock().unwrap().push(("range", *range)),
                _ => {}
            }
            Answer::Proceed
        });
        let set: TestSet<'_, '_, _> =
            Set::with_capacity(&platform, Config::new(Granularity::Page).observer(&observer), 16);
        let parts: Vec<Extent> =
            (0..4).map(|at| set.map(&source, &bytes(PAGE).offset((at * PAGE) as u64)).unwrap().extent()).collect();
        let removed = stays.checked_sub(1).and_then(|last| Extent::between(parts[0].start(), parts[last].end()));
        let error = set.remove_range(parts[0].start() + 8, usize::MAX / 2).unwrap_err();
        assert_eq!(error, RemoveError::Unmap { segment: parts[stays], removed, cause: crate::Errno::NOMEM });
        let range = removed.map(|range| ("range", range));
        let expected: Vec<_> = range.into_iter().chain(parts.iter().take(stays).map(|part| ("part", *part))).collect();
        assert_eq!(*told.lock().unwrap(), expected);
        assert_eq!(extents(&set), parts[stays..]);
        if let Some(removed) = removed {
            assert!(error.to_string().contains(&removed.to_string()), "{error}");
        }
    }
}

#[test]
fn an_observer_that_panics_loses_no_slot_and_leaves_the_record_dirty() {
    let machine = Machine::new(Hardware::new());
    let medium = Medium::new(16 * PAGE as u64).device(b"dimm", 1);
    let pool: Checked<SimSource, SpinRwLock> =
        Checked::new(machine.add_source(medium)).shutdown_record(ShutdownRecord::new());
    let (removed, panics) = (Mutex::new(0), AtomicBool::new(true));
    let kept = Mutex::new((ShutdownRecord::new(), 0));
    let observer = from_fn(|event: &Event<'_, &Checked<SimSource, SpinRwLock>>| {
        match event {
            Event::PartRemove { .. } => {
                let mut removed = removed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *removed += 1;
                assert!(*removed != 2 || !panics.load(Ordering::Relaxed), "this observer panics");
            }
            Event::SdsUpdate { record, sequence, .. } => {
                let mut kept = kept.lock().unwrap();
                if *sequence > kept.1 {
                    *kept = (**record, *sequence);
                }
            }
            _ => {}
        }
        Answer::Proceed
    });
    let config = Config::new(Granularity::CacheLine).acceptable_states(PartStates::all()).observer(&observer);
    let set = Set::with_capacity(machine.platform(), config, 4);
    let page = |at: u64| MapConfig::new().length(PAGE).offset(at * PAGE as u64);
    for at in 0..4 {
        set.map(&pool, &page(at)).unwrap();
    }
    assert_eq!(set.map(&pool, &page(5)).unwrap_err(), MapError::TableFull { capacity: 4 });
    catch_unwind(AssertUnwindSafe(|| set.remove_range(0, usize::MAX))).unwrap_err();
    assert_eq!((set.segment_count(), set.granularity()), (0, None));
    assert_eq!(kept.lock().unwrap().0.references(), 3, "what was told of is clean, the others are not");
    panics.store(false, Ordering::Relaxed);
    for at in 0..4 {
        set.map(&pool, &page(at)).unwrap();
    }
    set.remove_range(0, usize::MAX).unwrap();
    set.repair_shutdown_state(&&pool).unwrap();
    assert_eq!(kept.lock().unwrap().0.references(), 0);
}

/// A source that panics breaks its promise; still, no handle lowers the uses of others.
#[test]
fn a_handle_whose_removal_panics_has_no_uses_any_more() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    let part = set.map(&source, &bytes(PAGE)).unwrap();
    let extent = part.extent();
    platform.forgetting(extent, || {
        catch_unwind(AssertUnwindSafe(|| set.discard(part))).unwrap_err();
    });
    let pinned = set.pin(extent);
    if super::UNLOCKED_CALLS {
        assert_eq!(pinned.err(), Some(LookupError::TooManyHandles), "it is closed for good");
    } else {
        let pinned = pinned.unwrap();
        let refused = set.discard_range(extent.start(), PAGE);
        assert_eq!(refused, Err(RemoveError::InUse { segment: extent }));
        drop(pinned);
        set.discard_range(extent.start(), PAGE).unwrap();
    }
}

/// As where the part has grown since the caller has asked where it ends.
#[test]
fn the_next_part_begins_behind_an_address_inside_of_a_part() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    let first = set.map(&source, &bytes(2 * PAGE)).unwrap().extent();
    assert!(set.hold_part_from(first.start() + PAGE).unwrap().is_none());
    let second = set.map(&source, &bytes(PAGE)).unwrap().extent();
    let (low, high) = if first.start() < second.start() { (first, second) } else { (second, first) };
    let (held, extent, _) = set.hold_part_from(low.start() + 1).unwrap().unwrap();
    assert_eq!(extent, high);
    set.unpin(held, extent);
}

#[test]
fn books_that_contradict_themselves_never_end_as_success() {
    const STAYS: &str = "a pinned segment stays";
    const HAS_SOURCE: &str = "a segment of the table has a source";
    type Call = fn(&TestSet<'_, '_>, Extent) -> Option<i32>;
    let calls: [(Call, &str); 7] = [
        (|set, part| set.persist(part.start(), 8).err().map(|error| error.code()), STAYS),
        (|set, part| set.part_at(part.start()).unwrap().flush(0, 8).err().map(|error| error.code()), STAYS),
        (|set, part| set.deep_flush(part.start(), 8).err().map(|error| error.code()), STAYS),
        (|set, part| set.persist_many(&[part]).err().map(|error| error.code()), STAYS),
        (|set, part| set.remove(set.part_at(part.start()).unwrap()).err().map(|error| error.code()), STAYS),
        (|set, part| set.remove_range(part.start(), 8).err().map(|error| error.code()), HAS_SOURCE),
        (
            |set, part| {
                let result = set.unmap_range(&mut set.alone(), part, &mut Cursor::new(), &mut Retired::new());
                result.err().map(|error| error.code())
            },
            HAS_SOURCE,
        ),
    ];
    for (index, (call, says)) in calls.into_iter().enumerate() {
        let platform = Fake::default();
        let source = FakeSource::new(&platform, 1 << 20);
        // Such a set cannot be dropped.
        let set = ManuallyDrop::new(set_on(&platform));
        let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
        set.books.write().corrupt(part.start()).unwrap();
        match catch_unwind(AssertUnwindSafe(|| call(&set, part))) {
            // A debug build stops at the contradiction.
            Err(panic) => assert_eq!(panic.downcast_ref::<&str>(), Some(&says), "call {index}"),
            Ok(code) => assert!(code.is_some() && !cfg!(debug_assertions), "call {index}: {code:?}"),
        }
        assert_eq!((set.segment_count(), platform.mapped_bytes()), (1, PAGE), "call {index}");
    }
}

#[test]
fn a_map_that_finds_no_place_in_the_books_after_all_undoes_what_it_has_done() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    let set = set_on(&platform);
    set.books.write().corrupt_slots();
    match catch_unwind(AssertUnwindSafe(|| set.map(&source, &bytes(PAGE)).map(drop))) {
        // A debug build stops at the contradiction.
        Err(panic) => assert!(panic.downcast_ref::<&str>().unwrap().starts_with("the plan has found room")),
        Ok(result) => {
            assert!(matches!(result, Err(MapError::TableFull { .. })) && !cfg!(debug_assertions), "{result:?}");
            assert_eq!((platform.mapped_bytes(), platform.reserved_bytes()), (0, 0));
        }
    }
    assert_eq!(set.segment_count(), 0);
}

#[test]
fn a_segment_of_no_part_is_not_removed_and_nobody_hears_that_it_was() {
    let platform = Fake::default();
    let source = FakeSource::new(&platform, 1 << 20);
    // Such a set cannot be dropped.
    let set = ManuallyDrop::new(set_on(&platform));
    let extent = Extent::new(1 << 30, PAGE).unwrap();
    let segment = Segment { extent, offset: 0, source: &source, spare_bytes: 0 };
    assert!(
        set.books.write().insert(segment, Some(extent.start() - PAGE)).is_some(),
        "behind a part that is not there"
    );
    let discard = || set.discard_range(extent.start(), PAGE);
    match catch_unwind(AssertUnwindSafe(discard)) {
        Err(panic) => assert_eq!(panic.downcast_ref::<&str>(), Some(&"a segment of the table is in a part")),
        Ok(result) => {
            let expected = Err(RemoveError::InUse { segment: extent });
            assert!(result == expected && !cfg!(debug_assertions), "{result:?}");
        }
    }
    assert_eq!(set.segment_count(), 1);
}
