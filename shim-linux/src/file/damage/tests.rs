//! Copies, lists and clears on real files; the list of bad blocks is made up, the extents are the kernel's.

use rustix::fd::AsFd;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::vec::Vec;
use std::{format, println, vec};

use super::*;
use crate::nd::ioctl::Extents;
use testkit::sysfs::{PMEM0, Tree};

const PAGE: u64 = 4096;

/// Returns an unnamed file of eight pages, each filled with its number, on the disk that the build is on.
fn pages() -> File {
    let tree = Tree::new();
    let path = tree.at("file");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    for page in 0..8 {
        file.write_all_at(&[page; 4096], u64::from(page) * PAGE).unwrap();
    }
    file.sync_all().unwrap();
    file
}

fn fd(file: &File) -> BorrowedFd<'_> {
    file.as_fd()
}

fn contents(file: &File) -> Vec<u8> {
    (0..8)
        .map(|page| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, page * PAGE + 100).unwrap();
            byte[0]
        })
        .collect()
}

fn span(page: u64, count: u64) -> Span {
    Span::new(page * PAGE, count * PAGE).unwrap()
}

#[test]
fn copies_are_bounded_and_whole() {
    let file = pages();
    let mut bytes = [9; 5000];
    read(fd(&file), 3 * PAGE - 1, &mut bytes).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[4096], bytes[4097]), (2, 3, 3, 4));
    let out_of_range = Err(McsafeError::OutOfRange { length_bytes: 8 * PAGE });
    assert_eq!(read(fd(&file), 8 * PAGE - 4999, &mut bytes), out_of_range);
    assert_eq!(read(fd(&file), u64::MAX, &mut bytes), out_of_range);
    assert_eq!(read(fd(&file), 8 * PAGE, &mut []), Ok(()));
    assert_eq!(write(fd(&file), 8 * PAGE + 1, &[]), out_of_range);
    assert_eq!(write(fd(&file), 8 * PAGE - 1, &[1, 2]), out_of_range, "a copy never makes the file longer");
    write(fd(&file), 2 * PAGE + 50, &[77; 5000]).unwrap();
    assert_eq!(contents(&file), [0, 1, 77, 77, 4, 5, 6, 7]);
    assert_eq!(length(fd(&file)), Ok(8 * PAGE));
}

#[test]
fn short_transfers_go_on_and_errors_are_told_apart() {
    let file = pages();
    let run = |answers: &[io::Result<usize>]| {
        let (mut calls, mut answers) = (Vec::new(), answers.iter().copied());
        let result = transfer(fd(&file), 10, 100, &mut |done, at| {
            calls.push((done, at));
            answers.next().unwrap()
        });
        (result, calls)
    };
    let interrupted = Err(io::Errno::INTR);
    assert_eq!(run(&[Ok(40), interrupted, Ok(60)]), (Ok(()), vec![(0, 10), (40, 50), (40, 50)]));
    assert_eq!(run(&[Ok(1), Err(io::Errno::IO)]).0, Err(McsafeError::IoFail));
    assert_eq!(run(&[Err(io::Errno::FAULT)]).0, Err(McsafeError::IoFail));
    assert_eq!(run(&[Err(io::Errno::BADF)]).0, Err(McsafeError::Failed(Errno::BADF)));
    assert_eq!(run(&[Ok(99), Ok(0)]).0, Err(McsafeError::OutOfRange { length_bytes: 8 * PAGE }));
}

/// Makes the disk that `file` is on look like a namespace of the nd bus.
fn disguise(file: &File) -> Option<(Tree, Dev)> {
    let device = file.metadata().unwrap().dev();
    let mut extents = Extents::default();
    extents.read(fd(file), 0, 8 * PAGE).ok()?;
    if fs::major(device) == 0 || extents.list().iter().any(|extent| extent.flags & !0x1001 != 0) {
        return None;
    }
    let tree = Tree::two_modules();
    tree.device("block", &format!("{}:{}", fs::major(device), fs::minor(device)), PMEM0);
    tree.file(&format!("{PMEM0}/size"), format!("{}\n", 1_u64 << 50));
    Some((tree, device))
}

/// Returns the first sector of a page of the file on its disk.
fn sector(file: &File, page: u64) -> u64 {
    let mut extents = Extents::default();
    extents.read(fd(file), page * PAGE, 1).unwrap();
    let extent = extents.list()[0];
    (extent.physical + page * PAGE - extent.logical) / 512
}

#[test]
fn pages_on_bad_sectors_are_named() {
    let file = pages();
    let Some((tree, device)) = disguise(&file) else {
        println!("SKIPPED the file system of the build does not tell where its files are");
        return;
    };
    let list = |range: Span| {
        let mut blocks = [range; 4];
        match bad_blocks_in(&Sysfs::at(tree.open().into()), fd(&file), device, range, &mut blocks) {
            BadBlocks::Listed { count, more: false } => blocks[..count].to_vec(),
            BadBlocks::None => vec![],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(span(0, 8)), []);
    let bad = format!("{} 1\n{} 3\n", sector(&file, 2) + 7, sector(&file, 5));
    tree.file(&format!("{PMEM0}/badblocks"), &bad);
    assert_eq!(list(span(0, 8)), [span(2, 1), span(5, 1)]);
    assert_eq!(list(span(3, 2)), []);
    let cleared = clear(
        fd(&file),
        span(0, 8),
        |range, blocks| bad_blocks_in(&Sysfs::at(tree.open().into()), fd(&file), device, range, blocks),
        || Ok(()),
    );
    assert_eq!(cleared, Err(ClearError::StillBad), "they can be read, so they are not overwritten");
    assert_eq!(contents(&file), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(bad_blocks(fd(&file), 0, span(0, 1), &mut []), BadBlocks::Unknown(BadBlocksError::NoRegion));
}

#[test]
fn clear_is_refused_where_it_cannot_be_right() {
    let file = pages();
    let nobody = |_: Span, _: &mut [Span]| -> BadBlocks { panic!("asked for a list") };
    let out_of_range = Err(ClearError::OutOfRange { length_bytes: 8 * PAGE });
    assert_eq!(clear(fd(&file), span(8, 1), nobody, || Ok(())), out_of_range);
    assert_eq!(clear(fd(&file), Span::new(8 * PAGE - 1, 2).unwrap(), nobody, || Ok(())), out_of_range);
    file.set_len(8 * PAGE - 1).unwrap();
    assert!(
        matches!(clear(fd(&file), span(7, 1), nobody, || Ok(())), Err(ClearError::OutOfRange { .. })),
        "would make it longer"
    );
    let unknown =
        clear(fd(&file), span(0, 1), |_, _| BadBlocks::Unknown(BadBlocksError::Failed(Errno::ACCES)), || Ok(()));
    assert_eq!(unknown, Err(ClearError::Unknown(BadBlocksError::Failed(Errno::ACCES))));
    assert_eq!(clear(fd(&file), span(0, 1), |_, _| BadBlocks::None, || Ok(())), Ok(()));
    let lost = clear(fd(&file), span(0, 1), |_, _| BadBlocks::None, || Err(Errno::IO));
    assert_eq!(lost, Err(ClearError::Failed(Errno::IO)), "what was overwritten is not durable");
}
