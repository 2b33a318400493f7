//! Refreshing and reading bytes that other hosts may have stored.

use core::hint::black_box;

use pmemset_core::arch::Method;
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Platform, Set, Shared, Sharing};
use pmemset_linux::Linux;

use super::{Forced, Subject, tmpfs_file};
use crate::measure::{Contender, calls};
use crate::peers::lines::refresh;
use crate::report::Figure;

pub(crate) const SUBJECT: Subject = Subject {
    name: "refresh",
    title: "refresh and read N bytes of a part that hosts share",
    unit: "B",
    about: "Processor time for one call of each, beside `mfence`, a loop of `clflushopt` and `mfence`, written by hand, and \
            the platform's own copy. Nearly all of it is waiting for lines that have been dropped. The file is on tmpfs.",
    run,
};

const SIZES: [usize; 3] = [64, 4 << 10, 1 << 20];

fn run(figure: &mut Figure) {
    let file = tmpfs_file(SIZES[2]);
    let source = Shared::new(Forced::new(&file), Sharing::Incoherent);
    let set = Set::with_capacity(Linux::new(), Config::new(Granularity::CacheLine), 8);
    let part = set.map(&source, &MapConfig::new()).unwrap().into_shared().unwrap();
    part.fill(0, 1, SIZES[2], CopyFlags::empty()).unwrap();
    let by_hand = match set.platform().cpu().method() {
        Method::Clwb | Method::Clflushopt => true,
        method => {
            figure.skip("clflushopt loop", &format!("this processor flushes with {method}"));
            false
        }
    };
    let base = part.as_ptr(0, SIZES[2]).unwrap();
    let (mut ours, mut theirs) = (vec![0; SIZES[2]], vec![0; SIZES[2]]);
    for n in SIZES {
        let (ours, theirs) = (&mut ours[..n], &mut theirs[..n]);
        let mut contenders: Vec<Contender<'_>> = vec![calls("pmemset", || {
            part.refresh(black_box(0), black_box(n)).unwrap();
            part.read(black_box(0), black_box(&mut *ours)).unwrap();
        })];
        if by_hand {
            contenders.push(calls("clflushopt loop", || {
                refresh_at(black_box(base), black_box(n));
                read_at(set.platform(), black_box(base), black_box(&mut *theirs));
            }));
        }
        figure.row("clean", n, contenders);
    }
}

#[allow(unsafe_code, reason = "the peer drops at raw addresses")]
#[inline(always)]
fn refresh_at(start: *const u8, length_bytes: usize) {
    // SAFETY: the caller stays in what is mapped, and has asked for the instruction.
    unsafe { refresh(start, length_bytes) };
}

#[allow(unsafe_code, reason = "the peer loads at raw addresses")]
#[inline(always)]
fn read_at(platform: &Linux, start: *const u8, into: &mut [u8]) {
    // SAFETY: the caller stays in what is mapped.
    unsafe { platform.read(into.as_mut_ptr(), start, into.len()) };
}
