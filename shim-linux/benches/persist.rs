//! Persisting bytes of a part, beside a hand-written loop and libpmem2.
#![allow(unsafe_code, reason = "the peers flush raw addresses")]

mod support;

use core::hint::black_box;

use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};
use pmemset_linux::Linux;
use support::{BenchSet, Contender, Options, clwb_loop, compare, contender, has_clwb, libpmem2, tmpfs_file};

const FILE_BYTES: usize = 4 << 20;

fn main() {
    let options = Options::from_arguments();
    let (source, file) = match tmpfs_file(FILE_BYTES as u64) {
        Ok(found) => found,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let set: BenchSet<'_, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let mapped = set.map(&source, &MapConfig::new()).unwrap().extent();
    let part = set.part_at(mapped.start()).unwrap();
    let peer = libpmem2(&file);
    part.fill(0, 1, FILE_BYTES, CopyFlags::empty()).unwrap();
    peer.iter().for_each(|peer| peer.copy(0, [0; 64].as_ptr(), 64, 0));
    let base = part.as_ptr(0, FILE_BYTES).unwrap();
    let by_hand = has_clwb(set.platform());
    for (case, n) in ["clean", "dirty"].into_iter().flat_map(|case| [64, 4 << 10, 1 << 20].map(|n| (case, n))) {
        let dirty = case == "dirty";
        let store = move || {
            for line in (0..n).step_by(64).filter(|_| dirty) {
                // SAFETY: in the part.
                unsafe { base.wrapping_add(line).write_volatile(1) };
            }
        };
        let mut contenders: Vec<Contender<'_>> = vec![contender("pmemset", || {
            store();
            part.persist(black_box(0), black_box(n)).unwrap();
        })];
        if by_hand {
            contenders.push(contender("clwb loop", move || {
                store();
                // SAFETY: in the part.
                unsafe { clwb_loop(black_box(base), black_box(n)) };
            }));
        }
        if let Some(peer) = &peer {
            let peer_base = peer.address;
            contenders.push(contender("libpmem2", move || {
                for line in (0..n).step_by(64).filter(|_| dirty) {
                    // SAFETY: in the peer's mapping.
                    unsafe { peer_base.wrapping_add(line).write_volatile(1) };
                }
                peer.persist(black_box(0), black_box(n));
            }));
        }
        compare(options, "persist", case, n, contenders);
    }
}
