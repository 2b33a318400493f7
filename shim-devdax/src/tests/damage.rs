//! Shutdown counts, and copies that survive damaged memory.

use std::format;
use std::vec;
use std::vec::Vec;

use pmemset_core::error::{DeviceError, McsafeError};
use pmemset_core::{DeviceId, Errno, Health as _};

use super::alone;
use super::sources::address_space;
use super::tree::{ACPI, MIB, Tree, memory};

fn modules(counts: &[(u32, &str)]) -> Tree {
    let mut tree = Tree::nfit().file(&format!("{ACPI}/region0/mappings"), &format!("{}\n", counts.len()));
    for (index, (number, count)) in counts.iter().enumerate() {
        tree = tree
            .file(&format!("{ACPI}/region0/mapping{index}"), &format!("nmem{number},0,1024,{index}\n"))
            .file(&format!("{ACPI}/nmem{number}/nfit/dirty_shutdown"), count)
            .file(&format!("{ACPI}/nmem{number}/nfit/id"), &format!("8089-a2-1834-{number:08}\n"));
    }
    tree
}

#[test]
fn all_modules_of_the_region_are_counted() {
    let tree = modules(&[(10, "4\n"), (2, "3\n")]);
    let mut id = DeviceId::new();
    assert_eq!(tree.source().unwrap().device(&mut id), Ok(7));
    assert_eq!(id.as_bytes(), b"8089-a2-1834-000000028089-a2-1834-00000010");
    for tree in [modules(&[]), modules(&[(0, "-1\n")]), Tree::hmem(), Tree::cxl()] {
        assert_eq!(tree.source().unwrap().device(&mut DeviceId::new()), Err(DeviceError::Unsupported));
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|number| (number * 7 + number / 251).to_le_bytes()[0]).collect()
}

#[test]
fn copies_take_any_range_and_leave_nothing_mapped() {
    alone("damage::copies_take_any_range_and_leave_nothing_mapped", || {
        let tree = Tree::nfit();
        let source = tree.source().unwrap();
        let before = address_space();
        for (offset, length) in
            [(0, 1), (2 * MIB - 3, 6), (12_345, 100_000), (4 * MIB - 5000, 10_001), (32 * MIB - 1, 1), (77, 0)]
        {
            let (stored, mut found) = (pattern(length), vec![0; length]);
            assert_eq!(source.write_mcsafe(offset, &stored), Ok(()));
            assert_eq!(source.read_mcsafe(offset, &mut found), Ok(()));
            assert!(found == stored, "{offset}, {length}");
            rustix::io::pread(&source, found.as_mut_slice(), offset).unwrap();
            assert!(found == stored, "{offset}, {length} in the device");
            drop((stored, found));
        }
        assert_eq!(address_space().0, before.0);
    });
}

/// Defect J1.
#[test]
fn nothing_beyond_the_device_is_copied() {
    let tree = Tree::nfit();
    let source = tree.source_of(memory(64 * MIB)).unwrap();
    let out = Err(McsafeError::OutOfRange { length_bytes: 32 * MIB });
    for (offset, length) in [(32 * MIB, 1), (32 * MIB - 1, 2), (u64::MAX, 1), (40 * MIB, 0)] {
        assert_eq!(source.read_mcsafe(offset, &mut vec![0; length]), out, "{offset}");
        assert_eq!(source.write_mcsafe(offset, &vec![1; length]), out, "{offset}");
    }
    let mut behind = [0; 8];
    rustix::io::pread(&source, &mut behind, 32 * MIB).unwrap();
    assert_eq!(behind, [0; 8]);
}

#[test]
fn blocks_known_to_be_bad_are_not_touched() {
    let tree = Tree::nfit();
    let source = tree.source().unwrap();
    tree.write(&format!("{ACPI}/region0/badblocks"), &format!("{} 1\n", (4 * MIB + 8192) / 512));
    for (offset, result) in [(8191, Err(McsafeError::IoFail)), (8703, Err(McsafeError::IoFail)), (8704, Ok(()))] {
        assert_eq!(source.read_mcsafe(offset, &mut [0; 2]), result, "{offset}");
        assert_eq!(source.write_mcsafe(offset, &[5; 2]), result, "{offset}");
    }
    assert_eq!(source.read_mcsafe(0, &mut [0; 8192]), Ok(()));
    // Where nothing is known, damage is found by the copy.
    tree.write(&format!("{ACPI}/region0/resource"), "0x0\n");
    assert_eq!(source.read_mcsafe(8192, &mut [0; 2]), Ok(()));
}

/// Pages that cannot be had raise a signal when a program touches them; this process has no handler.
#[test]
fn damage_is_an_error_and_no_signal() {
    let tree = Tree::nfit();
    let source = tree.source_of(memory(4 * MIB)).unwrap();
    let mut bytes = vec![9; 3 << 20];
    assert_eq!(source.read_mcsafe(8 * MIB, &mut bytes[..100]), Err(McsafeError::IoFail));
    assert_eq!(source.write_mcsafe(8 * MIB, &bytes[..100]), Err(McsafeError::IoFail));
    assert_eq!(source.read_mcsafe(2 * MIB, &mut bytes), Err(McsafeError::IoFail), "good at first");
    assert_eq!(source.read_mcsafe(MIB, &mut bytes), Ok(()));
    drop(tree);
    assert_eq!(source.read_mcsafe(0, &mut [0]), Err(McsafeError::Failed(Errno::NOENT)), "the device has gone");
}
