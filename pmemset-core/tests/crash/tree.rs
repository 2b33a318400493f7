//! A node of a B+-tree is split: the upper half of a full leaf moves to a new one, and the root changes by one store.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 7] = [
    "the new leaf is not flushed",
    "the new inner node is not flushed",
    "the new inner node is streamed, and not fenced",
    "the root changes before the new inner node is there",
    "the old leaf is cut before the root has changed",
    "the root's word is not aligned",
    "the count of a leaf is stored beside its key",
];

/// Nodes of two lines; the first has the root's word.
const NODE_BYTES: usize = 128;
const KEYS_MAX: u64 = 4;
const KEYS: u64 = 6;

/// A node: count of keys, separator (0 in a leaf), two children, and keys from the second line on.
struct Node<'p, 's>(&'p Part<'s>, usize);

impl<'p, 's> Node<'p, 's> {
    fn number(part: &'p Part<'s>, number: u64) -> Self {
        Self(part, number as usize * NODE_BYTES)
    }

    fn word(&self, index: usize) -> u64 {
        get(self.0, self.1 + index * 8)
    }

    fn keys(&self) -> Vec<u64> {
        (0..self.word(0).min(KEYS_MAX) as usize).map(|key| self.word(8 + key)).collect()
    }
}

fn root_at(mistake: &str) -> usize {
    if mistake == "the root's word is not aligned" { 60 } else { 0 }
}

/// The number of the root's node, in both halves of its word; 0 is leaf 1.
fn root(part: &Part<'_>, mistake: &str) -> Result<u64, String> {
    match get(part, root_at(mistake)) {
        0 => Ok(1),
        word if word >> 32 == word & 0xffff_ffff => Ok(word & 0xffff_ffff),
        word => Err(format!("the root is {word:#x}")),
    }
}

/// Appends to a leaf: the key first, then the count.
fn insert(part: &Part<'_>, leaf: u64, count: u64, key: u64, mistake: &str) {
    let at = leaf as usize * NODE_BYTES;
    if mistake == "the count of a leaf is stored beside its key" {
        put(part, at + 64 + count as usize * 8, &[key], UNFLUSHED);
        put(part, at, &[count + 1], UNFLUSHED);
        part.persist(at, NODE_BYTES).unwrap();
    } else {
        put(part, at + 64 + count as usize * 8, &[key], DURABLY);
        put(part, at, &[count + 1], DURABLY);
    }
}

/// Splits leaf 1: leaf 2 takes the upper half, node 3 becomes the root, and only then leaf 1 forgets its upper half.
fn split(part: &Part<'_>, mistake: &str) {
    let keys = Node::number(part, 1).keys();
    let half = keys.len() / 2;
    let leaf_flags = match mistake {
        "the new leaf is not flushed" => UNFLUSHED,
        _ => DURABLY,
    };
    put(part, 2 * NODE_BYTES + 64, &keys[half..], leaf_flags);
    put(part, 2 * NODE_BYTES, &[(keys.len() - half) as u64], leaf_flags);
    let swing = || put(part, root_at(mistake), &[3 << 32 | 3], DURABLY);
    if mistake == "the root changes before the new inner node is there" {
        swing();
    }
    if mistake == "the old leaf is cut before the root has changed" {
        put(part, NODE_BYTES, &[half as u64], DURABLY);
    }
    let inner_flags = match mistake {
        "the new inner node is not flushed" => UNFLUSHED,
        "the new inner node is streamed, and not fenced" => STREAMED,
        _ => DURABLY,
    };
    put(part, 3 * NODE_BYTES, &[1, keys[half], 1, 2], inner_flags);
    swing();
    put(part, NODE_BYTES, &[half as u64], DURABLY);
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    for key in 1..=KEYS {
        match key {
            1..=KEYS_MAX => insert(part, 1, key - 1, key * 10, mistake),
            _ => {
                if key == KEYS_MAX + 1 {
                    split(part, mistake);
                }
                insert(part, 2, key - 1 - KEYS_MAX / 2, key * 10, mistake);
            }
        }
        machine.acknowledge(key);
    }
}

/// All keys that were told are found, in order; at most the one that was just being inserted beside them.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    let node = Node::number(part, root(part, mistake)?);
    let mut keys = Vec::new();
    match node.word(1) {
        0 => keys = node.keys(),
        separator => {
            for child in [node.word(2), node.word(3)] {
                let below = |key: &u64| *key < separator;
                let found = Node::number(part, child.min(3)).keys();
                keys.extend(found.into_iter().filter(|key| below(key) == (child == 1)));
            }
        }
    }
    let told = machine.acknowledged();
    let right = |count: u64| keys.iter().copied().eq((1..=count).map(|key| key * 10));
    if right(told) || right(told + 1) { Ok(()) } else { Err(format!("{told} keys told, {keys:?} found")) }
}
