//! What a set over files does on this machine.

use pmemset_core::{Config, Granularity, MapConfig, Set};
use shim_linux::{FileSource, Linux, OpenOptions};

#[test]
fn smoke() {
    for folder in ["/dev/shm", "/tmp"] {
        let source = FileSource::temporary(folder).unwrap();
        let set: Box<Set<Linux, &FileSource, 16>> = Box::new(Set::new(Linux, Config::new(Granularity::Page)));
        let mapped = set.map(&source, &MapConfig::new().length(8192)).unwrap();
        eprintln!("{mapped:?} {:?}", source.facts());
        let part = set.part_at(mapped.segment.start()).unwrap();
        set.remove(part).map_err(|refused| refused.error).unwrap();
        assert!(set.map(&source, &MapConfig::new()).is_ok());
    }
    let _ = OpenOptions::new();
}
