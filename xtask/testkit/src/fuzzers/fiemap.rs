//! Extents of files and lists of bad sectors, against a model that has a bit for every sector.
#![allow(clippy::cast_possible_truncation, reason = "files are short, and there are few extents")]

use std::thread_local;

use pmemset_core::support::Random;
use pmemset_core::{BadBlocks, Span};
use pmemset_linux::internal::Pieces;
use pmemset_linux::internal::fuzz::{Answer, bad_blocks};
use rustix::fs::makedev;

use crate::sysfs::{PMEM0, Tree, table};

const SECTOR: u64 = 512;
/// `FIEMAP_EXTENT_LAST`.
const LAST: u32 = 1;
/// What `linux/fiemap.h` calls unknown, delayed, encoded, encrypted, unaligned, inline, and packed with others.
const NO_PLACE: u32 = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400;
/// Sectors of files, and of the part of the partition that they are on.
const FILE: usize = 1000;

thread_local! {
    /// Partition 259:2 from sector 2048 of its disk on, and a mapped device whose second half is further on.
    static TREE: Tree = Tree::two_modules().with_partition(2048, 1 << 20).with_mapped(0, 512);
}

fn sectors(start: u64, count: u64) -> Span {
    Span::new(start * SECTOR, count * SECTOR).unwrap()
}

/// Writes a list of bad sectors and opens the partition, or the mapped device.
fn pieces(bad: &[(u64, u64)], linear: bool) -> Pieces {
    let text: String = bad.iter().map(|(start, count)| format!("{} {count}\n", 2048 + start)).collect();
    let targets = table(&[(0, 200, "linear", "259:2 0"), (200, 312, "linear", "259:2 328")]);
    let number = if linear { makedev(253, 0) } else { makedev(259, 2) };
    TREE.with(|tree| {
        tree.file(&format!("{PMEM0}/badblocks"), text);
        let found = super::linux::open(tree).pieces_with(number, &mut |_, answer| {
            answer[..targets.len()].copy_from_slice(&targets);
            Ok(())
        });
        found.unwrap()
    })
}

/// What is true is listed, and what cannot be known is never taken for good.
pub fn fiemap(random: &mut Random) {
    let bad: Vec<(u64, u64)> = (0..random.below(12)).map(|_| (word(random, 420), 1 + word(random, 29))).collect();
    let linear = random.one_in(2);
    let found = pieces(&bad, linear);
    if random.one_in(3) {
        hostile(random, &found, bad.is_empty());
    } else {
        truthful(random, &found, |sector| {
            let sector = if linear && sector >= 200 { sector + 128 } else { sector };
            bad.iter().any(|(start, count)| (*start..start + count).contains(&sector))
        });
    }
}

fn word(random: &mut Random, bound: usize) -> u64 {
    random.below(bound) as u64
}

/// Extents of random lengths with random gaps, each in a place of its own, in a shuffled order.
fn truthful(random: &mut Random, pieces: &Pieces, is_bad: impl Fn(u64) -> bool) {
    let count = random.below(50);
    let mut places: Vec<u64> = (0..count as u64).map(|index| index * 8).collect();
    let (mut logical, mut extents, mut model) = (0, Vec::new(), [None; FILE]);
    for _ in 0..count {
        let (place, length) = (places.swap_remove(random.below(places.len())), 1 + word(random, 8));
        logical += word(random, 6);
        for sector in 0..length {
            model[(logical + sector) as usize] = Some(place + sector);
        }
        extents.push((logical * SECTOR, place * SECTOR, length * SECTOR, random.of(&[0, 0x800, 0x1000, 0x2000])));
        logical += length;
    }
    if let Some(last) = extents.last_mut().filter(|_| random.one_in(2)) {
        last.3 |= LAST;
    }
    let range = sectors(word(random, 200), 1 + word(random, 299));
    let room = random.of(&[64, 64, 1, 3]);
    let mut blocks = [range; 64];
    let mut fiemap = |start: u64, length_bytes: u64| {
        let asked = Span::new(start, length_bytes).unwrap();
        let touched = |extent: &&(u64, u64, u64, u32)| Span::new(extent.0, extent.2).unwrap().overlaps(asked);
        let extents: heapless::Vec<_, 64> = extents.iter().filter(touched).take(32).copied().collect();
        Answer { mapped: extents.len() as u32, extents }
    };
    let (listed, complete) = match bad_blocks(&mut fiemap, pieces, range, SECTOR, &mut blocks[..room]) {
        BadBlocks::None => (0, true),
        BadBlocks::Listed { count, more } => (count, !more),
        other => panic!("{other:?}"),
    };
    let listed = &blocks[..listed];
    assert!(complete || room < 64, "{} blocks need more room", listed.len());
    let is_bad = |sector: u64| model[sector as usize].is_some_and(&is_bad);
    let end = if complete { range.end() } else { listed.last().map_or(range.start(), |block| block.end()) };
    for sector in range.start() / SECTOR..end.min(range.end()) / SECTOR {
        let named = listed.iter().any(|block| block.contains(sector * SECTOR));
        assert!(named == is_bad(sector) || (!complete && !named), "sector {sector}: {listed:?}");
    }
    for block in listed {
        let mut all = block.start() / SECTOR..block.end() / SECTOR;
        assert!(block.overlaps(range) && all.all(is_bad), "{block} is not all bad");
    }
}

/// Answers that no kernel should give, always the same or always other ones.
fn hostile(random: &mut Random, pieces: &Pieces, nothing_bad: bool) {
    let range = sectors(word(random, 200), 1 + word(random, 299));
    let constant = random.one_in(2).then(|| answer(random));
    let first = constant.clone().unwrap_or_else(|| answer(random));
    let (mut calls, mut blocks) = (0, [range; 8]);
    let mut fiemap = |_, _| {
        calls += 1;
        assert!(calls < 10_000, "goes on for ever");
        if calls == 1 { first.clone() } else { constant.clone().unwrap_or_else(|| answer(random)) }
    };
    let outcome = bad_blocks(&mut fiemap, pieces, range, SECTOR, &mut blocks);
    let told = first.extents.iter().take((first.mapped as usize).min(32));
    let nowhere = |extent: &&(u64, u64, u64, u32)| {
        let touches = Span::new(extent.0, extent.2).is_none_or(|logical| logical.overlaps(range));
        touches && (extent.3 & NO_PLACE != 0 || Span::new(extent.1, extent.2).is_none())
    };
    if calls == 0 {
        // Nothing bad is listed, or nothing on this device: no extents are needed.
        assert_eq!(outcome, BadBlocks::None);
        return;
    }
    assert!(!nothing_bad, "nothing is bad");
    if let BadBlocks::Listed { count, .. } = outcome {
        assert!(blocks[..count].iter().all(|block| block.overlaps(range)));
    }
    if !matches!(outcome, BadBlocks::Unknown(_)) {
        assert_eq!(told.clone().find(nowhere), None, "an extent without a place is unknown");
    }
}

/// Up to 40 extents near each other, at any place, or at the ends of what can be counted.
fn answer(random: &mut Random) -> Answer {
    let mut number = |near: usize| match random.below(16) {
        0 => random.word(),
        1 => u64::MAX - word(random, 4),
        2 => 0,
        _ => word(random, near) * SECTOR,
    };
    let mut extents = heapless::Vec::new();
    for _ in 0..number(40) / SECTOR % 41 {
        let _ = extents.push((number(500), number(600), number(40), 0));
    }
    for extent in &mut extents {
        extent.3 = if random.one_in(12) { 1 << random.below(14) } else { 0 };
    }
    let mapped = if random.one_in(8) { random.word() as u32 } else { extents.len() as u32 };
    Answer { mapped, extents }
}
