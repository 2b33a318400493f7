//! Files that grow when more of them is mapped than they have.
#![allow(clippy::cast_possible_truncation, reason = "lengths are small")]

mod machine;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;

use machine::{Folder, Mount, alone, is_root, skip};
use pmemset_core::error::{MapError, PrepareError};
use pmemset_core::{Config, Errno, Granularity, Growth, Health as _, MapConfig, Platform, Set, Source, Span};
use pmemset_linux::{Backing, FileSource, Linux, OpenOptions};

const PAGE: u64 = 4096;

type Files<'a, O = ()> = Set<'a, Linux, &'a FileSource, O>;

fn set<'a>() -> Files<'a> {
    Set::with_capacity(Linux, Config::new(Granularity::Page), 8)
}

fn pages(first: u64, count: u64) -> Span {
    Span::new(first * PAGE, count * PAGE).unwrap()
}

fn grew(from: u64, to: u64) -> Option<Growth> {
    Some(Growth { from_bytes: from * PAGE, to_bytes: to * PAGE })
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Defect G1: growth was sparse.
#[test]
fn growth_allocates_what_is_mapped_and_no_more() {
    for folder in [Folder::on_disk("growth"), Folder::in_memory("growth")] {
        let path = folder.join("file");
        let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
        assert_eq!(source.prepare(pages(0, 4)), Ok(grew(0, 4)));
        assert_eq!((length(&path), allocated(&path) >= 4 * PAGE), (4 * PAGE, true));
        // Far behind the end: what lies between is not mapped, and stays a hole.
        assert_eq!(source.prepare(pages(1 << 20, 4)), Ok(grew(4, (1 << 20) + 4)));
        assert_eq!(length(&path), ((1 << 20) + 4) * PAGE);
        assert!((8 * PAGE..1 << 20).contains(&allocated(&path)), "{}", allocated(&path));
        // What is there is not grown again.
        assert_eq!(source.prepare(pages(0, 4)), Ok(None));
        assert_eq!(source.prepare(pages(1 << 20, 4)), Ok(None));
        assert_eq!(source.facts().unwrap().backing, Backing::Allocated);
    }
}

/// Defect G1 again: a file that is long enough, and has holes.
#[test]
fn holes_of_a_file_that_may_grow_are_filled_where_it_is_mapped() {
    for folder in [Folder::on_disk("holes"), Folder::in_memory("holes")] {
        let path = folder.join("file");
        File::create(&path).unwrap().set_len(64 * PAGE).unwrap();
        let source = FileSource::open(&path, OpenOptions::new()).unwrap();
        assert_eq!(source.prepare(pages(8, 8)), Ok(None));
        assert!((8 * PAGE..32 * PAGE).contains(&allocated(&path)), "{}", allocated(&path));
        let kept = FileSource::open(&path, OpenOptions::new().do_not_grow()).unwrap();
        let before = allocated(&path);
        assert_eq!(kept.prepare(pages(32, 8)), Ok(None));
        assert_eq!(allocated(&path), before, "a file that may not grow is left as it is");
        assert_eq!(kept.facts().unwrap().backing, Backing::AsFound);
    }
}

/// Storage is given back where nothing is mapped any more, through the source's descriptor, and had again by mapping.
#[test]
fn a_hole_punched_through_the_source_is_filled_when_it_is_mapped_again() {
    for folder in [Folder::on_disk("punched"), Folder::in_memory("punched")] {
        let path = folder.join("file");
        let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
        let set = set();
        let config = MapConfig::new().length(64 * PAGE as usize);
        let part = set.map(&source, &config).unwrap();
        part.write(0, b"forget me").unwrap();
        set.remove(part).unwrap();
        let full = allocated(&path);
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(source.as_fd(), flags, 0, 32 * PAGE).unwrap();
        assert!(allocated(&path) < full);
        let part = set.map(&source, &config).unwrap();
        assert_eq!((length(&path), allocated(&path) >= 64 * PAGE), (64 * PAGE, true));
        let mut bytes = [1; 9];
        part.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 9]);
    }
}

/// Checks on the file system at `mount`, of about a MiB, that nothing is promised that is not there.
fn check_full(mount: &Path) {
    let path = mount.join("file");
    let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
    let set = set();
    let first = set.map(&source, &MapConfig::new().length(8 * PAGE as usize)).unwrap();
    let too_much = set.map(&source, &MapConfig::new().length(64 << 20)).unwrap_err();
    assert_eq!(too_much, MapError::CannotGrow { needed_bytes: 64 << 20, cause: Errno::NOSPC });
    assert_eq!(too_much.code(), -200_021);
    assert_eq!(length(&path), 8 * PAGE, "the old length");
    assert_eq!(set.segment_count(), 1);
    // The part is all there.
    let start: *mut u8 = core::ptr::with_exposed_provenance_mut(first.extent().start());
    // SAFETY: 8 pages are mapped there, and used by nobody else.
    unsafe { start.write_bytes(1, 8 * PAGE as usize) };
    // A long file that is a hole, on the same full file system.
    let sparse = mount.join("sparse");
    File::create(&sparse).unwrap().set_len(64 << 20).unwrap();
    let source = FileSource::open(&sparse, OpenOptions::new()).unwrap();
    let error = self::set().map(&source, &MapConfig::new()).unwrap_err();
    assert_eq!(error, MapError::CannotGrow { needed_bytes: 64 << 20, cause: Errno::NOSPC });
    assert_eq!(length(&sparse), 64 << 20);
}

#[test]
fn a_full_tmpfs_is_an_error_and_the_old_length() {
    if !is_root() {
        return skip("mounting needs root");
    }
    match Mount::new("full", "tmpfs", "none", "size=1m") {
        Some(mount) => check_full(mount.path()),
        None => skip("no tmpfs can be mounted here"),
    }
}

#[test]
fn a_full_ext4_is_an_error_and_the_old_length() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let folder = Folder::on_disk("image");
    let image = folder.join("image");
    File::create(&image).unwrap().set_len(4 << 20).unwrap();
    let made = std::process::Command::new("mkfs.ext4").args(["-q", "-O", "^has_journal"]).arg(&image).status();
    if !made.is_ok_and(|status| status.success()) {
        return skip("no mkfs.ext4 here");
    }
    match Mount::new("full-ext4", "ext4", image.to_str().unwrap(), "loop") {
        Some(mount) => check_full(mount.path()),
        None => skip("no loop device or no ext4 in this kernel"),
    }
}

/// A file system of its own in a file of `mebibytes` MiB, made by `mkfs`, or the reason why there is none.
fn made(kind: &str, options: &[&str], mebibytes: u64) -> Result<(Folder, Mount), String> {
    if !is_root() {
        return Err("mounting needs root".into());
    }
    let folder = Folder::on_disk(&format!("image-{kind}"));
    let image = folder.join("image");
    File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
    let made = std::process::Command::new(format!("mkfs.{kind}")).args(options).arg(&image).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return Err(format!("no mkfs.{kind} here"));
    }
    let mount = Mount::new(kind, kind, image.to_str().unwrap(), "loop");
    mount.map(|mount| (folder, mount)).ok_or_else(|| format!("no loop device or no {kind} in this kernel"))
}

/// Takes all storage that is left at `mount`.
fn fill(mount: &Path) {
    let rest = File::create(mount.join("rest")).unwrap();
    let mut at = 0;
    for piece in [1 << 20, 64 << 10, PAGE] {
        while rustix::fs::fallocate(&rest, rustix::fs::FallocateFlags::empty(), at, piece).is_ok() {
            at += piece;
        }
    }
}

/// Maps `bytes` of `source` and stores to each page; dies of `SIGBUS` where one has no storage.
fn store_everywhere(source: &FileSource, bytes: usize) -> Result<(), MapError> {
    let set = set();
    let window = set.map(source, &MapConfig::new().length(bytes))?.extent();
    for page in (window.start()..window.end()).step_by(PAGE as usize) {
        let byte: *mut u8 = core::ptr::with_exposed_provenance_mut(page);
        // SAFETY: mapped, and nobody else's.
        unsafe { byte.write_volatile(1) };
    }
    Ok(())
}

/// Holes that somebody has punched since the file was allocated: a store to one would raise `SIGBUS` on a full disk.
#[test]
fn storage_that_was_taken_away_is_allocated_again_or_missed() {
    const LENGTH: u64 = 8 << 20;
    alone("storage_that_was_taken_away_is_allocated_again_or_missed", || {
        let (_image, mount) = match made("ext4", &["-q", "-O", "^has_journal"], 32) {
            Ok(made) => made,
            Err(reason) => return skip(&reason),
        };
        let path = mount.join("file");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let source = FileSource::from_owned_fd(file.try_clone().unwrap().into()).unwrap().growing();
        let punch = || {
            let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, 0, LENGTH).unwrap();
        };
        store_everywhere(&source, LENGTH as usize).unwrap();
        punch();
        store_everywhere(&source, LENGTH as usize).unwrap();
        assert!(allocated(&path) >= LENGTH);
        punch();
        fill(mount.path());
        let missed = MapError::CannotGrow { needed_bytes: LENGTH, cause: Errno::NOSPC };
        assert_eq!(store_everywhere(&source, LENGTH as usize), Err(missed));
        assert_eq!(length(&path), LENGTH);
    });
}

/// Extents that files share get storage of their own before they are mapped.
#[test]
fn shared_extents_of_xfs_are_made_the_files_own() {
    const LENGTH: u64 = 32 << 20;
    alone("shared_extents_of_xfs_are_made_the_files_own", || {
        let (_image, mount) = match made("xfs", &["-q", "-m", "reflink=1"], 512) {
            Ok(made) => made,
            Err(reason) => return skip(&reason),
        };
        let (original, copy) = (mount.join("original"), mount.join("copy"));
        fs::write(&original, vec![7; LENGTH as usize]).unwrap();
        let clone = || {
            let mut cp = std::process::Command::new("cp");
            assert!(cp.arg("--reflink=always").args([&original, &copy]).status().unwrap().success());
        };
        clone();
        let source = FileSource::open(&copy, OpenOptions::new()).unwrap();
        assert_eq!(source.prepare(pages(0, LENGTH / PAGE)), Ok(None));
        assert_eq!(source.facts().unwrap().backing, Backing::Allocated);
        fill(mount.path());
        store_everywhere(&source, LENGTH as usize).unwrap();
        assert!(fs::read(&original).unwrap() == vec![7; LENGTH as usize]);
        // Nothing is left for a second copy: an error, and no signal later.
        let again = FileSource::open(&original, OpenOptions::new()).unwrap();
        let third = mount.join("third");
        drop(source);
        fs::remove_file(&copy).unwrap();
        let mut cp = std::process::Command::new("cp");
        assert!(cp.arg("--reflink=always").args([&original, &third]).status().unwrap().success());
        fill(mount.path());
        let missed = MapError::CannotGrow { needed_bytes: LENGTH, cause: Errno::NOSPC };
        assert_eq!(store_everywhere(&again, LENGTH as usize), Err(missed));
    });
}

/// btrfs stores what is changed elsewhere: nothing that was allocated before is of use.
#[test]
fn a_file_system_that_does_not_store_in_place_is_not_called_allocated() {
    let (_image, mount) = match made("btrfs", &["-q"], 128) {
        Ok(made) => made,
        Err(reason) => return skip(&reason),
    };
    let source = FileSource::open(mount.join("file"), OpenOptions::new().create_always()).unwrap();
    assert_eq!(source.prepare(pages(0, 4)), Ok(grew(0, 4)));
    let facts = source.facts().unwrap();
    assert_eq!((facts.backing, facts.file_system), (Backing::NotInPlace, pmemset_linux::FileSystem(0x9123_683e)));
}

/// The kernel's own way to say it is a signal that ends the process.
#[test]
fn the_processs_limit_on_files_is_an_error_and_no_signal() {
    use pmemset_core::error::McsafeError;
    alone("the_processs_limit_on_files_is_an_error_and_no_signal", || {
        let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: None };
        for folder in [Folder::on_disk("limit"), Folder::in_memory("limit")] {
            let path = folder.join("long");
            File::create(&path).unwrap().set_len(4 << 20).unwrap();
            let long = FileSource::open(&path, OpenOptions::new()).unwrap();
            let source = FileSource::temporary(folder.path()).unwrap();
            let before = rustix::process::getrlimit(rustix::process::Resource::Fsize);
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            let set = set();
            let cause = Errno::FBIG;
            let refused = set.map(&source, &MapConfig::new().length(2 << 20)).unwrap_err();
            assert_eq!(refused, MapError::CannotGrow { needed_bytes: 2 << 20, cause });
            assert!(set.map(&source, &MapConfig::new().length(1 << 20)).is_ok());
            assert!(set.map(&long, &MapConfig::new()).is_ok(), "what is there already is no growth");
            assert_eq!(long.write_mcsafe(2 << 20, b"far"), Err(McsafeError::Failed(cause)));
            assert_eq!(long.write_mcsafe((1 << 20) - 4, b"near"), Ok(()));
            rustix::process::setrlimit(rustix::process::Resource::Fsize, before).unwrap();
        }
    });
}

#[test]
fn a_file_system_that_cannot_allocate_gets_zeros() {
    if !is_root() {
        return skip("mounting needs root");
    }
    let Some(mount) = Mount::new("ramfs", "ramfs", "none", "mode=0755") else {
        return skip("no ramfs can be mounted here");
    };
    let path = mount.join("file");
    let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
    assert_eq!(source.prepare(pages(2, 30)), Ok(grew(0, 32)));
    assert_eq!((length(&path), allocated(&path)), (32 * PAGE, 30 * PAGE));
    assert_eq!(source.facts().unwrap().backing, Backing::WrittenWhenNew);
    fs::write(&path, [7; 40_000]).unwrap();
    let source = FileSource::open(&path, OpenOptions::new()).unwrap();
    assert_eq!(source.prepare(pages(0, 16)), Ok(grew_bytes(40_000, 16 * PAGE)));
    let text = fs::read(&path).unwrap();
    assert!(text[..40_000] == [7; 40_000] && text[40_000..].iter().all(|byte| *byte == 0) && text.len() == 65_536);
}

fn grew_bytes(from_bytes: u64, to_bytes: u64) -> Option<Growth> {
    Some(Growth { from_bytes, to_bytes })
}

/// Defect C7: the caller's own file was enlarged without a word.
#[test]
fn what_the_library_does_not_own_grows_only_when_asked() {
    let folder = Folder::on_disk("owned");
    let path = folder.join("file");
    fs::write(&path, [1; 5_000]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let borrowed = FileSource::from_fd(file.as_fd()).unwrap();
    assert_eq!(borrowed.prepare(pages(0, 2)), Err(PrepareError::TooSmall { length_bytes: 5_000 }));
    let fixed = FileSource::open(&path, OpenOptions::new().do_not_grow()).unwrap();
    let set = set();
    let error = set.map(&fixed, &MapConfig::new().length(2 * PAGE as usize)).unwrap_err();
    assert_eq!(error, MapError::SourceTooSmall { needed_bytes: 2 * PAGE, length_bytes: 5_000 });
    assert_eq!(error.code(), -200_031);
    assert_eq!(length(&path), 5_000);
    let willing = FileSource::from_fd(file.as_fd()).unwrap().growing();
    assert_eq!(willing.prepare(pages(0, 2)), Ok(grew_bytes(5_000, 2 * PAGE)));
    assert_eq!(length(&path), 2 * PAGE);
    // Longer now, as a source sees that had found it too short.
    assert_eq!(borrowed.prepare(pages(0, 2)), Ok(None));
}

/// Defects G2, D10: a failed map left the file enlarged. D9, G5: the end was not checked for overflow.
#[test]
fn a_refused_map_leaves_the_file_as_it_was() {
    let folder = Folder::on_disk("refused");
    let path = folder.join("file");
    let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
    let set = set();
    let page = PAGE as usize;
    let at = |offset: u64| MapConfig::new().offset(offset);
    let refused = [
        (MapConfig::new(), -200_030),
        (at(PAGE), -200_030),
        (MapConfig::new().length(5_000), -200_015),
        (at(100).length(page), -200_006),
        (at(PAGE).length(usize::MAX - page + 1), -200_033),
        (at(i64::MAX as u64 & !4095).length(page), -200_033),
        (MapConfig::new().length(1 << 62), -200_021),
        (MapConfig::new().length(1 << 50), -200_021),
        (at(1 << 50).length(page), -200_021),
    ];
    for (config, code) in refused {
        let error = set.map(&source, &config).unwrap_err();
        assert_eq!(error.code(), code, "{config:?}: {error}");
        assert_eq!((length(&path), allocated(&path), set.segment_count()), (0, 0, 0), "{config:?}: {error}");
    }
}

/// Defect D10 at the kernel's own limit: address space that cannot be had.
#[test]
fn a_map_that_fails_late_gives_the_growth_back() {
    alone("a_map_that_fails_late_gives_the_growth_back", || {
        let folder = Folder::on_disk("late");
        let path = folder.join("file");
        let source = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
        let set = set();
        set.map(&source, &MapConfig::new().length(PAGE as usize)).unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::As);
        let tight = rustix::process::Rlimit { current: Some(1 << 20), ..limit };
        rustix::process::setrlimit(rustix::process::Resource::As, tight).unwrap();
        let result = set.map(&source, &MapConfig::new().length(1 << 20));
        rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
        assert_eq!(result.unwrap_err(), MapError::AddressSpace { cause: Errno::NOMEM });
        assert_eq!(length(&path), PAGE);
        assert!(set.map(&source, &MapConfig::new().length(1 << 20)).is_ok());
    });
}

#[test]
fn growth_is_taken_back_only_while_nobody_relies_on_it() {
    for folder in [Folder::on_disk("undo"), Folder::in_memory("undo")] {
        let path = folder.join("file");
        let open = || FileSource::open(&path, OpenOptions::new().create_if_needed()).unwrap();
        let (one, two) = (open(), open());
        let grow = |source: &FileSource, to| source.prepare(pages(0, to)).unwrap().unwrap();
        // Nobody else: back to the old length, as often as it takes.
        for _ in 0..3 {
            let growth = grow(&one, 4);
            one.undo_growth(growth);
            assert_eq!(length(&path), 0);
        }
        // Another source of the same file has seen the new length.
        let growth = grow(&one, 4);
        assert_eq!(two.prepare(pages(2, 2)), Ok(None));
        one.undo_growth(growth);
        assert_eq!(length(&path), 4 * PAGE);
        // The same source has, in another thread or not.
        let growth = grow(&one, 8);
        assert_eq!(one.prepare(pages(7, 1)), Ok(None));
        one.undo_growth(growth);
        assert_eq!(length(&path), 8 * PAGE);
        // Another source has grown it further.
        let growth = grow(&one, 12);
        let further = grow(&two, 16);
        one.undo_growth(growth);
        assert_eq!(length(&path), 16 * PAGE);
        two.undo_growth(further);
        assert_eq!(length(&path), 12 * PAGE);
        // Somebody else has changed the length.
        let growth = grow(&one, 20);
        File::options().write(true).open(&path).unwrap().set_len(30 * PAGE).unwrap();
        one.undo_growth(growth);
        assert_eq!(length(&path), 30 * PAGE);
        // An old growth.
        let old = grow(&one, 40);
        let new = grow(&one, 50);
        one.undo_growth(old);
        assert_eq!(length(&path), 50 * PAGE);
        one.undo_growth(new);
        assert_eq!(length(&path), 40 * PAGE);
        // What was taken back is missed afterwards.
        assert_eq!(one.prepare(pages(45, 1)), Ok(grew(40, 46)));
    }
}

/// Defect G3: two threads that grew one file could shrink it under each other's parts.
#[test]
fn threads_that_grow_one_file_never_shrink_it() {
    const THREADS: u64 = 8;
    for folder in [Folder::on_disk("race"), Folder::in_memory("race")] {
        let path = folder.join("file");
        let shared = FileSource::open(&path, OpenOptions::new().create_always()).unwrap();
        let together = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (shared, together, path) = (&shared, &together, &path);
                scope.spawn(move || {
                    let own = FileSource::open(path, OpenOptions::new()).unwrap();
                    let source = if thread % 2 == 0 { shared } else { &own };
                    let set = Box::new(set());
                    for round in 0..40 {
                        together.wait();
                        let place = (round * THREADS + (thread * 5 + round) % THREADS) * PAGE;
                        let config = MapConfig::new().offset(place).length(PAGE as usize);
                        if thread % 4 == 3 {
                            // One that fails after it has grown the file.
                            if let Some(growth) = source.prepare(Span::new(place, PAGE).unwrap()).unwrap() {
                                source.undo_growth(growth);
                            }
                            continue;
                        }
                        let segment = set.map(source, &config).unwrap().extent();
                        let byte: *mut u8 = core::ptr::with_exposed_provenance_mut(segment.start());
                        // Raises SIGBUS if the file does not reach here any more.
                        // SAFETY: the page is mapped, and this thread's own.
                        unsafe { byte.write_volatile(thread as u8) };
                        let part = set.part_at(segment.start()).unwrap();
                        set.remove(part).unwrap();
                    }
                });
            }
        });
        let length = length(&path);
        assert!(length <= 40 * THREADS * PAGE && length > 39 * THREADS * PAGE, "{length}");
    }
}

#[test]
fn the_page_size_is_the_alignment() {
    let folder = Folder::on_disk("alignment");
    let source = FileSource::temporary(folder.path()).unwrap();
    assert_eq!(source.alignment_bytes(), Linux.page_size_bytes());
    assert_eq!((source.fixed_address(), source.write_granule_bytes()), (None, 1));
}
