//! Copying into a part, durably.
#![allow(unsafe_code, reason = "the peers copy to raw addresses")]

use core::cell::Cell;
use core::hint::black_box;
use core::ptr;

use pmemset_core::{Config, Granularity, MapConfig, Part, Set};
use pmemset_linux::Linux;

use super::{Forced, Subject, tmpfs_file};
use crate::measure::{Contender, calls};
use crate::peers::libpmem2::{Libpmem2, Mapping};
use crate::peers::lines::{fence, has_clwb, write_back};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "copy",
    title: "copy N bytes into a part, durably",
    unit: "B",
    about: "Processor time for one call with the default flags, to the same bytes again and again (hot) or through 256 MiB \
            (walking), at a line's start or so many bytes behind it. `memcpy` alone makes nothing durable.",
    run,
};

const FILE_BYTES: usize = 256 << 20;
/// Where walking begins: on a boundary of the longest pieces.
const START_BYTES: usize = 64 << 10;
const SIZES: [usize; 8] = [8, 64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 64 << 20];

/// A case: its name, whether it walks, and how many bytes behind a line's start it stores.
type Case = (&'static str, bool, usize);

const CASES: [Case; 8] = [
    ("hot", false, 0),
    ("walking", true, 0),
    ("hot, +1", false, 1),
    ("hot, +7", false, 7),
    ("hot, +63", false, 63),
    ("walking, +1", true, 1),
    ("walking, +7", true, 7),
    ("walking, +63", true, 63),
];

fn run(figure: &mut Figure) {
    let file = tmpfs_file(FILE_BYTES);
    let source = Forced::new(&file);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let part = set.map(&source, &MapConfig::new()).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(FILE_BYTES).collect();
    let peer = Libpmem2::load().and_then(|library| library.map(&file));
    let by_hand = has_clwb(set.platform());
    if let Err(reason) = &peer {
        figure.skip("libpmem2", reason);
    }
    if let Err(reason) = &by_hand {
        figure.skip("memcpy, clwb", reason);
    }
    // The same pages in both mappings, all of them present.
    part.write(0, &bytes).unwrap();
    if let Ok(peer) = &peer {
        peer.copy(0, bytes.as_ptr(), FILE_BYTES);
    }
    // Whoever is next walks on from there, so none finds lines that another has stored to shortly before.
    let cursor = Cell::new(0);
    for (case, walks, behind) in CASES {
        for n in SIZES {
            let largest = if walks || behind > 0 { 64 << 10 } else { 64 << 20 };
            if n <= largest && (!figure.quick() || n <= 64 << 10 && behind != 7) {
                one(
                    figure,
                    case,
                    n,
                    walks.then_some(&cursor),
                    behind,
                    &part,
                    &bytes,
                    peer.as_ref().ok(),
                    by_hand.is_ok(),
                );
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that the contenders need")]
fn one(
    figure: &mut Figure,
    case: &'static str,
    n: usize,
    walks: Option<&Cell<usize>>,
    behind: usize,
    part: &Part<&Set<'_, Linux, &Forced>>,
    bytes: &[u8],
    peer: Option<&Mapping>,
    by_hand: bool,
) {
    let base = part.as_ptr(0, FILE_BYTES).unwrap();
    let from = bytes.as_ptr();
    let step = (n + behind).next_multiple_of(64);
    let from_start = |at: usize| if at + step > FILE_BYTES { 0 } else { at };
    walks.inspect(|cursor| cursor.set(from_start(cursor.get().next_multiple_of(START_BYTES))));
    let at = || {
        let at = walks.map_or(0, Cell::get);
        walks.inspect(|cursor| cursor.set(from_start(at + step)));
        black_box(behind + at)
    };
    let at = &at;
    let mut contenders: Vec<Contender<'_>> = vec![calls("pmemset", || {
        part.write(at(), black_box(&bytes[..n])).unwrap();
    })];
    if let Some(peer) = peer {
        contenders.push(calls("libpmem2", move || peer.copy(at(), black_box(from), black_box(n))));
    }
    let copy = move |at: usize| {
        let to = base.wrapping_add(at);
        // SAFETY: `at` leaves room for `n` bytes in both, and they are apart.
        unsafe { ptr::copy_nonoverlapping(black_box(from), to, black_box(n)) };
        to
    };
    if by_hand {
        contenders.push(calls("memcpy, clwb", move || {
            let to = copy(at());
            // SAFETY: just copied to.
            unsafe { write_back(to, black_box(n)) };
            fence();
        }));
    }
    contenders.push(calls("memcpy", move || {
        copy(at());
    }));
    figure.row(case, n, contenders);
}
