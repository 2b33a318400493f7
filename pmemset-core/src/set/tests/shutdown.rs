//! Shutdown records over the life of mappings: order, failures, crashes, several sets, repair.

use super::fake::{Fake, FakeSource, PAGE};
use super::memory::{Handle, Memory, Step};
use super::{bytes, from_fn, late_set, leak};
use crate::error::{MapError, RemoveError, RepairError};
use crate::health::{DeviceError, PartState, PartStates, ShutdownRecord};
use crate::lock::SpinRwLock;
use crate::reservation::Reservation;
use crate::{Answer, Checked, Coalescing, Config, DeepFlush, Errno, Event, Granularity, Health, Observer, Set, Source};

pub(super) type MemorySet<'a, O = ()> = Set<'a, &'a Fake, Handle<'a>, O>;

const fn config() -> Config {
    Config::new(Granularity::Page)
}

/// A record of a run that ended in the middle, with two mappings.
fn interrupted() -> ShutdownRecord {
    let mut bytes = [0; 536];
    bytes[..21].copy_from_slice(b"8089-a2-1834-00001234");
    bytes[520] = 5;
    bytes[528] = 2;
    ShutdownRecord::from_bytes(&bytes)
}

fn with_record<'p>(mut memory: Memory<'p>, record: ShutdownRecord) -> Checked<Memory<'p>, SpinRwLock> {
    *memory.kept.lock().unwrap() = (record, 0);
    memory.keeps = true;
    Checked::new(memory).shutdown_record(record)
}

/// Returns an observer that has the source note what it is told.
fn noting<'a>(source: Handle<'a>) -> impl Observer<Handle<'a>> {
    from_fn(move |event: &Event<'_, Handle<'a>>| {
        source.source().note(event);
        Answer::Proceed
    })
}

/// Returns a set that has mapped the second page of a reservation; the first one is free.
fn set_behind<'a, 'p, 's>(
    reservation: &'a Reservation<'static, &'p Fake>,
    source: Handle<'s>,
    other: &FakeSource<'_>,
) -> Set<'a, &'a Reservation<'static, &'p Fake>, Handle<'s>> {
    let filler = Set::with_capacity(reservation, config(), 16);
    filler.map(other, &bytes(PAGE)).unwrap();
    let set = Set::with_capacity(reservation, config(), 16);
    set.map(source, &bytes(PAGE)).unwrap();
    filler.remove_range(reservation.extent().start(), PAGE).unwrap();
    set
}

#[test]
fn nothing_is_asked_with_both_checks_off() {
    let platform = Fake::default();
    let memory = Memory::new(&platform, 0);
    *memory.device.lock().unwrap() = None;
    let source = Checked::new(memory);
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config(), 16);
    let mapped = set.map(&source, &bytes(2 * PAGE)).unwrap();
    assert_eq!((mapped.shutdown_verdict(), set.part_state()), (None, None));
    drop(mapped);
    set.map(&source, &bytes(PAGE)).unwrap();
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!(set.repair_shutdown_state(&&source), Err(RepairError::NoRecord));
    let names: Vec<_> = source.source().take_steps().into_iter().map(|step| step.0).collect();
    assert_eq!(names, ["prepare", "map", "prepare", "map", "flush", "unmap"]);
}

#[test]
fn record_is_dirty_before_the_map_and_clean_after_the_unmap() {
    let platform = Fake::default();
    let source = with_record(Memory::new(&platform, 0), ShutdownRecord::new());
    let observer = noting(&source);
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config().observer(&observer), 16);
    let part = set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(part.shutdown_verdict().unwrap().state, PartState::Ok);
    let mapped: [Step; 5] = [("device", 0), ("prepare", 0), ("sds", 1), ("map", 0), ("add", 0)];
    assert_eq!(source.source().take_steps(), mapped);
    let again = set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(again.shutdown_verdict().unwrap().state, PartState::Ok, "that of the first mapping");
    drop(again);
    assert_eq!(source.source().take_steps()[2], ("sds", 2));
    assert_eq!(set.part_state(), Some(PartState::Ok));
    assert_eq!(source.source().after_crash(), PartState::Corrupted);
    let start = part.extent().start();
    drop(part);
    set.remove_range(start, 1).unwrap();
    let removed: [Step; 5] = [("flush", 0), ("unmap", 0), ("range", 0), ("remove", 0), ("sds", 1)];
    assert_eq!(source.source().take_steps(), removed);
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!(source.source().after_crash(), PartState::Ok);
    assert_eq!(set.part_state(), None);
}

#[test]
fn failure_at_any_step_leaves_no_trace_and_no_gap() {
    for coalescing in [Coalescing::None, Coalescing::Full] {
        for failing in 0..12 {
            let platform = Fake::default();
            platform.slack.store(1 << 20, core::sync::atomic::Ordering::Relaxed);
            let memory = Memory::new(&platform, 0);
            *memory.fail_at.lock().unwrap() = Some(failing);
            let source = with_record(memory, interrupted());
            let observer = noting(&source);
            let accepted = config().acceptable_states(PartStates::all()).observer(&observer);
            let set: MemorySet<'_, _> = Set::with_capacity(&platform, accepted, 16);
            set.set_coalescing(coalescing);
            let mut mapped = 0;
            for _ in 0..2 {
                let before = source.shutdown().unwrap().record().record;
                match set.map(&source, &bytes(PAGE)) {
                    Ok(_) => mapped += 1,
                    Err(_) => {
                        assert_eq!(source.shutdown().unwrap().record().record, before);
                        assert_eq!(source.source().kept.lock().unwrap().0, before, "failed at {failing}");
                    }
                }
            }
            let mut lost = false;
            while let Some(part) = set.first_part().unwrap() {
                if let Err(refused) = set.try_remove(part)
                    && matches!(refused.error, RemoveError::FailedBefore { .. })
                {
                    lost = true;
                    set.discard(refused.part).unwrap();
                }
            }
            let clean = source.source().after_crash() == PartState::Ok;
            assert!(mapped > 0 && clean != lost, "failed at {failing}: clean {clean}, lost {lost}");
            let (record, _) = *source.source().kept.lock().unwrap();
            assert_eq!(record, source.shutdown().unwrap().record().record);
        }
    }
}

#[test]
fn refusal_says_why_and_keeps_the_record() {
    let platform = Fake::default();
    let source = Checked::new(Memory::new(&platform, PAGE as u64)).shutdown_record(interrupted());
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config(), 16);
    let Err(MapError::UndesirablePartState { verdict }) = set.map(&source, &bytes(PAGE)) else { unreachable!() };
    assert_eq!((verdict.state, verdict.references), (PartState::OkButInterrupted, 2));
    assert_eq!((verdict.stored_count, verdict.current_count, verdict.id_changed), (5, 5, false));
    *source.source().device.lock().unwrap() = Some(Ok(9));
    let error = set.map(&source, &bytes(PAGE)).unwrap_err();
    assert_eq!(error.code(), -200_026);
    assert!(error.to_string().contains("count was 5 and is 9"), "{error}");
    assert_eq!(source.shutdown().unwrap().record().record, interrupted());
    let accepting: MemorySet<'_, _> =
        Set::with_capacity(&platform, config().acceptable_states(PartStates::CORRUPTED), 16);
    assert_eq!(accepting.map(&source, &bytes(PAGE)).unwrap().shutdown_verdict().unwrap().state, PartState::Corrupted);
    assert_eq!(accepting.part_state(), Some(PartState::Corrupted));
    let second = set.map(&source, &bytes(PAGE)).unwrap();
    assert_eq!(second.shutdown_verdict().unwrap().state, PartState::Corrupted, "whichever set has it open");
}

#[test]
fn device_that_does_not_tell_is_refused() {
    let platform = Fake::default();
    for (device, id, code) in [
        (Err(DeviceError::Unsupported), &b"x"[..], -200_028),
        (Ok(0), b"", -200_028),
        (Err(DeviceError::Failed(Errno::ACCES)), b"x", -13),
        (Ok(0), &[b'x'; 512], -200_029),
    ] {
        let mut memory = Memory::new(&platform, PAGE as u64);
        memory.id = id;
        *memory.device.lock().unwrap() = Some(device);
        let source = Checked::new(memory).shutdown_record(ShutdownRecord::new());
        let set: MemorySet<'_, _> = Set::with_capacity(&platform, config(), 16);
        assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err().code(), code);
        assert_eq!(source.shutdown().unwrap().record().sequence, 0);
    }
}

#[test]
fn observer_that_cannot_keep_the_record_stops_the_map() {
    let platform = Fake::default();
    let source = with_record(Memory::new(&platform, 0), interrupted());
    let observer = from_fn(|_: &Event<'_, Handle<'_>>| Answer::Refuse);
    let set: MemorySet<'_, _> =
        Set::with_capacity(&platform, config().acceptable_states(PartStates::all()).observer(&observer), 16);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap_err(), MapError::RecordNotKept);
    assert_eq!(source.length_bytes(), Ok(0));
    assert_eq!(source.shutdown().unwrap().record().record, interrupted());
    assert_eq!((set.segment_count(), platform.reserved_bytes()), (0, 0));
    assert_eq!(set.repair_shutdown_state(&&source), Err(RepairError::RecordNotKept));
    assert_eq!(source.shutdown().unwrap().record().record, interrupted());
}

#[test]
fn stores_that_were_not_flushed_leave_the_record_dirty() {
    let platform = Fake::default();
    for (flush, after) in [
        (DeepFlush::Done, PartState::Ok),
        (DeepFlush::NotNeeded, PartState::Ok),
        (DeepFlush::NotPermitted, PartState::Corrupted),
    ] {
        let source = with_record(Memory::new(&platform, 0), ShutdownRecord::new());
        *source.source().flush.lock().unwrap() = Ok(flush);
        let observer = noting(&source);
        let set: MemorySet<'_, _> = Set::with_capacity(&platform, config().observer(&observer), 16);
        set.map(&source, &bytes(PAGE)).unwrap();
        set.remove(set.first_part().unwrap().unwrap()).unwrap();
        assert_eq!(source.source().after_crash(), after);
        // Unless it is accepted in words, the same process does not map it again either.
        let again = set.map(&source, &bytes(PAGE)).map(|mapped| mapped.shutdown_verdict().unwrap().state);
        assert_eq!(again.is_ok(), after == PartState::Ok);
    }
}

#[test]
fn failed_flush_keeps_part_and_record() {
    let platform = Fake::default();
    let source = with_record(Memory::new(&platform, 0), ShutdownRecord::new());
    *source.source().flush.lock().unwrap() = Err(Errno::IO);
    let observer = noting(&source);
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config().observer(&observer), 16);
    let part = set.map(&source, &bytes(PAGE)).unwrap().extent();
    assert_eq!(set.remove_range(part.start(), 1).unwrap_err().code(), -200_018);
    assert_eq!(source.source().after_crash(), PartState::Corrupted);
    assert_eq!(source.shutdown().unwrap().record().record.references(), 1);
}

#[test]
fn part_that_grows_while_it_is_removed_is_flushed_whole() {
    let platform = Fake::default();
    platform.slack.store(1 << 20, core::sync::atomic::Ordering::Relaxed);
    let mut memory = Memory::new(&platform, 0);
    memory.gate = Some(std::sync::Barrier::new(2));
    let source = Checked::new(memory).shutdown_record(ShutdownRecord::new());
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config(), 16);
    set.set_coalescing(Coalescing::Full);
    set.map(&source, &bytes(PAGE)).unwrap();
    source.source().take_steps();
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| set.remove(set.first_part().unwrap().unwrap()));
        let gate = source.source().gate.as_ref().unwrap();
        gate.wait();
        set.map(&source, &bytes(PAGE).offset(PAGE as u64)).unwrap();
        gate.wait();
        remover.join().unwrap().unwrap();
    });
    let steps = source.source().take_steps();
    let [before @ .., ("flush", 1), ("unmap", 0), ("unmap", 0)] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(before, [("flush", 0), ("device", 0), ("prepare", 0), ("map", 0)]);
    assert_eq!(source.shutdown().unwrap().record().record.references(), 0);
}

#[test]
fn dropped_set_flushes_nothing_and_says_nothing() {
    let platform = Fake::default();
    let source = with_record(Memory::new(&platform, 0), ShutdownRecord::new());
    let observer = noting(&source);
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config().observer(&observer), 16);
    set.map(&source, &bytes(PAGE)).unwrap();
    drop(set);
    assert_eq!(source.source().after_crash(), PartState::Corrupted);
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, config().observer(&observer), 16);
    let error = set.map(&source, &bytes(PAGE)).unwrap_err();
    assert!(matches!(error, MapError::UndesirablePartState { verdict } if verdict.mapped == 0));
    source.source().give_up_stores();
    assert_eq!(set.repair_shutdown_state(&&source).unwrap().state, PartState::OkButInterrupted);
    assert_eq!(source.source().after_crash(), PartState::Ok);
    assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().shutdown_verdict().unwrap().state, PartState::Ok);
    assert_eq!(set.repair_shutdown_state(&&source), Err(RepairError::InUse { mapped: 1 }));
}

#[test]
fn observer_may_map_and_remove_from_a_record_event() {
    let platform = leak(Fake::default());
    let source = leak(with_record(Memory::new(platform, 0), ShutdownRecord::new()));
    let depth = leak(core::sync::atomic::AtomicU32::new(0));
    let set = late_set(platform, config(), |set, event: &Event<'_, Handle<'_>>| {
        source.source().note(event);
        if depth.fetch_add(1, core::sync::atomic::Ordering::Relaxed) == 0 {
            let inner = set.map(set_source(event), &bytes(PAGE)).unwrap();
            assert_eq!(inner.shutdown_verdict().unwrap().state, PartState::Ok, "that of the first mapping");
            set.remove(inner).unwrap();
        }
        Answer::Proceed
    });
    set.map(source, &bytes(PAGE)).unwrap();
    set.remove(set.first_part().unwrap().unwrap()).unwrap();
    assert_eq!(source.source().after_crash(), PartState::Ok);
}

fn set_source<'a>(event: &crate::Event<'_, Handle<'a>>) -> Handle<'a> {
    let crate::Event::SdsUpdate { source, .. } = event else { unreachable!("the first event is a record") };
    source
}

#[test]
fn segment_mapped_into_a_range_that_is_removed_is_flushed() {
    let platform = Fake::default();
    let mut memory = Memory::new(&platform, 0);
    memory.gate = Some(std::sync::Barrier::new(2));
    let source: Checked<_, SpinRwLock> = Checked::new(memory).shutdown_record(ShutdownRecord::new());
    let reservation = Reservation::with_capacity(&platform, 2 * PAGE, 4).unwrap();
    let window = reservation.extent();
    let other = FakeSource::new(&platform, PAGE as u64);
    let set = set_behind(&reservation, &source, &other);
    source.source().take_steps();
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| set.remove_range(window.start(), window.length_bytes()));
        let gate = source.source().gate.as_ref().unwrap();
        gate.wait();
        // Below what is being flushed.
        assert_eq!(set.map(&source, &bytes(PAGE)).unwrap().extent().start(), window.start());
        gate.wait();
        remover.join().unwrap().unwrap();
    });
    let steps = source.source().take_steps();
    assert!(steps.iter().filter(|step| step.0 == "flush").count() >= 2, "{steps:?}");
    assert_eq!((set.segment_count(), source.shutdown().unwrap().record().record.references()), (0, 0));
}

#[test]
fn segment_mapped_into_a_range_that_is_removed_stays_if_its_flush_has_failed() {
    let platform = Fake::default();
    let mut memory = Memory::new(&platform, 0);
    memory.gate = Some(std::sync::Barrier::new(2));
    let source: Checked<_, SpinRwLock> = Checked::new(memory);
    let failing = Checked::new(Memory::new(&platform, 1));
    *failing.source().flush.lock().unwrap() = Err(Errno::IO);
    let reservation = Reservation::with_capacity(&platform, 2 * PAGE, 4).unwrap();
    let window = reservation.extent();
    let other = FakeSource::new(&platform, PAGE as u64);
    let set = set_behind(&reservation, &source, &other);
    std::thread::scope(|scope| {
        let remover = scope.spawn(|| set.remove_range(window.start(), window.length_bytes()));
        let gate = source.source().gate.as_ref().unwrap();
        gate.wait();
        // Below what is being flushed.
        let segment = set.map(&failing, &bytes(PAGE)).unwrap().extent();
        let cause = Errno::IO;
        assert_eq!(set.remove_range(segment.start(), PAGE), Err(RemoveError::DeepFlush { segment, cause }));
        gate.wait();
        assert_eq!(remover.join().unwrap(), Err(RemoveError::FailedBefore { segment, cause }));
    });
    assert_eq!(set.segment_count(), 2);
}

#[test]
fn stores_of_a_mapping_that_goes_while_another_is_taken_back_keep_the_record_dirty() {
    let platform = leak(Fake::default());
    let source = leak(Checked::new(Memory::new(platform, 0)).shutdown_record(ShutdownRecord::new()));
    *source.source().flush.lock().unwrap() = Ok(DeepFlush::NotPermitted);
    let set = late_set(platform, config(), |set, event: &Event<'_, Handle<'_>>| match event {
        Event::SdsUpdate { record, .. } if record.references() == 2 => {
            set.remove(set.first_part().unwrap().unwrap()).unwrap();
            Answer::Refuse
        }
        _ => Answer::Proceed,
    });
    set.map(source, &bytes(PAGE)).unwrap();
    assert_eq!(set.map(source, &bytes(PAGE)).unwrap_err(), MapError::RecordNotKept);
    assert_eq!(set.segment_count(), 0);
    assert_eq!(source.shutdown().unwrap().record().record.references(), 1);
}
