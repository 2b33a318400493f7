//! Persisting bytes of a part.

use core::hint::black_box;
use std::os::fd::AsFd;

use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};
use pmemset_linux::{FileSource, Linux};

use super::{Forced, Subject, tmpfs_file};
use crate::measure::{Contender, calls};
use crate::peers::libpmem2::Libpmem2;
use crate::peers::lines::{fence, has_clwb, write_back};
use crate::peers::plain::synchronise;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "persist",
    title: "persist N bytes of a part",
    unit: "B",
    about: "Processor time for one call: lines that are clean, and lines that have just been stored to. The file is on tmpfs, \
            and claims cache-line granularity; with page granularity, the peer is `msync`.",
    run,
};

const FILE_BYTES: usize = 4 << 20;
const SIZES: [usize; 3] = [64, 4 << 10, 1 << 20];

fn run(figure: &mut Figure) {
    let file = tmpfs_file(FILE_BYTES);
    let source = Forced::new(&file);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let part = set.map(&source, &MapConfig::new()).unwrap();
    part.fill(0, 1, FILE_BYTES, CopyFlags::empty()).unwrap();
    let peer = Libpmem2::load().and_then(|library| library.map(&file));
    let by_hand = has_clwb(set.platform());
    if let Err(reason) = &peer {
        figure.skip("libpmem2", reason);
    }
    if let Err(reason) = &by_hand {
        figure.skip("clwb loop", reason);
    }
    if let Ok(peer) = &peer {
        peer.copy(0, [0; 64].as_ptr(), 64);
    }
    let base = part.as_ptr(0, FILE_BYTES).unwrap();
    for (dirty, case) in [(false, "clean"), (true, "just stored")] {
        for n in SIZES {
            let store = move |base: *mut u8| {
                for line in (0..n).step_by(64).filter(|_| dirty) {
                    touch(base.wrapping_add(line));
                }
            };
            let ours = || {
                store(base);
                part.persist(black_box(0), black_box(n)).unwrap();
            };
            let mut contenders: Vec<Contender<'_>> = vec![calls("pmemset", ours)];
            if by_hand.is_ok() {
                contenders.push(calls("clwb loop", move || {
                    store(base);
                    loop_over(black_box(base), black_box(n));
                }));
            }
            if let Ok(peer) = &peer {
                contenders.push(calls("libpmem2", move || {
                    store(peer.address);
                    peer.persist(black_box(0), black_box(n));
                }));
            }
            figure.row(case, n, contenders);
        }
    }
    with_pages(figure);
}

fn with_pages(figure: &mut Figure) {
    let file = tmpfs_file(FILE_BYTES);
    let source = FileSource::from_fd(file.as_fd()).unwrap();
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 8);
    let part = set.map(&source, &MapConfig::new()).unwrap();
    let extent = part.extent();
    for n in [64, 1 << 20] {
        let ours = || part.persist(black_box(0), black_box(n)).unwrap();
        let theirs = || synchronise(black_box(extent.slice(0, n)).unwrap());
        figure.row("pages", n, vec![calls("pmemset", ours), calls("plain calls", theirs)]);
    }
}

#[allow(unsafe_code, reason = "the peers store to raw addresses")]
fn touch(line: *mut u8) {
    // SAFETY: the callers stay in what is mapped.
    unsafe { line.write_volatile(1) };
}

#[allow(unsafe_code, reason = "the peer flushes raw addresses")]
#[inline(always)]
fn loop_over(start: *const u8, length_bytes: usize) {
    // SAFETY: the callers stay in what is mapped, and have asked for the instruction.
    unsafe { write_back(start, length_bytes) };
    fence();
}
