//! What the core's fuzzers do with the choices of a generator: seeded ones by `cargo xtask fuzz`, bytes by `cargo
//! fuzz`.
#![allow(unsafe_code, reason = "stores to simulated memory")]

use pmemset_core::sim::{Explore, Fault, Hardware, Machine, Medium};
use pmemset_core::support::{Collector, Random, check_bounds, in_extent};
use pmemset_core::{
    BadBlocks, DeviceId, Extent, Granularity, PartState, PartStates, Platform, ShutdownRecord, Source, Span,
};

use crate::world::{Ground, Op, Plan, World, random_op};

/// Random operations on a set, some of them with a failing call, against the interval model.
pub fn set(random: &mut Random) {
    let pages = random.below(17);
    let plan = Plan { reservation_pages: if random.one_in(2) { pages } else { 0 }, ahead_pages: random.below(5) };
    let ground = Ground::new(plan);
    let observer = ground.observer();
    let set = ground.set(plan, &observer);
    let mut world = World::new(&ground, &set, plan);
    for _ in 0..80 {
        let op = random_op(random);
        if random.one_in(8) && matches!(op, Op::Map { .. }) {
            refused(&mut world, op, random.below(6) as u64);
        } else {
            world.step(op);
        }
    }
}

/// Maps while a call fails: what fails changes nothing.
fn refused(world: &mut World<'_, '_>, op: Op, nth: u64) {
    let machine = &world.ground.machine;
    let expected = world.model.expect(op, machine);
    machine.fail(Fault::nth(nth));
    let failed_before = machine.failed_calls();
    let outcome = world.act(op);
    machine.repair();
    let failed = if machine.failed_calls() > failed_before { machine.last_failed_call() } else { None };
    let told = if outcome.failed() && failed.is_some() {
        Vec::new()
    } else {
        let expected = world.model.expect_despite(failed, outcome, expected);
        world.model.apply(op, outcome, &expected, machine)
    };
    world.model.note_leaks(machine);
    world.check(&told);
}

/// A random program that publishes values behind fences as it should: no acknowledged one is ever lost.
pub fn cuts(random: &mut Random) {
    let failure = publish(random, true);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}

/// The same program, with fences left out here and there: has to fail on many seeds.
pub fn canary(random: &mut Random) {
    let failure = publish(random, false);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}

fn publish(random: &Random, with_fences: bool) -> Option<String> {
    const PAGE: usize = 512;
    let work = |machine: &Machine| {
        let mut random = random.clone();
        let (platform, source) = (machine.platform(), machine.add_source(Medium::new(PAGE as u64)));
        let window = platform.reserve(PAGE, PAGE).unwrap();
        // SAFETY: reserved just now.
        unsafe { source.map(window, 0) }.unwrap();
        let store = |word: usize, value: u64| {
            // SAFETY: the word is in the mapped page.
            unsafe { core::ptr::with_exposed_provenance_mut::<u64>(window.start() + word * 8).write_volatile(value) };
            window.slice(word * 8, 8).unwrap()
        };
        for value in 1..=u64::from(random.below(4) == 0) + 2 {
            let words: Vec<usize> = (0..1 + random.below(4)).map(|_| 1 + random.below(63)).collect();
            for word in 1..64 {
                let range = store(word, if words.contains(&word) { random.word() } else { value });
                if word % 8 == 7 {
                    // SAFETY: mapped.
                    unsafe { platform.write_back(Extent::new(range.start() & !63, 64).unwrap()) };
                }
            }
            let sum = source.words(8, 63).into_iter().fold(value, u64::wrapping_add);
            if with_fences || random.one_in(2) {
                platform.fence();
            }
            // The mark of this value: its checksum, on the first line.
            let mark = store(0, sum.wrapping_mul(0x9e37_79b9) | 1);
            // SAFETY: mapped.
            unsafe { platform.write_back(mark) };
            platform.fence();
            machine.acknowledge(sum.wrapping_mul(0x9e37_79b9) | 1);
        }
    };
    // While the next value is being written, the mark does not fit; it fits when it has just been acknowledged.
    let check = |machine: &Machine| {
        let mark = machine.source(0).words(0, 1)[0];
        if mark == 0 || mark == machine.acknowledged() {
            return Ok(());
        }
        let words = machine.source(0).words(0, 64);
        let fits = (1..=3_u64).any(|value| {
            words[0] == words[1..].iter().fold(value, |sum, word| sum.wrapping_add(*word)).wrapping_mul(0x9e37_79b9) | 1
        });
        if !fits { Err("a mark without its value".to_owned()) } else { Ok(()) }
    };
    let explore = Explore::new(Hardware::new().page_bytes(PAGE).address_space_bytes(16 * PAGE)).runs_max(1 << 16);
    explore.run(work, check).err().map(|failure| failure.to_string())
}

/// Shutdown records from any bytes, and the judgement on them.
pub fn records(random: &mut Random) {
    let mut bytes = [0; 536];
    let ids: [&[u8]; 4] = [b"", b"dimm-1", b"dimm-1dimm-2", &[0xff; 511]];
    let stored = random.of(&ids);
    bytes[..stored.len()].copy_from_slice(stored);
    bytes[520] = random.of(&[0, 1, 255]);
    bytes[528] = random.of(&[0, 1, 2]);
    for _ in 0..random.below(4) {
        bytes[random.below(536)] = random.word() as u8;
    }
    let record = ShutdownRecord::from_bytes(&bytes);
    let again = ShutdownRecord::from_bytes(&record.to_bytes());
    assert_eq!(record, again, "what is written is what is read");
    let mut id = DeviceId::new();
    id.push(random.of(&ids)).unwrap();
    let (count, mapped) = (random.of(&[0, 1, 255]), random.of(&[0, 1]));
    let verdict = record.judge(mapped, &id, count);
    let same = record.device_id() == id.as_bytes() && record.unsafe_shutdowns() == count;
    match verdict.state {
        PartState::Ok => assert!(record.references() == 0 || (same && record.references() < 0)),
        PartState::Corrupted => assert!(record.unsafe_shutdowns() != count && record.device_id() == id.as_bytes()),
        PartState::Indeterminate => assert!(record.device_id() != id.as_bytes()),
        PartState::OkButInterrupted => assert!(same && mapped == 0),
        PartState::OkButAlreadyOpen => assert!(same && mapped > 0),
    }
    assert!(PartStates::all().accepts(verdict.state));
}

/// Lists of bad blocks against one bit per byte.
pub fn blocks(random: &mut Random) {
    const BYTES: usize = 96;
    let span = |random: &mut Random| {
        let start = random.below(BYTES - 1);
        Span::new(start as u64, 1 + random.below((BYTES - start).min(12)) as u64).unwrap()
    };
    let mut all: Vec<Span> = (0..random.below(9)).map(|_| span(random)).collect();
    let sorted = random.one_in(2);
    if sorted {
        all.sort_unstable();
    }
    let mut buffer = [span(random); 4];
    let room = random.below(5);
    let mut collector = Collector::new(&mut buffer[..room]);
    all.iter().for_each(|block| collector.add(*block));
    let outcome = collector.finish();
    let bad = |at: u64| all.iter().any(|block| block.contains(at));
    match outcome {
        BadBlocks::None => assert!(all.is_empty()),
        BadBlocks::Listed { count, more } => {
            let listed = &buffer[..count];
            let end = if more { listed.last().map_or(0, |block| block.end()) } else { BYTES as u64 };
            (0..end).for_each(|at| assert_eq!(listed.iter().any(|block| block.contains(at)), bad(at), "{all:?}"));
            assert!(listed.windows(2).all(|pair| pair[0].end() < pair[1].start()), "apart and in order: {listed:?}");
            assert!(count == room || !more || !sorted, "cut short with room left");
        }
        other => panic!("{other:?}"),
    }
    let (offset, length) = (random.word() >> random.below(64), random.below(BYTES));
    let inside = offset.checked_add(length as u64).is_some_and(|end| end <= 1 << 20);
    assert_eq!(check_bounds(offset, length, 1 << 20).is_ok(), inside, "{offset} {length}");
    let (block, physical, unit) = (span(random), span(random), 1 << random.below(4));
    if let Some(found) = in_extent(block, physical, 1000, unit) {
        assert!(block.overlaps(physical) && found.start() >= 1000_u64.saturating_sub(unit), "{block} in {physical}");
    }
    let _ = Granularity::from_raw(random.word() as u8);
}
