//! The whole test of a port: the contract suite, and a set that works.

use own_platform::os::{Disk, PAGE_BYTES};
use own_platform::{DiskSource, Os};
use pmemset_core::{Coalescing, Config, Granularity, MapConfig, Set, contract};

#[test]
fn every_duty_is_kept() {
    let source = DiskSource(Disk::new(64 * PAGE_BYTES));
    let mut breaches = Vec::new();
    let mut report = |duty: &str, result: Result<(), contract::Breach>| {
        breaches.extend(result.err().map(|breach| format!("{duty}: {breach}")));
    };
    contract::platform(&Os, &mut report);
    contract::source(&Os, &source, &mut report);
    assert_eq!(breaches, Vec::<String>::new());
}

#[test]
fn bytes_are_on_the_disk_after_the_part_is_gone() {
    let source = DiskSource(Disk::new(4 * PAGE_BYTES));
    let set: Set<'_, _, &DiskSource, 4> = Set::new(Os, Config::new(Granularity::Page));
    set.set_coalescing(Coalescing::Full);
    for page in 0..4 {
        let config = MapConfig::new().offset(page * PAGE_BYTES as u64).unwrap().length(PAGE_BYTES);
        set.map(&source, &config).unwrap();
    }
    let part = set.first_part().unwrap().unwrap();
    assert_eq!(part.extent().length_bytes(), 4 * PAGE_BYTES);
    let last = part.extent().end() - 1;
    // SAFETY: the last byte of a pinned part, which only this test uses.
    unsafe { (last as *mut u8).write_volatile(77) };
    set.remove(part).unwrap();
    let mut byte = [0];
    assert!(source.0.read(4 * PAGE_BYTES - 1, &mut byte));
    assert_eq!(byte, [77]);
}
