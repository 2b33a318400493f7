//! Heads of logs that were made zero, as clearing a bad block does.

use pmemset_core::Granularity;
use pmemset_core::sim::{Machine, Medium};

use super::{PAGE, SimLog, device, hardware, medium, open, options, overwrite, records, try_open};
use crate::log::HEAD_BYTES;
use crate::mistake::Mistake;
use crate::{OpenError, Options};

/// What is done to a log before its head is lost.
const LIVES: [fn(SimLog); 4] = [
    drop::<SimLog>,
    |log| log.close().unwrap(),
    |log| log.drop_before(3).unwrap(),
    // The segment that the first record was in is free, and given back where that can be.
    |log| {
        log.append(&[7; 900]).unwrap();
        log.drop_before(5).unwrap();
    },
];

fn machine_with(medium: Medium, life: fn(SimLog)) -> (Machine, Vec<(u64, Vec<u8>)>) {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium);
    let log = open(&machine, &options(None));
    (1..=4).for_each(|number| assert_eq!(log.append(&[number; 100]).unwrap(), number.into()));
    life(log);
    let records = records(&open(&machine, &options(None)));
    (machine, records)
}

fn clear(machine: &Machine, offset: usize, length_bytes: usize) {
    overwrite(machine, offset, &vec![0; length_bytes]);
}

fn image(machine: &Machine) -> Vec<u8> {
    let source = machine.source(0);
    let length_bytes = pmemset_core::Source::length_bytes(&source).unwrap();
    source.bytes(0, length_bytes as usize)
}

#[test]
fn one_page_of_the_head_may_be_lost() {
    for (life, medium) in LIVES.into_iter().flat_map(|life| [(life, medium as fn(_) -> _), (life, device)]) {
        for lost in [0, 4096] {
            for length_bytes in [64, 512, 4096] {
                let (machine, before) = machine_with(medium(Granularity::CacheLine), life);
                open(&machine, &options(None)).store_note(0, b"vote").unwrap();
                // Opening mends it, so that the other one may be lost next.
                for lost in [lost, 4096 - lost] {
                    clear(&machine, lost, length_bytes);
                    let (log, mut note) = (open(&machine, &options(None)), [0; 4]);
                    assert_eq!((records(&log), log.load_note(0, &mut note)), (before.clone(), Ok(4)));
                    assert_eq!((&note, log.recovered().made), (b"vote", false));
                }
            }
        }
    }
}

#[test]
fn records_whose_head_is_lost_are_refused_and_never_started_over_unasked() {
    for (life, medium) in LIVES.into_iter().flat_map(|life| [(life, medium as fn(_) -> _), (life, device)]) {
        let (machine, before) = machine_with(medium(Granularity::CacheLine), life);
        assert!(!before.is_empty());
        clear(&machine, 0, HEAD_BYTES);
        let lost = image(&machine);
        for segment_bytes in [PAGE, 2 * PAGE, 1 << 20] {
            let opened = try_open(&machine, &options(None).segment_bytes(segment_bytes)).map(|_| ());
            let Err(OpenError::HeadLost { offset }) = opened else { panic!("{opened:?}") };
            assert!(offset >= HEAD_BYTES as u64 && offset % PAGE as u64 == 0);
            assert_eq!(image(&machine)[..lost.len()], lost);
        }
        let starting_over = Options { start_over: true, ..options(None) };
        let log = open(&machine, &starting_over);
        assert!(log.recovered().made && log.is_empty());
        assert_eq!(log.append(&[9; 700]).unwrap(), 1);
        drop(log);
        for options in [options(None), starting_over] {
            assert_eq!(records(&open(&machine, &options)), [(1, vec![9; 700])]);
        }
    }
}

#[test]
fn a_log_that_does_not_look_for_remains_loses_records() {
    let (machine, _) = machine_with(medium(Granularity::CacheLine), LIVES[0]);
    clear(&machine, 0, HEAD_BYTES);
    assert!(open(&machine, &options(Some(Mistake::RemainsUnseen))).is_empty());
}
