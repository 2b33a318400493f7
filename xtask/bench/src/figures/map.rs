//! Mapping and removing parts of one page.

use std::fs::File;
use std::os::fd::AsFd;

use memmap2::{MmapMut, MmapOptions};
use pmemset_core::{Coalescing, Config, Granularity, MapConfig, Platform, Reservation, Set};
use pmemset_linux::{FileSource, Linux, Process};

use super::{PAGE, Random, SEGMENTS_MAX, Subject, mappings_max, tmpfs_file};
use crate::measure::{Clock, Contender, Sample, keep, timed};
use crate::peers::plain::Plain;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "map",
    title: "map N parts of one page, then remove them",
    unit: "parts",
    about: "Processor time for one part, mapped and removed, of a file on tmpfs with page granularity. The plain calls are \
            those that the set makes: in a caller's reservation `fstat` and a fixed `mmap`, then `msync` and the \
            placeholder's `mmap`; elsewhere a reserving `mmap` before, and `munmap` at the end. memmap2 neither reserves nor \
            synchronises.",
    run,
};

fn run(figure: &mut Figure) {
    let sizes: &[usize] = if figure.quick() { &[100, 1_000] } else { &[100, 1_000, 10_000, 60_000] };
    for n in sizes.iter().copied() {
        if n + 4_000 > mappings_max() {
            figure.skip("map", &format!("{n} parts are more mappings than this system allows"));
            continue;
        }
        let file = tmpfs_file(n * PAGE);
        for (random, case) in [(false, "in order, caller's addresses"), (true, "random, caller's addresses")] {
            reserved(figure, case, n, &file, random, Coalescing::None);
        }
        reserved(figure, "in order, coalesced", n, &file, false, Coalescing::Full);
        for (random, case) in [(false, "in order, the set's addresses"), (true, "random, the set's addresses")] {
            own(figure, case, n, &file, random);
        }
    }
}

/// The larger, the fewer samples: a round of the largest takes half a second.
fn rounds(figure: &Figure, n: usize) -> usize {
    if figure.quick() { 5 } else { (200_000 / n).clamp(5, 31) }
}

/// Times `work`, which does something with each of `n` parts.
fn round(n: usize, work: impl FnOnce()) -> Sample {
    let clock = Clock::start();
    work();
    clock.stop(n)
}

fn order(n: usize, random: bool) -> Vec<usize> {
    if random { Random::order(n) } else { (0..n).collect() }
}

/// In a reservation of the caller's. Mapping goes upwards, removal in the order that the case names.
fn reserved(figure: &mut Figure, case: &'static str, n: usize, file: &File, random: bool, coalescing: Coalescing) {
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let reservation = Reservation::with_capacity(Linux::new(), n * PAGE, SEGMENTS_MAX).unwrap();
    let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), SEGMENTS_MAX);
    set.set_coalescing(coalescing);
    let removal = order(n, random);
    let start = reservation.extent().start();
    let ours = || {
        round(n, || {
            map_all(&set, &source, n);
            for page in &removal {
                set.remove_range(start + page * PAGE, PAGE).unwrap();
            }
        })
    };
    // At the same addresses, between rounds in which the set is empty: what lies around them costs up to 6 %.
    let plain = Plain { file: file.as_fd() };
    let calls = || {
        round(n, || {
            (0..n).for_each(|page| plain.map_at(start + page * PAGE, page, 1));
            removal.iter().for_each(|page| plain.remove_at(start + page * PAGE, 1));
        })
    };
    let rounds = rounds(figure, n);
    figure.row_of(rounds, case, n, vec![timed("pmemset", ours), timed("plain calls", calls)]);
}

fn map_all<'s, P: Platform<Space = Process>, F: AsFd + Send + Sync>(
    set: &Set<'_, P, &'s FileSource<F>>,
    source: &'s FileSource<F>,
    n: usize,
) {
    for page in 0..n {
        set.map(source, &MapConfig::new().offset((page * PAGE) as u64).length(PAGE)).unwrap();
    }
}

/// Where the set finds room.
fn own(figure: &mut Figure, case: &'static str, n: usize, file: &File, random: bool) {
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), SEGMENTS_MAX);
    let removal = order(n, random);
    let plain = Plain { file: file.as_fd() };
    let ours = || {
        round(n, || {
            let map = |page: usize| {
                let config = MapConfig::new().offset((page * PAGE) as u64).length(PAGE);
                set.map(&source, &config).unwrap().extent().start()
            };
            let parts: Vec<usize> = (0..n).map(map).collect();
            removal.iter().for_each(|page| set.remove_range(parts[*page], PAGE).unwrap());
        })
    };
    let calls = || {
        round(n, || {
            let parts: Vec<usize> = (0..n).map(|page| plain.map(page)).collect();
            removal.iter().for_each(|page| plain.remove(parts[*page]));
        })
    };
    let crates = || {
        round(n, || {
            let mut parts: Vec<Option<MmapMut>> = (0..n).map(|page| Some(memmap2(file, page))).collect();
            removal.iter().for_each(|page| keep(parts[*page].take()));
        })
    };
    let contenders: Vec<Contender<'_>> =
        vec![timed("pmemset", ours), timed("plain calls", calls), timed("memmap2", crates)];
    let rounds = rounds(figure, n);
    figure.row_of(rounds, case, n, contenders);
}

#[allow(unsafe_code, reason = "the peer's function is unsafe")]
fn memmap2(file: &File, page: usize) -> MmapMut {
    // SAFETY: nothing else changes the file, and nobody looks at it.
    unsafe { MmapOptions::new().offset((page * PAGE) as u64).len(PAGE).map_mut(file) }.unwrap()
}
