//! Many threads map, look up and remove in one set; also what `ThreadSanitizer` is run on.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::sim::{Hardware, Machine, Medium, Page, SimPlatform, SimSource, SimSpace};
use pmemset_core::{
    Coalescing, Config, CopyFlags, Extent, Granularity, MapConfig, Part, Platform, Reservation, Set, WithLock,
};

const PAGE: usize = 4096;
const THREADS: usize = 4;

/// Maps the page of each round, finds it, pins it, and removes it again, in one way or the other.
fn work<P: Platform<Space = SimSpace>>(
    set: &Set<'_, P, SimSource>,
    source: &SimSource,
    rounds: usize,
    removed: &AtomicUsize,
) {
    for round in 0..rounds {
        let offset = (round % 4 * PAGE) as u64;
        let config = MapConfig::new().offset(offset).length(PAGE);
        let segment = match set.map(source.clone(), &config) {
            Ok(mapped) => mapped.extent(),
            Err(MapError::TableFull { .. } | MapError::CannotFit { .. } | MapError::Map { .. }) => {
                thread::yield_now();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for part in set.parts() {
            assert!(part.current_extent().covers(part.extent()), "a pinned part only grows");
        }
        loop {
            let part = set.part_at(segment.start()).unwrap_or_else(|error| panic!("gone: {error}"));
            let outcome = if round % 2 == 0 && part.current_extent() == segment {
                set.remove(part)
            } else {
                drop(part);
                set.remove_range(segment.start(), 1)
            };
            match outcome {
                Ok(()) => break,
                Err(RemoveError::Pinned { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        removed.fetch_add(1, Ordering::Relaxed);
    }
}

fn run<P: Platform<Space = SimSpace, Lock: Send + Sync>>(machine: &Machine, set: &Set<'_, P, SimSource>) {
    let (rounds, removed) = (if cfg!(miri) { 5 } else { 300 }, AtomicUsize::new(0));
    let sources: Vec<_> = (0..THREADS).map(|_| machine.add_source(Medium::new(4 * PAGE as u64))).collect();
    thread::scope(|scope| {
        let removed = &removed;
        let spawn = |source| scope.spawn(move || work(set, source, rounds, removed));
        let workers: Vec<_> = sources.iter().map(spawn).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    assert!(removed.into_inner() > THREADS, "the threads have done something");
    assert_eq!((set.segment_count(), set.granularity()), (0, None));
}

fn nothing_is_left(machine: &Machine) {
    assert!(machine.pages().iter().all(|(_, page)| *page == Page::Free), "something is left: {:?}", machine.pages());
}

#[test]
fn threads_in_own_reservations() {
    let machine = Machine::new(Hardware::new().without_tracking());
    run(&machine, &Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 16));
    nothing_is_left(&machine);
}

#[test]
fn threads_in_the_callers_reservation() {
    let machine = Machine::new(Hardware::new().without_tracking());
    let reservation = Reservation::with_capacity(machine.platform(), 16 * PAGE, 16).unwrap();
    run(&machine, &Set::with_capacity(&reservation, Config::new(Granularity::CacheLine), 16));
    drop(reservation);
    nothing_is_left(&machine);
}

#[test]
fn threads_with_the_lock_of_the_crate_spin() {
    let machine = Machine::new(Hardware::new().without_tracking());
    let platform = || WithLock::<SimPlatform, spin::RwLock<()>>::new(machine.platform());
    run(&machine, &Set::with_capacity(platform(), Config::new(Granularity::CacheLine), 16));
    let reservation = Reservation::with_capacity(platform(), 16 * PAGE, 16).unwrap();
    run(&machine, &Set::with_capacity(&reservation, Config::new(Granularity::CacheLine), 16));
    drop(reservation);
    nothing_is_left(&machine);
}

/// One struct that owns its set: moved, shared, and used from several threads with handles that own a share of it.
#[test]
fn threads_with_handles_of_their_own() {
    type Shared = Arc<Set<'static, Arc<Reservation<'static, SimPlatform>>, SimSource>>;
    struct Store {
        set: Shared,
        parts: Vec<Part<Shared>>,
    }
    fn open(machine: &Machine) -> Store {
        let reservation = Arc::new(Reservation::with_capacity(machine.platform(), 16 * PAGE, 16).unwrap());
        let set = Arc::new(Set::with_capacity(reservation, Config::new(Granularity::CacheLine), 16));
        let map = |at| {
            set.map_owned(machine.add_source(Medium::new(PAGE as u64)), &MapConfig::new())
                .unwrap_or_else(|error| panic!("{at}: {error}"))
        };
        let parts = (0..THREADS).map(map).collect();
        Store { set, parts }
    }
    let machine = Machine::new(Hardware::new().without_tracking());
    let Store { set, parts } = open(&machine);
    let work = |part: Part<Shared>| {
        thread::spawn(move || {
            for round in 0..50_u8 {
                part.write(usize::from(round), &[round]).unwrap();
            }
            let (set, whole) = (part.set().part_at(part.extent().start()).unwrap(), part.extent());
            assert_eq!(set.extent(), whole);
            drop(set);
            part
        })
    };
    let workers: Vec<_> = parts.into_iter().map(work).collect();
    for worker in workers {
        let part = worker.join().unwrap();
        assert_eq!(set.remove_range(part.extent().start(), 1), Err(RemoveError::InUse { segment: part.extent() }));
        set.remove(part).unwrap();
    }
    assert_eq!(Arc::strong_count(&set), 1, "the handles' shares are given back");
    Arc::into_inner(set).unwrap().close().unwrap();
    nothing_is_left(&machine);
}

/// A log that grows at its end and drops its oldest segments, while others use the newest: no removal is ever refused.
#[test]
fn log_drops_its_oldest_segments_under_calls_on_the_newest() {
    const KEPT: usize = 8;
    let machine = Machine::new(Hardware::new().without_tracking());
    let source = machine.add_source(Medium::new(64 * PAGE as u64));
    let set = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 16);
    set.set_coalescing(Coalescing::Opportunistic);
    let segments = if cfg!(miri) { 20 } else { 2000 };
    let (newest, calls, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let use_newest = || {
        while !over.load(Ordering::Relaxed) {
            let start = newest.load(Ordering::Relaxed);
            // Over the border of the two newest, too; they may be old when the call comes to them, and gone.
            for (address, length_bytes) in [(start, 8), (start.wrapping_sub(8), 16), (start + PAGE - 64, 64)] {
                let used =
                    set.persist(address, length_bytes).and_then(|()| set.fill(address, 1, 1, CopyFlags::NOFLUSH));
                if used.is_ok() {
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        let (sender, oldest) = mpsc::sync_channel::<Extent>(KEPT - 4);
        scope.spawn(use_newest);
        scope.spawn(use_newest);
        let dropper = scope.spawn(|| {
            for segment in oldest {
                // Whoever still uses it is told so, and not that there were a handle to the part.
                while let Err(error) = set.remove_range(segment.start(), 1) {
                    assert_eq!(error, RemoveError::InUse { segment });
                    assert_ne!(segment.start(), newest.load(Ordering::Relaxed), "removed too early");
                    thread::yield_now();
                }
            }
        });
        let mut mapped = std::collections::VecDeque::new();
        for index in 0..segments {
            let config = MapConfig::new().offset((index % 64 * PAGE) as u64).length(PAGE);
            let segment = set.map(source.clone(), &config).unwrap_or_else(|error| panic!("{error}")).extent();
            newest.store(segment.start(), Ordering::Relaxed);
            mapped.push_back(segment);
            if mapped.len() > 4 {
                sender.send(mapped.pop_front().unwrap()).unwrap();
            }
        }
        drop(sender);
        dropper.join().unwrap();
        over.store(true, Ordering::Relaxed);
    });
    assert!(calls.into_inner() > 0, "the others have done something");
    assert_eq!(set.segment_count(), 4);
}
