//! A group commit: many entries, each on a line of its own, and one mark for all of them.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 6] = [
    "the last entry is not flushed",
    "the entries are not fenced",
    "the entries are streamed, and not fenced",
    "the mark is flushed together with the entries",
    "the mark is stored first",
    "told before the mark is durable",
];

const ENTRIES: usize = 12;
const MARK_AT: usize = 960;

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    let mark = |flags| put(part, MARK_AT, &[1], flags);
    let flags = match mistake {
        "the entries are not fenced" => UNFENCED,
        "the entries are streamed, and not fenced" => STREAMED,
        _ => UNFLUSHED,
    };
    if mistake == "the mark is stored first" {
        mark(DURABLY);
    }
    (0..ENTRIES).for_each(|entry| put(part, entry * 64, &[entry as u64 + 1; 8], flags));
    let flushed = match mistake {
        "the last entry is not flushed" => (ENTRIES - 1) * 64,
        "the mark is flushed together with the entries" => MARK_AT + 8,
        _ => ENTRIES * 64,
    };
    if mistake == "the mark is flushed together with the entries" {
        mark(UNFLUSHED);
    }
    if flags == UNFLUSHED {
        part.persist(0, flushed).unwrap();
    }
    if mistake == "told before the mark is durable" {
        machine.acknowledge(1);
    }
    mark(DURABLY);
    machine.acknowledge(1);
}

/// All entries are there if the mark is, and the mark is if that was told.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, _: &str) -> Result<(), String> {
    match get(part, MARK_AT) {
        0 if machine.acknowledged() == 1 => Err("told, and not there".to_owned()),
        0 => Ok(()),
        _ => machine.every(ENTRIES * 8, |word| match get(part, word * 8) {
            found if found == word as u64 / 8 + 1 => Ok(()),
            found => Err(format!("marked, and word {word} is {found}")),
        }),
    }
}
