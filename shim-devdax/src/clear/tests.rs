//! Bad blocks seen from the device, and firmware that clears, refuses, lies, or does half of it.

use core::cell::RefCell;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::tests::tree::{ACPI, MIB, Tree};

/// Where the device of the trees begins in its region, in sectors, and in memory.
const DATA: u64 = 4 * MIB / 512;
const PHYSICAL: u64 = 0x2_0040_0000;

/// A bus whose firmware keeps the region's list in the tree up to date.
struct Firmware<'t> {
    tree: &'t Tree,
    unit_bytes: u32,
    /// What it answers to a clear instead of doing it.
    refusal: Option<(Result<(), Errno>, u32, u64)>,
    /// Whether it does what it says.
    honest: bool,
    /// An attribute of the device that somebody changes meanwhile.
    swap: Option<(&'t str, &'t str)>,
    cleared: RefCell<Vec<(u64, u64)>>,
}

impl<'t> Firmware<'t> {
    fn new(tree: &'t Tree) -> Self {
        Self { tree, unit_bytes: 256, refusal: None, honest: true, swap: None, cleared: RefCell::default() }
    }
    fn clear(&self, offset: u64, length_bytes: u64) -> Result<(), ClearError> {
        let device = self.tree.find().unwrap();
        let source = self.tree.source().unwrap();
        // What the firmware leaves in cleared bytes; the rest is 1 too and has to stay.
        rustix::io::pwrite(&source, &[1; 64 << 10], 0).unwrap();
        let zero = |cleared| crate::mcsafe::zero(&source, cleared).map_err(|_| ClearError::StillBad);
        let before = self.cleared.borrow().len();
        let result = clear_with(&device, Span::new(offset, length_bytes).unwrap(), &|| Ok(self), &zero);
        let mut bytes = std::vec![0; 64 << 10];
        rustix::io::pread(&source, bytes.as_mut_slice(), 0).unwrap();
        if self.honest {
            let zeroed = |at: u64| {
                self.cleared.borrow()[before..].iter().any(|(start, length)| (*start..start + length).contains(&at))
            };
            assert!((0..).zip(&bytes).all(|(at, byte)| *byte == u8::from(!zeroed(at))));
        }
        result
    }
}

impl Bus for &Firmware<'_> {
    fn capability(&self, request: &mut ArsCap) -> Result<(), Errno> {
        request.clear_unit_bytes = self.unit_bytes;
        Ok(())
    }

    fn clear(&self, request: &mut ClearRequest) -> Result<(), Errno> {
        assert_eq!((request.address | request.length_bytes) % u64::from(self.unit_bytes), 0);
        if let Some((result, status, cleared_bytes)) = self.refusal {
            (request.status, request.cleared_bytes) = (status, cleared_bytes);
            return result;
        }
        self.cleared.borrow_mut().push((request.address - PHYSICAL, request.length_bytes));
        request.cleared_bytes = request.length_bytes;
        if let Some((name, text)) = self.swap {
            self.tree.write(name, text);
        }
        if self.honest {
            let first = DATA + (request.address - PHYSICAL) / 512;
            let gone = first..first + request.length_bytes / 512;
            let bad = |line: &str| {
                let (start, count) = line.split_once(' ').unwrap();
                let start: u64 = start.parse().unwrap();
                start..start + count.parse::<u64>().unwrap()
            };
            let text = self.tree.text(&format!("{ACPI}/region0/badblocks"));
            let left = text.lines().flat_map(bad).filter(|sector| !gone.contains(sector));
            bad_sectors(self.tree, &left.map(|sector| (sector, 1)).collect::<Vec<_>>());
        }
        Ok(())
    }
}

fn bad_sectors(tree: &Tree, sectors: &[(u64, u64)]) {
    let text: String = sectors.iter().map(|(start, count)| format!("{start} {count}\n")).collect();
    tree.write(&format!("{ACPI}/region0/badblocks"), &text);
}

fn span(start: u64, length_bytes: u64) -> Span {
    Span::new(start, length_bytes).unwrap()
}

fn listed(tree: &Tree, range: Span, unit: Option<u64>) -> (BadBlocks, Vec<Span>) {
    let mut blocks = [span(0, 1); 16];
    let answer = list_with(&tree.find().unwrap(), range, &mut blocks, &|_, _| unit);
    let count = if let BadBlocks::Listed { count, .. } = answer { count } else { 0 };
    (answer, blocks[..count].to_vec())
}

const WHOLE: Span = match Span::new(0, 32 * MIB) {
    Some(whole) => whole,
    None => panic!(),
};

#[test]
fn blocks_are_rebased_to_the_device() {
    let tree = Tree::nfit();
    assert_eq!(listed(&tree, WHOLE, None).0, BadBlocks::None);
    // Before the device, across its start, inside, across its end, behind it.
    let end = DATA + 32 * MIB / 512;
    bad_sectors(&tree, &[(0, 8), (DATA - 2, 4), (DATA + 80, 1), (end - 1, 5), (end + 10, 10)]);
    let all = listed(&tree, WHOLE, None);
    assert_eq!(all.0, BadBlocks::Listed { count: 3, more: false });
    assert_eq!(all.1, [span(0, 1024), span(40_960, 512), span(32 * MIB - 512, 512)]);
    assert_eq!(listed(&tree, span(40_960, 1), None).1, [span(40_960, 512)]);
    assert_eq!(listed(&tree, span(41_472, 4096), None).0, BadBlocks::None);
    // Only the two sectors before the device: nothing of it is bad.
    bad_sectors(&tree, &[(DATA - 2, 2), (end, 1)]);
    assert_eq!(listed(&tree, WHOLE, None).0, BadBlocks::None);
}

/// Pitfall 54: outwards, and never past the device.
#[test]
fn blocks_are_rounded_to_what_can_be_cleared() {
    let tree = Tree::nfit();
    bad_sectors(&tree, &[(DATA + 9, 1), (DATA + 15, 2)]);
    assert_eq!(listed(&tree, WHOLE, Some(256)).1, [span(4608, 512), span(7680, 1024)]);
    assert_eq!(listed(&tree, WHOLE, Some(4096)).1, [span(4096, 8192)]);
    assert_eq!(listed(&tree, span(4096, 1), Some(4096)).1, [span(4096, 8192)], "the unit reaches into the range");
}

/// Defect J5, pitfall 55: what is not known is never "none".
#[test]
fn not_knowing_is_told_apart() {
    let unknown = |tree: &Tree, reason| assert_eq!(listed(tree, WHOLE, None).0, BadBlocks::Unknown(reason));
    unknown(&Tree::hmem(), BadBlocksError::NoRegion);
    // Linux does not ask CXL for its list of poison, and nothing else would fill the region's.
    unknown(
        &Tree::on_bus("devices/platform/ACPI0017:00/root0/nvdimm-bridge0/ndbus0", "CXL"),
        BadBlocksError::Unsupported,
    );
    unknown(&Tree::on_bus(ACPI, "e820"), BadBlocksError::Unsupported);
    unknown(&Tree::nfit().without(&format!("{ACPI}/provider")), BadBlocksError::Failed(Errno::NOENT));
    let file = format!("{ACPI}/region0/badblocks");
    unknown(&Tree::nfit().without(&file), BadBlocksError::Failed(Errno::NOENT));
    unknown(&Tree::nfit().file(&file, "8 x\n"), BadBlocksError::Failed(Errno::INVAL));
    unknown(&Tree::nfit().own("resource", "0x0\n"), BadBlocksError::NoBounds(Errno::ACCES));
    unknown(&Tree::nfit().file(&format!("{ACPI}/region0/resource"), "0x0\n"), BadBlocksError::NoBounds(Errno::INVAL));
    unknown(&Tree::nfit().own("resource", "0x300000000\n"), BadBlocksError::NoBounds(Errno::INVAL));
    // A list that the kernel has cut off: what is there counts, and an empty part of it proves nothing.
    let line = format!("{} 1\n", DATA + 8);
    let cut = Tree::nfit().file(&file, &line.repeat(4096)[..4095]);
    let mut blocks = [WHOLE; 4];
    let device = cut.find().unwrap();
    assert_eq!(list(&device, WHOLE, &mut blocks), BadBlocks::Listed { count: 1, more: true });
    assert_eq!(list(&device, span(MIB, MIB), &mut blocks), BadBlocks::Unknown(BadBlocksError::Failed(Errno::RANGE)));
}

#[test]
fn more_blocks_than_there_is_room_for_are_announced() {
    let tree = Tree::nfit();
    let many: Vec<_> = (0..20).map(|number| (DATA + 100 * number, 1)).collect();
    bad_sectors(&tree, &many);
    let (answer, blocks) = listed(&tree, WHOLE, None);
    assert_eq!(answer, BadBlocks::Listed { count: 16, more: true });
    assert_eq!(blocks[15], span(1500 * 512, 512));
    let firmware = Firmware::new(&tree);
    assert_eq!(firmware.clear(0, 32 * MIB), Ok(()));
    assert_eq!(firmware.cleared.borrow().len(), 20);
    assert_eq!(listed(&tree, WHOLE, None).0, BadBlocks::None);
}

#[test]
fn only_what_is_bad_is_cleared() {
    let tree = Tree::nfit();
    let firmware = Firmware::new(&tree);
    assert_eq!(firmware.clear(0, 32 * MIB), Ok(()));
    assert!(firmware.cleared.borrow().is_empty(), "nothing is bad");
    bad_sectors(&tree, &[(DATA, 16), (DATA + 100, 1)]);
    // The second half of the first block: the first stays bad.
    assert_eq!(firmware.clear(4096, 8192), Ok(()));
    assert_eq!(*firmware.cleared.borrow(), [(4096, 4096)]);
    assert_eq!(listed(&tree, WHOLE, None).1, [span(0, 4096), span(51_200, 512)]);
    assert_eq!(firmware.clear(0, 32 * MIB), Ok(()));
    assert_eq!(firmware.cleared.borrow()[1..], [(0, 4096), (51_200, 512)]);
    assert_eq!(firmware.clear(32 * MIB - 512, 1024), Err(ClearError::OutOfRange { length_bytes: 32 * MIB }));
}

#[test]
fn clearing_is_rounded_to_the_unit() {
    let tree = Tree::nfit();
    let firmware = Firmware { unit_bytes: 4096, ..Firmware::new(&tree) };
    bad_sectors(&tree, &[(DATA + 9, 1)]);
    assert_eq!(firmware.clear(4608, 512), Ok(()));
    assert_eq!(*firmware.cleared.borrow(), [(4096, 4096)]);
    for unit_bytes in [0, 3] {
        bad_sectors(&tree, &[(DATA + 9, 1)]);
        let firmware = Firmware { unit_bytes, ..Firmware::new(&tree) };
        assert_eq!(firmware.clear(4608, 512), Err(ClearError::Unsupported), "unit {unit_bytes}");
        assert!(firmware.cleared.borrow().is_empty());
    }
}

/// Defect J9, pitfall 56: the call returns 0 also when the firmware refuses.
#[test]
fn refusals_of_the_firmware_are_errors() {
    let tree = Tree::nfit();
    bad_sectors(&tree, &[(DATA, 8)]);
    let answer = |refusal| Firmware { refusal: Some(refusal), ..Firmware::new(&tree) }.clear(0, 4096);
    assert_eq!(answer((Ok(()), 2, 0)), Err(ClearError::Failed(Errno::IO)), "refused");
    assert_eq!(answer((Ok(()), 2, 4096)), Err(ClearError::Failed(Errno::IO)), "refused, and said to be cleared");
    assert_eq!(answer((Ok(()), 1, 0)), Err(ClearError::Unsupported));
    assert_eq!(answer((Ok(()), 0, 0)), Err(ClearError::Failed(Errno::NXIO)), "nothing cleared");
    assert_eq!(answer((Ok(()), 0, 512)), Err(ClearError::Failed(Errno::NXIO)), "a part of it cleared");
    assert_eq!(answer((Err(Errno::NOTTY), 0, 0)), Err(ClearError::Unsupported));
    assert_eq!(answer((Err(Errno::BUSY), 0, 0)), Err(ClearError::Failed(Errno::BUSY)));
    let liar = Firmware { honest: false, ..Firmware::new(&tree) };
    assert_eq!(liar.clear(0, 4096), Err(ClearError::StillBad));
    assert_eq!(liar.cleared.borrow().len(), 1, "not repeated");
    let device = tree.find().unwrap();
    assert_eq!(clear_with(&device, span(0, 4096), &|| Ok(&liar), &|_| Ok(())), Err(ClearError::StillBad));
    assert_eq!(listed(&tree, WHOLE, None).1, [span(0, 4096)]);
}

/// Another device that was made of the memory meanwhile, at the same number, is not what was to be cleared.
#[test]
fn a_device_that_is_another_one_afterwards_was_not_cleared() {
    let device = format!("{ACPI}/region0/dax0.1");
    let (resource, uuid) = (format!("{device}/dax0.0/resource"), format!("{device}/uuid"));
    let swaps =
        [(&*resource, "0x200600000\n"), (&*resource, "0x0\n"), (&*uuid, "01234567-89ab-cdef-0123-456789abcdee\n")];
    for (name, text) in swaps {
        let tree = Tree::nfit();
        bad_sectors(&tree, &[(DATA, 8), (DATA + 16, 8)]);
        let (device, zeroed) = (tree.find().unwrap(), RefCell::new(0));
        let firmware = Firmware { swap: Some((name, text)), ..Firmware::new(&tree) };
        let zero = |_| {
            *zeroed.borrow_mut() += 1;
            Ok(())
        };
        let result = clear_with(&device, span(0, 4096), &|| Ok(&firmware), &zero);
        assert_eq!(result, Err(ClearError::Failed(Errno::NODEV)), "{name} {text}");
        assert_eq!((firmware.cleared.borrow().len(), *zeroed.borrow()), (1, 0), "{name} {text}");
    }
    // It is the device that `zero` writes to.
    let tree = Tree::nfit();
    bad_sectors(&tree, &[(DATA, 8)]);
    let (device, firmware) = (tree.find().unwrap(), Firmware::new(&tree));
    let zero = |_| {
        tree.write(&uuid, "01234567-89ab-cdef-0123-456789abcdee\n");
        Ok(())
    };
    let result = clear_with(&device, span(0, 4096), &|| Ok(&firmware), &zero);
    assert_eq!(result, Err(ClearError::Failed(Errno::NODEV)), "after the last block");
}

#[test]
fn a_bus_that_cannot_clear_says_so() {
    let refused = |tree: &Tree| clear(&tree.find().unwrap(), span(0, 4096), &|_| Ok(()));
    let bad = || {
        let tree = Tree::nfit();
        bad_sectors(&tree, &[(DATA, 8)]);
        tree
    };
    assert_eq!(refused(&bad().file(&format!("{ACPI}/commands"), "smart cmd_call\n")), Err(ClearError::Unsupported));
    assert_eq!(refused(&bad().file(&format!("{ACPI}/commands"), "ars_cap\n")), Err(ClearError::Unsupported));
    assert_eq!(refused(&bad().without(&format!("{ACPI}/commands"))), Err(ClearError::Unsupported));
    assert_eq!(
        refused(&Tree::nfit().file(&format!("{ACPI}/commands"), "")),
        Err(ClearError::Unsupported),
        "none is bad"
    );
    assert_eq!(refused(&Tree::hmem()), Err(ClearError::Unknown(BadBlocksError::NoRegion)));
    let unknown = Tree::nfit().own("resource", "0x0\n");
    assert_eq!(refused(&unknown), Err(ClearError::Unknown(BadBlocksError::NoBounds(Errno::ACCES))));
    // The tree's bus has a number that no node of this machine has.
    let other = bad().file(&format!("{ACPI}/nd/ndctl0/dev"), "4095:1048575\n");
    assert!(matches!(refused(&other), Err(ClearError::Failed(Errno::NOENT | Errno::NODEV | Errno::ACCES))));
}
