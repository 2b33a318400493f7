//! A program that appends is killed fifty times, at any moment; whoever opens its log finds all that it was told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use pmemset_core::support::Random;
use pmemset_core::{Config, Granularity, Set};
use pmemset_linux::{FileSource, Linux, OpenError, OpenOptions};
use pmemset_log::{AppendError, Log, Options, Table};

const KILLS: u64 = 50;
const PATH: &str = "PMEMSET_LOG_TO_BE_KILLED";
/// Beyond this many records the oldest are dropped.
const KEPT: u64 = 40;

fn open(path: &Path) -> Log<'static, Linux, Arc<FileSource>> {
    let source =
        FileSource::open(path.as_os_str().as_encoded_bytes(), OpenOptions::new().create_if_needed().exclusive());
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page).reserve_ahead(1 << 20), 33);
    let opened = Log::open(set, Arc::new(source.unwrap()), &Options::new().segment_bytes(4096), Table::on_heap(32));
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the payload that thread `thread` appends for the `index`th time in run `run`.
fn payload(run: u64, thread: u64, index: u64) -> Vec<u8> {
    let mut random = Random::new(run << 32 | thread << 24 | index);
    let length = if random.one_in(20) { random.below(9000) } else { random.below(200) };
    let head = [run, thread, index].into_iter().flat_map(u64::to_le_bytes);
    head.chain((0..length).map(|_| random.below(256)).map(|byte| u8::try_from(byte).unwrap())).collect()
}

/// Appends until it is killed, in two threads; prints what it was told.
fn be_killed(path: &Path, run: u64) -> ! {
    let log = open(path);
    let append = |thread| {
        let mut last = 0;
        for index in 0.. {
            let payload = payload(run, thread, index);
            let sequence = loop {
                match log.append(&payload) {
                    // The other thread, which drops records now and then, was not let run.
                    Err(AppendError::TooManySegments { .. }) => log.drop_before(last.max(log.first() + 1)).unwrap(),
                    result => break result.unwrap(),
                }
            };
            last = sequence;
            std::io::stdout().write_all(format!("told {sequence} {thread} {index}\n").as_bytes()).unwrap();
            if thread == 0 && sequence > KEPT {
                log.drop_before(sequence - KEPT).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| append(1));
        append(0);
    });
    unreachable!("it appends until it is killed")
}

struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_program_that_is_killed_fifty_times_loses_nothing_that_it_was_told() {
    if let Some(told) = std::env::var_os(PATH) {
        let run = std::env::var("PMEMSET_LOG_RUN").unwrap().parse().unwrap();
        be_killed(Path::new(&told), run);
    }
    let file = File(std::env::temp_dir().join(format!("pmemset-log-killed-{}", std::process::id())));
    let mut random = Random::new(7);
    let mut told = BTreeMap::new();
    let mut found_before = 1;
    for run in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_program_that_is_killed_fifty_times_loses_nothing_that_it_was_told", "--nocapture"])
            .env(PATH, &file.0)
            .env("PMEMSET_LOG_RUN", run.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut patience = random.below(60);
        let mut take = |line: String| {
            if let Some(("told", numbers)) = line.split_once(' ') {
                let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                told.insert(numbers[0], (run, numbers[1], numbers[2]));
            }
        };
        // Any moment after so many were told, and while it goes on.
        while patience > 0 {
            let line = lines.next().unwrap_or_else(|| panic!("it has ended by itself: {:?}", child.wait()));
            if line.starts_with("told") {
                // It has the log to itself, as long as it lives.
                let second = FileSource::open(&file.0, OpenOptions::new().exclusive()).err();
                assert_eq!(second, Some(OpenError::InUse), "two programs have one log");
            }
            take(line);
            patience -= 1;
        }
        child.kill().unwrap();
        lines.for_each(take);
        assert!(!child.wait().unwrap().success());
        found_before = check(&file.0, &told, found_before);
    }
    println!("killed {KILLS} times; {} records were told, and the next is {found_before}", told.len());
}

/// Returns the number behind that of the newest record.
fn check(path: &Path, told: &BTreeMap<u64, (u64, u64, u64)>, found_before: u64) -> u64 {
    let log = open(path);
    let last_told = told.last_key_value().map_or(0, |(sequence, _)| *sequence);
    assert!(log.next() > last_told && log.next() >= found_before, "{last_told} was told, {} is next", log.next());
    assert!(log.next() <= KEPT || log.first() <= last_told.max(found_before));
    for record in log.iter(0) {
        let record = record.unwrap();
        let word = |at: usize| u64::from_le_bytes(record.payload[at * 8..][..8].try_into().unwrap());
        let appended = (word(0), word(1), word(2));
        assert!(record.payload == payload(appended.0, appended.1, appended.2), "record {}", record.sequence);
        if let Some(told) = told.get(&record.sequence) {
            assert_eq!(*told, appended, "record {}", record.sequence);
        }
    }
    log.next()
}
