//! An allocator: a word of bits says which blocks are taken, and a log entry what was being allocated, so that recovery
//! gives back what nothing refers to.

use pmemset_core::sim::Machine;

use super::{DURABLY, Part, STREAMED, UNFENCED, UNFLUSHED, get, put};

pub(crate) const MISTAKES: [&str; 7] = [
    "the log entry is not flushed",
    "the log entry is not fenced",
    "the object is streamed, and not fenced",
    "the object is linked before its block is taken",
    "the log entry is cleared before the object is linked",
    "recovery clears the log entry first",
    "recovery does not flush the bits",
];

/// Each on a line of its own: the bits, the log entry (number of the block plus 1, 0 for none), the list's head.
const BITS_AT: usize = 0;
const LOG_AT: usize = 64;
const HEAD_AT: usize = 128;
/// Objects of one line: what they hold, and the block of the next one plus 1.
const BLOCKS_AT: usize = 256;
const BLOCKS: u64 = 4;

fn block_at(block: u64) -> usize {
    BLOCKS_AT + block as usize * 64
}

/// Allocates a block, stores `value` to it, and puts it at the head of the list.
fn push(part: &Part<'_>, value: u64, mistake: &str) {
    let bits = get(part, BITS_AT);
    let block = u64::from(bits.trailing_ones());
    let take = || put(part, BITS_AT, &[bits | 1 << block], DURABLY);
    let link = || put(part, HEAD_AT, &[block + 1], DURABLY);
    let clear = || put(part, LOG_AT, &[0], DURABLY);
    let flags = match mistake {
        "the log entry is not flushed" => UNFLUSHED,
        "the log entry is not fenced" => UNFENCED,
        _ => DURABLY,
    };
    put(part, LOG_AT, &[block + 1], flags);
    let streamed = mistake == "the object is streamed, and not fenced";
    let object = [value, get(part, HEAD_AT)];
    if mistake == "the object is linked before its block is taken" {
        put(part, block_at(block), &object, DURABLY);
        link();
        take();
        return clear();
    }
    take();
    put(part, block_at(block), &object, if streamed { STREAMED } else { DURABLY });
    if mistake == "the log entry is cleared before the object is linked" {
        clear();
        return link();
    }
    link();
    clear();
}

pub(crate) fn work(machine: &Machine, part: &Part<'_>, mistake: &str) {
    for value in 1..=2 {
        push(part, value * 100, mistake);
        machine.acknowledge(value);
    }
}

/// Gives back the block of an interrupted allocation, unless the list has it.
fn recover(part: &Part<'_>, mistake: &str) {
    let Some(block) = get(part, LOG_AT).checked_sub(1) else { return };
    if mistake == "recovery clears the log entry first" {
        put(part, LOG_AT, &[0], DURABLY);
    }
    if get(part, HEAD_AT) != block + 1 {
        let flags = if mistake == "recovery does not flush the bits" { UNFLUSHED } else { DURABLY };
        put(part, BITS_AT, &[get(part, BITS_AT) & !(1 << block)], flags);
    }
    put(part, LOG_AT, &[0], DURABLY);
}

/// After recovery exactly the blocks of the list are taken, and its objects are whole.
pub(crate) fn check(machine: &Machine, part: &Part<'_>, mistake: &str) -> Result<(), String> {
    recover(part, mistake);
    let (bits, mut listed, mut values) = (get(part, BITS_AT), 0, Vec::new());
    let mut next = get(part, HEAD_AT);
    while let Some(block) = next.checked_sub(1).filter(|block| *block < BLOCKS && listed >> block & 1 == 0) {
        listed |= 1 << block;
        values.insert(0, get(part, block_at(block)));
        next = get(part, block_at(block) + 8);
    }
    let told = machine.acknowledged();
    let right = |count: u64| values.iter().copied().eq((1..=count).map(|value| value * 100));
    match bits == listed {
        false => Err(format!("blocks {bits:#b} are taken, and {listed:#b} are in the list")),
        true if right(told) || right(told + 1) => Ok(()),
        true => Err(format!("{told} objects told, {values:?} found")),
    }
}
