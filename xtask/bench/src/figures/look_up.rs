//! Looking up the part at an address.

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Barrier, RwLock};

use pmemset_core::{Config, Extent, Granularity, MapConfig, Reservation, Set};
use pmemset_linux::{FileSource, Linux};

use super::{PAGE, Random, SEGMENTS_MAX, Subject, tmpfs_file};
use crate::measure::{Clock, Sample, keep, timed};
use crate::peers::plain::Plain;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "look-up",
    title: "look up one of N parts by a random address",
    unit: "parts",
    about: "Time for one look-up: a handle that pins the part, and its end. With two threads, the mean of both. Beside a \
            writer, time on the wall while another thread maps and removes a part without end (for the standard library's \
            map, with the same system calls, the lock held for the map alone); `pmemset, idle` is the same reader without the \
            writer.",
    run,
};

/// Look-ups in a sample.
const LOOK_UPS: usize = 1 << 16;

fn run(figure: &mut Figure) {
    for n in [100, 1_000, 60_000] {
        let file = tmpfs_file((n + 1) * PAGE);
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        let reservation = Reservation::with_capacity(Linux::new(), (n + 1) * PAGE, SEGMENTS_MAX).unwrap();
        let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), SEGMENTS_MAX);
        let mut map = BTreeMap::new();
        for page in 0..n {
            let segment = set.map(&source, &config(page)).unwrap().extent();
            map.insert(segment.start(), segment);
        }
        let map = RwLock::new(map);
        let start = reservation.extent().start();
        let mut random = Random::new(7);
        let addresses: Vec<usize> = (0..LOOK_UPS).map(|_| start + random.below(n * PAGE)).collect();
        let by_set = |address: usize| keep(set.part_at(address).unwrap());
        let by_map = |address: usize| {
            let map = map.read().unwrap();
            black_box(map.range(..=address).next_back().filter(|(_, part)| part.contains(address)).unwrap());
        };
        for (threads, case) in [(1, "one thread"), (2, "two threads")] {
            let ours = timed("pmemset", || threads_of(threads, &addresses, by_set));
            let theirs = timed("RwLock<BTreeMap>", || threads_of(threads, &addresses, by_map));
            figure.row(case, n, vec![ours, theirs]);
        }
        let write_set = || {
            let at = set.map(&source, &config(n)).unwrap().extent().start();
            set.remove_range(at, PAGE).unwrap();
        };
        let (plain, at) = (Plain { file: file.as_fd() }, start + n * PAGE);
        let write_map = || {
            plain.map_at(at, n, 1);
            map.write().unwrap().insert(at, Extent::new(at, PAGE).unwrap());
            map.write().unwrap().remove(&at);
            plain.remove_at(at, 1);
        };
        let contenders = vec![
            timed("pmemset", || beside(&addresses, by_set, write_set)),
            timed("pmemset, idle", || on_the_wall(&addresses, by_set)),
            timed("RwLock<BTreeMap>", || beside(&addresses, by_map, write_map)),
        ];
        figure.row("beside a writer", n, contenders);
        set.close().unwrap();
    }
}

fn config(page: usize) -> MapConfig {
    MapConfig::new().offset((page * PAGE) as u64).length(PAGE)
}

/// Returns what one operation took in each of `threads` threads, on average.
fn threads_of(threads: usize, addresses: &[usize], operation: impl Fn(usize) + Sync) -> Sample {
    let together = Barrier::new(threads);
    let run = |thread: usize| {
        let (first, second) = addresses.split_at(thread * addresses.len() / 2);
        together.wait();
        let clock = Clock::start();
        second.iter().chain(first).for_each(|address| operation(*address));
        clock.stop(addresses.len())
    };
    if threads == 1 {
        return run(0);
    }
    std::thread::scope(|scope| {
        let run = &run;
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let samples: Vec<Sample> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        let ns = samples.iter().map(|sample| sample.ns).sum::<f64>() / threads as f64;
        Sample { ns, disturbed: samples.iter().any(|sample| sample.disturbed) }
    })
}

fn on_the_wall(addresses: &[usize], operation: impl Fn(usize)) -> Sample {
    let clock = Clock::start();
    addresses.iter().for_each(|address| operation(*address));
    clock.stop_wall(addresses.len())
}

/// Reads while another thread writes without end.
fn beside(addresses: &[usize], read: impl Fn(usize), write: impl Fn() + Sync) -> Sample {
    let (begun, done) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write();
            begun.wait();
            while !done.load(Ordering::Relaxed) {
                write();
            }
        });
        begun.wait();
        let sample = on_the_wall(addresses, read);
        done.store(true, Ordering::Relaxed);
        sample
    })
}
