//! Opening a source, finding out what it is, and mapping it.

use std::fs::File;

use memmap2::MmapOptions;
use pmemset_core::{Config, Granularity, MapConfig, Set, Source};
use pmemset_linux::{FileSource, Linux, OpenOptions};

use super::{PAGE, Subject};
use crate::measure::{Contender, calls, keep};
use crate::peers::libpmem2::Libpmem2;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "open",
    title: "open a file of one page on tmpfs",
    unit: "pages",
    about: "Processor time to open and close it; to find out its granularity too (pmemset asks the file system and sysfs); and to \
            map its page and let it go again, each from the path on.",
    run,
};

fn run(figure: &mut Figure) {
    let path = format!("/dev/shm/pmemset-bench-open-{}", std::process::id());
    let made = File::create_new(&path).and_then(|file| file.set_len(PAGE as u64));
    made.unwrap();
    let open = || FileSource::open(path.as_str(), OpenOptions::new().do_not_grow()).unwrap();
    let std_open = || File::options().read(true).write(true).open(&path).unwrap();
    let metadata = || std_open().metadata().unwrap();
    figure.row("open", 1, vec![calls("pmemset", || keep(open())), calls("std", || keep(metadata()))]);
    let probe = || keep(open().granularity().unwrap());
    figure.row("open, probe", 1, vec![calls("pmemset", probe), calls("std", || keep(metadata()))]);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 8);
    let whole = || {
        let source = std::sync::Arc::new(open());
        let at = set.map(source, &MapConfig::new()).unwrap().extent().start();
        set.remove_range(at, PAGE).unwrap();
    };
    let mut contenders: Vec<Contender<'_>> = vec![calls("pmemset", whole), calls("memmap2", || memmap2(&std_open()))];
    match Libpmem2::load() {
        Ok(library) => contenders.push(calls("libpmem2", move || keep(library.map(&std_open()).unwrap()))),
        Err(reason) => figure.skip("libpmem2", &reason),
    }
    figure.row("open, probe, map, remove", 1, contenders);
    std::fs::remove_file(&path).unwrap();
}

#[allow(unsafe_code, reason = "the peer's function is unsafe")]
fn memmap2(file: &File) {
    // SAFETY: nothing else changes the file.
    let map = unsafe { MmapOptions::new().len(PAGE).map_mut(file) }.unwrap();
    map.flush().unwrap();
    keep(map);
}
