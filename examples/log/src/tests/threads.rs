//! Several threads that append: what each was told is durable, and they share the waiting.

use core::sync::atomic::{AtomicU64, Ordering};

use pmemset_core::sim::{Explore, Explored, Failure, Machine};
use pmemset_core::{Errno, Extent, Granularity, Source, forward_source};

use super::{SEGMENTS, hardware, medium, open, options, records};
use crate::mistake::Mistake;
use crate::{Log, Table};

/// Two threads append two records each; what was told is a bit for each sequence number.
fn explore(schedules: u64, mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let options = options(mistake);
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(Granularity::CacheLine));
        let log = open(machine, &options);
        machine.settle();
        let told = AtomicU64::new(0);
        let append = |thread: u8| {
            for index in 0..2 {
                let sequence = log.append(&[thread * 16 + index + 1; 8]).unwrap();
                let told = told.fetch_or(1 << sequence, Ordering::Relaxed) | 1 << sequence;
                machine.acknowledge(told);
            }
        };
        machine.threads([&|| append(0), &|| append(1)]);
    };
    let check = |machine: &Machine| {
        let log = open(machine, &options);
        let (told, next) = (machine.acknowledged(), log.next());
        if told >> next != 0 {
            return Err(format!("{told:#b} were told, and the next is {next}"));
        }
        let values: Vec<u8> = records(&log).into_iter().map(|(_, payload)| payload[0]).collect();
        let of = |thread: u8| values.iter().copied().filter(move |value| value / 16 == thread);
        for thread in [0, 1] {
            if !of(thread).eq((thread * 16 + 1..).take(of(thread).count())) {
                return Err(format!("{values:?}"));
            }
        }
        Ok(())
    };
    Explore::new(hardware()).schedules(schedules).run(work, check)
}

#[test]
fn whatever_two_threads_were_told_is_there() {
    let explored = explore(12, None).unwrap_or_else(|failure| panic!("{failure}"));
    explored.assert_complete();
    println!("EXPLORED threads: {explored}");
    explore(40, Some(Mistake::CountsTooMany)).unwrap_err();
    explore(4, Some(Mistake::NoFence)).unwrap_err();
}

/// A source that counts how often it is synchronised.
#[derive(Debug)]
struct Counting<S> {
    source: S,
    syncs: AtomicU64,
}

// SAFETY: every call goes on to the source inside.
#[allow(unsafe_code, reason = "an adapter of a source")]
unsafe impl<S: Source> Source for Counting<S> {
    type Space = S::Space;

    forward_source!(self { Self { source, .. } => source } except sync);

    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.source.sync(range, offset)
    }
}

#[test]
fn threads_share_the_waiting() {
    let mut counts = Vec::new();
    for seed in 0..8 {
        let explore = Explore::new(hardware()).seed(seed).runs_max(1);
        let count = AtomicU64::new(0);
        let work = |machine: &Machine| {
            let source = machine.add_source(medium(Granularity::Page));
            let source = std::sync::Arc::new(Counting { source, syncs: AtomicU64::new(0) });
            let config = pmemset_core::Config::new(Granularity::Page);
            let set = pmemset_core::Set::with_capacity(machine.platform(), config, SEGMENTS + 1);
            let log = Log::open(set, source.clone(), &options(None), Table::on_heap(SEGMENTS)).unwrap();
            log.append(&[0; 8]).unwrap();
            machine.settle();
            let before = source.syncs.load(Ordering::Relaxed);
            let append = || (0..4).for_each(|_| assert!(log.append(&[1; 8]).unwrap() > 1));
            machine.threads([&append, &append, &append, &append]);
            count.store(source.syncs.load(Ordering::Relaxed) - before, Ordering::Relaxed);
        };
        let _ = explore.run(work, |_| Ok(()));
        counts.push(count.into_inner());
    }
    println!("16 records of four threads took so many synchronisations: {counts:?}");
    assert!(counts.iter().all(|count| *count < 16), "{counts:?}");
}
