//! Bytes that are not what they were: torn at the end, or damaged before it.

use pmemset_core::sim::Machine;
use pmemset_core::{Config, Granularity, MapConfig, Set};

use super::{
    PAGE, SEGMENTS, SimLog, device, hardware, medium, open, open_cutting, options, overwrite, records, try_open,
};
use crate::cell::Cell;
use crate::format::{FIRST_STATE, RECORD_HEAD_BYTES, RecordHead, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_USED_BYTES, State};
use crate::log::{HEAD_BYTES, STATE_AT, note_at};
use crate::mistake::Mistake;
use crate::{ChangeError, OnDamage, OpenError, header::HeaderError};

const LENGTHS: [usize; 6] = [8, 100, 0, 360, 17, 30];

fn payload(sequence: u64) -> Vec<u8> {
    (0..LENGTHS[sequence as usize - 1]).map(|at| (sequence as usize * 40 + at) as u8).collect()
}

/// Makes a log of six records in two segments, and closes it if `closed`.
fn machine_with_log(closed: bool) -> Machine {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(Granularity::CacheLine));
    let log = open(&machine, &options(None));
    (1..=6).for_each(|sequence| assert_eq!(log.append(&payload(sequence)).unwrap(), sequence));
    if closed {
        log.close().unwrap();
    }
    machine
}

fn flip(machine: &Machine, offset: usize) {
    let byte = machine.source(0).bytes(offset, 1)[0];
    overwrite(machine, offset, &[byte ^ 0x10]);
}

/// What a byte of the segments belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Head(u64),
    Record(u64),
    Nothing,
}

/// Returns what every byte from the first segment on belongs to.
fn owners() -> Vec<Of> {
    let data = PAGE - SEGMENT_HEAD_BYTES;
    let mut owners = vec![Of::Nothing; 2 * PAGE];
    let place = |position: usize| position / data * PAGE + SEGMENT_HEAD_BYTES + position % data;
    let mut position = 0;
    for (index, length) in LENGTHS.iter().enumerate() {
        for byte in position..position + RECORD_HEAD_BYTES + length {
            owners[place(byte)] = Of::Record(index as u64 + 1);
        }
        position = (position + RECORD_HEAD_BYTES + length).next_multiple_of(8);
    }
    // Record 4 reaches into the second segment.
    owners[..SEGMENT_HEAD_USED_BYTES].fill(Of::Head(1));
    owners[PAGE..PAGE + SEGMENT_HEAD_USED_BYTES].fill(Of::Head(4));
    owners
}

fn intact(log: &SimLog, until: u64) {
    let found = records(log);
    assert_eq!(found, (1..until).map(|sequence| (sequence, payload(sequence))).collect::<Vec<_>>());
}

#[test]
fn every_damaged_byte_of_a_closed_log_is_found_and_named() {
    for (offset, owner) in owners().into_iter().enumerate() {
        let machine = machine_with_log(true);
        flip(&machine, HEAD_BYTES + offset);
        let opened = try_open(&machine, &options(None));
        match owner {
            Of::Head(sequence) | Of::Record(sequence) => {
                let refused = opened.map(|_| ()).unwrap_err();
                assert_eq!(refused, OpenError::Damaged { sequence }, "{offset}");
                if offset % 8 == 1 {
                    goes_on_before(&machine, sequence);
                }
            }
            Of::Nothing => intact(&opened.unwrap(), 7),
        }
    }
}

/// Refusing has changed nothing; cutting keeps what is before the damage, and the log goes on from there.
fn goes_on_before(machine: &Machine, sequence: u64) {
    assert_eq!(try_open(machine, &options(None)).map(|_| ()).unwrap_err(), OpenError::Damaged { sequence });
    let log = open_cutting(machine);
    assert_eq!(log.recovered().damaged, Some(sequence));
    intact(&log, sequence);
    assert_eq!(log.append(&payload(sequence)).unwrap(), sequence);
    log.close().unwrap();
    intact(&open(machine, &options(None)), sequence + 1);
}

#[test]
fn in_a_log_that_was_not_closed_only_the_last_record_can_be_taken_for_torn() {
    for (offset, owner) in owners().into_iter().enumerate() {
        let machine = machine_with_log(false);
        flip(&machine, HEAD_BYTES + offset);
        let opened = try_open(&machine, &options(None));
        match owner {
            Of::Record(6) => {
                let log = opened.unwrap();
                assert!(log.recovered().erased && log.recovered().damaged.is_none());
                intact(&log, 6);
            }
            Of::Head(sequence) | Of::Record(sequence) => {
                assert_eq!(opened.map(|_| ()).unwrap_err(), OpenError::Damaged { sequence }, "{offset}");
                if offset % 8 == 1 {
                    goes_on_before(&machine, sequence);
                }
            }
            Of::Nothing => intact(&opened.unwrap(), 7),
        }
    }
}

/// A vote that was acknowledged is found, whichever of its bytes is damaged; never the one before it.
#[test]
fn an_older_note_or_state_never_comes_back() {
    let copies = |index: Option<usize>| index.map_or(STATE_AT, note_at);
    for index in [None, Some(0), Some(3)] {
        for byte in 0..40 {
            for spoiled in [vec![0], vec![1], vec![0, 1]] {
                let machine = machine_with_log(false);
                let log = open(&machine, &options(None));
                (1..=3).for_each(|value| log.store_note(index.unwrap_or(0), &[value; 24]).unwrap());
                log.drop_before(3).unwrap();
                drop(log);
                spoiled.iter().for_each(|copy| flip(&machine, copies(index)[*copy] + byte));
                let opened = try_open(&machine, &options(None));
                if spoiled.len() == 2 {
                    let refused = index.map_or(OpenError::DamagedState, |index| OpenError::DamagedNote { index });
                    assert_eq!(opened.map(|_| ()).unwrap_err(), refused, "{index:?}, byte {byte}");
                    continue;
                }
                let (log, mut note) = (opened.unwrap(), [0; 24]);
                assert_eq!(log.load_note(index.unwrap_or(0), &mut note), Ok(24));
                assert_eq!((note, log.first()), ([3; 24], 3), "{index:?}, byte {byte}, {spoiled:?}");
                // Opening has mended it: damage to the other copy finds the same.
                drop(log);
                flip(&machine, copies(index)[1 - spoiled[0]] + byte);
                let log = open(&machine, &options(None));
                assert_eq!((log.load_note(index.unwrap_or(0), &mut note), note, log.first()), (Ok(24), [3; 24], 3));
            }
        }
    }
}

#[test]
fn what_is_another_s_or_of_another_version_is_refused_and_left_as_it_is() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(Granularity::CacheLine));
    drop(open(&machine, &options(None)));
    let header = machine.source(0).bytes(0, 64);
    let another = crate::header::Header::from_bytes(header[..].try_into().unwrap()).unwrap();
    for (bytes, refused) in [
        (crate::header::Header { version: 1, ..another }.to_bytes(), HeaderError::Version { found: 1 }),
        (crate::header::Header { magic: *b"another!", ..another }.to_bytes(), HeaderError::NotOurs),
        ([7; 64], HeaderError::NotOurs),
    ] {
        overwrite(&machine, 0, &bytes);
        let opened = try_open(&machine, &options(None));
        assert_eq!(opened.map(|_| ()).unwrap_err(), OpenError::Header(refused));
        assert_eq!(machine.source(0).bytes(0, 64), bytes);
    }
}

/// A payload may hold what looks like a record of the segment that will lie there one day.
#[test]
fn what_a_payload_pretends_is_no_record() {
    for mistake in [None, Some(Mistake::SegmentNotErased)] {
        let machine = Machine::new(hardware());
        let _ = machine.add_source(device(Granularity::CacheLine));
        let options = options(mistake);
        let log = open(&machine, &options);
        // Records 1 and 2 fill segments 0 and 1; segment 2 will lie where the first one did, with record 3 in its first
        // 32 bytes.
        let forged = RecordHead { sequence: 4, length_bytes: 0, behind: 1, payload_sum: 0 }.to_bytes(2);
        let mut first = vec![0; 416];
        first[32 - RECORD_HEAD_BYTES..32].copy_from_slice(&forged);
        log.append(&first).unwrap();
        log.append(&[1; 416]).unwrap();
        log.drop_before(2).unwrap();
        assert_eq!(log.append(&[2; 8]).unwrap(), 3);
        drop(log);
        let found = open(&machine, &options).next();
        assert_eq!(found == 4, mistake.is_none(), "{mistake:?}: {found}");
    }
}

/// A record that a cut has torn, whose payload says that it had been acknowledged.
#[test]
fn what_a_torn_payload_pretends_is_no_evidence() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(Granularity::CacheLine));
    let log = open(&machine, &options(None));
    log.append(&[1; 8]).unwrap();
    let mut payload = RecordHead { sequence: 3, length_bytes: 0, behind: 1, payload_sum: 0 }.to_bytes(0).to_vec();
    payload.extend([2; 8]);
    log.stage(&payload).unwrap();
    drop(log);
    // The last byte of the second record, behind 32 bytes for the first.
    flip(&machine, HEAD_BYTES + SEGMENT_HEAD_BYTES + 32 + RECORD_HEAD_BYTES + payload.len() - 1);
    let log = open(&machine, &options(None));
    assert_eq!((log.next(), log.recovered().erased), (2, true));
}

/// A cursor stands where a payload is now that holds what looks like the record that it is to read.
#[test]
fn cursors_read_no_payload_for_a_record() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(Granularity::CacheLine));
    let log = open(&machine, &options(None));
    (1..=3).for_each(|number| assert_eq!(log.append(&[number; 8]).unwrap(), number.into()));
    let (mut cursor, mut bytes) = (log.cursor(1), [0; 64]);
    assert_eq!(cursor.read_next(&mut bytes).unwrap(), Some((1, 8)));
    assert_eq!(cursor.read_next(&mut bytes).unwrap(), Some((2, 8)));
    log.truncate_after(1).unwrap();
    // Where the third record was, 32 bytes behind the second one.
    let mut payload = vec![0; 32 - RECORD_HEAD_BYTES];
    payload.extend(RecordHead { sequence: 3, length_bytes: 0, behind: 1, payload_sum: 0 }.to_bytes(0));
    assert_eq!(log.append(&payload).unwrap(), 2);
    assert_eq!(log.append(&[5; 9]).unwrap(), 3);
    assert_eq!(cursor.read_next(&mut bytes).unwrap(), Some((3, 9)));
    assert_eq!(bytes[..9], [5; 9]);
}

/// Bytes whose checksums are right, and which no log writes.
#[test]
fn states_that_cannot_be_are_refused() {
    for state in [
        State { start: 0, first: 0, durable: 0, cut: None, ..FIRST_STATE },
        State { start: u64::MAX - 7, first: 1, durable: 0, cut: None, ..FIRST_STATE },
        State { start: 4, first: 1, durable: 0, cut: None, ..FIRST_STATE },
        State { start: 0, first: u64::MAX, durable: u64::MAX, cut: None, ..FIRST_STATE },
        State { start: 0, first: 5, durable: 3, cut: None, ..FIRST_STATE },
        State { start: 0, first: 5, durable: 4, cut: Some(4), ..FIRST_STATE },
        State { is_before: true, start: 896, made: 0, ..FIRST_STATE },
        State { start: 448, made: 0, ..FIRST_STATE },
        State { generation: 0, ..FIRST_STATE },
        State { oldest_generation: 0, ..FIRST_STATE },
    ] {
        let machine = Machine::new(hardware());
        let _ = machine.add_source(medium(Granularity::CacheLine));
        drop(open(&machine, &options(None)));
        let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 1);
        let part = set.map(machine.source(0).reopen(), &MapConfig::new().length(HEAD_BYTES)).unwrap();
        let (mut cell, _) = Cell::open(&part, STATE_AT).unwrap();
        assert!(cell.store(&part, &state.to_bytes()).unwrap());
        drop(part);
        set.close().unwrap();
        assert_eq!(try_open(&machine, &options(None)).map(|_| ()).unwrap_err(), OpenError::DamagedState, "{state:?}");
    }
}

#[test]
fn no_number_is_so_large_that_the_next_one_is_0() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(medium(Granularity::CacheLine));
    let log = open(&machine, &options(None));
    let sequence = u64::MAX >> 1;
    assert_eq!(log.drop_before(u64::MAX), Err(ChangeError::NotThere { sequence: u64::MAX }));
    log.drop_before(sequence).unwrap();
    assert_eq!(log.append(&[1; 8]).unwrap(), sequence);
    drop(log);
    assert_eq!(records(&open(&machine, &options(None))), [(sequence, vec![1; 8])]);
}

#[test]
fn segments_behind_a_missing_one_do_not_come_back() {
    for mistake in [None, Some(Mistake::StraysLeft)] {
        let machine = machine_with_log(true);
        // The head of the first of two segments.
        flip(&machine, HEAD_BYTES + 10);
        let log = open(&machine, &options(mistake).on_damage(OnDamage::CutThere));
        assert_eq!((log.recovered().damaged, log.next()), (Some(1), 1));
        drop(log);
        assert_eq!(open(&machine, &options(None)).next(), 1);
        // Nor is their place lost.
        let machine = machine_with_log(true);
        flip(&machine, HEAD_BYTES + 10);
        let log = open(&machine, &options(mistake).on_damage(OnDamage::CutThere));
        let segments = (0..).take_while(|_| log.append(&[1; 424]).is_ok()).count();
        assert_eq!(segments == SEGMENTS, mistake.is_none(), "{mistake:?}: {segments}");
    }
}
