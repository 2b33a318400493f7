//! Bad blocks of the bytes to be mapped: policies, observers that clear, half clear or refuse, lists without an end.

use super::fake::{Fake, PAGE};
use super::memory::{Handle, Memory, Step};
use super::shutdown::MemorySet;
use super::{bytes, from_fn};
use crate::error::MapError;
use crate::health::{BadBlockPolicy, BadBlocks, BadBlocksError, ClearError, DeviceError, ShutdownRecord};
use crate::lock::SpinRwLock;
use crate::{Answer, Checked, Config, Errno, Event, Granularity, Health, MapConfig, Set, Source, Span};

type Lock = SpinRwLock;

fn pages(first: u64, count: u64) -> Span {
    Span::new(first * PAGE as u64, count * PAGE as u64).unwrap()
}

fn damaged<'p>(platform: &'p Fake, policy: BadBlockPolicy, bad: &[Span]) -> Checked<Memory<'p>, Lock> {
    let memory = Memory::new(platform, 1 << 20);
    *memory.bad.lock().unwrap() = bad.to_vec();
    Checked::new(memory).bad_block_detection(policy)
}

/// Maps eight pages from page 8 on with an observer, and returns the result and what was seen.
fn map_with(
    source: &Checked<Memory<'_>, Lock>,
    platform: &Fake,
    answer: impl Fn(&Event<'_, Handle<'_>>) -> Answer + Sync,
) -> (Result<(), MapError>, Vec<Step>) {
    let observer = from_fn(|event: &Event<'_, Handle<'_>>| {
        source.source().note(event);
        answer(event)
    });
    let set: MemorySet<'_, _> = Set::with_capacity(platform, Config::new(Granularity::Page).observer(&observer), 16);
    let config = MapConfig::new().offset(8 * PAGE as u64).length(8 * PAGE);
    let result = set.map(source, &config).map(|_| ());
    assert_eq!(set.segment_count(), usize::from(result.is_ok()));
    let mut steps = source.source().take_steps();
    steps.retain(|step| matches!(step.0, "bad" | "cleared" | "list" | "add"));
    (result, steps)
}

#[test]
fn only_blocks_of_the_mapped_range_count() {
    let platform = Fake::default();
    let outside = [pages(0, 8), pages(16, 1), pages(200, 3)];
    let source = damaged(&platform, BadBlockPolicy::Required, &outside);
    assert_eq!(map_with(&source, &platform, |_| Answer::Refuse), (Ok(()), vec![("list", 8), ("add", 0)]));
    let mut memory = Memory::new(&platform, 1 << 20);
    *memory.bad.lock().unwrap() = outside.to_vec();
    memory.lists_all = true;
    let talkative = Checked::new(memory).bad_block_detection(BadBlockPolicy::Required);
    assert_eq!(map_with(&talkative, &platform, |_| Answer::Refuse).0, Ok(()));
    let mut whole = [pages(0, 1); 8];
    assert_eq!(source.bad_blocks(pages(0, 256), &mut whole), BadBlocks::Listed { count: 3, more: false });
    assert_eq!(whole[..3], outside);
    for edge in [pages(7, 2), pages(15, 9), pages(0, 100)] {
        let source = damaged(&platform, BadBlockPolicy::IfKnown, &[edge]);
        let (result, steps) = map_with(&source, &platform, |_| Answer::Proceed);
        assert_eq!(result, Err(MapError::BadBlock { block: edge }));
        assert_eq!(result.unwrap_err().code(), -200_032);
        assert_eq!(steps, [("list", 8), ("bad", (edge.start() >> 12) as i32), ("list", 8)]);
    }
}

#[test]
fn observer_clears_half_clears_or_refuses() {
    let platform = Fake::default();
    let bad = [pages(9, 1), pages(12, 2)];
    let clear = |event: &Event<'_, Handle<'_>>, first_only: bool| {
        if let Event::BadBlock { source, block } = event
            && (!first_only || block.start() == bad[0].start())
        {
            source.clear_bad_block(*block).unwrap();
        }
        Answer::Proceed
    };
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &bad);
    let (result, steps) = map_with(&source, &platform, |event| clear(event, false));
    assert_eq!(result, Ok(()));
    assert_eq!(steps, [("list", 8), ("bad", 9), ("bad", 12), ("list", 8), ("cleared", 0), ("add", 0)]);
    assert_eq!(map_with(&source, &platform, |_| Answer::Refuse).1, [("list", 8), ("add", 0)], "none is left");
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &bad);
    let half = map_with(&source, &platform, |event| clear(event, true));
    assert_eq!(half.0, Err(MapError::BadBlock { block: bad[1] }));
    assert_eq!(half.1, [("list", 8), ("bad", 9), ("bad", 12), ("list", 8)]);
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &bad);
    let refused = map_with(&source, &platform, |_| Answer::Refuse);
    assert_eq!(refused, (Err(MapError::BadBlock { block: bad[0] }), vec![("list", 8), ("bad", 9)]));
    let late = map_with(&source, &platform, |event| match event {
        Event::BadBlocksCleared { range, .. } => {
            assert_eq!(*range, pages(8, 8));
            Answer::Refuse
        }
        _ => clear(event, false),
    });
    assert_eq!(late.0, Err(MapError::ClearedBlocksRefused));
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &bad);
    *source.source().clears.lock().unwrap() = Err(ClearError::Unsupported);
    assert_eq!(source.clear_bad_block(bad[0]), Err(ClearError::Unsupported));
}

#[test]
fn three_answers_three_policies() {
    let platform = Fake::default();
    let unknown = Err(MapError::BadBlocksUnknown { reason: BadBlocksError::Failed(Errno::ACCES) });
    for (policy, none, listed, untold) in [
        (BadBlockPolicy::Off, Ok(()), Ok(()), Ok(())),
        (BadBlockPolicy::IfKnown, Ok(()), Err(MapError::BadBlock { block: pages(9, 1) }), Ok(())),
        (BadBlockPolicy::Required, Ok(()), Err(MapError::BadBlock { block: pages(9, 1) }), unknown),
    ] {
        let map = |bad: &[Span], cause| {
            let source = damaged(&platform, policy, bad);
            *source.source().unknown.lock().unwrap() = cause;
            map_with(&source, &platform, |_| Answer::Proceed).0
        };
        assert_eq!(map(&[], None), none);
        assert_eq!(map(&[pages(9, 1)], None), listed);
        assert_eq!(map(&[], Some(Errno::ACCES)), untold);
    }
}

#[test]
fn list_that_goes_silent_after_clearing_refuses() {
    let platform = Fake::default();
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &[pages(9, 1)]);
    let (result, _) = map_with(&source, &platform, |_| {
        *source.source().unknown.lock().unwrap() = Some(Errno::IO);
        Answer::Proceed
    });
    assert_eq!(result, Err(MapError::BadBlocksUnknown { reason: BadBlocksError::Failed(Errno::IO) }));
}

#[test]
fn more_blocks_than_fit_are_all_told() {
    let platform = Fake::default();
    let every_other: Vec<Span> =
        (0..64).map(|index| Span::new(pages(8, 1).start() + index * 512, 256).unwrap()).collect();
    let source = damaged(&platform, BadBlockPolicy::Required, &every_other);
    let (result, steps) = map_with(&source, &platform, |event| {
        if let Event::BadBlock { source, block } = event {
            source.clear_bad_block(*block).unwrap();
        }
        Answer::Proceed
    });
    assert_eq!(result, Ok(()));
    assert_eq!(steps.iter().filter(|step| step.0 == "bad").count(), 64);
}

#[test]
fn memory_that_a_source_grows_by_is_looked_at_too() {
    let platform = Fake::default();
    let source = damaged(&platform, BadBlockPolicy::IfKnown, &[pages(10, 1)]);
    *source.source().fake.length_bytes.lock().unwrap() = 10 * PAGE as u64;
    let set: MemorySet<'_, _> = Set::with_capacity(&platform, Config::new(Granularity::Page), 16);
    assert_eq!(source.bad_blocks(pages(0, 16), &mut [pages(0, 1); 1]), BadBlocks::None);
    assert_eq!(set.map(&source, &bytes(16 * PAGE)).unwrap_err(), MapError::BadBlock { block: pages(10, 1) });
    assert_eq!(source.length_bytes(), Ok(10 * PAGE as u64));
    set.map(&source, &bytes(8 * PAGE)).unwrap();
}

#[test]
fn another_device_after_the_clearing_is_refused() {
    let platform = Fake::default();
    for replaced in [None, Some(Ok(8)), Some(Err(DeviceError::Unsupported))] {
        let memory = Memory::new(&platform, 1 << 20);
        *memory.bad.lock().unwrap() = vec![pages(9, 1)];
        *memory.device.lock().unwrap() = Some(Ok(7));
        let checked = Checked::new(memory).bad_block_detection(BadBlockPolicy::Required);
        let source = checked.shutdown_record(ShutdownRecord::new());
        let (result, _) = map_with(&source, &platform, |event| {
            if let Event::BadBlock { source: bad, block } = event {
                bad.clear_bad_block(*block).unwrap();
                if let Some(device) = &replaced {
                    *source.source().device.lock().unwrap() = Some(*device);
                }
            }
            Answer::Proceed
        });
        match replaced {
            None => result.unwrap(),
            Some(Ok(_)) => assert!(matches!(result, Err(MapError::UndesirablePartState { .. })), "{result:?}"),
            Some(Err(_)) => assert_eq!(result, Err(MapError::ShutdownUnsupported)),
        }
        assert_eq!(source.shutdown().unwrap().record().record.references(), i32::from(replaced.is_none()));
    }
}
