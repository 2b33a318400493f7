//! Where block devices are on the nd bus, and which device a shutdown record is compared with.

use pmemset_core::error::DeviceError;
use pmemset_core::{DeviceId, Errno, Span};
use pmemset_linux::internal::{Pieces, Sysfs};
use pmemset_linux::nd::{Attribute, NdError};
use proptest::prelude::*;
use rustix::fs::makedev;
use testkit::sysfs::{BUS, PMEM0, Tree, table};

type Targets<'t> = &'t [(u32, &'t [(u64, u64, &'t str, &'t str)])];

/// Finds the pieces of a device, with these tables of mapped devices.
fn pieces(tree: &Tree, major: u32, minor: u32, tables: Targets<'_>) -> Result<Pieces, NdError> {
    Sysfs::at(tree.open().into()).pieces_with(makedev(major, minor), &mut |number, answer| {
        let known = tables.iter().find(|(minor, _)| makedev(253, *minor) == number).ok_or(Errno::ACCES)?;
        let text = table(known.1);
        answer[..text.len()].copy_from_slice(&text);
        Ok(())
    })
}

/// Where each piece is: first and last sector but one, region, first sector on the disk.
fn places(found: &Pieces) -> Vec<(u64, u64, u32, u64)> {
    let sectors = |piece: &pmemset_linux::internal::Piece| (piece.bytes.start() / 512, piece.bytes.end() / 512);
    found
        .as_slice()
        .iter()
        .map(|piece| (sectors(piece).0, sectors(piece).1, piece.region.id(), piece.disk_start / 512))
        .collect()
}

fn device(found: &Pieces) -> Result<(u64, String), DeviceError> {
    let mut id = DeviceId::new();
    found.device(&mut id).map(|count| (count, String::from_utf8(id.as_bytes().to_vec()).unwrap()))
}

#[test]
fn whole_disk_and_partition() {
    let tree = Tree::two_modules().with_partition(2048, 4096);
    assert_eq!(places(&pieces(&tree, 259, 0, &[]).unwrap()), [(0, 2_097_152, 0, 0)]);
    let partition = pieces(&tree, 259, 2, &[]).unwrap();
    assert_eq!(places(&partition), [(0, 4096, 0, 2048)]);
    let [piece] = partition.as_slice() else { unreachable!() };
    let on_disk = |start: u64, count: u64| piece.device_bytes(Span::new(start * 512, count * 512).unwrap());
    assert_eq!(on_disk(2047, 1), None);
    assert_eq!(on_disk(2047, 2), Span::new(0, 512));
    assert_eq!(on_disk(6143, 9), Span::new(4095 * 512, 512));
    assert_eq!(on_disk(6144, 1), None);
}

#[test]
fn linear_mappings_of_anything_that_has_a_place() {
    let tree =
        Tree::two_modules().with_second_region().with_partition(2048, 4096).with_mapped(0, 3000).with_mapped(1, 10);
    let two: Targets<'_> = &[
        (0, &[(0, 1000, "linear", "259:2 96"), (1000, 2000, "linear", "259:1 8")]),
        (1, &[(0, 10, "linear", "253:0 995")]),
    ];
    let both = pieces(&tree, 253, 0, two).unwrap();
    assert_eq!(places(&both), [(0, 1000, 0, 2144), (1000, 3000, 1, 8)]);
    assert_eq!(places(&pieces(&tree, 253, 1, two).unwrap()), [(0, 5, 0, 3139), (5, 10, 1, 8)]);
    let (count, id) = device(&both).unwrap();
    assert_eq!((count, id.as_str()), (12, "8089-a2-1834-000000028089-a2-1834-000000038089-a2-1834-00000010"));
}

#[test]
fn other_mappings_are_unknown() {
    let tree = Tree::two_modules().with_mapped(0, 1000).with_mapped(1, 1000);
    tree.device("block", "254:0", "devices/virtio0/block/vda").file("devices/virtio0/block/vda/size", "5000\n");
    let garbage = NdError::Garbage { attribute: Attribute::Table };
    for targets in [
        &[(0, 1000, "striped", "1 8 259:0 0")][..],
        &[(0, 1000, "crypt", "259:0 0")],
        &[(0, 1000, "linear", "/dev/pmem0 0")],
        &[(0, 999, "linear", "259:0 0")],
        &[(1, 999, "linear", "259:0 0")],
        &[(0, 500, "linear", "259:0 0"), (501, 499, "linear", "259:0 500")],
        &[(0, 1000, "linear", "259:0 36028797018963968")],
        &[],
    ] {
        assert_eq!(pieces(&tree, 253, 0, &[(0, targets)]).unwrap_err(), garbage, "{targets:?}");
    }
    let unreadable = |attribute, cause| NdError::Unreadable { attribute, cause };
    assert_eq!(pieces(&tree, 253, 0, &[]).unwrap_err(), unreadable(Attribute::Table, Errno::ACCES));
    let on_virtio = pieces(&tree, 253, 0, &[(0, &[(0, 1000, "linear", "254:0 0")])]);
    assert_eq!(on_virtio.unwrap_err(), unreadable(Attribute::Region, Errno::NOENT));
    let circle: Targets<'_> = &[(0, &[(0, 1000, "linear", "253:1 0")]), (1, &[(0, 1000, "linear", "253:0 0")])];
    assert_eq!(pieces(&tree, 253, 0, circle).unwrap_err(), NdError::TooLong { attribute: Attribute::Table });
    let many: Vec<_> = (0..9).map(|index| (index * 100, 100, "linear", "259:0 0")).collect();
    assert_eq!(pieces(&tree, 253, 0, &[(0, &many)]).unwrap_err(), garbage);
    assert_eq!(
        pieces(&tree, 0, 42, &[]).unwrap_err(),
        unreadable(Attribute::BlockDevice, Errno::NOENT),
        "btrfs, overlayfs"
    );
}

#[test]
fn table_that_ends_early_is_garbage() {
    let whole = table(&[(0, 8, "linear", "259:0 0"), (8, 8, "linear", "259:0 77")]);
    let last = whole.iter().rposition(|byte| *byte == b'7').unwrap();
    // All of its text, and not the zero behind it: more digits may have followed.
    for length in 0..=last + 1 {
        assert!(pmemset_linux::internal::targets(&whole[..length], |_| Ok(())).is_err(), "{length}");
    }
    assert!(pmemset_linux::internal::targets(&whole[..last + 2], |_| Ok(())).is_ok());
}

#[test]
fn device_is_sorted_and_summed_or_unsupported() {
    let tree = Tree::two_modules();
    let all = || device(&pieces(&tree, 259, 0, &[]).unwrap());
    assert_eq!(all(), Ok((7, "8089-a2-1834-000000028089-a2-1834-00000010".into())));
    for (path, text) in [
        ("nmem2/nfit/dirty_shutdown", "-1\n"),
        ("nmem2/nfit/dirty_shutdown", "18446744073709551615\n"),
        ("nmem2/nfit/dirty_shutdown", ""),
        ("nmem10/nfit/id", "\n"),
        ("region0/mappings", "0\n"),
        ("region0/mappings", "3\n"),
        ("region0/mapping0", "nmem4,0,1\n"),
    ] {
        let path = format!("{BUS}/{path}");
        let before = tree.text(&path);
        tree.file(&path, text);
        assert_eq!(all(), Err(DeviceError::Unsupported), "{path} {text:?}");
        tree.file(&path, before);
    }
    tree.file(&format!("{BUS}/nmem2/nfit/id"), "x".repeat(250));
    tree.file(&format!("{BUS}/nmem10/nfit/id"), "x".repeat(250));
    assert_eq!(all().unwrap().1.len(), 500);
    tree.region("mappings", "3\n").region("mapping2", "nmem11,0,1\n");
    tree.file(&format!("{BUS}/nmem11/cxl/id"), "x".repeat(12)).file(&format!("{BUS}/nmem11/cxl/dirty_shutdown"), "1\n");
    assert_eq!(all(), Err(DeviceError::IdTooLong));
    tree.remove(&format!("{BUS}/nmem11/cxl/dirty_shutdown"));
    assert_eq!(all(), Err(DeviceError::Unsupported), "CXL modules without a count");
}

#[test]
fn lists_are_whole_or_unknown() {
    let tree = Tree::two_modules();
    let list = |text: &str| {
        tree.region("badblocks", text);
        let mut blocks = Vec::new();
        let found = pieces(&tree, 259, 0, &[]).unwrap();
        found.as_slice()[0]
            .region
            .bad_blocks(|block| blocks.push((block.start() / 512, block.length_bytes() / 512)))?;
        Ok(blocks)
    };
    assert_eq!(list(""), Ok(vec![]));
    assert_eq!(list("8 8\n123456789012345 1\n"), Ok(vec![(8, 8), (123_456_789_012_345, 1)]));
    for garbage in ["\n", "8\n", "8 8", "8 8\n9", "8 8\n\n", "8 0\n", "none\n", &"1".repeat(200)] {
        assert_eq!(list(garbage), Err(NdError::Garbage { attribute: Attribute::BadBlocks }), "{garbage:?}");
    }
    let long: String = (0..600).map(|index| format!("{} 8\n", 100_000 + 16 * index)).collect();
    assert_eq!(
        list(&long[..4088]).map(|blocks| blocks.len()),
        Err(NdError::Garbage { attribute: Attribute::BadBlocks })
    );
    let cut = NdError::TooLong { attribute: Attribute::BadBlocks };
    assert_eq!(list(&long[..4095]), Err(cut), "a page of text but for its last byte: the kernel has cut it off");
    let fits = long[..4000].rsplit_once('\n').unwrap().0.to_owned() + "\n";
    assert_eq!(list(&fits).map(|blocks| blocks.len()), Ok(fits.lines().count()));
    tree.remove(&format!("{BUS}/region0/badblocks"));
    let found = pieces(&tree, 259, 0, &[]).unwrap();
    let absent = NdError::Unreadable { attribute: Attribute::BadBlocks, cause: Errno::NOENT };
    assert_eq!(found.as_slice()[0].region.bad_blocks(|_| {}), Err(absent));
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(b"0123456789x:, -\nnmem".to_vec());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), prop::collection::vec(likely, 0..80)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_in_a_file_is_never_none(text in garbage(), which in 0..9_usize) {
        let tree = Tree::two_modules().with_partition(2048, 4096);
        let (region, partition) = (format!("{BUS}/region0"), format!("{PMEM0}/pmem0p1"));
        let path = [
            format!("{region}/mappings"), format!("{region}/mapping0"), format!("{region}/mapping1"),
            format!("{BUS}/nmem2/nfit/dirty_shutdown"), format!("{BUS}/nmem10/nfit/id"),
            format!("{partition}/size"), format!("{partition}/start"), format!("{partition}/partition"),
            format!("{PMEM0}/badblocks"),
        ][which].clone();
        tree.file(&path, &text);
        match pieces(&tree, 259, 2, &[]) {
            Err(_) => prop_assert!((5..8).contains(&which)),
            Ok(found) => {
                prop_assert_eq!(found.as_slice().len(), 1);
                if let Ok((count, id)) = device(&found) {
                    // Only a count or an id that reads as one changes the answer, and no module is ever left out.
                    prop_assert!(id.len() > 21 || which == 4 || which < 3);
                    prop_assert!(count >= 4 || which < 4);
                    prop_assert!(!id.is_empty());
                }
            }
        }
    }

    #[test]
    fn no_table_panics(mut answer in prop::collection::vec(any::<u8>(), 0..600), at in 0..400_usize, count in 0..4_u32) {
        let whole = table(&[(0, 8, "linear", "259:0 0"), (8, 8, "linear", "259:0 8")]);
        let mut take = |_| Ok(());
        let _ = pmemset_linux::internal::targets(&answer, &mut take);
        let length = answer.len().min(whole.len());
        answer[..length].copy_from_slice(&whole[..length]);
        if let Some(field) = answer.get_mut(20..24) {
            field.copy_from_slice(&count.to_ne_bytes());
        }
        let _ = pmemset_linux::internal::targets(&answer, &mut take);
        let mut damaged = whole.clone();
        damaged[at % whole.len()] ^= 0x55;
        let _ = pmemset_linux::internal::targets(&damaged, &mut take);
        let _ = pmemset_linux::internal::targets(&whole[..at % whole.len()], &mut take);
        let mut seen = 0;
        pmemset_linux::internal::targets(&whole, |_| { seen += 1; Ok(()) }).unwrap();
        prop_assert_eq!(seen, 2);
    }
}
