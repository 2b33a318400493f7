//! Texts of kernels, trees that look like sysfs, extents that are scattered, and an old kernel's way beside a new
//! one's.

use std::vec::Vec;

use pmemset_core::{Config, Extent, Granularity, MapConfig, Set, Span};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use testkit::sysfs::Tree;

use super::hindrance::scattered;
use super::nodes::distance_between;
use super::pages::{PageMap, Resident};
use super::parse::{Huge, Mount, MountLines, Vma, amount, chosen, distance, list, vma};
use super::{hugepages, vma::Vmas};
use crate::nd::ioctl::{Extent as Placed, Extents};
use crate::nd::parse::Garbage;
use crate::nd::sysfs::Sysfs;
use crate::nd::{Attribute, NdError};
use crate::{FactError, FileSource, Hindrance, Linux};

const HUGE: u64 = 2 << 20;

#[test]
fn mappings_are_read_as_kernels_write_them() {
    let mapping = |start, end, offset, device, inode| {
        Ok(Vma { extent: Extent::between(start, end).unwrap(), offset, device, inode })
    };
    let cases: [(&[u8], _); 5] = [
        (
            b"7f0e80000000-7f0e80400000 rw-s 00200000 103:02 12 /mnt0/records (deleted)",
            mapping(0x7f0e_8000_0000, 0x7f0e_8040_0000, 2 << 20, (0x103, 2), 12),
        ),
        (
            b"7ffff7fc3000-7ffff7fc5000 r-xp 00000000 00:00 0                          [vdso]\n",
            mapping(0x7fff_f7fc_3000, 0x7fff_f7fc_5000, 0, (0, 0), 0),
        ),
        (b"00010000-00020000 ---p 00000000 00:00 0", mapping(0x1_0000, 0x2_0000, 0, (0, 0), 0)),
        (b"1000-2000 rw-s ffffffffffff0000 fd:00 18446744073709551615 ", {
            mapping(0x1000, 0x2000, 0xffff_ffff_ffff_0000, (0xfd, 0), u64::MAX)
        }),
        (b"VmFlags: rd wr sh mr mw me ms sd", Err(Garbage)),
    ];
    for (line, expected) in cases {
        assert_eq!(vma(line), expected, "{}", line.escape_ascii());
    }
    for line in [
        "",
        "1000-2000 rw-s 0 fd:00",
        "2000-1000 rw-s 0 fd:00 1",
        "1000-1000 rw-s 0 fd:00 1",
        "1000 rw-s 0 fd:00 1",
        "1000-2000 rw-s 0 fd 1",
        "1000-2000 rw-s 0 100000000:0 1",
        "1000-2000 rwxsp 0 fd:00 1",
        "1000-2000 rw=s 0 fd:00 1",
        "1000-20000000000000000 rw-s 0 fd:00 1",
    ] {
        assert_eq!(vma(line.as_bytes()), Err(Garbage), "{line}");
    }
    assert_eq!(amount(b"ShmemPmdMapped:     2048 kB\n"), Some((&b"ShmemPmdMapped"[..], 2 << 20)));
    for line in ["THPeligible:    0", "VmFlags: rd wr", "Rss: -1 kB", "Rss 4 kB", "Rss: 18446744073709551615 kB", ""] {
        assert_eq!(amount(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn mounts_are_read_as_kernels_write_them() {
    let text = "25 1 259:3 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p3 rw,errors=remount-ro\n\
                40 25 0:33 / /dev/shm rw,nosuid shared:5 master:2 - tmpfs tmpfs rw,size=1024k\n\
                41 25 0:34 / /mnt/huge\\040pages rw - tmpfs none rw,huge=within_size,inode64\n\
                42 25 0:35 / /huge=always rw,huge=advise - tmpfs huge=always rw,huge=never\n\
                43 25 broken / /x rw - tmpfs none rw,huge=always\n\
                44 25 0:36 / /a/very/long/path/that/does/not/fit/into/the/word rw - tmpfs none rw,huge=always\n\
                45 25 0:37 / /unfinished rw - tmpfs none rw,huge=always";
    let mut lines = MountLines::default();
    let mounts: Vec<Mount> = text.bytes().filter_map(|byte| lines.next(byte)).collect();
    let of = |minor, huge| Mount { device: (0, minor), huge };
    assert_eq!(
        mounts,
        [
            Mount { device: (259, 3), huge: Huge::Never },
            of(33, Huge::Never),
            of(34, Huge::WithinSize),
            of(35, Huge::Never),
            of(36, Huge::Always),
        ]
    );
}

#[test]
fn nodes_that_are_not_numbered_one_by_one_have_their_distance() {
    assert_eq!(distance(b"10 21\n", b"0-1\n", 1), Ok(21));
    assert_eq!(distance(b"10 21 40\n", b"0,2,4\n", 4), Ok(40));
    assert_eq!(distance(b"10 21 30 40\n", b"0-1,7-8\n", 7), Ok(30));
    for (distances, online, to) in
        [("10 21", "0-1", 2), ("10", "0-1", 1), ("10 x", "0-1", 1), ("10", "1-0", 0), ("", "0", 0), ("10", "0-", 0)]
    {
        assert_eq!(distance(distances.as_bytes(), online.as_bytes(), to), Err(Garbage), "{distances} {online}");
    }
    assert_eq!(list(b"\n", &mut |_, _| unreachable!()), Ok(()), "none is online");
    assert_eq!(distance(b"10\n", b"0-4294967295\n", u32::MAX), Err(Garbage));
    let tree = Tree::new();
    tree.file("devices/system/node/online", "0,2\n").file("devices/system/node/node0/distance", "10 28\n");
    let sysfs = Sysfs::at(tree.open().into());
    assert_eq!(distance_between(&sysfs, 0, 2), Ok(28));
    assert_eq!(distance_between(&sysfs, 0, 1), Err(NdError::Garbage { attribute: Attribute::Distance }));
    assert!(matches!(distance_between(&sysfs, 1, 0), Err(NdError::Unreadable { .. })));
}

#[test]
fn the_settings_of_tmpfs_and_its_mount_decide_together() {
    let setting = |text: &str| {
        let tree = Tree::new();
        tree.file("kernel/mm/transparent_hugepage/shmem_enabled", text);
        [None, Some(Huge::Never), Some(Huge::Advise), Some(Huge::Always), Some(Huge::WithinSize)]
            .map(|mount| hugepages::denied_on_tmpfs(&Sysfs::at(tree.open().into()), mount))
    };
    let (mount, system) = (Some(Hindrance::Mount), Some(Hindrance::Setting));
    assert_eq!(setting("always within_size advise [never] deny force\n"), [system, mount, mount, None, None]);
    assert_eq!(setting("[always] within_size advise never deny force\n"), [None, mount, mount, None, None]);
    assert_eq!(setting("always within_size advise never [deny] force\n"), [system; 5]);
    assert_eq!(setting("always within_size advise never deny [force]\n"), [None; 5]);
    for text in ["", "never", "[", "[]", "]["] {
        assert_eq!(chosen(text.as_bytes()), Err(Garbage), "{text}");
    }
    let tree = Tree::new();
    tree.file("kernel/mm/ksm/run", "0\n");
    assert_eq!(hugepages::denied(&Sysfs::at(tree.open().into())), Some(Hindrance::Kernel));
    assert_eq!(hugepages::denied(&Sysfs::at(Tree::new().open().into())), None, "no answer is no reason");
}

#[test]
fn the_first_huge_page_that_is_not_on_one_aligned_piece_is_found() {
    let file = |list: &'static [(u64, u64, u64)]| {
        move |start: u64, length_bytes: u64, extents: &mut Extents| {
            let touched =
                list.iter().filter(|(logical, _, length)| logical + length > start && *logical < start + length_bytes);
            let found: Vec<Placed> = touched
                .map(|&(logical, physical, length_bytes)| Placed {
                    logical,
                    physical,
                    length_bytes,
                    ..Placed::default()
                })
                .collect();
            *extents = Extents::of(found.iter().copied(), u32::try_from(found.len()).unwrap());
            Ok(())
        }
    };
    let four = Span::new(0, 4 * HUGE).unwrap();
    let first = |list| scattered(&file(list), None, four, HUGE);
    assert_eq!(first(&[(0, 8 * HUGE, 4 * HUGE)]), None);
    assert_eq!(first(&[(0, 8 * HUGE + 4096, 4 * HUGE)]), Some(0), "off by a page");
    assert_eq!(first(&[(0, 8 * HUGE, HUGE), (HUGE, 32 * HUGE, 3 * HUGE)]), None, "two aligned pieces");
    assert_eq!(first(&[(0, 8 * HUGE, HUGE + 4096), (HUGE + 4096, 32 * HUGE + 4096, 3 * HUGE)]), Some(HUGE));
    assert_eq!(first(&[(0, 8 * HUGE, HUGE), (HUGE, 32 * HUGE + 4096, 3 * HUGE)]), Some(HUGE));
    assert_eq!(first(&[]), None, "nothing is allocated yet");
    assert_eq!(first(&[(2 * HUGE, 8 * HUGE, 2 * HUGE)]), None, "holes of whole huge pages");
    assert_eq!(first(&[(4096, 8 * HUGE + 4096, 4 * HUGE)]), Some(0), "a hole in the first one");
    assert_eq!(first(&[(0, 0, 4096)]), Some(0), "a part of the first one");
    let many: &'static [(u64, u64, u64)] =
        (0..100).map(|at| (at * HUGE, (99 - at) * HUGE, HUGE)).collect::<Vec<_>>().leak();
    let hundred = Span::new(0, 100 * HUGE).unwrap();
    assert_eq!(scattered(&file(many), None, hundred, HUGE), None, "more than are asked for at a time");
}

#[test]
fn an_old_kernel_says_the_same_of_what_is_there() {
    let file = memfd_create(c"old", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 4 << 20).unwrap();
    let source = FileSource::from_owned_fd(file).unwrap();
    let set = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
    let part = set.map(&source, &MapConfig::new()).unwrap();
    for page in [0, 1, 7, 300, 511, 512, 1023] {
        part.write(page * 4096, b"touched").unwrap();
    }
    let (old, new) = (PageMap::open_old().unwrap(), PageMap::open().unwrap());
    let pieces = [(0, 4 << 20), (0, 1), (4096, 4096), (512 * 4096 - 1, 2), (300 * 4096, 212 * 4096), (2 * 4096, 4096)];
    for (offset, length_bytes) in pieces {
        let piece = part.extent().slice(offset, length_bytes).unwrap();
        let expected = [0, 1, 7, 300, 511, 512, 1023]
            .iter()
            .filter(|page| piece.overlaps(part.extent().slice(*page * 4096, 4096).unwrap()));
        let expected = expected.count() * 4096;
        let found = old.look(piece).unwrap();
        assert_eq!(found, Resident { bytes: expected, huge_bytes: None }, "{piece}");
        assert_eq!(new.look(piece).unwrap().bytes, expected, "{piece}");
    }
    // What such a kernel tells by which pages: nothing of this mapping is huge.
    let mut amounts = Vmas::open(c"/proc/self/smaps").unwrap();
    let vma = amounts.at(part.extent().start()).unwrap();
    assert_eq!(amounts.amounts(), Ok((7 * 4096, 0)));
    let mut maps = Vmas::open(c"/proc/self/maps").unwrap();
    assert_eq!(maps.at(1), Err(FactError::NoMapping), "below everything");
    assert_eq!(maps.at(part.extent().start()), Ok(vma), "both lists say the same");
    assert_eq!(maps.at(part.extent().end() - 1), Ok(vma));
}
