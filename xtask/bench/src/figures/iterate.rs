//! Going through all parts.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::RwLock;

use pmemset_core::{Config, Granularity, MapConfig, Reservation, Set};
use pmemset_linux::{FileSource, Linux};

use super::{PAGE, SEGMENTS_MAX, Subject, tmpfs_file};
use crate::measure::{Clock, keep, timed};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "iterate",
    title: "go through N parts in order",
    unit: "parts",
    about: "Processor time for one part. `pmemset` are the extents, which pin nothing; `with handles` pins each part in turn.",
    run,
};

fn run(figure: &mut Figure) {
    for n in [100, 1_000, 60_000] {
        let file = tmpfs_file(n * PAGE);
        let source = FileSource::from_fd(file.as_fd()).unwrap();
        let reservation = Reservation::with_capacity(Linux::new(), n * PAGE, SEGMENTS_MAX).unwrap();
        let set = Set::with_capacity(&reservation, Config::new(Granularity::Page), SEGMENTS_MAX);
        let mut map = BTreeMap::new();
        for page in 0..n {
            let config = MapConfig::new().offset((page * PAGE) as u64).length(PAGE);
            let segment = set.map(&source, &config).unwrap().extent();
            map.insert(segment.start(), segment);
        }
        let map = RwLock::new(map);
        let repeat = 120_000 / n;
        let many = |once: &dyn Fn()| {
            let clock = Clock::start();
            (0..repeat).for_each(|_| once());
            clock.stop(repeat * n)
        };
        let extents = || many(&|| set.extents().for_each(keep));
        let handles = || many(&|| set.parts().for_each(keep));
        let values = || many(&|| map.read().unwrap().values().for_each(|part| keep(*part)));
        let contenders =
            vec![timed("pmemset", extents), timed("with handles", handles), timed("RwLock<BTreeMap>", values)];
        figure.row("one thread", n, contenders);
        set.close().unwrap();
    }
}
