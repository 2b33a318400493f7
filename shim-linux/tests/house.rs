//! The house: no circle of imports among the files of the shim, nor among its rooms; examples of what is public.

#[test]
fn no_circle_of_imports() {
    testkit::house::no_circle(env!("CARGO_MANIFEST_DIR"), [19, 41, 9]);
}

#[test]
fn two_fifths_of_what_is_public_have_an_example() {
    testkit::examples::are_enough(env!("CARGO_MANIFEST_DIR"), 40, 70);
}
