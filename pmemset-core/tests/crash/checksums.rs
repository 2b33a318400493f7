//! An append log without a count: every entry has a checksum, and recovery looks for the first that does not fit.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 6] = [
    "the sum of nothing is nothing",
    "the sum leaves a word out",
    "the second entry is not flushed",
    "both entries are streamed, and not fenced",
    "recovery does not clear what is behind the end",
    "recovery does not flush what it clears",
];

/// Number, two words that follow from it, checksum.
const ENTRY_BYTES: usize = 64;
const ENTRIES: usize = 5;

fn sum(words: [u64; 3], mistake: &str) -> u64 {
    let begin = if mistake == "the sum of nothing is nothing" { 0 } else { 0x9e37_79b9_7f4a_7c15 };
    let words = if mistake == "the sum leaves a word out" { &words[..2] } else { &words[..] };
    words.iter().fold(begin, |sum: u64, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

/// The entry that is written in `round`: what an earlier round has left must not be taken for it.
fn entry(number: u64, round: u64, mistake: &str) -> [u64; 4] {
    let words = [number + 1, round.wrapping_add((number + 1) * 1000), round.wrapping_add(1)];
    [words[0], words[1], words[2], sum(words, mistake)]
}

/// Returns how many entries there are from the beginning that are whole, and the round of the last.
fn scan(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(u64, u64), String> {
    let (mut entries, mut last) = (0, 0);
    while entries < ENTRIES as u64 {
        let at = entries as usize * ENTRY_BYTES;
        let words = [0, 8, 16].map(|word| get(part, at + word));
        let whole = get(part, at + 24) == sum(words, mistake);
        if whole && words[2] < last {
            return Err(format!("entry {entries} of an earlier time is back"));
        }
        if whole && words[..] != entry(entries, words[2].wrapping_sub(1), mistake)[..3] {
            return Err(format!("entry {entries} is {words:?}, and its sum fits"));
        }
        // From here on nothing but this counts.
        last = if whole { words[2] } else { last };
        machine.summary(&(entries, whole, last));
        if !whole {
            break;
        }
        entries += 1;
    }
    Ok((entries, last))
}

/// Appends two entries at a time, with one fence.
fn append(machine: &Machine, part: &Part<'_>, first: u64, round: u64, mistake: &str) {
    let at = first as usize * ENTRY_BYTES;
    let put = |number: u64, flags| {
        put(part, number as usize * ENTRY_BYTES, &entry(number, round, mistake), flags);
    };
    match mistake {
        "both entries are streamed, and not fenced" => [first, first + 1].iter().for_each(|it| put(*it, STREAMED)),
        "the second entry is not flushed" => {
            put(first, DURABLY);
            put(first + 1, UNFLUSHED);
        }
        _ => {
            put(first, UNFLUSHED);
            put(first + 1, UNFLUSHED);
            part.persist(at, 2 * ENTRY_BYTES).unwrap();
        }
    }
    machine.acknowledge(first + 2);
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    (0..2).for_each(|pair| append(machine, part, pair * 2, 0, mistake));
}

/// Recovers, and goes on: the next program finds the new entry last.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    let (entries, round) = scan(machine, part, mistake)?;
    if entries < machine.acknowledged() {
        return Err(format!("{} entries told, {entries} found", machine.acknowledged()));
    }
    let at = entries as usize * ENTRY_BYTES;
    let rest = ENTRIES * ENTRY_BYTES - at;
    match mistake {
        "recovery does not clear what is behind the end" => {}
        "recovery does not flush what it clears" => part.fill(at, 0, rest, UNFLUSHED).unwrap(),
        _ => part.fill(at, 0, rest, DURABLY).unwrap(),
    }
    if round < 2 && entries < ENTRIES as u64 {
        put(part, at, &entry(entries, round + 1, mistake), DURABLY);
        machine.acknowledge(entries + 1);
    }
    Ok(())
}
