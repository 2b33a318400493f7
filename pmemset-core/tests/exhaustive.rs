//! Every short sequence of operations in a tiny world, compared with a list of intervals after each operation.

use pmemset_core::Coalescing;
use pmemset_core::sim::Page;
use testkit::world::{Ground, Op, PAGE, Plan, World};

const LENGTH: u32 = 4;

const OPS: [Op; 11] = [
    Op::Map { source: 0, offset: 0, pages: 1 },
    Op::Map { source: 0, offset: 1, pages: 2 },
    Op::Map { source: 1, offset: 2, pages: 1 },
    Op::Map { source: 2, offset: 0, pages: 2 },
    Op::Map { source: 4, offset: 0, pages: 0 },
    Op::Coalesce(Coalescing::Full),
    Op::Coalesce(Coalescing::Opportunistic),
    Op::Remove { part: 0 },
    Op::RemoveRange { segment: 1, delta: 0, length_bytes: 1 },
    Op::RemoveRange { segment: 0, delta: 1, length_bytes: PAGE },
    Op::Pin { part: 0 },
];

fn run(sequence: &[Op], plan: Plan) {
    let ground = Ground::new(plan);
    let machine = ground.machine.clone();
    {
        let observer = ground.observer();
        let set = ground.set(plan, &observer);
        let mut world = World::new(&ground, &set, plan);
        for op in sequence {
            world.step(*op);
        }
    }
    drop(ground);
    assert!(
        machine.pages().iter().all(|(_, page)| *page == Page::Occupied),
        "something is left: {:?}",
        machine.pages()
    );
}

fn run_all(plan: Plan) {
    for number in 0..OPS.len().pow(LENGTH) {
        let digit = |place| OPS[number / OPS.len().pow(place) % OPS.len()];
        // In an empty set the others do nothing.
        if !matches!(digit(0), Op::Map { .. } | Op::Coalesce(_)) {
            continue;
        }
        let sequence: Vec<Op> = (0..LENGTH).map(digit).collect();
        let outcome = std::panic::catch_unwind(|| run(&sequence, plan));
        assert!(outcome.is_ok(), "{sequence:#?} in {plan:?}");
    }
}

#[test]
fn every_sequence_in_own_reservations() {
    run_all(Plan { reservation_pages: 0, ahead_pages: 2 });
}

#[test]
fn every_sequence_in_the_callers_reservation() {
    run_all(Plan { reservation_pages: 5, ahead_pages: 0 });
}
