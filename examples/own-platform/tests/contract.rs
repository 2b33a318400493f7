//! The whole test of a port: the contract suite, and a set that works.

use own_platform::os::{Disk, PAGE_BYTES};
use own_platform::{DiskSource, Os};
use pmemset_core::{Coalescing, Config, Granularity, MapConfig, Set, contract};

/// The duties of what this port does not have: a list of your own tells you when something is no longer checked.
const SKIPPED: [&str; 7] = [
    "fixed_address_is_aligned",
    "growth_in_use_is_not_undone",
    "write_back_reaches_the_medium",
    "device_stays",
    "bad_blocks_are_in_order",
    "mcsafe_copies_stay_inside",
    "mcsafe_copies_go_where_they_are_told",
];

#[test]
fn every_duty_is_kept() {
    let source = DiskSource::new(Disk::new(64 * PAGE_BYTES));
    let (mut breaches, mut skipped) = (Vec::new(), Vec::new());
    let mut report = |duty: &'static str, finding: contract::Finding| match finding {
        Ok(contract::Outcome::Kept) => {}
        Ok(contract::Outcome::Skipped(_)) => skipped.push(duty),
        Err(breach) => breaches.push(format!("{duty}: {breach}")),
    };
    contract::platform(&Os, &mut report);
    contract::source(&Os, &source, &mut report);
    assert_eq!(breaches, [""; 0]);
    assert_eq!(skipped, SKIPPED);
}

#[test]
fn a_broken_disk_is_told_of() {
    let source = DiskSource::new(Disk::new(64 * PAGE_BYTES));
    let found = contract::sync_tells_of_failures(&Os, &source, &mut |broken| source.disk.set_broken(broken));
    assert_eq!(found, Ok(contract::Outcome::Kept));
}

#[test]
fn bytes_are_on_the_disk_after_the_part_is_gone() {
    let source = DiskSource::new(Disk::new(4 * PAGE_BYTES));
    // Another thread's memory may be anywhere that is not reserved.
    let config = Config::new(Granularity::Page).reserve_ahead(3 * PAGE_BYTES);
    let set: Set<'_, _, &DiskSource, _> = Set::with_capacity(Os, config, 4);
    set.set_coalescing(Coalescing::Full);
    for page in 0..4 {
        let config = MapConfig::new().offset(page * PAGE_BYTES as u64).length(PAGE_BYTES);
        set.map(&source, &config).unwrap();
    }
    let part = set.first_part().unwrap().unwrap();
    assert_eq!(part.extent().length_bytes(), 4 * PAGE_BYTES);
    let last = part.extent().end() - 1;
    // SAFETY: the last byte of a pinned part, which only this test uses.
    unsafe { (last as *mut u8).write_volatile(77) };
    set.remove(part).unwrap();
    let mut byte = [0];
    assert!(source.disk.read(4 * PAGE_BYTES - 1, &mut byte));
    assert_eq!(byte, [77]);
}
