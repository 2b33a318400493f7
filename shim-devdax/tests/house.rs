//! The house: no circle of imports among the files of the shim, nor among its rooms.

#[test]
fn no_circle_of_imports() {
    testkit::house::no_circle(env!("CARGO_MANIFEST_DIR"), [7, 11, 6]);
}
