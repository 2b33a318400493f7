//! A ring of records with checksums, two of them to a fence, that recovery reads as a whole.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 6] = [
    "the second record is not flushed",
    "the records are not fenced",
    "the records are streamed, and not fenced",
    "the checksum leaves the last words out",
    "the newest record is overwritten",
    "told before the records are durable",
];

const SLOTS: u64 = 4;
const WORDS: usize = 8;

fn sum(words: &[u64], mistake: &str) -> u64 {
    let words = if mistake == "the checksum leaves the last words out" { &words[..4] } else { words };
    words.iter().fold(0x9e37_79b9, |sum: u64, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

/// Number from 1 on, six words that follow from it, checksum.
fn record(number: u64, mistake: &str) -> [u64; WORDS] {
    let mut words = [3, 5, 7, 11, 13, 17, 19, 0].map(|factor| number.wrapping_mul(factor));
    words[0] = number;
    words[WORDS - 1] = sum(&words[..WORDS - 1], mistake);
    words
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    for pair in 0..3 {
        let numbers = [pair * 2 + 1, pair * 2 + 2];
        let at = |number: u64| {
            let slot =
                if mistake == "the newest record is overwritten" { number / 4 % 2 * 2 + number % 2 } else { number };
            (slot % SLOTS) as usize * 64
        };
        if mistake == "told before the records are durable" {
            machine.acknowledge(numbers[1]);
        }
        for number in numbers {
            let flags = match (mistake, number % 2) {
                ("the second record is not flushed", 0) => UNFLUSHED,
                ("the records are not fenced", _) => UNFENCED,
                ("the records are streamed, and not fenced", _) => STREAMED,
                ("the second record is not flushed", _) | (_, 0) => DURABLY,
                // The fence behind the second record is for both.
                _ => STREAMED,
            };
            put(part, at(number), &record(number, mistake), flags);
        }
        machine.acknowledge(numbers[1]);
    }
}

/// The last records that were told are there, whole.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    let told = machine.acknowledged();
    let mut found = 0;
    for slot in 0..SLOTS as usize {
        let words: Vec<u64> = (0..WORDS).map(|word| get(part, slot * 64 + word * 8)).collect();
        let whole = words[WORDS - 1] == sum(&words[..WORDS - 1], mistake);
        if whole && words[..] != record(words[0], mistake) {
            return Err(format!("taken for whole: {words:?}"));
        }
        // The two records that were told last, and nothing else, are what counts.
        found |= u64::from(whole && words[0] == told) | u64::from(whole && words[0] + 1 == told) << 1;
        machine.summary(&found);
    }
    if told == 0 || found == 3 { Ok(()) } else { Err(format!("{told} told, and not both of the last are there")) }
}
