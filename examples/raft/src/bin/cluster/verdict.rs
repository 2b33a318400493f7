//! Whether what the clients were told is true.

use std::collections::{BTreeMap, BTreeSet};

use pmemset_raft::Values;
use pmemset_raft::history::{self, Act, Call};

use crate::Outcome;
use crate::clients::{History, KEYS, SERVED};
use crate::faults::Harm;
use crate::nodes::NODES;
use crate::spaces::Spaces;

/// Prints a line for each check, and returns whether all is well.
pub(crate) fn judge(harm: &Harm, histories: &[History], values: &[Values], spaces: &Spaces) -> bool {
    let harms = harm.values().sum();
    let harm: Vec<String> = harm.iter().map(|(name, count)| format!("{name} {count} times")).collect();
    println!("        {}", harm.join(", "));
    say_latency(histories);
    let mut good = true;
    let mut check = |name: &str, result: Outcome<()>| match result {
        Ok(()) => println!("ok      {name}"),
        Err(reason) => {
            good = false;
            println!("FAILED  {name}: {reason}");
        }
    };
    let (written, read) = served(histories);
    check(
        &format!("{written} writes and {read} reads were served over {harms} harms"),
        is_enough(written, read, harms),
    );
    check(&format!("{written} acknowledged writes are on a majority"), on_a_majority(histories, values));
    check("no write is invented", none_is_invented(histories, values));
    check("all nodes hold the same", all_the_same(values));
    for key in 0..KEYS {
        let calls: Vec<Call> = of_register(histories, values, key);
        let name = format!("{} calls of register {key} are linearizable", calls.len());
        check(&name, history::check(&calls).map_err(|violation| violation.to_string()));
    }
    if let Some(reason) = spaces.missing() {
        println!(
            "skipped unplugged nodes: no network namespaces here ({reason}); a switch in the nodes separated them"
        );
    }
    good
}

/// Returns how many writes were acknowledged, and how many reads answered.
fn served(histories: &[History]) -> (u64, u64) {
    let calls = || histories.iter().flat_map(|history| &history.entries).filter(|(_, call)| call.end.is_some());
    let writes = calls().filter(|(_, call)| matches!(call.act, Act::Write(_))).count() as u64;
    (writes, calls().count() as u64 - writes)
}

/// A cluster that serves next to nothing breaks no promise, and shows none kept.
fn is_enough(written: u64, read: u64, harms: u64) -> Outcome<()> {
    let least = SERVED + harms * SERVED / 2;
    let enough = harms > 0 && written >= least && read >= least;
    enough.then_some(()).ok_or_else(|| format!("at least {least} of each would tell something"))
}

/// Returns the calls of a register; what the nodes hold in the end is read after all of them.
fn of_register(histories: &[History], values: &[Values], key: u64) -> Vec<Call> {
    let entries = histories.iter().flat_map(|history| &history.entries);
    let calls: Vec<Call> = entries.filter(|entry| entry.0 == key).map(|entry| entry.1).collect();
    let end = calls.iter().map(|call| call.end.unwrap_or(call.start)).max().unwrap_or(0);
    let last = |values: &Values| Call { start: end + 1, end: Some(end + 2), act: Act::Read(values.get(key)) };
    let last: Vec<Call> = values.iter().map(last).collect();
    [calls, last].concat()
}

fn on_a_majority(histories: &[History], values: &[Values]) -> Outcome<()> {
    for history in histories {
        for (number, (_, done)) in (0..).zip(&history.writes) {
            let nodes = values.iter().filter(|values| values.has(history.client, number)).count();
            if *done && nodes * 2 <= NODES {
                return Err(format!("write {number} of client {} is on {nodes} nodes", history.client));
            }
        }
    }
    Ok(())
}

fn none_is_invented(histories: &[History], values: &[Values]) -> Outcome<()> {
    let sent: BTreeMap<u64, u64> =
        histories.iter().map(|history| (history.client, history.writes.len() as u64)).collect();
    let written: BTreeSet<u64> = histories.iter().flat_map(|history| &history.writes).map(|write| write.0).collect();
    for values in values {
        if let Some((client, number)) =
            values.applied().find(|(client, number)| sent.get(client).is_none_or(|sent| number >= sent))
        {
            return Err(format!("write {number} of client {client} was never sent"));
        }
        if let Some((key, value)) = values.registers().iter().find(|(_, value)| !written.contains(value)) {
            return Err(format!("register {key} holds {value}, which was never written"));
        }
    }
    Ok(())
}

fn all_the_same(values: &[Values]) -> Outcome<()> {
    let differ = values.iter().position(|one| one != &values[0]);
    differ.map_or(Ok(()), |number| Err(format!("nodes 0 and {number} do not")))
}

fn say_latency(histories: &[History]) {
    let mut all: Vec<_> = histories.iter().flat_map(|history| &history.latencies).copied().collect();
    all.sort();
    let at = |part: usize| all.get(all.len() * part / 100).copied().unwrap_or_default();
    println!("        a write took {:.1?} at the median, {:.1?} for 99 of 100", at(50), at(99));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_next_to_nothing_has_not_passed() {
        assert!(is_enough(0, 0, 0).is_err() && is_enough(1000, 1000, 0).is_err());
        assert!(is_enough(12, 12, 8).is_err() && is_enough(2000, 12, 8).is_err() && is_enough(12, 2000, 8).is_err());
        assert_eq!(is_enough(SERVED * 5, SERVED * 5, 8), Ok(()));
    }
}
