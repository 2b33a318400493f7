//! Structures as users write them, right, and with one mistake each: every mistake is found, with the line that made
//! it.
#![allow(clippy::cast_possible_truncation, reason = "numbers of entries, which are small")]

mod compare;
mod crash;

use crash::{all_are_found, allocator, checksums, commit, explore, header, log, table, tree};

/// Explores a structure whose check is cut so many times itself.
macro_rules! mistakes_are_found {
    ($($structure:ident, $depth:literal;)*) => {$(
        #[test]
        fn $structure() {
            all_are_found(&super::$structure::MISTAKES, |mistake| {
                explore(
                    stringify!($structure),
                    $depth,
                    |machine, part| super::$structure::work(machine, part, mistake),
                    |machine, part| super::$structure::check(machine, part, mistake),
                )
            });
        }
    )*};
}

mod mistakes_are_found {
    use super::*;

    mistakes_are_found! {
        log, 0;
        checksums, 1;
        commit, 0;
        header, 0;
        table, 0;
        tree, 0;
        allocator, 1;
    }
}
