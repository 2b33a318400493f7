//! Copying into a part, durably, beside libpmem2's default, a memcpy with a hand-written flush, and memcpy alone.
#![allow(unsafe_code, reason = "the peers copy to raw addresses")]

mod support;

use core::cell::Cell;
use core::hint::black_box;
use core::ptr;

use pmemset_core::{Config, Granularity, MapConfig, Set};
use pmemset_linux::Linux;
use support::{BenchSet, Contender, Options, clwb_loop, compare, contender, has_clwb, libpmem2, tmpfs_file};

const FILE_BYTES: usize = 256 << 20;
/// Each contender walks through bytes of its own: a line that another has left dirty costs whoever streams to it next.
const WALK_BYTES: usize = 64 << 20;

fn main() {
    let options = Options::from_arguments();
    let (source, file) = match tmpfs_file(FILE_BYTES as u64) {
        Ok(found) => found,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let set: BenchSet<'_, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let mapped = set.map(&source, &MapConfig::new()).unwrap().extent();
    let part = set.part_at(mapped.start()).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(FILE_BYTES).collect();
    let peer = libpmem2(&file);
    // The same pages in both mappings, all of them present.
    part.write(0, &bytes).unwrap();
    peer.iter().for_each(|peer| peer.copy(0, bytes.as_ptr(), FILE_BYTES, 0));
    let base = part.as_ptr(0, FILE_BYTES).unwrap();
    let by_hand = has_clwb(set.platform());
    for (case, n) in cases(options) {
        let step = if case == "walk" { n.next_multiple_of(64) } else { 0 };
        let steps = [(); 4].map(|()| Cell::new(0));
        let at = |contender: usize| {
            let at = steps[contender].get();
            steps[contender].set(if at + step + n > WALK_BYTES { 0 } else { at + step });
            black_box(at + if step > 0 { contender * WALK_BYTES } else { 0 })
        };
        let at = &at;
        let from = bytes.as_ptr();
        let mut contenders: Vec<Contender<'_>> = vec![contender("pmemset", || {
            part.write(at(0), black_box(&bytes[..n])).unwrap();
        })];
        if let Some(peer) = &peer {
            contenders.push(contender("libpmem2", move || peer.copy(at(1), black_box(from), black_box(n), 0)));
        }
        let copy = move |at: usize| {
            let to = base.wrapping_add(at);
            // SAFETY: `at` leaves room for `n` bytes in both, and they are apart.
            unsafe { ptr::copy_nonoverlapping(black_box(from), to, black_box(n)) };
            to
        };
        if by_hand {
            contenders.push(contender("memcpy+clwb+sfence", move || {
                let to = copy(at(2));
                // SAFETY: just copied to.
                unsafe { clwb_loop(to, black_box(n)) };
            }));
        }
        contenders.push(contender("memcpy", move || {
            copy(at(3));
        }));
        compare(options, "copy", case, n, contenders);
    }
}

/// The same bytes again and again, and through 64 MiB.
fn cases(options: Options) -> Vec<(&'static str, usize)> {
    let all = [8, 64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 64 << 20];
    let hot = all.into_iter().filter(|n| !options.quick || *n <= 1 << 20).map(|n| ("hot", n));
    hot.chain([8, 64, 256, 1 << 10, 4 << 10].map(|n| ("walk", n))).collect()
}
