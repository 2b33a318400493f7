//! Persisting to real files, on tmpfs and on ext4.

use pmemset_core::error::PersistError;
use pmemset_core::{Config, CopyFlags, DeepFlush, Granularity, MapConfig, Set};
use pmemset_linux::{FileSource, Linux, OpenOptions};
use rustix::fs::statfs;

const PAGE: usize = 4096;

/// Stores, persists and removes on a file system with the magic number `kind`, or says why it cannot.
fn persist_on(kind: u64, name: &str, folder: &str) {
    if !statfs(folder).is_ok_and(|facts| facts.f_type.cast_unsigned() == kind) {
        println!("SKIPPED persist on {name}: {folder} is not on it");
        return;
    }
    let path = format!("{folder}/pmemset-persist-{}-{name}", std::process::id());
    let source = FileSource::open(path.as_str(), OpenOptions::new().create_always()).unwrap();
    let set: Set<'_, Linux, &FileSource, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let mapped = set.map(&source, &MapConfig::new().length(8 * PAGE)).unwrap().extent();
    let part = set.part_at(mapped.start()).unwrap();
    part.write(PAGE - 2, b"across").unwrap();
    part.fill(3 * PAGE, 7, PAGE, CopyFlags::NOFLUSH).unwrap();
    part.persist(3 * PAGE + 5, 1).unwrap();
    part.copy_within(PAGE - 2..PAGE - 2 + 6, 5 * PAGE + 1, CopyFlags::NODRAIN).unwrap();
    set.drain();
    assert_eq!(set.deep_flush(mapped.start(), mapped.length_bytes()), Ok(DeepFlush::Done));
    let outside = set.persist(mapped.end() - 1, 2);
    assert_eq!(outside, Err(PersistError::NotMapped { address: mapped.end() }));
    set.remove(part).unwrap();
    let found = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut expected = vec![0; 8 * PAGE];
    expected[PAGE - 2..PAGE + 4].copy_from_slice(b"across");
    expected[3 * PAGE..4 * PAGE].fill(7);
    expected[5 * PAGE + 1..5 * PAGE + 7].copy_from_slice(b"across");
    assert!(found == expected);
}

#[test]
fn bytes_arrive_on_tmpfs() {
    persist_on(0x0102_1994, "tmpfs", "/dev/shm");
}

#[test]
fn bytes_arrive_on_ext4() {
    persist_on(0xef53, "ext4", "/var/tmp");
}
