//! What others find while one maps or removes: it is stopped where the source is called.

use std::sync::mpsc;
use std::thread;

use super::fake::{Fake, FakeSource, PAGE};
use super::{TestSet, bytes, extents};
use crate::error::{LookupError, RemoveError};
use crate::set::pins::Pinned;
use crate::{Coalescing, Config, Errno, Extent, Granularity, Set};

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
    thread::scope(|scope| {
        let acting = scope.spawn(|| {
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

/// Returns whether handles can be had: to the segment that begins at `address`, and to its part.
fn may_pin(set: &TestSet<'_, '_>, extent: Extent) -> [bool; 2] {
    let head = set.books.read().part_at(extent.start()).unwrap().head;
    let part = set.pins.pin(head, Pinned::Part);
    if part {
        set.pins.unpin(head, Pinned::Part);
    }
    let segment = set.pin_each(extent).map(|(held, ..)| {
        let crate::set::handle::Held::Segment(slot) = held else { panic!("one segment") };
        set.pins.unpin(slot, Pinned::Segment);
    });
    [segment.is_ok(), part]
}

#[test]
fn what_is_being_unmapped_is_not_pinned_and_all_else_is() {
    let (source, set) = world();
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
    let (source, set) = world();
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
    let (source, set) = world();
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
