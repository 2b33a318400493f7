//! The same through the C interface.

use core::hint::black_box;
use std::ffi::CString;
use std::fs::File;
use std::path::Path;

use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};
use pmemset_linux::Linux;

use super::{Forced, PAGE, Subject};
use crate::measure::{calls, keep};
use crate::peers::c::CSet;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "c",
    title: "the C interface beside the Rust one",
    unit: "parts",
    about: "Processor time for one call of the shared library libpmemset.so.1 (`pmemset`), beside the same call in Rust; a file of \
            one page on tmpfs that does not grow, and claims cache-line granularity.",
    run,
};

fn run(figure: &mut Figure) {
    // Set by `cargo xtask bench`, which builds the library.
    let Some(library) = std::env::var_os("PMEMSET_C_LIBRARY") else {
        return figure.skip("c", "libpmemset.so.1 was not built (cargo xtask bench builds it)");
    };
    let path = format!("/dev/shm/pmemset-bench-c-{}", std::process::id());
    File::create_new(&path).and_then(|file| file.set_len(PAGE as u64)).unwrap();
    let name = CString::new(path.as_str()).unwrap();
    match CSet::new(Path::new(&library), &name, PAGE) {
        Ok(set) => rows(figure, &set, &path),
        Err(reason) => figure.skip("c", &reason),
    }
    std::fs::remove_file(&path).unwrap();
}

fn rows(figure: &mut Figure, c: &CSet, path: &str) {
    // As the library does: the environment makes it take the file for one of cache-line granularity.
    let source = Forced::new(&File::options().read(true).write(true).open(path).unwrap());
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 65_536);
    let map = || set.map(&source, &MapConfig::new().length(PAGE)).unwrap().extent().start();
    let in_c = || c.remove(c.map(), PAGE);
    let in_rust = || set.remove_range(map(), PAGE).unwrap();
    figure.row("map, remove", 1, vec![calls("pmemset", in_c), calls("in Rust", in_rust)]);
    let (theirs, at) = (c.map(), map());
    let look_up = || keep(set.part_at(at).unwrap());
    figure.row("look up, drop", 1, vec![calls("pmemset", || c.look_up(theirs)), calls("in Rust", look_up)]);
    let persist = || set.persist(at, 64).unwrap();
    figure.row("persist 64 B", 1, vec![calls("pmemset", || c.persist(theirs, 64)), calls("in Rust", persist)]);
    let bytes = [7; 64];
    let copy = || set.write_with(at, black_box(&bytes), CopyFlags::NOFLUSH).unwrap();
    let in_c = || c.copy(theirs, black_box(&bytes));
    figure.row("copy 64 B, no flush", 1, vec![calls("pmemset", in_c), calls("in Rust", copy)]);
}
