//! The live record against its rules, and every short interleaving of two threads against a keeper that can be cut off.

use super::*;
use crate::lock::SpinRwLock;

type Cell = LiveRecord<SpinRwLock>;

fn id(text: &[u8]) -> DeviceId {
    let mut id = DeviceId::new();
    id.push(text).unwrap();
    id
}

fn interrupted() -> ShutdownRecord {
    let mut record = ShutdownRecord::of(&id(b"me"), 5);
    record.set_references(3);
    record
}

/// Returns what a call hands out.
fn hand_out(act: impl FnOnce(&mut ShutdownRecord) -> Option<u64>) -> Option<Published> {
    let mut record = ShutdownRecord::new();
    act(&mut record).map(|sequence| Published { record, sequence })
}

fn dirty(handle: LiveRecordRef<'_>) -> Option<Published> {
    hand_out(|into| handle.step(super::Step::Announce, into))
}

fn roll_back(handle: LiveRecordRef<'_>) -> Option<Published> {
    hand_out(|into| handle.step(super::Step::RollBack, into))
}

fn unmapped(handle: LiveRecordRef<'_>, flushed: bool) -> Option<Published> {
    hand_out(|into| handle.step(super::Step::Unmap { flushed }, into))
}

fn references(cell: &Cell) -> i32 {
    cell.handle().record().record.references()
}

#[test]
fn counting_starts_again_from_an_accepted_state() {
    for (name, count, state) in [
        (b"me", 5, PartState::OkButInterrupted),
        (b"me", 6, PartState::Corrupted),
        (b"it", 5, PartState::Indeterminate),
    ] {
        let cell = Cell::new(interrupted());
        let handle = cell.handle();
        let refused = handle.stage(&id(name), count, Some(PartStates::DEFAULT)).unwrap().unwrap_err();
        assert_eq!((refused.state, refused.references), (state, 3));
        assert_eq!((handle.record().record, handle.record().sequence), (interrupted(), 0));
        assert_eq!(handle.stage(&id(name), count, Some(PartStates::all())).unwrap().unwrap().state, state);
        assert_eq!(handle.part_state(), Some(state));
        handle.commit();
        let now = handle.record().record;
        assert_eq!((now.references(), now.unsafe_shutdowns(), now.device_id()), (1, count, &name[..]));
        assert_eq!(unmapped(handle, true).unwrap().record.references(), 0);
        assert_eq!(handle.part_state(), None);
        let again = handle.stage(&id(name), count, Some(PartStates::DEFAULT)).unwrap().unwrap();
        assert_eq!(again.state, PartState::Ok, "the verdict is not permanent");
    }
}

#[test]
fn failed_mapping_restores_the_record_unless_another_relies_on_it() {
    let cell = Cell::new(interrupted());
    let handle = cell.handle();
    handle.stage(&id(b"it"), 9, Some(PartStates::all()));
    assert_eq!(roll_back(handle), None, "nobody has seen it");
    assert_eq!(handle.record().record, interrupted());
    handle.stage(&id(b"it"), 9, Some(PartStates::all()));
    let dirty = dirty(handle).unwrap();
    let back = roll_back(handle).unwrap();
    assert_eq!(back.record, interrupted());
    assert!(back.sequence > dirty.sequence);
    handle.stage(&id(b"it"), 9, Some(PartStates::all()));
    let second = handle.stage(&id(b"it"), 9, Some(PartStates::DEFAULT)).unwrap().unwrap();
    assert_eq!((second.state, second.mapped), (PartState::OkButAlreadyOpen, 1));
    handle.commit();
    roll_back(handle);
    assert_eq!((references(&cell), handle.record().record.device_id()), (1, &b"it"[..]));
}

#[test]
fn unflushed_mapping_keeps_the_record_dirty() {
    let cell = Cell::new(ShutdownRecord::new());
    let handle = cell.handle();
    for _ in 0..2 {
        handle.stage(&id(b"me"), 5, Some(PartStates::DEFAULT));
        dirty(handle);
        handle.commit();
    }
    assert_eq!(unmapped(handle, false), None);
    assert_eq!(references(&cell), 2);
    handle.deep_flushed(false);
    assert_eq!(unmapped(handle, true), None, "not permitted is not done");
    assert_eq!(references(&cell), 2);
    let verdict = handle.stage(&id(b"me"), 5, Some(PartStates::all())).unwrap().unwrap();
    assert_eq!((verdict.state, verdict.mapped), (PartState::OkButInterrupted, 0));
    handle.deep_flushed(true);
    assert_eq!(unmapped(handle, true).unwrap().record.references(), 0);
}

#[test]
fn repair_wants_the_source_unmapped_and_can_be_taken_back() {
    let cell = Cell::new(interrupted());
    let handle = cell.handle();
    let mut after = ShutdownRecord::new();
    let (verdict, sequence) = handle.repair(&id(b"it"), 9, &mut after).unwrap();
    assert_eq!(verdict, interrupted().judge(0, &id(b"it"), 9));
    assert_eq!(after, ShutdownRecord::of(&id(b"it"), 9));
    handle.undo_repair(sequence);
    assert_eq!(handle.record().record, interrupted());
    handle.stage(&id(b"me"), 5, Some(PartStates::all()));
    assert_eq!(handle.repair(&id(b"it"), 9, &mut after).unwrap_err(), InUse { mapped: 1 });
}

/// What a thread does with a source, one step at a time; a step is cut off from the next by any other thread.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Stage,
    PublishDirty,
    Map,
    FailToMap,
    Unmap,
    PublishClean,
}

const MAPS_AND_UNMAPS: &[Step] = &[Step::Stage, Step::PublishDirty, Step::Map, Step::Unmap, Step::PublishClean];
const FAILS: &[Step] = &[Step::Stage, Step::PublishDirty, Step::FailToMap, Step::PublishClean];

struct Thread {
    steps: &'static [Step],
    at: usize,
    published: Option<Published>,
}

/// Runs the steps in the order of `choices`; after each, a crash may not be followed by "OK" if memory was mapped.
fn run(choices: &[usize], mut threads: [Thread; 3]) {
    let cell = Cell::new(ShutdownRecord::new());
    let handle = cell.handle();
    let me = id(b"me");
    let (mut kept, mut mapped) = (Published { record: ShutdownRecord::new(), sequence: 0 }, 0);
    for choice in choices {
        let Some(thread) = threads.get_mut(*choice) else { continue };
        let Some(step) = thread.steps.get(thread.at) else { continue };
        thread.at += 1;
        match step {
            Step::Stage => {
                handle.stage(&me, 5, Some(PartStates::DEFAULT)).unwrap().unwrap();
                thread.published = dirty(handle);
            }
            Step::PublishDirty | Step::PublishClean => {
                if let Some(published) = thread.published.take()
                    && published.sequence > kept.sequence
                {
                    kept = published;
                }
            }
            Step::Map => {
                mapped += 1;
                handle.commit();
            }
            Step::FailToMap => thread.published = roll_back(handle),
            Step::Unmap => {
                mapped -= 1;
                thread.published = unmapped(handle, true);
            }
        }
        let after_a_crash = kept.record.judge(0, &me, 6).state;
        assert!(mapped == 0 || after_a_crash == PartState::Corrupted, "{choices:?}: {kept:?}");
    }
    if threads.iter().all(|thread| thread.at == thread.steps.len()) {
        assert_eq!(kept.record.references(), 0, "{choices:?}");
    }
}

#[test]
fn no_order_of_two_threads_loses_a_crash() {
    let thread = |steps| Thread { steps, at: 0, published: None };
    for pair in [[MAPS_AND_UNMAPS, MAPS_AND_UNMAPS], [MAPS_AND_UNMAPS, FAILS], [FAILS, FAILS]] {
        let total = pair[0].len() + pair[1].len();
        for order in 0..1_u32 << total {
            if order.count_ones() as usize != pair[1].len() {
                continue;
            }
            let choices: Vec<usize> = (0..total).map(|bit| (order >> bit & 1) as usize).collect();
            run(&choices, [thread(pair[0]), thread(pair[1]), thread(&[])]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_order_of_three_threads_loses_a_crash(choices in proptest::collection::vec(0..3_usize, 0..40)) {
        let thread = |steps| Thread { steps, at: 0, published: None };
        run(&choices, [thread(MAPS_AND_UNMAPS), thread(FAILS), thread(MAPS_AND_UNMAPS)]);
    }
}
