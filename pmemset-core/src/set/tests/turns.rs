//! What others find while one maps or removes: it is stopped where the source is called.

use std::sync::mpsc;
use std::thread;

use super::fake::{Fake, FakeSource, PAGE, Small};
use super::{TestSet, UNLOCKED_CALLS, bytes, extents};
use crate::error::{GiveBackError, LookupError, MapError, RemoveError};
use crate::lock::SpinRwLock;
use crate::set::handle::Operations as _;
use crate::set::pins::Pinned;
use crate::{Coalescing, Config, Errno, Extent, Granularity, Platform, Set, Span, WithLock};

/// Maps so many pages as one part, and another part; returns the pages and the other part.
fn part_and_other<const N: usize>(
    set: &TestSet<'_, '_>,
    source: &'static FakeSource<'static>,
) -> ([Extent; N], Extent) {
    let other = set.map(source, &bytes(PAGE)).unwrap().extent();
    let first = set.map(source, &bytes(PAGE)).unwrap().extent();
    set.set_coalescing(Coalescing::Full);
    let config = |page: usize| bytes(PAGE).offset((page * PAGE) as u64);
    let map = |page| if page == 0 { first } else { set.map(source, &config(page)).unwrap().extent() };
    (core::array::from_fn(map), other)
}

/// Runs `act`, and `between` at each call of the source.
fn between<T: Send>(source: &FakeSource<'_>, act: impl FnOnce() -> T + Send, mut between: impl FnMut(usize)) -> T {
    let ((say, said), (answer, answered)) = (mpsc::channel(), mpsc::channel());
    *source.midway.lock().unwrap() = Some((say, answered));
    // What it moves goes with it if `between` panics, and ends the other thread.
    thread::scope(move |scope| {
        let acting = scope.spawn(move || {
            let result = act();
            // The channel ends.
            *source.midway.lock().unwrap() = None;
            result
        });
        for call in 0.. {
            if said.recv().is_err() {
                break;
            }
            between(call);
            answer.send(()).unwrap();
        }
        acting.join().unwrap()
    })
}

fn world() -> (&'static FakeSource<'static>, TestSet<'static, 'static>) {
    let platform: &Fake = super::leak(Fake::default());
    let config = Config::new(Granularity::Page).reserve_ahead(16 * PAGE);
    (super::leak(FakeSource::new(platform, 1 << 20)), Set::with_capacity(platform, config, 16))
}

/// Returns nothing where there is nothing to find: others wait until the calls have returned.
fn unlocked_world() -> Option<(&'static FakeSource<'static>, TestSet<'static, 'static>)> {
    UNLOCKED_CALLS.then(world)
}

/// Returns whether handles can be had: to the segment that begins at `address`, and to its part.
fn may_pin(set: &TestSet<'_, '_>, extent: Extent) -> [bool; 2] {
    let head = set.books.read().part_at(extent.start()).unwrap().head;
    let part = set.pins.pin(head, Pinned::Part);
    if part {
        set.pins.unpin(head, Pinned::Part);
    }
    let segment = set.pin_each(extent).map(|(held, ..)| set.unpin(held, extent));
    [segment.is_ok(), part]
}

#[test]
fn what_is_being_unmapped_is_not_pinned_and_all_else_is() {
    let Some((source, set)) = unlocked_world() else { return };
    let ([first, second, third, last], other) = part_and_other(&set, source);
    let result = between(
        source,
        || set.remove_range(second.start(), 2 * PAGE),
        |call| {
            assert_eq!(may_pin(&set, other), [true, true], "call {call}");
            set.persist(other.start(), 8).unwrap();
            // Their part is not as it was and not yet as it will be.
            assert_eq!(
                [first, third, last].map(|extent| may_pin(&set, extent)),
                [[true, false], [false; 2], [true, false]]
            );
            if call == 0 {
                assert_eq!(may_pin(&set, second), [false; 2]);
            }
        },
    );
    assert_eq!((result, extents(&set)), (Ok(()), vec![other, first, last]));
    assert_eq!([first, last].map(|extent| may_pin(&set, extent)), [[true; 2]; 2]);
    assert_eq!(set.pin(second).unwrap_err(), LookupError::NotMapped { address: second.start() });
}

#[test]
fn who_wants_what_is_being_removed_waits_and_gets_what_is_left() {
    let Some((source, set)) = unlocked_world() else { return };
    let ([first, second, third], _) = part_and_other(&set, source);
    *source.stays.lock().unwrap() = Some(PAGE as u64);
    let removed = |set: &TestSet<'_, '_>| set.remove(set.part_at(first.start()).unwrap());
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        let result = between(
            source,
            || removed(&set),
            |call| {
                if call == 0 {
                    waiting.push(scope.spawn(|| set.part_at(third.start()).map(|part| part.extent())));
                    waiting.push(scope.spawn(|| set.pin(second).map(|part| part.extent())));
                    waiting.push(scope.spawn(|| set.pin(first).map(|part| part.extent())));
                    waiting.push(scope.spawn(|| Ok(set.map(source, &bytes(PAGE)).unwrap().part_extent())));
                    // Those that come early are refused first; nothing can be told of those that come late.
                    (0..100).for_each(|_| thread::yield_now());
                }
            },
        );
        let (segment, removed) = (second, Some(first));
        assert_eq!(result, Err(RemoveError::Unmap { segment, removed, cause: Errno::NOMEM }));
        let found: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        let longer = Extent::between(second.start(), third.end() + PAGE).unwrap();
        let rest = [longer, Extent::between(second.start(), third.end()).unwrap()];
        assert!(found[0].is_ok_and(|part| rest.contains(&part)), "{found:?}");
        assert_eq!(found[1..], [Ok(second), Err(LookupError::NotMapped { address: first.start() }), Ok(longer)]);
    });
    assert_eq!([second, third].map(|extent| may_pin(&set, extent)), [[true; 2]; 2]);
    *source.stays.lock().unwrap() = None;
}

#[test]
fn nobody_waits_while_a_source_is_mapped() {
    let Some((source, set)) = unlocked_world() else { return };
    let ([first, second], other) = part_and_other(&set, source);
    let map = || set.map(source, &bytes(PAGE)).unwrap().part_extent();
    let part = between(source, map, |_| {
        assert_eq!([first, second, other].map(|extent| may_pin(&set, extent)), [[true; 2]; 3]);
        assert_eq!(set.segment_count(), 3);
    });
    assert_eq!(part, Extent::between(first.start(), second.end() + PAGE).unwrap());
}

#[test]
fn a_refused_removal_leaves_everything_open_and_every_use_counted() {
    let (source, set) = world();
    let ([first, second, third], _) = part_and_other(&set, source);
    let counts =
        || set.segments(set.part_at(first.start()).unwrap().extent()).map(|found| found.pins).collect::<Vec<_>>();
    let both = Extent::between(second.start(), third.end()).unwrap();
    let used = set.pin(third).unwrap();
    let in_use = RemoveError::InUse { segment: third };
    assert_eq!(set.remove_range(both.start(), both.length_bytes()), Err(in_use));
    // One of the first is what counts.
    assert_eq!(counts(), [1, 0, 1]);
    let handle = set.try_remove(set.pin(both).unwrap()).unwrap_err();
    assert_eq!((handle.error, counts()), (in_use, vec![1, 1, 2]));
    drop(handle);
    let handle = set.try_remove(set.part_at(second.start()).unwrap()).unwrap_err();
    assert_eq!((handle.error, counts()), (in_use, vec![2, 0, 1]));
    drop((handle, used));
    assert_eq!([first, second, third].map(|extent| may_pin(&set, extent)), [[true; 2]; 3]);
    set.remove(set.part_at(second.start()).unwrap()).unwrap();
}

#[test]
fn a_platform_with_another_lock_says_what_the_one_inside_does() {
    const fn says<P: Platform>() -> bool {
        P::UNLOCKED_CALLS
    }
    assert_eq!(says::<WithLock<Fake, SpinRwLock>>(), UNLOCKED_CALLS);
    assert_eq!(says::<WithLock<&WithLock<Fake, SpinRwLock>, SpinRwLock, 65>>(), UNLOCKED_CALLS);
    assert_eq!(says::<WithLock<Small, SpinRwLock>>(), UNLOCKED_CALLS);
    assert!(!says::<WithLock<Fake, SpinRwLock, 64>>(), "small because of the wrapper");
    #[cfg(feature = "critical-section")]
    assert!(!says::<WithLock<Fake, crate::lock::CriticalSectionRwLock>>(), "nobody else runs");
}

#[test]
fn the_books_are_locked_in_calls_where_calls_are_not_unlocked() {
    let (source, set) = world();
    let free = |set: &TestSet<'_, '_>| set.books.try_write().is_some();
    let map = || set.map(source, &bytes(PAGE)).unwrap();
    let part = between(source, map, |_| assert_eq!(free(&set), UNLOCKED_CALLS));
    between(source, || set.remove(part).unwrap(), |_| assert_eq!(free(&set), UNLOCKED_CALLS));
    let (calls, part) = (core::cell::Cell::new(0), map().extent());
    let discard = || set.discard_range(part.start(), PAGE).unwrap();
    between(source, discard, |_| {
        calls.set(calls.get() + 1);
        assert_eq!(free(&set), UNLOCKED_CALLS);
    });
    assert_eq!((calls.get(), free(&set), set.turn.is_locked()), (1, true, false));
}

#[test]
fn storage_of_what_is_being_mapped_is_not_given_back() {
    let (source, set) = world();
    let page = Span::new(0, PAGE as u64).unwrap();
    thread::scope(|scope| {
        let mut giving = None;
        let map = || set.map(source, &bytes(PAGE)).unwrap().extent();
        let segment = between(source, map, |_| {
            giving = Some(scope.spawn(|| set.give_back(&source, page)));
            // Whoever does not wait has done it by now, or later; it must not be before the bytes are mapped.
            (0..100).for_each(|_| thread::yield_now());
        });
        assert_eq!(giving.unwrap().join().unwrap(), Err(GiveBackError::Mapped { segment }));
    });
}

#[test]
fn what_the_books_say_of_a_map_that_fails_is_what_they_said_before() {
    let (source, set) = world();
    let ([first, second], other) = part_and_other(&set, source);
    let before = (extents(&set), set.books.read().previous());
    for lost in [false, true] {
        let flags = [&source.refuse_map, &source.lose_window];
        flags[usize::from(lost)].store(1, core::sync::atomic::Ordering::Relaxed);
        let error = set.map(source, &bytes(PAGE)).unwrap_err();
        flags[usize::from(lost)].store(0, core::sync::atomic::Ordering::Relaxed);
        let expected =
            if lost { matches!(error, MapError::WindowLost { .. }) } else { matches!(error, MapError::Map { .. }) };
        assert!(expected && !set.turn.is_locked(), "{error}");
        assert_eq!(extents(&set), before.0);
        assert_eq!(set.books.read().previous().map(|(part, _)| part), before.1.map(|(part, _)| part));
        assert_eq!([first, second, other].map(|extent| may_pin(&set, extent)), [[true; 2]; 3]);
    }
}

#[test]
fn an_observer_of_a_removal_may_map_remove_and_look_up_whoever_panics() {
    let platform: &Fake = super::leak(Fake::default());
    let source: &FakeSource<'_> = super::leak(FakeSource::new(platform, 1 << 20));
    let first = core::sync::atomic::AtomicBool::new(true);
    let set = super::late_set(platform, Config::new(Granularity::Page), move |set, event| {
        if let crate::Event::PartRemove { part } = event {
            assert!(!set.turn.is_locked() && !set.books.is_locked());
            assert_eq!(set.pin(*part).unwrap_err(), LookupError::NotMapped { address: part.start() });
            if first.swap(false, core::sync::atomic::Ordering::Relaxed) {
                let other = set.map(source, &bytes(2 * PAGE).offset(8 * PAGE as u64)).unwrap().extent();
                set.part_at(other.start()).unwrap();
                set.discard_range(other.start() + PAGE, PAGE).unwrap();
                panic!("an observer's");
            }
        }
        crate::Answer::Proceed
    });
    let part = set.map(source, &bytes(PAGE)).unwrap();
    let removed = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| set.remove(part)));
    assert!(removed.is_err() && !set.turn.is_locked() && !set.books.is_locked());
    let again = set.map(source, &bytes(PAGE)).unwrap();
    assert_eq!((set.segment_count(), set.part_at(again.extent().start()).unwrap().extent()), (1, again.extent()));
}
