//! Parts of files in the address space of this process: what is mapped, what is put back, what it costs the kernel.

mod machine;

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::{self, File};
use std::path::Path;

use machine::{Folder, PAGE, alone, at, bytes, descriptors, mappings, numbered, skip};
use pmemset_core::error::{GiveBackError, MapError, MapFailure, PrepareError};
use pmemset_core::{
    Config, DeepFlush, Errno, Extent, Granularity, GranularityLimit, Growth, MapConfig, Platform, Reservation, Set,
    Source, Span, forward_source,
};
use pmemset_linux::internal::Mapper;
use pmemset_linux::{FileSource, GranularityReason, Linux, OpenOptions, Process};

#[test]
fn a_part_is_the_bytes_of_its_file() {
    for folder in [Folder::on_disk("bytes"), Folder::in_memory("bytes")] {
        let path = numbered(&folder, 16);
        let source = FileSource::open(&path, OpenOptions::new().do_not_grow()).unwrap();
        let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        let segment = set.map(&source, &at(5).length(3 * PAGE)).unwrap().extent();
        // SAFETY: the part is mapped, and nobody else uses the file.
        let part = unsafe { core::slice::from_raw_parts_mut(bytes(segment), 3 * PAGE) };
        assert!(part.chunks(PAGE).zip(5..).all(|(page, number)| page == [number; PAGE]));
        part[PAGE] = 200;
        source.sync(segment, 5 * PAGE as u64).unwrap();
        assert_eq!(fs::read(&path).unwrap()[6 * PAGE], 200);
        let two = Extent::new(segment.start() + PAGE - 1, 2).unwrap();
        assert_eq!(source.deep_flush(two, 6 * PAGE as u64 - 1), Ok(DeepFlush::Done));
    }
}

/// Defects D11, G4: an unset length meant the whole length, offset or not.
#[test]
fn an_unset_length_is_the_rest_of_the_file() {
    let folder = Folder::on_disk("rest");
    let path = numbered(&folder, 8);
    let source = FileSource::open(&path, OpenOptions::new()).unwrap();
    let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
    let rest = MapConfig::new().offset(PAGE as u64);
    assert_eq!(set.map(&source, &rest).unwrap().extent().length_bytes(), 7 * PAGE);
    assert_eq!(fs::metadata(&path).unwrap().len(), 8 * PAGE as u64);
}

#[test]
fn neither_tmpfs_nor_an_ordinary_disk_is_better_than_page() {
    for folder in [Folder::on_disk("granularity"), Folder::in_memory("granularity")] {
        let source = FileSource::temporary(folder.path()).unwrap();
        let facts = source.facts().unwrap();
        match facts.granularity {
            Ok(GranularityReason::NoMapSync(Errno::OPNOTSUPP)) => {}
            Ok(GranularityReason::Domain(_)) if folder.path().starts_with(env!("CARGO_TARGET_TMPDIR")) => {
                skip("the build is on a file system with DAX");
                continue;
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((source.granularity(), facts.region), (Ok(Granularity::Page), None));
        let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::CacheLine), 4);
        let error = set.map(&source, &at(0)).unwrap_err();
        let (required, available) = (Granularity::CacheLine, Granularity::Page);
        let limit = GranularityLimit::NoDax;
        assert_eq!(error, MapError::GranularityNotSupported { required, available, limit });
        assert!(
            error.to_string().ends_with("persistent memory that is mounted with DAX (MAP_SYNC is refused)"),
            "{error}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// Pitfall 15, defect D2: a failed mapping left a hole, which other threads' memory came to lie in.
#[test]
fn a_refused_mapping_leaves_the_placeholder() {
    alone("a_refused_mapping_leaves_the_placeholder", || {
        for folder in [Folder::on_disk("placeholder"), Folder::in_memory("placeholder")] {
            let file = File::options().read(true).write(true).open(numbered(&folder, 4)).unwrap();
            let fd = std::os::fd::AsFd::as_fd(&file);
            let window = Linux.reserve(16 * PAGE, PAGE).unwrap();
            let middle = window.slice(4 * PAGE, 4 * PAGE).unwrap();
            let before = mappings();
            let mapper = Mapper::new(PAGE);
            // SAFETY: the window was reserved above, and nothing is mapped in it.
            let refusal = unsafe { mapper.map(middle, fd, 0, true) };
            if refusal.is_ok() {
                skip("the build is on a file system with DAX");
                continue;
            }
            assert_eq!(refusal, Err(MapFailure::Refused(Errno::OPNOTSUPP)));
            assert_eq!(mappings(), before);
            // SAFETY: as above.
            assert_eq!(unsafe { mapper.map(middle, fd, 100, false) }, Err(MapFailure::Refused(Errno::INVAL)));
            assert_eq!(mappings(), before);
            let source = FileSource::from_fd(fd).unwrap();
            assert_eq!(mappings(), before, "what was tried out is gone again");
            let too_short = MapFailure::Outdated(Errno::NXIO);
            let refused = MapFailure::Refused(Errno::INVAL);
            for (offset, failure) in [(100, refused), (PAGE as u64, too_short), (1 << 40, too_short)] {
                // SAFETY: as above.
                assert_eq!(unsafe { source.map(middle, offset) }, Err(failure));
                assert_eq!(mappings(), before);
            }
            // SAFETY: as above.
            unsafe { source.map(middle, 0) }.unwrap();
            // SAFETY: mapped just now, and not in use.
            unsafe { source.unmap(middle, 0) }.unwrap();
            assert_eq!(mappings(), before);
            // SAFETY: reserved above, and nothing is mapped in it.
            unsafe { Linux.release(window) }.unwrap();
        }
    });
}

/// A source whose file is truncated between the question for its length and the mapping.
struct Shrinking<'a> {
    source: &'a FileSource,
    path: &'a Path,
    now: AtomicBool,
}

// SAFETY: every call goes to the file source, which keeps the promises.
unsafe impl Source for Shrinking<'_> {
    type Space = Process;

    forward_source!(self { Self { source, .. } => source } except prepare, holds);

    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        let prepared = self.source.prepare(range);
        if self.now.swap(false, Ordering::Relaxed) {
            File::options().write(true).open(self.path).unwrap().set_len(PAGE as u64).unwrap();
        }
        prepared
    }
    fn holds(&self, _: Span) -> bool {
        false
    }
}

/// Pitfall 64: a file that has shrunk was mapped all the same, and accesses raised `SIGBUS`.
#[test]
fn a_file_that_shrinks_before_it_is_mapped_is_prepared_again() {
    alone("a_file_that_shrinks_before_it_is_mapped_is_prepared_again", || {
        for folder in [Folder::on_disk("shrinking"), Folder::in_memory("shrinking")] {
            let path = numbered(&folder, 8);
            for (options, later) in
                [(OpenOptions::new().do_not_grow(), Err(-200_031)), (OpenOptions::new(), Ok(8 * PAGE as u64))]
            {
                File::options().write(true).open(&path).unwrap().set_len(8 * PAGE as u64).unwrap();
                let source = FileSource::open(&path, options).unwrap();
                let shrinking = Shrinking { source: &source, path: &path, now: AtomicBool::new(true) };
                let set: Set<Linux, &Shrinking, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
                // Prepared once more: refused, or grown again.
                let mapped = set.map(&shrinking, &MapConfig::new().length(8 * PAGE));
                assert!(!shrinking.now.load(Ordering::Relaxed));
                assert_eq!(mapped.map(|_| fs::metadata(&path).unwrap().len()).map_err(|error| error.code()), later);
            }
        }
    });
}

/// The page's reasons, one of which every ordinary file has.
#[test]
fn a_file_on_no_region_says_so() {
    use pmemset_core::error::{BadBlocksError, ClearError};
    use pmemset_core::{BadBlockPolicy, Checked, Health as _};
    for folder in [Folder::on_disk("no-region"), Folder::in_memory("no-region")] {
        let file = FileSource::open(numbered(&folder, 4), OpenOptions::new()).unwrap();
        if file.facts().unwrap().region.is_some() {
            skip("the build is on a file system with DAX");
            continue;
        }
        let clearing = file.clear_bad_block(Span::new(0, 4096).unwrap());
        assert_eq!(clearing, Err(ClearError::Unknown(BadBlocksError::NoRegion)));
        let source: Checked<_, pmemset_linux::StripedRwLock> =
            Checked::new(file).bad_block_detection(BadBlockPolicy::Required);
        let set: Set<Linux, &Checked<FileSource, pmemset_linux::StripedRwLock>, _> =
            Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        let error = set.map(&source, &at(0)).unwrap_err();
        assert_eq!(error, MapError::BadBlocksUnknown { reason: BadBlocksError::NoRegion });
        assert_eq!((error.code(), clearing.unwrap_err().code()), (-200_036, -200_036));
    }
}

/// The library's own memory of a length was believed once more before it was corrected.
#[test]
fn a_file_that_was_cut_short_is_no_riddle() {
    let folder = Folder::on_disk("cut-short");
    for (options, later) in
        [(OpenOptions::new().do_not_grow(), Err(-200_031)), (OpenOptions::new(), Ok(8 * PAGE as u64))]
    {
        let path = numbered(&folder, 8);
        let source = FileSource::open(&path, options).unwrap();
        let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        set.map(&source, &MapConfig::new()).unwrap();
        set.remove_range(0, usize::MAX).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(PAGE as u64).unwrap();
        let mapped = set.map(&source, &MapConfig::new().length(8 * PAGE));
        assert_eq!(mapped.map(|_| fs::metadata(&path).unwrap().len()).map_err(|error| error.code()), later);
    }
}

/// A file that was truncated long ago, while its length was remembered.
#[test]
fn a_remembered_length_is_not_trusted() {
    let folder = Folder::on_disk("remembered");
    let path = numbered(&folder, 8);
    let source = FileSource::open(&path, OpenOptions::new().do_not_grow()).unwrap();
    let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
    let segment = set.map(&source, &at(7)).unwrap().extent();
    set.remove(set.part_at(segment.start()).unwrap()).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(2 * PAGE as u64).unwrap();
    assert_eq!(set.map(&source, &MapConfig::new()).unwrap().extent().length_bytes(), 2 * PAGE);
    let error = set.map(&source, &at(7)).unwrap_err();
    assert_eq!(error, MapError::SourceTooSmall { needed_bytes: 8 * PAGE as u64, length_bytes: 2 * PAGE as u64 });
    let text = fs::read(&path).unwrap();
    assert_eq!(text.len(), 2 * PAGE);
}

#[test]
fn dropping_a_set_and_its_reservation_gives_everything_back() {
    alone("dropping_a_set_and_its_reservation_gives_everything_back", || {
        let folder = Folder::on_disk("dropping");
        let source = FileSource::open(numbered(&folder, 8), OpenOptions::new()).unwrap();
        let before = (mappings(), descriptors());
        for _ in 0..3 {
            let reservation = Reservation::with_capacity(Linux, 64 * PAGE, 8).unwrap();
            let own: Set<Linux, &FileSource, _> =
                Set::with_capacity(Linux, Config::new(Granularity::Page).reserve_ahead(1 << 30), 8);
            let shared = Set::with_capacity(&reservation, Config::new(Granularity::Page), 8);
            for page in 0..4 {
                own.map(&source, &at(page)).unwrap();
                shared.map(&source, &at(page)).unwrap();
            }
            assert!(mappings() != before.0);
        }
        assert_eq!((mappings(), descriptors()), before);
    });
}

/// Defect D3: each map changed the working directory of the whole process for a while.
#[test]
fn the_working_directory_stays() {
    alone("the_working_directory_stays", || {
        let folder = Folder::on_disk("directory");
        fs::write(folder.join("relative"), b"").unwrap();
        std::env::set_current_dir(folder.path()).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    File::open("relative").unwrap();
                }
            });
            let set: Set<Linux, std::sync::Arc<FileSource>, _> =
                Set::with_capacity(Linux, Config::new(Granularity::Page), 8);
            for _ in 0..500 {
                let source = std::sync::Arc::new(FileSource::temporary(folder.path()).unwrap());
                let segment = set.map(source, &at(0)).unwrap().extent();
                set.remove_range(segment.start(), 1).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn storage_goes_back_where_nothing_is_mapped_and_comes_again() {
    for folder in [Folder::on_disk("given-back"), Folder::in_memory("given-back")] {
        let source = FileSource::temporary(folder.path()).unwrap();
        let set: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        let half = 32 * PAGE;
        let (low, high) = (at(0).length(half), MapConfig::new().offset(half as u64).length(half));
        let (old, kept) = (set.map(&source, &low).unwrap(), set.map(&source, &high).unwrap());
        old.write(0, b"forget me").unwrap();
        kept.write(0, b"keep me").unwrap();
        let bytes = Span::new(0, half as u64).unwrap();
        let refused = Err(GiveBackError::Mapped { segment: old.extent() });
        assert_eq!(set.give_back(&&source, bytes), refused);
        set.remove(old).unwrap();
        let full = source.facts().unwrap().allocated_bytes;
        assert_eq!(set.give_back(&&source, bytes), Ok(()));
        assert!(source.facts().unwrap().allocated_bytes + half as u64 <= full);
        let mut found = [1; 7];
        kept.read(0, &mut found).unwrap();
        assert_eq!(&found, b"keep me");
        set.map(&source, &low).unwrap().read(0, &mut found).unwrap();
        assert_eq!((found, source.facts().unwrap().allocated_bytes >= full), ([0; 7], true));
    }
}

/// Defect 2.4-C4: a source could be deleted under its parts.
#[test]
fn a_part_keeps_its_source_alive() {
    let folder = Folder::on_disk("alive");
    let set: Set<Linux, std::sync::Arc<FileSource>, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 8);
    let source = std::sync::Arc::new(FileSource::temporary(folder.path()).unwrap());
    let weak = std::sync::Arc::downgrade(&source);
    let segment = set.map(source, &at(0)).unwrap().extent();
    assert!(weak.upgrade().is_some());
    // SAFETY: mapped, and used by nobody else.
    unsafe { bytes(segment).write(1) };
    set.remove(set.part_at(segment.start()).unwrap()).unwrap();
    assert!(weak.upgrade().is_none());
}
