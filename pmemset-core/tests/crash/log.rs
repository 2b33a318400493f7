//! An append log: a count of entries that is stored when they are durable.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 8] = [
    "the entry is not flushed",
    "the entry is not fenced",
    "the entry is streamed, and not fenced",
    "the flush comes before the store",
    "the count is stored beside the entry",
    "the count is stored first",
    "the count is not aligned",
    "told before the count is durable",
];

/// The count is in the first 8 bytes; entries of 24 bytes follow, from the second line on.
const ENTRIES_AT: usize = 64;
const ENTRY_BYTES: usize = 24;

fn entry(number: u64) -> [u64; 3] {
    [number + 100, (number + 100) * 3, (number + 100) * 7]
}

/// Counts in all four halves of the word, so that a torn count is not just a smaller one.
fn count(entries: u64) -> u64 {
    entries * 0x0001_0001_0001_0001
}

fn count_at(mistake: &str) -> usize {
    if mistake == "the count is not aligned" { 4 } else { 0 }
}

fn append(machine: &Machine, part: &Part<'_>, number: u64, mistake: &str) {
    let at = ENTRIES_AT + number as usize * ENTRY_BYTES;
    let store_count = |flags| put(part, count_at(mistake), &[count(number + 1)], flags);
    match mistake {
        "the entry is not flushed" => put(part, at, &entry(number), UNFLUSHED),
        "the entry is not fenced" => put(part, at, &entry(number), UNFENCED),
        "the entry is streamed, and not fenced" => put(part, at, &entry(number), STREAMED),
        "the flush comes before the store" => {
            part.persist(at, ENTRY_BYTES).unwrap();
            put(part, at, &entry(number), UNFLUSHED);
        }
        "the count is stored first" => {
            store_count(DURABLY);
            put(part, at, &entry(number), DURABLY);
        }
        "the count is stored beside the entry" => {
            put(part, at, &entry(number), UNFLUSHED);
            store_count(UNFLUSHED);
            part.persist(0, at + ENTRY_BYTES).unwrap();
        }
        _ => put(part, at, &entry(number), DURABLY),
    }
    if mistake == "told before the count is durable" {
        machine.acknowledge(number + 1);
    }
    store_count(DURABLY);
    machine.acknowledge(number + 1);
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    (0..4).for_each(|number| append(machine, part, number, mistake));
}

/// Whatever the count promises is there, and it promises what was told.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    let word = get(part, count_at(mistake));
    let entries = word & 0xffff;
    if word != count(entries) {
        return Err(format!("the count is {word:#x}"));
    }
    if entries < machine.acknowledged() {
        return Err(format!("{} entries told, {entries} found", machine.acknowledged()));
    }
    // Each entry for itself: the sum of what they can hold is looked at, not the product.
    machine.every(entries as usize, |number| {
        let at = ENTRIES_AT + number * ENTRY_BYTES;
        let found = [0, 8, 16].map(|word| get(part, at + word));
        if found == entry(number as u64) { Ok(()) } else { Err(format!("entry {number} of {entries} is {found:?}")) }
    })
}
