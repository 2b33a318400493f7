//! The house: no circle of imports among the files of the library, nor among its rooms.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::house::{House, circle, rooms};

#[test]
fn no_circle_of_imports() {
    let graph = House::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).graph();
    let (files, imports) = (graph.len(), graph.values().map(BTreeSet::len).sum::<usize>());
    let rooms = rooms(&graph);
    println!("{files} files, {} rooms, {imports} imports", rooms.len());
    assert!(files > 60 && imports > 200 && rooms.len() > 10, "{files} files, {imports} imports, {rooms:?}");
    assert_eq!(circle(&rooms), None, "rooms");
    assert_eq!(circle(&graph), None, "files");
}
