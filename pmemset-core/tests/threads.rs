//! Many threads map, look up and remove in one set; also what `ThreadSanitizer` is run on.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::sim::{Hardware, Machine, Medium, Page, SimPlatform, SimSource, SimSpace};
use pmemset_core::{Coalescing, Config, Granularity, MapConfig, Platform, Reservation, Set, WithLock};

const PAGE: usize = 4096;
const THREADS: usize = 4;

type ThreadSet<'a, P> = Set<'a, P, SimSource, 16>;

/// Maps the page of each round, finds it, pins it, and removes it again, in one way or the other.
fn work<P: Platform<Space = SimSpace, Lock: Send + Sync>>(
    set: &ThreadSet<'_, P>,
    source: &SimSource,
    rounds: usize,
    removed: &AtomicUsize,
) {
    for round in 0..rounds {
        let offset = (round % 4 * PAGE) as u64;
        let config = MapConfig::new().offset(offset).unwrap().length(PAGE);
        let segment = match set.map(source.clone(), &config) {
            Ok(mapped) => mapped.segment,
            Err(MapError::TableFull { .. } | MapError::CannotFit { .. } | MapError::Map { .. }) => {
                thread::yield_now();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        for part in set.parts() {
            assert!(part.descriptor().covers(part.extent()), "a pinned part only grows");
        }
        loop {
            let part = set.part_at(segment.start()).unwrap_or_else(|error| panic!("gone: {error}"));
            let outcome = if round % 2 == 0 && part.descriptor() == segment {
                set.remove(part).map_err(|refused| refused.error)
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

fn run<P: Platform<Space = SimSpace, Lock: Send + Sync>>(in_reservation: bool, platform: fn(&Machine) -> P) {
    let machine = Machine::new(Hardware::new().without_tracking());
    {
        let reservation = Reservation::<_, 16>::new(platform(&machine), 16 * PAGE).unwrap();
        let config = Config::new(Granularity::CacheLine);
        let config = if in_reservation { config.reservation(&reservation) } else { config };
        let set = ThreadSet::new(platform(&machine), config);
        set.set_coalescing(Coalescing::None);
        let (rounds, removed) = (if cfg!(miri) { 5 } else { 300 }, AtomicUsize::new(0));
        let sources: Vec<_> = (0..THREADS).map(|_| machine.add_source(Medium::new(4 * PAGE as u64))).collect();
        thread::scope(|scope| {
            let (set, removed) = (&set, &removed);
            let spawn = |source| scope.spawn(move || work(set, source, rounds, removed));
            let workers: Vec<_> = sources.iter().map(spawn).collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
        assert!(removed.into_inner() > THREADS, "the threads have done something");
        assert_eq!((set.segments(), set.granularity()), (0, None));
    }
    assert!(machine.pages().iter().all(|(_, page)| *page == Page::Free), "something is left: {:?}", machine.pages());
}

#[test]
fn threads_in_own_reservations() {
    run(false, Machine::platform);
}

#[test]
fn threads_in_the_callers_reservation() {
    run(true, Machine::platform);
}

#[test]
fn threads_with_the_lock_of_the_crate_spin() {
    let platform = |machine: &Machine| WithLock::<SimPlatform, spin::RwLock<()>>::new(machine.platform());
    run(false, platform);
    run(true, platform);
}
