//! Safe programs that read a part while others store to it; also what `ThreadSanitizer` is run on.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Part, Set};
use pmemset_linux::{FileSource, Linux};

type Handle<'s, 'f> = Part<&'s Set<'f, Linux, &'f FileSource>>;

/// A place in the part, a multiple of 64 bytes from its start.
const AT: usize = 320;
const LENGTH: usize = 576;
const ROUNDS: usize = 4000;

/// Stores one value all over the place, in every way that there is.
fn store(part: &Handle<'_, '_>, round: usize) {
    let value = if round.is_multiple_of(2) { 0 } else { 0xff };
    let flags = [CopyFlags::NOFLUSH, CopyFlags::TEMPORAL, CopyFlags::NONTEMPORAL][round % 3];
    match round % 5 {
        0 | 1 => part.fill(AT, value, LENGTH, flags | CopyFlags::NOFLUSH).unwrap(),
        2 => {
            part.fill(8192, value, LENGTH, flags | CopyFlags::NOFLUSH).unwrap();
            part.copy_within(8192..8192 + LENGTH, AT, flags | CopyFlags::NOFLUSH).unwrap();
        }
        // A few bytes more at the edges, which are stored one by one.
        3 => part.write_with(AT - 3, &[value; LENGTH + 6], flags | CopyFlags::NOFLUSH).unwrap(),
        _ => part.write_with(AT, &[value; LENGTH], flags | CopyFlags::NOFLUSH).unwrap(),
    }
    part.flush(AT, 8).unwrap();
}

/// Reads the place to every alignment of the buffer, and more than it; returns how many words were torn.
fn torn_words(part: &Handle<'_, '_>, round: usize) -> usize {
    let mut buffer = [0_u8; LENGTH + 32];
    let (skew, length) = (round % 9, [LENGTH, 64, 8][round % 3]);
    let bytes = &mut buffer[skew..skew + length];
    part.read(AT, bytes).unwrap();
    let torn = bytes.chunks(size_of::<usize>()).filter(|word| word.iter().any(|byte| *byte != word[0])).count();
    part.read(AT - 5, &mut buffer).unwrap();
    torn
}

#[test]
fn a_reader_beside_writers_of_one_part_gets_whole_words() {
    let source = FileSource::temporary(std::env::temp_dir()).unwrap().growing();
    let set: Set<'_, Linux, &FileSource, _> = Set::with_capacity(Linux::new(), Config::new(Granularity::Page), 4);
    let start = set.map(&source, &MapConfig::new().length(16384)).unwrap().extent().start();
    let done = AtomicBool::new(false);
    let torn: usize = thread::scope(|scope| {
        let (set, done) = (&set, &done);
        let writers = [0, 1].map(|which| {
            scope.spawn(move || {
                let part = set.part_at(start).unwrap();
                (0..ROUNDS).for_each(|round| store(&part, round + which));
            })
        });
        let reader = scope.spawn(move || {
            let part = set.part_at(start).unwrap();
            let rounds = (0..).take_while(|_| !done.load(Ordering::Relaxed));
            rounds.map(|round| torn_words(&part, round)).sum()
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert_eq!(torn, 0, "words torn");
}
