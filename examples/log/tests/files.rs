//! A log in a file of this machine.
#![allow(clippy::cast_possible_truncation, reason = "numbers are cut to make patterns")]

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use pmemset_core::{Config, Granularity, Set};
use pmemset_linux::{FileSource, Linux, OpenOptions};
use pmemset_log::{Log, Options, ReadError, Recovered, Table};

type FileLog = Log<'static, Linux, Arc<FileSource>>;

const SEGMENT: usize = 8192;

struct Folder(std::path::PathBuf);

impl Folder {
    /// In memory where there is such a folder: synchronising a disk takes most of the time.
    fn new(name: &str) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = folder.join(format!("pmemset-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> FileLog {
        let path = self.0.join("log");
        let source =
            FileSource::open(path.as_os_str().as_encoded_bytes(), OpenOptions::new().create_if_needed().exclusive());
        let config = Config::new(Granularity::Page).reserve_ahead(1 << 20);
        let set = Set::with_capacity(Linux::new(), config, 65);
        Log::open(set, Arc::new(source.unwrap()), &Options::new().segment_bytes(SEGMENT), Table::on_heap(64)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn record(sequence: u64) -> Vec<u8> {
    let length = sequence as usize * 37 % 700 + if sequence.is_multiple_of(50) { 3 * SEGMENT } else { 0 };
    (0..length).map(|at| (sequence as usize + at) as u8).collect()
}

fn is_whole(log: &FileLog, first: u64, next: u64) {
    assert_eq!((log.first(), log.next()), (first, next));
    let records: Vec<_> = log.iter(0).map(Result::unwrap).collect();
    assert_eq!(records.len() as u64, next - first);
    let mut payload = vec![0; 4 * SEGMENT];
    for (record_, sequence) in records.iter().zip(first..) {
        assert_eq!(record_.sequence, sequence);
        assert!(record_.payload == record(sequence), "{sequence}");
        let length = log.read(sequence, &mut payload).unwrap();
        assert!(payload[..length] == record(sequence), "{sequence}");
    }
    for sequence in [0, first - 1, next] {
        assert_eq!(log.read(sequence, &mut payload), Err(ReadError::NotThere { sequence }));
    }
}

#[test]
fn records_are_found_again_after_everything_that_can_be_done_to_a_log() {
    let folder = Folder::new("life");
    let log = folder.open();
    assert!(log.recovered().made);
    (1..=200).for_each(|sequence| assert_eq!(log.append(&record(sequence)).unwrap(), sequence));
    is_whole(&log, 1, 201);
    log.store_note(1, b"vote").unwrap();
    log.close().unwrap();

    let log = folder.open();
    let found = Recovered { made: false, first: 1, next: 201, erased: false, damaged: None };
    assert_eq!(log.recovered(), &found);
    is_whole(&log, 1, 201);
    let segments = log.segments();
    log.drop_before(90).unwrap();
    assert!(log.segments() < segments);
    is_whole(&log, 90, 201);
    log.truncate_after(160).unwrap();
    is_whole(&log, 90, 161);
    (161..=170).for_each(|sequence| assert_eq!(log.append(&record(sequence)).unwrap(), sequence));
    drop(log);

    let log = folder.open();
    is_whole(&log, 90, 171);
    let mut note = [0; 8];
    assert_eq!((log.load_note(1, &mut note).unwrap(), &note[..4]), (4, &b"vote"[..]));
    log.drop_before(1000).unwrap();
    assert!(log.is_empty());
    is_whole(&log, 1000, 1000);
    drop(log);
    let log = folder.open();
    is_whole(&log, 1000, 1000);
    (1000..=1300).for_each(|sequence| {
        assert_eq!(log.append(&record(sequence)).unwrap(), sequence);
        log.drop_before(sequence.saturating_sub(20).max(1000)).unwrap();
    });
    is_whole(&log, 1280, 1301);
    log.truncate_after(1279).unwrap();
    is_whole(&log, 1280, 1280);
    assert_eq!(log.append(b"").unwrap(), 1280);
    log.close().unwrap();
    assert_eq!(folder.open().length_of(1280).unwrap(), 0);
}

#[test]
fn storage_of_dropped_records_is_given_back() {
    let folder = Folder::new("storage");
    let log = folder.open();
    let storage = || std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(folder.0.join("log")).unwrap()) * 512;
    (0..20).for_each(|_| assert!(log.append(&[7; SEGMENT]).is_ok()));
    let (before, segments) = (storage(), log.segments());
    log.drop_before(log.next()).unwrap();
    let given_back = before - storage();
    let expected = (segments - log.segments()) * SEGMENT;
    assert!(given_back >= expected as u64, "{given_back} bytes of {expected}");
    // And taken again.
    (0..20).for_each(|_| assert!(log.append(&[8; SEGMENT]).is_ok()));
    assert!(storage() >= before - SEGMENT as u64);
    let found = log.iter(0).map(|record| record.unwrap().payload);
    assert!(found.into_iter().all(|payload| payload == [8; SEGMENT]));
}

#[test]
fn oldest_records_are_dropped_while_others_append_and_read() {
    const EACH: u64 = 400;
    let folder = Folder::new("threads");
    let log = folder.open();
    let payload = |thread: u64, index: u64| {
        let length = 16 + (index * 53 % 900) as usize;
        [thread, index].into_iter().flat_map(u64::to_le_bytes).chain(vec![index as u8; length]).collect::<Vec<u8>>()
    };
    let over = AtomicBool::new(false);
    let append = |thread| (0..EACH).for_each(|index| assert!(log.append(&payload(thread, index)).is_ok()));
    std::thread::scope(|scope| {
        let appenders = [scope.spawn(|| append(0)), scope.spawn(|| append(1))];
        let dropper = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                log.drop_before(log.next().saturating_sub(50)).unwrap();
                std::thread::yield_now();
            }
        });
        let reader = scope.spawn(|| {
            let (mut cursor, mut bytes, mut before) = (log.cursor(0), vec![0; 2000], 0);
            loop {
                let last = over.load(Ordering::Acquire);
                match cursor.read_next(&mut bytes).unwrap() {
                    Some((sequence, length)) => {
                        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().unwrap());
                        assert!(sequence > before && bytes[..length] == payload(word(0), word(1)));
                        before = sequence;
                    }
                    None if last => return before,
                    None => std::thread::yield_now(),
                }
            }
        });
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
        over.store(true, Ordering::Release);
        dropper.join().unwrap();
        assert_eq!(reader.join().unwrap(), 2 * EACH);
    });
    assert!(log.first() > 1 && log.next() == 2 * EACH + 1);
}
