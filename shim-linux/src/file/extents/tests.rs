//! Extents and lists of partitions, extents without a place, and files that do not hold still.

use rustix::fs::makedev;
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::nd::sysfs::Sysfs;
use testkit::sysfs::{BUS, PMEM0, Tree};

const SECTOR: u64 = 512;

/// A file made of extents; counts how often it was read from its first byte.
struct Fake {
    extents: Vec<Extent>,
    passes: u32,
    /// Moves the extents by a page before each of the first passes.
    moves: u32,
}

impl Fake {
    fn new(extents: Vec<Extent>) -> Self {
        Self { extents, passes: 0, moves: 0 }
    }
}

impl ExtentReader for Fake {
    fn read(&mut self, start: u64, length_bytes: u64, extents: &mut Extents) -> Result<(), Errno> {
        if start == 0 {
            self.passes += 1;
            if self.passes <= self.moves {
                self.extents.iter_mut().for_each(|extent| extent.physical += 4096);
            }
        }
        let asked = Span::new(start, length_bytes).unwrap();
        let touched = |extent: &&Extent| Span::new(extent.logical, extent.length_bytes).unwrap().overlaps(asked);
        let touched: Vec<Extent> = self.extents.iter().filter(touched).take(32).copied().collect();
        *extents = Extents::of(touched.iter().copied(), touched.len() as u32);
        Ok(())
    }
}

/// Makes an extent, in sectors.
fn extent(logical: u64, physical: u64, count: u64) -> Extent {
    let (logical, physical, length_bytes) = (logical * SECTOR, physical * SECTOR, count * SECTOR);
    Extent { logical, physical, length_bytes, ..Extent::default() }
}

fn sectors(start: u64, end: u64) -> Span {
    Span::between(start * SECTOR, end * SECTOR).unwrap()
}

/// Lists the blocks of a file on partition 259:2, which starts at sector 2048 of its disk.
fn list(tree: &Tree, file: &mut Fake, range: Span, unit_bytes: u64) -> Result<Vec<(u64, u64)>, BadBlocksError> {
    let pieces = Sysfs::at(tree.open().into()).pieces(makedev(259, 2)).unwrap();
    let mut blocks = [range; 64];
    match bad_blocks(file, &pieces, range, unit_bytes, &mut blocks) {
        BadBlocks::None => Ok(vec![]),
        BadBlocks::Listed { count, more: false } => {
            Ok(blocks[..count].iter().map(|block| (block.start() / SECTOR, block.end() / SECTOR)).collect())
        }
        BadBlocks::Unknown(reason) => Err(reason),
        _ => unreachable!(),
    }
}

fn partition() -> Tree {
    Tree::two_modules().with_partition(2048, 1 << 20)
}

#[test]
fn block_over_several_extents_of_a_partition() {
    let tree = partition();
    tree.file(&format!("{PMEM0}/badblocks"), "2048 100\n");
    let mut file = Fake::new(vec![extent(0, 90, 30), extent(40, 30, 10), extent(64, 10, 10)]);
    let whole = sectors(0, 100);
    assert_eq!(list(&tree, &mut file, whole, 512), Ok(vec![(0, 10), (40, 50), (64, 74)]));
    assert_eq!(list(&tree, &mut file, whole, 4096), Ok(vec![(0, 16), (40, 56), (64, 80)]));
    assert_eq!(list(&tree, &mut file, sectors(50, 60), 512), Ok(vec![]), "a hole");
    assert_eq!(list(&tree, &mut file, sectors(49, 65), 512), Ok(vec![(40, 50), (64, 74)]));
    tree.file(&format!("{PMEM0}/badblocks"), "0 2048\n1050624 8\n");
    assert_eq!(list(&tree, &mut file, whole, 512), Ok(vec![]), "before and behind the partition");
    assert_eq!(file.passes, 4, "a device without bad blocks needs no extents");
}

#[test]
fn extents_without_a_place_are_unknown() {
    let tree = partition();
    tree.file(&format!("{PMEM0}/badblocks"), "0 1\n");
    let with = |flags| Fake::new(vec![Extent { flags, ..extent(0, 8, 8) }]);
    assert_eq!(list(&tree, &mut with(0x2 | 1), sectors(0, 8), 512), Ok(vec![]), "nothing on the partition is bad");
    tree.file(&format!("{PMEM0}/badblocks"), "2048 1\n");
    for flag in [0x2, 0x4, 0x8, 0x80, 0x100, 0x200, 0x400] {
        assert_eq!(list(&tree, &mut with(flag | 1), sectors(0, 8), 512), Err(BadBlocksError::Unsupported), "{flag:#x}");
    }
    for flag in [0, 1, 0x800, 0x1000, 0x2000] {
        assert_eq!(list(&tree, &mut with(flag), sectors(0, 8), 512), Ok(vec![]), "{flag:#x}");
    }
    let mut outside = Fake::new(vec![extent(0, (1 << 20) - 4, 8)]);
    assert_eq!(
        list(&tree, &mut outside, sectors(0, 8), 512),
        Err(BadBlocksError::Unsupported),
        "past the end of the device"
    );
    tree.remove(&format!("{PMEM0}/badblocks"));
    assert_eq!(
        list(&tree, &mut with(0), sectors(0, 8), 512),
        Err(BadBlocksError::Failed(Errno::NOENT)),
        "no list is not an empty one"
    );
}

#[test]
fn nothing_is_known_on_a_bus_that_tells_nothing() {
    let tree = partition();
    let file = || Fake::new(vec![extent(0, 8, 8)]);
    assert_eq!(list(&tree, &mut file(), sectors(0, 8), 512), Ok(vec![]));
    for provider in ["CXL\n", "virtio-pmem\n", "e820\n"] {
        tree.file(&format!("{BUS}/provider"), provider);
        assert_eq!(list(&tree, &mut file(), sectors(0, 8), 512), Err(BadBlocksError::Unsupported), "{provider}");
    }
}

#[test]
fn moving_file_is_looked_at_until_it_holds_still() {
    let tree = partition();
    tree.file(&format!("{PMEM0}/badblocks"), "2088 8\n");
    let moving = |moves| Fake { moves, ..Fake::new(vec![extent(0, 0, 16)]) };
    let mut file = moving(4);
    assert_eq!(list(&tree, &mut file, sectors(0, 16), 512), Ok(vec![(8, 16)]));
    assert_eq!(file.passes, 5);
    let mut restless = moving(u32::MAX);
    assert_eq!(list(&tree, &mut restless, sectors(0, 16), 512), Err(BadBlocksError::Failed(Errno::AGAIN)));
    let mut backwards = Fake::new(vec![Extent { length_bytes: u64::MAX - 5, ..extent(0, 0, 1) }]);
    backwards.extents[0].logical = 4;
    assert!(list(&tree, &mut backwards, sectors(0, 16), 512).is_err());
}
