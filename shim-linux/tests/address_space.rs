//! Reservations of the process's address space, each test alone in a process of its own.

mod machine;

use std::os::fd::AsFd;

use machine::{alone, mappings};
use pmemset_core::reservation::Reservation;
use pmemset_core::{Config, Errno, Extent, Granularity, MapConfig, Platform, Set};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shim_linux::{FileSource, Linux};

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
            assert_eq!(Linux.reserve_at(taken), Err(Errno::EXIST));
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
        let set: Set<Linux, &FileSource<_>, 4> = Set::new(Linux, Config::new(Granularity::Page));
        let limit = getrlimit(Resource::As);
        let room = total_bytes(&mappings()) + (3 << 30);
        setrlimit(Resource::As, Rlimit { current: Some(room as u64), ..limit }).unwrap();
        let mapped = set.map(&source, &MapConfig::new()).map(|mapped| mapped.segment.length_bytes());
        let reservation = Reservation::<Linux, 4>::new(Linux, 64 << 10).map(drop);
        setrlimit(Resource::As, limit).unwrap();
        assert_eq!((mapped, reservation), (Ok(LENGTH), Ok(())));
    });
}

fn total_bytes(maps: &[String]) -> usize {
    let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
    maps.iter()
        .map(|line| line.split(' ').next().unwrap().split_once('-').unwrap())
        .map(|(a, b)| number(b) - number(a))
        .sum()
}
