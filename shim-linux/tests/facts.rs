//! What the kernel did with the mappings of a set: sizes of pages, nodes, and why pages are small.

mod machine;

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use machine::{Folder, Mount, PAGE, alone, is_root, skip};
use pmemset_core::error::LookupError;
use pmemset_core::{Coalescing, Config, CopyFlags, Extent, Granularity, MapConfig, Part, Set, Source};
use pmemset_linux::{
    BindError, FactError, FileSource, FileSystem, Hindrance, Linux, LinuxSet, Memory, OpenOptions, PopulateError,
    Process, SegmentFacts,
};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};

const HUGE: usize = 2 << 20;

type Handle = Arc<dyn Source<Space = Process>>;
type Parts = Set<'static, Linux, Handle>;

fn set() -> Parts {
    Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 16)
}

fn memory(length_bytes: usize) -> OwnedFd {
    let file = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, length_bytes as u64).unwrap();
    file
}

fn file(path: &Path, options: OpenOptions) -> Handle {
    Arc::new(FileSource::open(path, options).unwrap())
}

fn grown(path: &Path) -> Handle {
    file(path, OpenOptions::new().create_if_needed())
}

/// Stores through the cache.
fn touch(part: &Part<&Parts>, offset: usize, length_bytes: usize) {
    part.fill(offset, 1, length_bytes, CopyFlags::TEMPORAL).unwrap();
}

fn one(set: &Parts, range: Extent) -> SegmentFacts {
    let facts: Vec<SegmentFacts> = set.facts(range).collect();
    assert_eq!(facts.len(), 1, "{facts:?}");
    facts[0]
}

#[test]
fn looking_touches_nothing_and_sees_what_was_touched() {
    let set = set();
    let part = set.map(Arc::new(FileSource::from_owned_fd(memory(64 * PAGE)).unwrap()), &MapConfig::new()).unwrap();
    for _ in 0..2 {
        let facts = one(&set, part.extent());
        assert_eq!(facts.memory, Ok(Memory::Tmpfs));
        assert_eq!((facts.extent, facts.offset), (part.extent(), 0));
        assert_eq!(facts.resident_bytes, Ok(0), "the first touch is still to come");
        assert_eq!(facts.pages, Err(FactError::NotTouched));
        assert_eq!(facts.hindrance, Some(Hindrance::TooShort { huge_bytes: HUGE }));
        assert!(matches!(facts.node, Err(FactError::NotTouched | FactError::NoNode)), "{facts:?}");
        assert_eq!(facts.region, None);
    }
    touch(&part, 3 * PAGE, 2 * PAGE);
    let facts = one(&set, part.extent());
    assert_eq!(facts.resident_bytes, Ok(2 * PAGE));
    let pages = facts.pages.unwrap();
    assert_eq!((pages.smallest_bytes, pages.largest_bytes, pages.in_largest_bytes), (PAGE, PAGE, 2 * PAGE));
    let text = facts.to_string();
    assert!(text.starts_with("pages of 4 KiB, 8 KiB of 256 KiB touched, node "), "{text}");
    // A piece of the segment, that was not touched; the other half of it was.
    let piece = one(&set, part.extent().slice(5 * PAGE, PAGE).unwrap());
    assert_eq!((piece.offset, piece.resident_bytes), (5 * PAGE as u64, Ok(0)));
    assert_eq!(one(&set, part.extent().slice(4 * PAGE, PAGE).unwrap()).resident_bytes, Ok(PAGE));
}

#[test]
fn segments_of_several_sources_and_parts_each_have_their_own() {
    let folder = Folder::on_disk("facts");
    let set = set();
    set.set_coalescing(Coalescing::Full);
    let on_disk = grown(&folder.join("records"));
    set.map(on_disk.clone(), &MapConfig::new().length(2 * PAGE)).unwrap();
    let second = set.map(Arc::new(FileSource::from_owned_fd(memory(PAGE)).unwrap()), &MapConfig::new()).unwrap();
    set.set_coalescing(Coalescing::None);
    set.map(on_disk, &MapConfig::new().offset(8 * PAGE as u64).length(PAGE)).unwrap();
    touch(&second, 0, PAGE);
    let everything = Extent::between(0, usize::MAX).unwrap();
    let mut facts: Vec<SegmentFacts> = set.facts(everything).collect();
    facts.sort_by_key(|facts| facts.offset);
    assert_eq!(facts.iter().map(|facts| facts.offset).collect::<Vec<_>>(), [0, 0, 8 * PAGE as u64]);
    let in_memory = facts.iter().find(|facts| facts.memory == Ok(Memory::Tmpfs)).unwrap();
    assert_eq!((in_memory.extent, in_memory.resident_bytes), (second.extent(), Ok(PAGE)));
    for facts in facts.iter().filter(|facts| facts.extent != second.extent()) {
        match facts.memory {
            Ok(Memory::PageCache(kind)) => {
                assert_ne!(kind, FileSystem::TMPFS);
                assert_eq!(facts.hindrance, Some(Hindrance::PageCache));
            }
            // Where the build is on tmpfs, or on a file system with other numbers in the list of mappings.
            Ok(Memory::Tmpfs) | Err(FactError::NoDescriptor) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(set.facts(Extent::new(PAGE, PAGE).unwrap()).count(), 0, "nothing is mapped there");
}

#[test]
fn pages_of_2_mib_are_seen_and_their_lack_is_explained() {
    let Some(mount) = Mount::new("facts-huge", "tmpfs", "none", "size=64m,huge=always") else {
        return skip("no tmpfs can be mounted here");
    };
    let set = set();
    let part = set.map(grown(&mount.join("records")), &MapConfig::new().length(4 * HUGE)).unwrap();
    let before = one(&set, part.extent());
    if before.hindrance == Some(Hindrance::Setting) || before.hindrance == Some(Hindrance::Kernel) {
        return skip("the kernel gives no huge pages to tmpfs");
    }
    assert_eq!((before.hindrance, before.pages), (None, Err(FactError::NotTouched)), "nothing stands against it");
    touch(&part, HUGE, 1);
    let facts = one(&set, part.extent());
    let pages = facts.pages.unwrap();
    if facts.hindrance == Some(Hindrance::Unknown) {
        assert_eq!((pages.largest_bytes, facts.resident_bytes), (PAGE, Ok(PAGE)));
        return skip("no huge page is free");
    }
    assert_eq!((pages.largest_bytes, pages.in_largest_bytes), (HUGE, HUGE), "{facts:?}");
    assert_eq!((facts.resident_bytes, facts.hindrance), (Ok(HUGE), None));
    assert!(facts.to_string().starts_with("pages of 2 MiB, 2 MiB of 8 MiB touched"), "{facts}");

    // Half a megabyte into the file: address and offset do not go together.
    let config = MapConfig::new().offset(HUGE as u64 / 4).length(4 * HUGE);
    let misplaced = set.map(grown(&mount.join("misplaced")), &config).unwrap();
    touch(&misplaced, 0, 4 * HUGE);
    let facts = one(&set, misplaced.extent());
    assert_eq!(facts.hindrance, Some(Hindrance::Misplaced { huge_bytes: HUGE, by_bytes: HUGE / 4 * 3 }));
    assert_eq!(facts.pages.unwrap().largest_bytes, PAGE);
    assert!(facts.hindrance.unwrap().to_string().contains("differ by 1536 KiB modulo 2 MiB"), "{facts:?}");

    // One huge page and a half: the end is mapped by small ones.
    let ragged = set.map(grown(&mount.join("ragged")), &MapConfig::new().length(HUGE / 2 * 3)).unwrap();
    touch(&ragged, 0, HUGE / 2 * 3);
    let facts = one(&set, ragged.extent());
    let pages = facts.pages.unwrap();
    if facts.hindrance == Some(Hindrance::Unknown) {
        return skip("no huge page is free any more");
    }
    assert_eq!((pages.smallest_bytes, pages.largest_bytes, pages.in_largest_bytes), (PAGE, HUGE, HUGE), "{facts:?}");
    assert_eq!(facts.hindrance, Some(Hindrance::TooShort { huge_bytes: HUGE }));
    assert!(facts.to_string().starts_with("pages of 4 KiB and, 2 MiB, of 2 MiB, "), "{facts}");
}

#[test]
fn a_tmpfs_that_was_mounted_without_huge_pages_says_so() {
    let Some(mount) = Mount::new("facts-small", "tmpfs", "none", "size=64m") else {
        return skip("no tmpfs can be mounted here");
    };
    let set = set();
    let part = set.map(grown(&mount.join("records")), &MapConfig::new().length(2 * HUGE)).unwrap();
    touch(&part, 0, 2 * HUGE);
    let facts = one(&set, part.extent());
    assert!(matches!(facts.hindrance, Some(Hindrance::Mount | Hindrance::Setting | Hindrance::Kernel)), "{facts:?}");
    assert_eq!(facts.pages.unwrap().largest_bytes, PAGE);
    if facts.hindrance == Some(Hindrance::Mount) && mount.remount("huge=always") {
        // What is there stays small; nothing stands against more.
        assert_eq!(one(&set, part.extent()).hindrance, Some(Hindrance::Unknown));
    }
}

#[test]
fn a_range_is_faulted_in_at_once() {
    let set = set();
    let fd = memory(8 * PAGE);
    let watched = fd.try_clone().unwrap();
    let part = set.map(Arc::new(FileSource::from_owned_fd(fd).unwrap()), &MapConfig::new()).unwrap();
    let range = part.extent().slice(PAGE + 1, 2 * PAGE).unwrap();
    // Whole pages: what the kernel says is about the kernel.
    if set.populate(part.extent().slice(PAGE, PAGE).unwrap()) == Err(PopulateError::Unsupported) {
        return skip("the kernel is older than 5.14");
    }
    assert_eq!(set.populate(range), Ok(()));
    assert_eq!(one(&set, part.extent()).resident_bytes, Ok(3 * PAGE), "the pages that the range touches");
    assert_eq!(fstat(&watched).unwrap().st_blocks, 3 * PAGE as i64 / 512, "a hole has storage now");
    let mut bytes = vec![1; 8 * PAGE];
    part.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0), "the bytes are what they were");
    // For stores: reading alone would leave the hole of a file on a disk as it is.
    let folder = Folder::on_disk("facts-populate");
    let sparse = std::fs::File::create_new(folder.join("sparse")).unwrap();
    sparse.set_len(4 * PAGE as u64).unwrap();
    let on_disk = set.map(file(&folder.join("sparse"), OpenOptions::new().do_not_grow()), &MapConfig::new()).unwrap();
    let before = fstat(&sparse).unwrap().st_blocks;
    set.populate(on_disk.extent().slice(0, PAGE).unwrap()).unwrap();
    assert!(fstat(&sparse).unwrap().st_blocks > before, "{before} blocks as before");
    let behind = Extent::new(part.extent().end() - PAGE, 2 * PAGE).unwrap();
    let address = part.extent().end();
    assert_eq!(set.populate(behind), Err(PopulateError::Lookup(LookupError::NotMapped { address })));
}

#[test]
fn a_touch_that_would_raise_a_signal_is_an_error_of_populate() {
    let set = set();
    let fd = memory(4 * PAGE);
    let shortened = fd.try_clone().unwrap();
    let part = set.map(Arc::new(FileSource::from_owned_fd(fd).unwrap()), &MapConfig::new()).unwrap();
    ftruncate(&shortened, PAGE as u64).unwrap();
    match set.populate(part.extent()) {
        Err(PopulateError::Unsupported) => skip("the kernel is older than 5.14"),
        done => assert_eq!(done, Err(PopulateError::NoMemoryBehind)),
    }
    assert!(PopulateError::NoMemoryBehind.to_string().contains("SIGBUS"));
}

#[test]
fn memory_is_bound_to_a_node_or_the_reason_is_told() {
    let folder = Folder::on_disk("facts-bind");
    let set = set();
    let part = set.map(Arc::new(FileSource::from_owned_fd(memory(4 * PAGE)).unwrap()), &MapConfig::new()).unwrap();
    touch(&part, 0, PAGE);
    let missing = set.bind(part.extent(), 1023);
    if missing == Err(BindError::Unsupported) {
        assert_eq!(one(&set, part.extent()).node, Err(FactError::NoNode));
        return skip("the kernel knows of no nodes");
    }
    assert_eq!(missing, Err(BindError::NoSuchNode { number: 1023 }));
    assert_eq!(set.bind(part.extent(), u32::MAX), Err(BindError::NoSuchNode { number: u32::MAX }));
    let node = one(&set, part.extent()).node.unwrap();
    assert_eq!(set.bind(part.extent(), node.number), Ok(()));
    assert!(node.distance.is_none_or(|distance| (10..255).contains(&distance)) && !node.has_others, "{node:?}");
    // The page cache takes no policy from a mapping: refused, not ignored.
    let on_disk = set.map(grown(&folder.join("records")), &MapConfig::new().length(PAGE)).unwrap();
    match one(&set, on_disk.extent()).memory {
        Ok(memory @ Memory::PageCache(_)) => {
            let address = on_disk.extent().start();
            assert_eq!(set.bind(on_disk.extent(), node.number), Err(BindError::NoEffect { address, memory }));
        }
        _ => skip("the build is on a file system without a page cache of its own"),
    }
}

#[test]
fn without_proc_nothing_is_known_and_the_reason_is_told() {
    const WITHOUT: &str = "PMEMSET_TEST_WITHOUT_PROC";
    const NAME: &str = "without_proc_nothing_is_known_and_the_reason_is_told";
    if std::env::var_os(WITHOUT).is_none() {
        if !is_root() {
            return skip("only the administrator can take /proc away from a process");
        }
        let program = std::env::current_exe().unwrap();
        let line = format!("umount -l /proc && exec {} {NAME} --exact --nocapture", program.display());
        let output = Command::new("unshare").args(["--mount", "sh", "-c", &line]).env(WITHOUT, "1").output();
        let Ok(output) = output else { return skip("there is no unshare(1) here") };
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if text.contains("unshare:") || text.contains("umount:") {
            return skip("no namespace can be made here");
        }
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    assert!(!std::path::Path::new("/proc/self").exists());
    let set = set();
    let part = set.map(Arc::new(FileSource::from_owned_fd(memory(PAGE)).unwrap()), &MapConfig::new()).unwrap();
    touch(&part, 0, PAGE);
    let facts = one(&set, part.extent());
    let reason = FactError::NoProc(pmemset_core::Errno::NOENT);
    assert_eq!((facts.memory, facts.resident_bytes), (Err(reason), Err(reason)));
    assert_eq!(facts.pages, Err(reason));
    let address = part.extent().start();
    assert_eq!(set.bind(part.extent(), 0), Err(BindError::Unknown { address, reason }));
    assert_eq!(set.populate(part.extent()), Ok(()), "that needs no /proc");
}

#[test]
fn a_descriptor_that_is_not_there_any_more_is_told() {
    alone("a_descriptor_that_is_not_there_any_more_is_told", || {
        let set = set();
        let fd = memory(PAGE);
        let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
        let part = set.map(Arc::new(FileSource::from_owned_fd(fd).unwrap()), &MapConfig::new()).unwrap();
        // Somebody closes it behind the source's back.
        // SAFETY: another file takes its number at once, so that the source's close harms nobody.
        let other = unsafe { rustix::fd::OwnedFd::from_raw_fd(number) };
        let null = std::fs::File::open("/dev/null").unwrap();
        let mut target = other;
        rustix::io::dup2(&null, &mut target).unwrap();
        core::mem::forget(target);
        let facts = one(&set, part.extent());
        assert_eq!((facts.memory, facts.resident_bytes), (Err(FactError::NoDescriptor), Ok(0)));
        assert_eq!(facts.hindrance, None);
    });
}
