//! Mapping, removing and looking up parts, beside the same plain system calls and an ordered map of the standard library.
#![allow(unsafe_code, reason = "the peer is plain mmap")]

use core::ffi::c_void;
use core::hint::black_box;
use std::collections::BTreeMap;
use std::sync::{Barrier, RwLock};

use pmemset_core::{Config, Extent, Granularity, MapConfig, Reservation, Set};
use pmemset_linux::{FileSource, Linux};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::mm::{self, MapFlags, MsyncFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

const PAGE: usize = 4096;
const PARTS_MAX: usize = 65_536;

#[derive(Clone, Copy)]
struct Options {
    quick: bool,
    json: bool,
}

impl Options {
    fn rounds(self) -> usize {
        if self.quick { 3 } else { 9 }
    }
}

fn main() {
    // Sets are moved into their boxes.
    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap();
}

fn run() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let options = Options { quick: has("--quick"), json: has("--json") };
    for n in [100, 1_000, 10_000, 60_000] {
        for order in [Order::Ascending, Order::Random] {
            map_and_remove(options, n, order);
        }
    }
    for n in [1_000, 60_000] {
        look_up(options, n);
    }
}

#[derive(Clone, Copy)]
enum Order {
    Ascending,
    Random,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Ascending => "map+remove ascending",
            Self::Random => "map+remove random",
        }
    }

    /// Returns the numbers below `n` in this order.
    fn of(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        if matches!(self, Self::Random) {
            let mut random = Random(n as u64);
            for i in (1..n).rev() {
                order.swap(i, random.below(i + 1));
            }
        }
        order
    }
}

/// A small generator of random numbers; always the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 >> 16) * limit as u128) >> 48) as usize
    }
}

fn file(pages: usize) -> OwnedFd {
    let file = fs::open("/dev/shm", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).unwrap();
    fs::ftruncate(&file, (pages * PAGE) as u64).unwrap();
    file
}

/// Maps `n` parts of one page each, ascending, then removes them.
fn map_and_remove(options: Options, n: usize, order: Order) {
    let order_of_removal = order.of(n);
    let file = file(n);
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let reservation = Reservation::with_capacity(Linux, n * PAGE, PARTS_MAX).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), PARTS_MAX);
    // At the same addresses, between rounds in which the set is empty: what lies around them costs up to 6 %.
    let plain = Plain { file: file.as_fd(), window: reservation.extent() };
    let rounds = options.rounds() * (60_000 / n).min(50);
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(time(n, || {
            for i in 0..n {
                let config = MapConfig::new().offset((i * PAGE) as u64).length(PAGE);
                set.map(&source, &config).unwrap();
            }
            for i in &order_of_removal {
                let part = set.part_at(reservation.extent().start() + i * PAGE).unwrap();
                set.remove(part).unwrap();
            }
        }));
        peer.push(time(n, || {
            for i in 0..n {
                plain.map(i);
            }
            for i in &order_of_removal {
                plain.remove(*i);
            }
        }));
    }
    report(options, order.name(), n, &mut ours, "mmap", &mut peer);
}

/// The same system calls without a set.
struct Plain<'a> {
    file: BorrowedFd<'a>,
    window: Extent,
}

impl Plain<'_> {
    fn at(&self, i: usize) -> *mut c_void {
        core::ptr::with_exposed_provenance_mut(self.window.start() + i * PAGE)
    }

    fn map(&self, i: usize) {
        black_box(fs::fstat(self.file).unwrap());
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: a page of the window that this benchmark has reserved.
        unsafe { mm::mmap(self.at(i), PAGE, prot, flags, self.file, (i * PAGE) as u64) }.unwrap();
    }

    fn remove(&self, i: usize) {
        // SAFETY: a page of the window that this benchmark has reserved.
        unsafe { mm::msync(self.at(i), PAGE, MsyncFlags::SYNC) }.unwrap();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as above.
        unsafe { mm::mmap_anonymous(self.at(i), PAGE, ProtFlags::empty(), flags) }.unwrap();
    }
}

/// Looks up `n` parts by random addresses, with one and two threads, and goes through all of them.
fn look_up(options: Options, n: usize) {
    let file = file(n);
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let reservation = Reservation::with_capacity(Linux, n * PAGE, PARTS_MAX).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), PARTS_MAX);
    let mut map = BTreeMap::new();
    for i in 0..n {
        let config = MapConfig::new().offset((i * PAGE) as u64).length(PAGE);
        let segment = set.map(&source, &config).unwrap().extent();
        map.insert(segment.start(), segment);
    }
    let map = RwLock::new(map);
    let start = reservation.extent().start();
    let mut random = Random(7);
    let addresses: Vec<usize> = (0..1 << 16).map(|_| start + random.below(n * PAGE)).collect();
    let by_set = |address: usize| drop(black_box(set.part_at(address).unwrap()));
    let by_map = |address: usize| {
        let map = map.read().unwrap();
        black_box(map.range(..=address).next_back().filter(|(_, part)| part.contains(address)).unwrap());
    };
    for threads in [1, 2] {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds() {
            ours.push(time_threads(threads, &addresses, by_set));
            peer.push(time_threads(threads, &addresses, by_map));
        }
        let case = if threads == 1 { "lookup" } else { "lookup, 2 threads" };
        report(options, case, n, &mut ours, "RwLock<BTreeMap>", &mut peer);
    }
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        ours.push(time(n, || {
            set.extents().for_each(|part| {
                black_box(part);
            })
        }));
        peer.push(time(n, || {
            map.read().unwrap().values().for_each(|part| {
                black_box(part);
            })
        }));
    }
    report(options, "iterate", n, &mut ours, "RwLock<BTreeMap>", &mut peer);
    set.remove_range(start, n * PAGE).unwrap();
}

/// Returns the nanoseconds of processor time that one of the `n` operations in `body` took: others may use the machine.
fn time(n: usize, body: impl FnOnce()) -> f64 {
    let now = || clock_gettime(ClockId::ThreadCPUTime);
    let begin = now();
    body();
    let end = now();
    ((end.tv_sec - begin.tv_sec) as f64 * 1e9 + (end.tv_nsec - begin.tv_nsec) as f64) / n as f64
}

/// Returns the nanoseconds that one operation took in each of `threads` threads.
fn time_threads(threads: usize, addresses: &[usize], operation: impl Fn(usize) + Sync) -> f64 {
    let together = Barrier::new(threads);
    let run = |thread: usize| {
        let (first, second) = addresses.split_at(thread * addresses.len() / 2);
        together.wait();
        time(4 * addresses.len(), || {
            for _ in 0..4 {
                second.iter().chain(first).for_each(|address| operation(*address));
            }
        })
    };
    std::thread::scope(|scope| {
        let run = &run;
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<f64>() / threads as f64
    })
}

fn report(options: Options, case: &str, n: usize, ours: &mut [f64], peer: &str, theirs: &mut [f64]) {
    let (ns, peer_ns) = (median(ours), median(theirs));
    let ratio = ns / peer_ns;
    if options.json {
        println!(
            r#"{{"bench":"map","case":"{case}","n":{n},"ns":{ns:.1},"peer":"{peer}","peer_ns":{peer_ns:.1},"ratio":{ratio:.3}}}"#
        );
    } else {
        println!("{case:<22} {n:>6} parts {ns:>9.1} ns   {peer} {peer_ns:>9.1} ns   ({ratio:.3})");
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
