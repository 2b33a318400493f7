//! Persisting lines that lie apart, with one fence.
#![allow(unsafe_code, reason = "the peers store and flush at raw addresses")]

use core::hint::black_box;

use pmemset_core::{Config, CopyFlags, Extent, Granularity, MapConfig, Set};
use pmemset_linux::Linux;

use super::{Forced, Subject, tmpfs_file};
use crate::measure::{Contender, calls};
use crate::peers::libpmem2::Libpmem2;
use crate::peers::lines::{fence, has_clwb, write_back};
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "persist-many",
    title: "persist N lines that lie apart and have just been stored to",
    unit: "lines",
    about: "Processor time for all lines together: `Set::persist_many`, which looks them up, checks all before it flushes one, and \
            pins them; `Part::persist_many`, which looks none up; `Part::flush` of each and one `drain`; one `Set::persist` each; a loop of `clwb` with one `sfence`; and \
            libpmem2 with one drain.",
    run,
};

const FILE_BYTES: usize = 4 << 20;
/// Each line is on a page of its own, and not at the same place of it.
const STEP: usize = 4096 + 64;

fn run(figure: &mut Figure) {
    let file = tmpfs_file(FILE_BYTES);
    let source = Forced::new(&file);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let part = set.map(&source, &MapConfig::new()).unwrap();
    part.fill(0, 1, FILE_BYTES, CopyFlags::empty()).unwrap();
    let base = part.as_ptr(0, FILE_BYTES).unwrap();
    let peer = Libpmem2::load().and_then(|library| library.map(&file));
    let by_hand = has_clwb(set.platform());
    if let Err(reason) = &peer {
        figure.skip("libpmem2", reason);
    }
    for n in [1_usize, 8, 64] {
        let offsets: Vec<usize> = (0..n).map(|line| line * STEP).collect();
        let ranges: Vec<Extent> = offsets.iter().map(|at| part.extent().slice(*at, 64).unwrap()).collect();
        let store = |base: *mut u8| {
            for at in &offsets {
                // SAFETY: in the part, or the peer's mapping of the same length.
                unsafe { base.wrapping_add(*at).write_volatile(1) };
            }
        };
        let together = || {
            store(base);
            set.persist_many(black_box(&ranges)).unwrap();
        };
        let each = || {
            store(base);
            ranges.iter().for_each(|range| set.persist(range.start(), 64).unwrap());
        };
        let in_part = || {
            store(base);
            part.persist_many(black_box(&ranges)).unwrap();
        };
        let by_part = || {
            store(base);
            offsets.iter().for_each(|at| part.flush(*at, 64).unwrap());
            set.drain();
        };
        let mut contenders: Vec<Contender<'_>> =
            vec![calls("pmemset", together), calls("part, many", in_part), calls("part, flush", by_part)];
        contenders.push(calls("persist each", each));
        if by_hand.is_ok() {
            contenders.push(calls("clwb loop", || {
                store(base);
                // SAFETY: in the part, and the processor has the instruction.
                offsets.iter().for_each(|at| unsafe { write_back(base.wrapping_add(*at), 64) });
                fence();
            }));
        }
        if let Ok(peer) = &peer {
            contenders.push(calls("libpmem2", || {
                store(peer.address);
                offsets.iter().for_each(|at| peer.flush(*at, 64));
                peer.drain();
            }));
        }
        figure.row("just stored", n, contenders);
    }
}
