//! Storage is given back where nothing is mapped, and nowhere else.

use std::sync::Arc;

use pmemset_core::error::GiveBackError;
use pmemset_core::lock::SpinRwLock;
use pmemset_core::sim::{Call, Fault, Hardware, Machine, Medium, SimSource, SimSpace};
use pmemset_core::{BadBlockPolicy, Checked, Config, Errno, Granularity, MapConfig, Set, Source, Span};

const PAGE: usize = 4096;

type Handle = Arc<dyn Source<Space = SimSpace>>;

fn pages(first: u64, count: u64) -> Span {
    Span::new(first * PAGE as u64, count * PAGE as u64).unwrap()
}

fn mapping(first: u64, count: usize) -> MapConfig {
    MapConfig::new().offset(first * PAGE as u64).length(count * PAGE)
}

/// The same source behind an adapter.
fn checked(source: &SimSource) -> Handle {
    Arc::new(Checked::<_, SpinRwLock>::new(source.clone()).bad_block_detection(BadBlockPolicy::IfKnown))
}

#[test]
fn what_is_mapped_stays_and_the_rest_goes() {
    let machine = Machine::new(Hardware::new());
    let source = machine.add_source(Medium::new(8 * PAGE as u64).growing_to(8 * PAGE as u64));
    let other: Handle = Arc::new(machine.add_source(Medium::new(8 * PAGE as u64).growing_to(8 * PAGE as u64)));
    let set: Set<'_, _, Handle> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 8);
    let handle: Handle = Arc::new(source.clone());
    let low = set.map(Arc::clone(&handle), &mapping(1, 2)).unwrap();
    let high = set.map(checked(&source), &mapping(5, 1)).unwrap();
    let beside = set.map(Arc::clone(&other), &mapping(0, 8)).unwrap();
    for part in [&low, &high, &beside] {
        part.fill(0, 0xee, part.extent().length_bytes(), pmemset_core::CopyFlags::empty()).unwrap();
    }
    let (low_at, high_at) = (low.extent(), high.extent());
    for (range, segment) in [
        (pages(0, 8), low_at.min(high_at)),
        (pages(2, 1), low_at),
        (pages(0, 2), low_at),
        (pages(2, 4), low_at.min(high_at)),
        (pages(5, 1), high_at),
        (pages(3, 3), high_at),
    ] {
        for same in [&handle, &checked(&source)] {
            assert_eq!(set.give_back(same, range), Err(GiveBackError::Mapped { segment }), "{range}");
        }
    }
    let kept = source.bytes(0, 8 * PAGE);
    // Neither of them touches what is mapped, though other sources have the same bytes mapped.
    for range in [pages(0, 1), pages(3, 2), pages(6, 2)] {
        assert_eq!(set.give_back(&handle, range), Ok(()), "{range}");
    }
    assert_eq!(source.bytes(0, 8 * PAGE), kept);
    set.remove(low).unwrap();
    assert_eq!(set.give_back(&checked(&source), pages(0, 5)), Ok(()), "by another handle");
    let now = source.bytes(0, 8 * PAGE);
    assert!(now[..5 * PAGE].iter().all(|byte| *byte == 0));
    assert_eq!(now[5 * PAGE..], kept[5 * PAGE..]);
    drop((high, beside));
}

#[test]
fn refusals_change_nothing_and_say_why() {
    let machine = Machine::new(Hardware::new());
    let fixed = machine.add_source(Medium::new(8 * PAGE as u64));
    let grows = machine.add_source(Medium::new(8 * PAGE as u64).growing_to(8 * PAGE as u64));
    let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 8);
    assert_eq!(set.give_back(&fixed, pages(0, 1)), Err(GiveBackError::Failed(Errno::OPNOTSUPP)));
    let range = Span::new(PAGE as u64, 100).unwrap();
    let unaligned = GiveBackError::Unaligned { range, alignment_bytes: PAGE };
    assert_eq!(set.give_back(&grows, range), Err(unaligned));
    machine.fail(Fault::nth(0).only(Call::GiveBack).errno(Errno::IO));
    assert_eq!(set.give_back(&grows, pages(0, 1)), Err(GiveBackError::Failed(Errno::IO)));
    assert_eq!(set.give_back(&grows, pages(0, 1)), Ok(()));
    assert!(unaligned.to_string().contains("not on multiples of 4096"));
}
