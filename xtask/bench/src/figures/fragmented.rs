//! Mapping where most of the free space is in holes that are too small.

use std::os::fd::AsFd;

use pmemset_core::{Config, Granularity, MapConfig, Platform, Reservation, Set, Source};
use pmemset_linux::{FileSource, Linux};

use super::books::{Fake, FakeSource};
use super::{PAGE, SEGMENTS_MAX, Subject, mappings_max, tmpfs_file};
use crate::measure::{calls, keep};
use crate::peers::plain::Plain;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "fragmented",
    title: "map and remove two pages behind N holes of one page",
    unit: "holes",
    about: "Processor time for a part of two pages in a caller's reservation whose holes are all of one page but for the \
            last, beside the same in an empty reservation, and beside the plain calls at the same place. The last rows are \
            the books alone, on address space that no kernel knows of.",
    run,
};

fn run(figure: &mut Figure) {
    let most = mappings_max().saturating_sub(4_000) / 2;
    for holes in [1_000, 30_000.min(most)] {
        let file = tmpfs_file(2 * PAGE);
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        let full = Reservation::with_capacity(Linux::new(), length_bytes(holes), SEGMENTS_MAX).unwrap();
        let among = fill(&full, &source, holes);
        let empty = Reservation::with_capacity(Linux::new(), length_bytes(holes), SEGMENTS_MAX).unwrap();
        let alone = Set::with_capacity(&empty, Config::new(Granularity::Page), SEGMENTS_MAX);
        let behind = full.extent().start() + (2 * holes + 1) * PAGE;
        let plain = Plain { file: file.as_fd() };
        let there = || {
            plain.map_at(behind, 0, 2);
            plain.remove_at(behind, 2);
        };
        let contenders = vec![
            calls("pmemset", || assert_eq!(once(&among, &source), behind)),
            calls("pmemset, empty", || keep(once(&alone, &source))),
            calls("plain calls", there),
        ];
        figure.row("caller's addresses", holes, contenders);
    }
    for holes in [1_000, 60_000] {
        let (fake, source) = (Fake::new(), FakeSource::new());
        let full = Reservation::with_capacity(&fake, length_bytes(holes), SEGMENTS_MAX).unwrap();
        let among = fill(&full, &source, holes);
        let empty = Reservation::with_capacity(&fake, length_bytes(holes), SEGMENTS_MAX).unwrap();
        let alone = Set::with_capacity(&empty, Config::new(Granularity::Page), SEGMENTS_MAX);
        let behind = full.extent().start() + (2 * holes + 1) * PAGE;
        let contenders = vec![
            calls("pmemset", || assert_eq!(once(&among, &source), behind)),
            calls("pmemset, empty", || keep(once(&alone, &source))),
        ];
        figure.row("books alone", holes, contenders);
    }
}

const fn length_bytes(holes: usize) -> usize {
    (2 * holes + 64) * PAGE
}

/// Returns a set of parts of one page, with so many holes of one page between them.
fn fill<'m: 'r, 'r, P, S>(
    reservation: &'r Reservation<'m, P>,
    source: &'r S,
    holes: usize,
) -> Set<'r, &'r Reservation<'m, P>, &'r S>
where
    P: Platform<Lock: Send + Sync>,
    S: Source<Space = P::Space>,
{
    let set = Set::with_capacity(reservation, Config::new(Granularity::Page), SEGMENTS_MAX);
    let page = MapConfig::new().length(PAGE);
    let mut last = set.map(source, &page).unwrap().extent();
    for _ in 0..holes {
        let hole = set.map(source, &page.after(last.start())).unwrap().extent();
        last = set.map(source, &page.after(hole.start())).unwrap().extent();
        set.remove_range(hole.start(), PAGE).unwrap();
    }
    set
}

/// Maps two pages and removes them; returns where they were.
fn once<P: Platform, S: Source<Space = P::Space> + Copy>(set: &Set<'_, P, S>, source: S) -> usize {
    let at = set.map(source, &MapConfig::new().length(2 * PAGE)).unwrap().extent().start();
    set.remove_range(at, 2 * PAGE).unwrap();
    at
}
