//! Several threads that append: what each was told is durable, and they share the waiting.

use core::sync::atomic::{AtomicU64, Ordering};

use pmemset_core::sim::{Call, Explore, Explored, Failure, Fault, Machine};
use pmemset_core::{Errno, Extent, Granularity, Source, forward_source};

use super::{SEGMENTS, hardware, medium, open, options, records};
use crate::log::HEAD_BYTES;
use crate::mistake::Mistake;
use crate::{AppendError, Log, Table};

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

/// Four threads append to a log whose disk has room for two more records, while a call of the machine fails; the power
/// goes at any step. What was told is a byte for each sequence number: who appended it.
fn explore_failing(fault: Fault, mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let options = options(mistake);
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(Granularity::Page).growing_to((HEAD_BYTES + super::PAGE) as u64));
        let log = open(machine, &options);
        log.append(&[0; 352]).unwrap();
        machine.settle();
        let told = AtomicU64::new(0);
        let append = |thread: u8| match log.append(&[thread; 8]) {
            Ok(sequence) => {
                let bits = u64::from(thread) << (8 * (sequence - 2));
                machine.acknowledge(told.fetch_or(bits, Ordering::Relaxed) | bits);
            }
            Err(AppendError::Full(_) | AppendError::Stopped(_)) => {}
            Err(error) => panic!("{error}"),
        };
        machine.fail(fault);
        machine.threads([&|| append(1), &|| append(2), &|| append(3), &|| append(4)]);
        machine.repair();
    };
    let check = |machine: &Machine| {
        let log = open(machine, &options);
        let found = records(&log);
        let told = machine.acknowledged().to_le_bytes();
        for (index, thread) in told.into_iter().enumerate().filter(|(_, thread)| *thread > 0) {
            let payload = found.get(index + 1).map(|(_, payload)| &payload[..]);
            if payload != Some(&[thread; 8]) {
                return Err(format!("thread {thread} was told that record {} is durable: {payload:?}", index + 2));
            }
        }
        Ok(())
    };
    Explore::new(hardware()).schedules(8).run(work, check)
}

#[test]
fn whatever_four_threads_were_told_is_there_when_the_disk_is_full_or_fails() {
    let full = Fault::nth(0).only(Call::Prepare).errno(Errno::NOSPC).for_good();
    let syncs = (0..3).map(|nth| Fault::nth(nth).only(Call::Sync));
    for fault in syncs.chain([full]) {
        let explored = explore_failing(fault, None).unwrap_or_else(|failure| panic!("{fault:?}: {failure}"));
        explored.assert_complete();
        println!("EXPLORED failing threads: {explored}");
    }
    let failing = Fault::nth(3).only(Call::Sync);
    explore_failing(failing, Some(Mistake::AcknowledgedEarly)).unwrap_err();
    explore_failing(failing, Some(Mistake::CountsTooMany)).unwrap_err();
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
