//! The books alone, on address space that no kernel knows of.
#![allow(unsafe_code, reason = "the traits are unsafe")]

use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::RwLock;

use pmemset_core::arch::Cpu;
use pmemset_core::error::{MapFailure, ReserveError};
use pmemset_core::{
    Config, DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Health, MapConfig, Platform, Reservation, Set,
    Source,
};
use pmemset_linux::StripedRwLock;

use super::{PAGE, Random, SEGMENTS_MAX, Subject};
use crate::measure::{Clock, Sample, keep, timed};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "books",
    title: "the books of N segments, without a kernel",
    unit: "segments",
    about: "Processor time for one segment on address space that is only imagined, so that what is left is the library's own \
            work: put down in order, looked up at random, taken out at random. Beyond 65,536 segments there are several sets, \
            each with a reservation of its own.",
    run,
};

/// Address space that nothing is ever mapped into.
#[derive(Debug)]
pub(crate) struct Fake {
    next: AtomicUsize,
}

impl Fake {
    pub(crate) const fn new() -> Self {
        Self { next: AtomicUsize::new(1 << 40) }
    }
}

/// The kind of such address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Imagined;

// SAFETY: addresses are counted upwards, and none is given twice.
unsafe impl Platform for Fake {
    type Space = Imagined;
    type Lock = StripedRwLock;

    fn space(&self) -> Imagined {
        Imagined
    }

    fn page_size_bytes(&self) -> usize {
        PAGE
    }

    fn cpu(&self) -> &Cpu {
        &Cpu::NONE
    }

    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        let start = self.next.fetch_add(length_bytes + alignment_bytes, Ordering::Relaxed);
        Extent::new(start.next_multiple_of(alignment_bytes), length_bytes).ok_or(ReserveError::CannotFit)
    }

    fn reserve_at(&self, _: Extent) -> Result<(), ReserveError> {
        Err(ReserveError::Occupied)
    }

    unsafe fn release(&self, _: Extent) -> Result<(), Errno> {
        Ok(())
    }
}

/// A source without bytes: nobody may look at what is mapped of it.
#[derive(Debug)]
pub(crate) struct FakeSource {
    failed: FailedWriteBack,
}

impl FakeSource {
    pub(crate) const fn new() -> Self {
        Self { failed: FailedWriteBack::new() }
    }
}

// SAFETY: nothing is mapped, and this program stores to nothing of it.
unsafe impl Source for FakeSource {
    type Space = Imagined;

    fn space(&self) -> Imagined {
        Imagined
    }

    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(1 << 40)
    }

    fn alignment_bytes(&self) -> usize {
        PAGE
    }

    fn granularity(&self) -> Result<Granularity, Errno> {
        Ok(Granularity::Byte)
    }

    unsafe fn map(&self, _: Extent, _: u64) -> Result<(), MapFailure> {
        Ok(())
    }

    unsafe fn unmap(&self, _: Extent, _: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn sync(&self, _: Extent, _: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn deep_flush(&self, _: Extent, _: u64) -> Result<DeepFlush, Errno> {
        Ok(DeepFlush::NotNeeded)
    }

    fn failed_write_back(&self) -> &FailedWriteBack {
        &self.failed
    }

    fn health(&self) -> Option<&dyn Health> {
        None
    }
}

type FakeSet<'r, 'f> = Set<'r, &'r Reservation<'f, &'f Fake>, &'r FakeSource>;

fn run(figure: &mut Figure) {
    let sizes: &[usize] = if figure.quick() { &[1_000, 65_536] } else { &[100, 1_000, 10_000, 65_536, 1 << 20] };
    let (fake, source) = (Fake::new(), FakeSource::new());
    for n in sizes.iter().copied() {
        let each = n.min(SEGMENTS_MAX);
        let new = || Reservation::with_capacity(&fake, each * PAGE, SEGMENTS_MAX).unwrap();
        let reservations: Vec<Reservation<'_, &Fake>> = (0..n.div_ceil(each)).map(|_| new()).collect();
        let config = Config::new(Granularity::Page);
        let sets: Vec<FakeSet<'_, '_>> =
            reservations.iter().map(|one| Set::with_capacity(one, config, SEGMENTS_MAX)).collect();
        phases(figure, n, each, &sets, &source);
    }
}

/// Fills the books, looks everything up, and empties them, each phase timed; and the same with the standard library's.
fn phases<'r>(figure: &mut Figure, n: usize, each: usize, sets: &[FakeSet<'r, '_>], source: &'r FakeSource) {
    const CASES: [&str; 3] = ["put down", "look up", "take out"];
    let order = Random::order(n);
    let address = |index: usize| sets[index / each].platform().extent().start() + index % each * PAGE;
    let map = RwLock::new(BTreeMap::new());
    for case in CASES {
        let ours = || {
            let put = |index: usize| drop(sets[index / each].map(source, &MapConfig::new().length(PAGE)).unwrap());
            let look = |index: usize| keep(sets[index / each].part_at(address(index)).unwrap());
            let take = |index: usize| sets[index / each].remove_range(address(index), PAGE).unwrap();
            phase(n, &order, case, put, look, take)
        };
        let theirs = || {
            let put = |index: usize| {
                let segment = Extent::new(address(index), PAGE).unwrap();
                map.write().unwrap().insert(segment.start(), segment);
            };
            let look = |index: usize| {
                let (map, address) = (map.read().unwrap(), address(index));
                black_box(map.range(..=address).next_back().filter(|(_, part)| part.contains(address)).unwrap());
            };
            let take = |index: usize| {
                black_box(map.write().unwrap().remove(&address(index)).unwrap());
            };
            phase(n, &order, case, put, look, take)
        };
        let rounds = if figure.quick() { 3 } else { (700_000 / n).clamp(1, 21) };
        figure.row_of(rounds, case, n, vec![timed("pmemset", ours), timed("RwLock<BTreeMap>", theirs)]);
    }
}

/// Goes through all phases, and returns the time of the one of that name.
fn phase(
    n: usize,
    order: &[usize],
    case: &str,
    put: impl Fn(usize),
    look: impl Fn(usize),
    take: impl Fn(usize),
) -> Sample {
    let clock = Clock::start();
    (0..n).for_each(put);
    let first = clock.stop(n);
    let clock = Clock::start();
    order.iter().copied().for_each(look);
    let second = clock.stop(n);
    let clock = Clock::start();
    order.iter().copied().for_each(take);
    let third = clock.stop(n);
    match case {
        "put down" => first,
        "look up" => second,
        _ => third,
    }
}
