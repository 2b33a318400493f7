//! Random operations on a set, with everything that can be seen of it compared with a list of intervals after each.

use std::collections::BTreeMap;

use pmemset_core::sim::Page;
use pmemset_core::support::Random;
use testkit::world::{Ground, Outcome, Plan, World, random_op};

/// How often each outcome was seen.
type Seen = BTreeMap<String, usize>;

const PLANS: [Plan; 5] = [
    Plan { reservation_pages: 0, ahead_pages: 15 },
    Plan { reservation_pages: 0, ahead_pages: 0 },
    Plan { reservation_pages: 0, ahead_pages: 4 },
    Plan { reservation_pages: 16, ahead_pages: 0 },
    // Room ahead is not taken out of the caller's window.
    Plan { reservation_pages: 7, ahead_pages: 3 },
];

fn run(seed: u64, steps: usize, seen: &mut Seen) {
    let mut random = Random::new(seed);
    let plan = random.of(&PLANS);
    let ground = Ground::new(plan);
    let machine = ground.machine.clone();
    play(&ground, plan, &mut random, steps, seen);
    drop(ground);
    let left = machine.pages();
    assert!(left.iter().all(|(_, page)| *page == Page::Occupied), "something is left: {left:?}");
}

fn play(ground: &Ground, plan: Plan, random: &mut Random, steps: usize, seen: &mut Seen) {
    let observer = ground.observer();
    let set = ground.set(plan, &observer);
    let mut world = World::new(ground, &set, plan);
    for step in 0..steps {
        let op = random_op(random);
        println!("step {step} in {plan:?}: {op:?}");
        let (before, parts) = (world.model.granularity(), world.model.parts().len());
        let outcome = world.step(op);
        let name = match outcome {
            Outcome::Map(Err(error)) => format!("{error:?}"),
            Outcome::Remove(Err(error)) => format!("{error:?}"),
            Outcome::Map(Ok(_)) if world.model.parts().len() == parts => "Joined".to_owned(),
            Outcome::Map(Ok(_)) if before.is_none() => "First".to_owned(),
            Outcome::Map(Ok(_)) => "Mapped".to_owned(),
            Outcome::Remove(Ok(())) if world.model.parts().len() > parts => "Split".to_owned(),
            Outcome::Remove(Ok(())) => "Removed".to_owned(),
            Outcome::Done => continue,
        };
        *seen.entry(name.split([' ', '(']).next().unwrap_or_default().to_owned()).or_default() += 1;
    }
}

#[test]
fn random_operations_agree_with_the_interval_model() {
    let mut seen = Seen::new();
    for seed in 0..400 {
        println!("seed {seed}");
        run(seed, 60, &mut seen);
    }
    println!("{seen:?}");
    let all = [
        "First",
        "Mapped",
        "Joined",
        "Split",
        "Removed",
        "Pinned",
        "OutOfRange",
        "OffsetUnaligned",
        "LengthUnset",
        "LengthUnaligned",
        "TableFull",
        "GranularityMismatch",
        "CannotCoalesce",
        "CannotFit",
        "SourceTooSmall",
        "CannotGrow",
        "Map",
        "AddressSpace",
    ];
    assert_eq!(
        all.iter().filter(|name| seen.get(**name).is_none_or(|times| *times < 10)).collect::<Vec<_>>(),
        [&""; 0]
    );
}

#[test]
fn long_run_agrees_with_the_interval_model() {
    for seed in 1000..1008 {
        println!("seed {seed}");
        run(seed, 2000, &mut Seen::new());
    }
}
