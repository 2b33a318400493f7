//! Mappings that the kernel refuses after it has taken the placeholder away, beside threads that allocate memory.

mod machine;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use machine::{Folder, Mount, PAGE, alone, is_root, mappings, skip};
use pmemset_core::error::{MapError, MapFailure};
use pmemset_core::{Config, Errno, Extent, Granularity, MapConfig, Platform, Reservation, Set, Source, Span};
use pmemset_linux::internal::{Mapper, put_placeholder};
use pmemset_linux::{FileSource, Linux, OpenOptions};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

const HUGE: usize = 2 << 20;

fn memory(length_bytes: usize, flags: MemfdFlags) -> OwnedFd {
    let file = memfd_create("memory", MemfdFlags::CLOEXEC | flags).unwrap();
    ftruncate(&file, length_bytes as u64).unwrap();
    file
}

/// A file whose mappings the kernel refuses only when the placeholder is gone: huge pages, of which there are none.
fn refusing(length_bytes: usize) -> Option<OwnedFd> {
    let file = memfd_create("huge", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB).ok()?;
    ftruncate(&file, length_bytes as u64).ok()?;
    let elsewhere = Mapper::new(HUGE);
    let window = Linux.reserve(length_bytes, HUGE).unwrap();
    // SAFETY: the window was reserved just now.
    let refused = unsafe { elsewhere.map(window, file.as_fd(), 0, false) };
    // SAFETY: whatever is mapped there is not in use.
    unsafe { put_placeholder(window) }.unwrap();
    // SAFETY: reserved above.
    unsafe { Linux.release(window) }.unwrap();
    (refused == Err(MapFailure::Refused(Errno::NOMEM))).then_some(file)
}

/// A mapper that has mapped in `window`, and would not try anything elsewhere.
fn proven(window: Extent) -> Mapper {
    let (mapper, file) = (Mapper::new(PAGE), memory(window.length_bytes(), MemfdFlags::empty()));
    // SAFETY: the callers hold the window.
    unsafe { mapper.map(window, file.as_fd(), 0, false) }.unwrap();
    // SAFETY: mapped just now, and not in use.
    unsafe { put_placeholder(window) }.unwrap();
    mapper
}

#[test]
fn a_refusal_that_takes_the_placeholder_away_is_mended() {
    alone("a_refusal_that_takes_the_placeholder_away_is_mended", || {
        let Some(file) = refusing(HUGE) else { return skip("huge pages are to be had, or none at all") };
        let window = Linux.reserve(3 * HUGE, HUGE).unwrap().slice(HUGE, HUGE).unwrap();
        let mapper = proven(window);
        let before = mappings();
        // SAFETY: reserved above, and nothing is mapped in it.
        let refused = unsafe { mapper.map(window, file.as_fd(), 0, false) };
        assert_eq!(refused, Err(MapFailure::Refused(Errno::NOMEM)));
        assert_eq!(mappings(), before);
    });
}

/// What another thread has mapped in the hole is told from the placeholder by nobody: it is left alone.
#[test]
fn what_is_not_known_to_be_ours_is_left_alone_and_out_of_use() {
    alone("what_is_not_known_to_be_ours_is_left_alone_and_out_of_use", || {
        let path = Folder::on_disk("read-only").join("file");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [0; 4 * PAGE]).unwrap();
        // Refused before the kernel looks at the window: no test can take its place in time otherwise.
        let refused = File::open(&path).unwrap();
        let lost = Err(MapFailure::WindowLost(Errno::ACCES));
        for place in 0..4 {
            let window = Linux.reserve(4 * PAGE, PAGE).unwrap();
            let mapper = proven(window);
            let page = core::ptr::with_exposed_provenance_mut::<u8>(window.start() + place * PAGE);
            // SAFETY: the page is the test's, and nothing is in it.
            unsafe { munmap(page.cast(), PAGE) }.unwrap();
            let (flags, prot) = (MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE, ProtFlags::READ | ProtFlags::WRITE);
            // SAFETY: it is placed where nothing is.
            unsafe { mmap_anonymous(page.cast(), PAGE, prot, flags) }.unwrap();
            // SAFETY: mapped just now.
            unsafe { page.write_volatile(7) };
            let before = mappings();
            // SAFETY: what is not the placeholder is the test's own, and the call is to find that out.
            assert_eq!(unsafe { mapper.map(window, refused.as_fd(), 0, false) }, lost);
            assert_eq!(mappings(), before);
            // SAFETY: mapped above.
            assert_eq!(unsafe { page.read_volatile() }, 7);
        }
        // What would be refused everywhere is found out elsewhere, and loses nothing.
        let window = Linux.reserve(4 * PAGE, PAGE).unwrap();
        // SAFETY: reserved just now.
        let first = unsafe { Mapper::new(PAGE).map(window, refused.as_fd(), 0, false) };
        assert_eq!(first, Err(MapFailure::Refused(Errno::ACCES)));
        let mapper = proven(window);
        // SAFETY: as above.
        assert_eq!(unsafe { mapper.map(window, refused.as_fd(), 0, false) }, lost);
        // SAFETY: the test knows that the placeholder is there.
        let again = unsafe { mapper.map(window, refused.as_fd(), 0, false) };
        assert_eq!(again, Err(MapFailure::Refused(Errno::ACCES)), "after a refusal it is tried elsewhere first");
    });
}

/// Runs `work` beside threads that allocate, fill and check vectors of about `length_bytes`.
fn beside_allocations(length_bytes: usize, work: impl FnOnce()) {
    let (over, vectors) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 1..3_u8 {
            let (over, vectors) = (&over, &vectors);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut vector: Vec<u8> = Vec::with_capacity(length_bytes - 2 * PAGE);
                    vector.push(thread);
                    std::thread::yield_now();
                    assert_eq!(core::hint::black_box(&mut vector)[0], thread);
                    vectors.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
    assert!(vectors.into_inner() > 0);
}

/// The peer's way, and ours before: the placeholder was put over what another thread had got, which then died.
#[test]
fn refused_mappings_take_no_memory_from_other_threads() {
    const LENGTH: usize = 64 << 20;
    alone("refused_mappings_take_no_memory_from_other_threads", || {
        let Some(file) = refusing(LENGTH) else { return skip("huge pages are to be had, or none at all") };
        let (mut lost, mut refused) = (0, 0);
        beside_allocations(LENGTH, || {
            let mut window = Linux.reserve(LENGTH, HUGE).unwrap();
            for _ in 0..4_000 {
                let mapper = proven(window);
                // SAFETY: reserved, and nothing is mapped in it.
                match unsafe { mapper.map(window, file.as_fd(), 0, false) } {
                    Err(MapFailure::WindowLost(_)) => {
                        lost += 1;
                        window = Linux.reserve(LENGTH, HUGE).unwrap();
                    }
                    other => {
                        assert_eq!(other, Err(MapFailure::Refused(Errno::NOMEM)));
                        refused += 1;
                    }
                }
            }
        });
        println!("{refused} windows mended, {lost} lost to others");
        assert_eq!(lost + refused, 4_000);
    });
}

/// `EXT4_IOC_SHUTDOWN` (`linux/ext4.h`): the file system fails from now on.
fn shut_down(file: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    const SHUTDOWN: usize = 0x8004_587d;
    let flags = 2_u32;
    // SAFETY: the kernel reads one number.
    unsafe { syscalls::syscall!(syscalls::Sysno::ioctl, file.as_raw_fd(), SHUTDOWN, &raw const flags) }.is_ok()
}

/// A file system that is shut down under a set refuses when the placeholder is gone: each source costs one window at
/// most.
#[test]
fn a_file_system_that_is_shut_down_takes_no_memory_from_other_threads() {
    const LENGTH: usize = 8 << 20;
    alone("a_file_system_that_is_shut_down_takes_no_memory_from_other_threads", || {
        if !is_root() {
            return skip("mounting needs root");
        }
        let folder = Folder::on_disk("shut-down");
        let image = folder.join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q"]).arg(&image).status();
        if !made.is_ok_and(|status| status.success()) {
            return skip("no mkfs.ext4 here");
        }
        let Some(mount) = Mount::new("shut-down-ext4", "ext4", image.to_str().unwrap(), "loop") else {
            return skip("no loop device or no ext4 in this kernel");
        };
        let source = FileSource::open(mount.join("file"), OpenOptions::new().create_always()).unwrap();
        let whole = Span::new(0, LENGTH as u64).unwrap();
        source.prepare(whole).unwrap();
        let reservation = Reservation::with_capacity(Linux, 32 * LENGTH, 64).unwrap();
        let config = || Config::new(Granularity::Page);
        let own: Set<Linux, &FileSource, _> = Set::with_capacity(Linux, config(), 64);
        let shared = Set::with_capacity(&reservation, config(), 64);
        let config = MapConfig::new().length(LENGTH);
        let part = own.map(&source, &config).unwrap();
        own.remove(part).unwrap();
        let part = shared.map(&source, &config).unwrap();
        shared.remove(part).unwrap();
        let root = File::open(mount.path()).unwrap();
        if !shut_down(root.as_fd()) {
            return skip("this ext4 cannot be shut down");
        }
        let mut lost = 0;
        beside_allocations(LENGTH, || {
            for round in 0..2_000 {
                let mapped = match round % 2 {
                    0 => own.map(&source, &config).map(drop),
                    _ => shared.map(&source, &config).map(drop),
                };
                match mapped.unwrap_err() {
                    MapError::WindowLost { cause: Errno::IO, .. } => lost += 1,
                    other => assert!(matches!(other, MapError::Map { cause: Errno::IO, .. }), "{other:?}"),
                }
            }
        });
        assert!(lost <= 1, "{lost} windows were lost: it was not tried elsewhere first");
        assert_eq!((own.segment_count(), shared.segment_count()), (0, 0));
    });
}
