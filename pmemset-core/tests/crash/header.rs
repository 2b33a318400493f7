//! A header in two slots that are written in turn: the one with the higher number and a checksum that fits counts.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 7] = [
    "the slot in use is written",
    "there is no checksum",
    "the checksum leaves the last words out",
    "the slot is not flushed",
    "the slot is not fenced",
    "the slot is streamed, and not fenced",
    "told before the slot is durable",
];

const SLOT_BYTES: usize = 64;
const WORDS: usize = 7;

fn sum(words: &[u64], mistake: &str) -> u64 {
    let words = if mistake == "the checksum leaves the last words out" { &words[..3] } else { words };
    words.iter().fold(0x9e37_79b9, |sum: u64, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

/// Number, five words that follow from it, checksum.
fn slot(number: u64, mistake: &str) -> [u64; WORDS] {
    let mut words = [number, number * 11, number * 13, number * 17, number * 19, number * 23, 0];
    words[WORDS - 1] = sum(&words[..WORDS - 1], mistake);
    words
}

/// Returns the number of the slot at `at`; 0 where it is not whole.
fn read(part: &Part<'_>, at: usize, mistake: &str) -> Result<u64, String> {
    let words: Vec<u64> = (0..WORDS).map(|word| get(part, at + word * 8)).collect();
    let whole = words[WORDS - 1] == sum(&words[..WORDS - 1], mistake);
    if !whole && mistake != "there is no checksum" {
        return Ok(0);
    }
    if words[0] != 0 && words[1..WORDS - 1] != slot(words[0], mistake)[1..WORDS - 1] {
        return Err(format!("taken for whole: {words:?}"));
    }
    Ok(words[0])
}

fn update(machine: &Machine, part: &Part<'_>, number: u64, mistake: &str) {
    let at = if mistake == "the slot in use is written" { 0 } else { number as usize % 2 * SLOT_BYTES };
    if mistake == "told before the slot is durable" {
        machine.acknowledge(number);
    }
    let flags = match mistake {
        "the slot is not flushed" => UNFLUSHED,
        "the slot is not fenced" => UNFENCED,
        "the slot is streamed, and not fenced" => STREAMED,
        _ => DURABLY,
    };
    put(part, at, &slot(number, mistake), flags);
    machine.acknowledge(number);
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    (1..4).for_each(|number| update(machine, part, number, mistake));
}

/// The newest slot is what was told, or what was just being written.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    let newest = read(part, 0, mistake)?.max(read(part, SLOT_BYTES, mistake)?);
    let told = machine.acknowledged();
    if newest == told || newest == told + 1 { Ok(()) } else { Err(format!("{told} told, {newest} found")) }
}
