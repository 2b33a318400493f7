//! Bad blocks, shutdown records and failing calls in random histories: after each step the set, its sources, the bad
//! blocks and the records kept are what a model says, and after an error what they were.

mod history;

use history::History;
use pmemset_core::support::Random;

/// How often each outcome was seen.
type Seen = std::collections::BTreeMap<String, usize>;

#[test]
fn random_histories_agree_with_the_model() {
    let mut seen = Seen::new();
    for seed in 0..300 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut history = History::new(&mut random);
        for _ in 0..6 {
            history.live(&mut random, 12, &mut |name| *seen.entry(name).or_default() += 1);
        }
    }
    println!("{seen:?}");
    let all = [
        "Ok",
        "OkButAlreadyOpen",
        "OkButInterrupted",
        "Removed",
        "BadBlock",
        "ClearedBlocksRefused",
        "RecordNotKept",
        "UndesirablePartState",
        "TableFull",
        "Map",
        "cleared",
        "failed",
    ];
    let rare: Vec<_> = all.into_iter().filter(|name| seen.get(*name).is_none_or(|times| *times < 10)).collect();
    assert_eq!(rare, [""; 0], "seen too rarely");
}

#[test]
fn every_call_of_a_map_and_a_removal_fails() {
    let mut failures = 0;
    for seed in 1000..1200 {
        for nth in 0.. {
            println!("seed {seed}, call {nth} fails");
            let mut random = Random::new(seed);
            let mut history = History::new(&mut random);
            history.live(&mut random, 6, &mut |_| {});
            let mut failed = false;
            history.live_and_fail(&mut random, 4, nth, &mut |name| failed |= name == "failed");
            if !failed {
                break;
            }
            failures += 1;
        }
    }
    assert!(failures > 700, "{failures} failures");
}
