//! Every call of the platform and the source fails once, or fails for good: the set is what it was, and a retry works.

use pmemset_core::error::RemoveError;
use pmemset_core::sim::{Call, Fault, Page};
use pmemset_core::support::Random;
use pmemset_core::{Coalescing, Extent};
use testkit::world::{Ground, Op, Outcome, PAGE, Plan, Told, World, random_op};

const OWN: Plan = Plan { reservation_pages: 0, ahead_pages: 0 };
const AHEAD: Plan = Plan { reservation_pages: 0, ahead_pages: 3 };
const CALLERS: Plan = Plan { reservation_pages: 8, ahead_pages: 0 };

const MAP: Op = Op::Map { source: 0, offset: 0, pages: 1 };
const MORE: Op = Op::Map { source: 0, offset: 1, pages: 2 };
const LAST: Op = Op::Map { source: 0, offset: 3, pages: 1 };
const GROW: Op = Op::Map { source: 1, offset: 1, pages: 3 };
const REST: Op = Op::Map { source: 0, offset: 4, pages: 0 };
const FULL: Op = Op::Coalesce(Coalescing::Full);
const OPPORTUNISTIC: Op = Op::Coalesce(Coalescing::Opportunistic);
const REMOVE: Op = Op::Remove { part: 0 };

const fn range(segment: usize, delta: isize, length_bytes: usize) -> Op {
    Op::RemoveRange { segment, delta, length_bytes }
}

/// What is there before, and what is done while calls fail.
const SCENARIOS: [(&[Op], Op); 14] = [
    (&[], MAP),
    (&[], GROW),
    (&[MAP], MORE),
    (&[MAP], REST),
    (&[MAP, FULL], MORE),
    (&[MAP, FULL], GROW),
    (&[MAP, OPPORTUNISTIC, Op::Occupy { segment: 0 }], GROW),
    (&[MAP], REMOVE),
    (&[FULL, MAP, MORE, LAST], REMOVE),
    (&[FULL, MAP, MORE, LAST], range(1, 5, 1)),
    (&[FULL, MAP, MORE, LAST], range(0, 0, 2 * PAGE)),
    (&[MAP, MORE, LAST], range(0, 0, usize::MAX >> 17)),
    (&[MAP, FULL, MORE, Op::Coalesce(Coalescing::None), LAST, GROW], range(1, 0, 4 * PAGE)),
    (&[FULL, MAP, MORE, GROW, LAST], range(2, 0, 3 * PAGE + 1)),
];

/// Does `op` while the call number `nth` fails; returns whether there were so many.
fn fail_nth(plan: Plan, before: &[Op], op: Op, nth: u64, for_good: bool) -> bool {
    let ground = Ground::new(plan);
    let machine = ground.machine.clone();
    let failed = {
        let observer = ground.observer();
        let set = ground.set(plan, &observer);
        let mut world = World::new(&ground, &set, plan);
        for op in before {
            world.step(*op);
        }
        let expected = world.model.expect(op, &machine);
        let fault = Fault::nth(nth);
        machine.fail(if for_good { fault.for_good() } else { fault });
        let outcome = world.act(op);
        machine.repair();
        let failed = machine.failed_calls() > 0;
        let told = match outcome {
            Outcome::Map(Err(error)) if failed => {
                assert_ne!(error.code(), 0, "an error has a code");
                Vec::new()
            }
            Outcome::Remove(Err(RemoveError::Unmap { segment, removed, .. })) if failed => {
                removed_below(&mut world, op, segment, removed)
            }
            Outcome::Remove(Err(_)) if failed => Vec::new(),
            outcome => {
                let only = machine.last_failed_call();
                assert!(matches!(only, None | Some(Call::Release | Call::ReserveAt)), "{only:?} is swallowed");
                let expected = world.model.expect_despite(only, outcome, expected);
                world.model.apply(op, outcome, &expected, &machine)
            }
        };
        if machine.last_failed_call() == Some(Call::Release) || for_good {
            world.model.note_leaks(&machine);
        }
        world.check(&told);
        if let Outcome::Remove(Err(RemoveError::DeepFlush { .. })) = outcome {
            give_up(&mut world, op);
        } else {
            world.step(op);
            world.step(REMOVE);
        }
        failed
    };
    drop(ground);
    assert!(machine.pages().iter().all(|(_, page)| *page != Page::Mapped), "something is left mapped");
    failed
}

/// What could not be flushed stays refused until it is discarded, or for as long as somebody has a handle.
fn give_up(world: &mut World<'_, '_>, op: Op) {
    let again = world.act(op);
    assert!(matches!(again, Outcome::Remove(Err(RemoveError::FailedBefore { .. }))), "{again:?}");
    world.check(&[]);
    let range = range_of(world, op);
    let whole = matches!(op, Op::Remove { .. });
    let discarded = if whole {
        let handle = world.set.part_at(range.start()).unwrap();
        world.set.discard(handle)
    } else {
        world.set.discard_range(range.start(), range.length_bytes())
    };
    let told = match discarded {
        Ok(()) => {
            let mut told = world.model.strike(range);
            told.splice(0..0, (!whole).then_some(Told::Range(range)));
            told
        }
        Err(RemoveError::Pinned { .. }) if !world.pins.is_empty() => Vec::new(),
        other => panic!("{other:?}"),
    };
    world.check(&told);
}

fn range_of(world: &World<'_, '_>, op: Op) -> Extent {
    match op {
        Op::Remove { part } => world.model.nth_part(part).unwrap(),
        Op::RemoveRange { segment, delta, length_bytes } => {
            Extent::new(world.model.range_start(segment, delta), length_bytes).unwrap()
        }
        _ => panic!("{op:?} removes nothing"),
    }
}

/// Takes out of the model what a removal has removed before it failed, and returns the events; the error has to have
/// said the same.
fn removed_below(world: &mut World<'_, '_>, op: Op, segment: Extent, removed: Option<Extent>) -> Vec<Told> {
    let below = range_of(world, op).ending_at(segment.start());
    let extents = world.model.segments.iter().map(|segment| segment.extent);
    let mut gone: Vec<Extent> = extents.filter(|extent| below.is_some_and(|below| below.overlaps(*extent))).collect();
    gone.sort_unstable();
    let expected = gone.first().zip(gone.last()).and_then(|(one, last)| Extent::between(one.start(), last.end()));
    assert_eq!(removed, expected, "what the error says is gone");
    let mut told = below.map_or_else(Vec::new, |below| world.model.strike(below));
    told.splice(0..0, removed.map(Told::Range));
    told
}

#[test]
fn failed_call_leaves_the_old_state_and_a_retry_works() {
    let mut failures = 0;
    for plan in [OWN, AHEAD, CALLERS] {
        for ((before, op), for_good) in SCENARIOS.into_iter().flat_map(|scenario| [(scenario, false), (scenario, true)])
        {
            for nth in 0.. {
                println!("{plan:?}: {before:?}, then {op:?}, call {nth} fails, for good: {for_good}");
                if !fail_nth(plan, before, op, nth, for_good) {
                    break;
                }
                failures += 1;
            }
        }
    }
    assert!(failures > 300, "{failures} failures");
}

#[test]
fn failed_call_after_random_operations() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let plan = random.of(&[OWN, AHEAD, CALLERS]);
        let before: Vec<Op> = (0..12).map(|_| random_op(&mut random)).collect();
        let op = random_op(&mut random);
        let for_good = random.one_in(2);
        println!("seed {seed}: {plan:?}, {before:?}, then {op:?}, for good: {for_good}");
        (0..).take_while(|nth| fail_nth(plan, &before, op, *nth, for_good)).count();
    }
}

#[test]
fn set_that_cannot_unmap_keeps_its_address_space() {
    for (plan, call) in [(OWN, Call::Release), (CALLERS, Call::Unmap)] {
        let ground = Ground::new(plan);
        let machine = ground.machine.clone();
        {
            let observer = ground.observer();
            let set = ground.set(plan, &observer);
            let mut world = World::new(&ground, &set, plan);
            for op in [FULL, MAP, MORE, LAST] {
                world.step(op);
            }
            machine.fail(Fault::nth(1).only(call).for_good());
        }
        drop(ground);
        let mapped = |run: &&(Extent, Page)| run.1 == Page::Mapped;
        let left: usize = machine.pages().iter().filter(mapped).map(|(run, _)| run.length_bytes()).sum();
        assert_eq!(left, 3 * PAGE, "what could not be unmapped is still there");
    }
}
