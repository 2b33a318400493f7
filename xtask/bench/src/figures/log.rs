//! Appending records durably: the log of `examples/log`, a mapped file, and a plain one.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crc::{CRC_32_ISCSI, Crc, Table as Sums};
use memmap2::{MmapMut, MmapOptions};
use pmemset_core::{Config, Granularity, Set, Source};
use pmemset_linux::{FileSource, Linux, Process};
use pmemset_log::{Log, Options, Table};

use super::{Forced, Subject, tmpfs_file};
use crate::measure::{Contender, Sample, timed};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "log",
    title: "append a record durably",
    unit: "B",
    about: "Time on the wall for one append, of all threads together: 1 second by it is the appends a second. Records have a head \
            with sequence number and checksum (CRC-32C) everywhere; the peers have one lock around all of it, and wrap around in \
            64 MiB, the mapped one allocated before, the plain one grown by its writes; neither can tell what is damaged, gives \
            storage back, or grows. Disk: the temporary folder; memory: tmpfs, where pmemset flushes cache lines, `msync` and \
            `fdatasync` do nothing, and what is left is the processor's work.",
    run,
};

const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];
const FILE_BYTES: usize = 64 << 20;
const SEGMENT_BYTES: usize = 8 << 20;
const SEGMENTS: usize = 12;

fn run(figure: &mut Figure) {
    let disk = std::env::temp_dir();
    let cases = [
        ("disk, 1 thread", Some(disk.as_path()), 1),
        ("disk, 4 threads", Some(disk.as_path()), 4),
        ("memory, 1 thread", None, 1),
        ("memory, 4 threads", None, 4),
    ];
    for (case, folder, threads) in cases {
        for n in SIZES {
            let appends = match (folder, figure.quick()) {
                (Some(_), true) => 8,
                (Some(_), false) => 64,
                (None, true) => 64,
                (None, false) => 1024,
            };
            let load = Load { payload: vec![7; n], threads, appends: appends.min(FILE_BYTES / 8 / threads / n) };
            let contenders = match folder {
                Some(folder) => {
                    vec![ours_on_disk(folder, &load), mapped(&on_disk(folder), &load), plain(on_disk(folder), &load)]
                }
                None => vec![ours_in_memory(&load), mapped(&tmpfs_file(0), &load), plain(tmpfs_file(0), &load)],
            };
            figure.row_of(if figure.quick() { 3 } else { 11 }, case, n, contenders);
        }
    }
}

/// What is appended in one sample: so many times by each thread.
struct Load {
    payload: Vec<u8>,
    threads: usize,
    appends: usize,
}

impl Load {
    fn sample(&self, append: impl Fn(&[u8]) + Sync) -> Sample {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| (0..self.appends).for_each(|_| append(&self.payload)));
            }
        });
        let operations = self.threads * self.appends;
        Sample { ns: start.elapsed().as_secs_f64() * 1e9 / operations as f64, disturbed: false }
    }
}

fn on_disk(folder: &Path) -> File {
    let path = folder.join(format!("pmemset-bench-log-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file
}

fn ours_on_disk<'a>(folder: &Path, load: &'a Load) -> Contender<'a> {
    let source = FileSource::temporary(folder).unwrap();
    ours(source, Granularity::Page, load)
}

fn ours_in_memory(load: &Load) -> Contender<'_> {
    ours(Forced::new(&tmpfs_file(SEGMENTS * SEGMENT_BYTES + 8192)), Granularity::CacheLine, load)
}

fn ours<S: Source<Space = Process> + 'static>(source: S, granularity: Granularity, load: &Load) -> Contender<'_> {
    let config = Config::new(granularity).reserve_ahead(FILE_BYTES);
    let set = Set::with_capacity(Linux::new(), config, SEGMENTS + 1);
    let options = Options::new().segment_bytes(SEGMENT_BYTES);
    let log = Log::open(set, Arc::new(source), &options, Table::on_heap(SEGMENTS)).unwrap();
    timed("pmemset", move || {
        // As a program does it that has taken a snapshot; before the clock starts.
        log.drop_before(log.next()).unwrap();
        load.sample(|payload| assert!(log.append(payload).is_ok()))
    })
}

/// Where the next record of a peer goes, and its number.
#[derive(Default)]
struct Place {
    at: usize,
    sequence: u64,
}

impl Place {
    /// Returns the head of the next record, and where it goes.
    fn next(&mut self, payload: &[u8]) -> ([u8; 24], usize) {
        static SUM: Crc<u32, Sums<16>> = Crc::<u32, Sums<16>>::new(&CRC_32_ISCSI);
        let whole = payload.len() + 24;
        if self.at + whole > FILE_BYTES {
            self.at = 0;
        }
        let at = self.at;
        self.at = (at + whole).next_multiple_of(8);
        self.sequence += 1;
        let mut head = [0; 24];
        head[..8].copy_from_slice(&self.sequence.to_le_bytes());
        head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        head[16..20].copy_from_slice(&SUM.checksum(payload).to_le_bytes());
        let sum = SUM.checksum(&head).to_le_bytes();
        head[20..].copy_from_slice(&sum);
        (head, at)
    }
}

#[allow(unsafe_code, reason = "the peer's function is unsafe")]
fn mapped<'a>(file: &File, load: &'a Load) -> Contender<'a> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES as u64).unwrap();
    // SAFETY: nobody else has the file.
    let map: MmapMut = unsafe { MmapOptions::new().len(FILE_BYTES).map_mut(file) }.unwrap();
    let state = Mutex::new((map, Place::default()));
    timed("memmap2", move || {
        load.sample(|payload| {
            let (map, place) = &mut *state.lock().unwrap();
            let (head, at) = place.next(payload);
            map[at..at + 24].copy_from_slice(&head);
            map[at + 24..at + 24 + payload.len()].copy_from_slice(payload);
            map.flush_range(at, 24 + payload.len()).unwrap();
        })
    })
}

fn plain(file: File, load: &Load) -> Contender<'_> {
    let state = Mutex::new((file, Place::default()));
    timed("fdatasync", move || {
        load.sample(|payload| {
            let (file, place) = &mut *state.lock().unwrap();
            let (head, at) = place.next(payload);
            file.write_all_at(&[&head, payload].concat(), at as u64).unwrap();
            file.sync_data().unwrap();
        })
    })
}
