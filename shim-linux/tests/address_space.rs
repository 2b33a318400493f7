//! Reservations of the process's address space, each test alone in a process of its own.

mod machine;

use std::os::fd::AsFd;

use machine::{alone, is_root, mappings, skip};
use pmemset_core::error::ReserveError;
use pmemset_core::{Config, Extent, Granularity, MapConfig, Platform, Reservation, Set, static_set};
use pmemset_linux::{FileSource, Linux};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PAGE: usize = 4096;

fn release(window: Extent) {
    // SAFETY: the tests release only what they have reserved, and nothing is mapped in it.
    unsafe { Linux.release(window) }.unwrap();
}

/// Defect F1, D4: the slack of the alignment was left behind.
#[test]
fn a_reservation_is_aligned_and_nothing_else_is_kept() {
    alone("a_reservation_is_aligned_and_nothing_else_is_kept", || {
        for alignment in [PAGE, 65_536, 2 << 20, 1 << 30] {
            let before = mappings();
            let window = Linux.reserve(3 * PAGE, alignment).unwrap();
            assert_eq!(window.start() % alignment, 0);
            assert_eq!(window.length_bytes(), 3 * PAGE);
            assert_eq!(total_bytes(&mappings()), total_bytes(&before) + 3 * PAGE);
            release(window);
            assert_eq!(mappings(), before);
        }
    });
}

/// Defect F3: a reservation at a given address wanted free bytes behind it.
#[test]
fn a_reservation_extends_in_place_and_never_over_others() {
    alone("a_reservation_extends_in_place_and_never_over_others", || {
        let window = Linux.reserve(16 * PAGE, PAGE).unwrap();
        let middle = window.slice(8 * PAGE, 2 * PAGE).unwrap();
        release(middle);
        Linux.reserve_at(middle).unwrap();
        for (offset, length) in [(7, 2), (8, 1), (8, 2), (9, 2), (0, 16)] {
            let taken = window.slice(offset * PAGE, length * PAGE).unwrap();
            let before = mappings();
            assert_eq!(Linux.reserve_at(taken), Err(ReserveError::Occupied));
            assert_eq!(mappings(), before);
        }
        release(window);
    });
}

/// Address space is limited, and the file fits: the alignment for large pages is a wish.
#[test]
fn what_a_plain_call_maps_is_mapped() {
    const LENGTH: usize = 5 << 29;
    alone("what_a_plain_call_maps_is_mapped", || {
        let file = memfd_create("long", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, LENGTH as u64).unwrap();
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        let set: Set<Linux, &FileSource<_>, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        let limit = getrlimit(Resource::As);
        let room = total_bytes(&mappings()) + (3 << 30);
        setrlimit(Resource::As, Rlimit { current: Some(room as u64), ..limit }).unwrap();
        let mapped = set.map(&source, &MapConfig::new()).map(|mapped| mapped.extent().length_bytes());
        let reservation = Reservation::with_capacity(Linux, 64 << 10, 4).map(drop);
        setrlimit(Resource::As, limit).unwrap();
        assert_eq!((mapped, reservation), (Ok(LENGTH), Ok(())));
    });
}

/// Small parts took 2 MiB of address space each while they were reserved, and a table of pages each once touched.
#[test]
fn a_small_part_takes_its_own_addresses_and_gives_them_back_at_once() {
    alone("a_small_part_takes_its_own_addresses_and_gives_them_back_at_once", || {
        let file = memfd_create("small", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 4 * PAGE as u64).unwrap();
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        for ahead_bytes in [0, 8 * PAGE] {
            let config = Config::new(Granularity::Page).reserve_ahead(ahead_bytes);
            let set: Set<Linux, &FileSource<_>, _> = Set::with_capacity(Linux, config, 8);
            let before = mappings();
            let map = |page: usize| {
                let config = MapConfig::new().offset((page * PAGE) as u64).length(PAGE);
                set.map(&source, &config).unwrap().extent()
            };
            let parts = [map(0), map(2), map(1)];
            assert_eq!(total_bytes(&mappings()), total_bytes(&before) + 3 * ahead_bytes.max(PAGE));
            if ahead_bytes == 0 {
                assert!(!parts.iter().all(|part| part.start().is_multiple_of(2 << 20)), "{parts:?}");
            }
            for part in parts {
                set.remove_range(part.start(), 1).unwrap();
                Linux.reserve_at(part).unwrap();
                release(part);
            }
            assert_eq!(mappings(), before);
        }
    });
}

/// What a plain call maps, where every new mapping is locked, and placeholders count.
#[test]
fn what_a_plain_call_maps_is_mapped_when_all_memory_is_locked() {
    const LENGTH: usize = 4 << 20;
    alone("what_a_plain_call_maps_is_mapped_when_all_memory_is_locked", || {
        let file = memfd_create("locked", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, LENGTH as u64).unwrap();
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        let limit = getrlimit(Resource::Memlock);
        if is_root() {
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
        }
        setrlimit(Resource::Memlock, Rlimit { current: Some(5 << 20), ..limit }).unwrap();
        if let Err(cause) = rustix::mm::mlockall(rustix::mm::MlockAllFlags::FUTURE) {
            return skip(&format!("memory cannot be locked here: {cause}"));
        }
        let set: Set<Linux, &FileSource<_>, _> = Set::with_capacity(Linux, Config::new(Granularity::Page), 4);
        for _ in 0..3 {
            let mapped = set.map(&source, &MapConfig::new());
            assert_eq!(mapped.map(|mapped| mapped.extent().length_bytes()), Ok(LENGTH));
            set.remove_range(0, usize::MAX).unwrap();
        }
    });
}

fn total_bytes(maps: &[String]) -> usize {
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    maps.iter()
        .map(|line| line.split(' ').next().unwrap().split_once('-').unwrap())
        .map(|(a, b)| number(b) - number(a))
        .sum()
}

#[cfg(target_pointer_width = "64")]
static_set! { static LARGEST: Set<Linux, &'static FileSource>[65_536] = (Linux::new(), Config::new(Granularity::Page)); }

/// Returns how many bytes of writable memory this program's file holds, and how many are zeros that no file holds.
#[cfg(target_pointer_width = "64")]
fn written_and_zero_bytes() -> (u64, u64) {
    let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let long = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let short = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    // `elf(5)`: where the sections are listed, how long an entry is, and how many there are.
    let (table, entry_bytes, count) = (usize::try_from(long(0x28)).unwrap(), short(0x3a), short(0x3c));
    let (mut written, mut zero) = (0, 0);
    for section in (0..count).map(|index| table + index * entry_bytes) {
        let (kind, flags, length_bytes) = (file[section + 4], long(section + 8), long(section + 0x20));
        match (kind, flags & 1) {
            (_, 0) => {}
            (8, _) => zero += length_bytes,
            _ => written += length_bytes,
        }
    }
    (written, zero)
}

#[test]
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
fn a_static_set_takes_no_room_in_the_program() {
    assert_eq!((LARGEST.capacity(), LARGEST.segment_count()), (65_536, 0));
    let (written, zero) = written_and_zero_bytes();
    assert!(zero >= 65_536 * 80 && written < 1 << 20, "{written} bytes in the file, {zero} zeros");
    let source: &'static FileSource = Box::leak(Box::new(FileSource::temporary(std::env::temp_dir()).unwrap()));
    let part = LARGEST.map(source, &MapConfig::new().length(4096)).unwrap();
    part.write(0, b"static").unwrap();
    LARGEST.remove(part).unwrap();
}
