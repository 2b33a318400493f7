//! A hash table: a bucket has a key and a value on one line, and its mark on another, which commits it.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 7] = [
    "the bucket is not flushed",
    "the bucket is not fenced",
    "the bucket is streamed, and not fenced",
    "the mark is stored beside the bucket",
    "the mark is stored first",
    "the mark is not flushed",
    "an update overwrites the value in use",
];

const BUCKETS: u64 = 4;
/// Marks are one word each, in the lines behind the buckets.
const MARKS_AT: usize = 256;

fn value(key: u64) -> u64 {
    key * 1001
}

/// Key, value, and the value once more, as large values are.
fn bucket(key: u64, update: u64) -> [u64; 3] {
    [key, value(key) + update, value(key) + update]
}

fn places(slot: u64) -> (usize, usize) {
    (slot as usize * 64, MARKS_AT + slot as usize * 8)
}

fn insert(part: &Part<'_>, slot: u64, words: [u64; 3], mistake: &str) {
    let (at, mark_at) = places(slot);
    match mistake {
        "the bucket is not flushed" => put(part, at, &words, UNFLUSHED),
        "the bucket is not fenced" => put(part, at, &words, UNFENCED),
        "the bucket is streamed, and not fenced" => put(part, at, &words, STREAMED),
        "the mark is stored beside the bucket" => {
            put(part, at, &words, UNFLUSHED);
            put(part, mark_at, &[1], UNFLUSHED);
            part.persist(at, mark_at + 8 - at).unwrap();
        }
        "the mark is stored first" => {
            put(part, mark_at, &[1], DURABLY);
            put(part, at, &words, DURABLY);
        }
        _ => put(part, at, &words, DURABLY),
    }
    let flags = if mistake == "the mark is not flushed" { UNFLUSHED } else { DURABLY };
    put(part, mark_at, &[1], flags);
}

/// Inserts keys 1 to 3, and then gives key 1 another value: in a bucket of its own, whose mark takes the place of the
/// old one's with one store of the two marks, which lie in one word: 1 for the first bucket, 2 for the other.
pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    for key in 1..BUCKETS {
        insert(part, key - 1, bucket(key, 0), mistake);
        machine.acknowledge(key);
    }
    let (at, mark_at) = places(0);
    let spare = places(BUCKETS - 1).0;
    if mistake == "an update overwrites the value in use" {
        put(part, at, &bucket(1, 5), DURABLY);
    } else {
        put(part, spare, &bucket(1, 5), DURABLY);
        put(part, mark_at, &[2], DURABLY);
    }
    machine.acknowledge(BUCKETS);
}

/// Whatever a mark promises is whole, and what was told is there.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, _: &str) -> Result<(), String> {
    machine.every(BUCKETS as usize - 1, |slot| {
        let key = slot as u64 + 1;
        let (at, mark_at) = places(slot as u64);
        let mark = get(part, mark_at);
        if mark == 0 {
            let told = machine.acknowledged() >= key;
            return if told { Err(format!("key {key} was told, and is not there")) } else { Ok(()) };
        }
        let at = if mark == 2 { places(BUCKETS - 1).0 } else { at };
        let found = [0, 8, 16].map(|word| get(part, at + word));
        let whole = found == bucket(key, 0) || found == bucket(key, 5);
        if whole { Ok(()) } else { Err(format!("key {key} is marked, and is {found:?}")) }
    })
}
