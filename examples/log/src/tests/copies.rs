//! Segments that are older copies of themselves: never taken for what a power cut leaves.

use pmemset_core::Granularity;
use pmemset_core::sim::{Explore, Explored, Failure, Machine};

use super::missing::{heads, live, newest};
use super::model::{Call, Found, Model, call};
use super::{Life, PAGE, SimLog, device, hardware, live_on, models, open, open_cutting, options, overwrite, try_open};
use crate::log::HEAD_BYTES;
use crate::mistake::Mistake;
use crate::{OnDamage, OpenError};

use Call::{Append, Commit, DropBefore, Stage, TruncateAfter};

/// What happens between a copy of a segment and the end of a life; the records that are truncated were in that copy.
const TRUNCATIONS: [(&[Call], &[Call]); 7] = [
    (&[Append(8), Append(8), Append(8)], &[TruncateAfter(1), Append(9)]),
    (&[Append(8), Append(8), Append(8)], &[TruncateAfter(0)]),
    (&[Append(400), Append(100), Append(8)], &[TruncateAfter(2), Append(8)]),
    // The same segment twice, the second time behind what came back.
    (&[Append(8), Append(8), Append(8)], &[TruncateAfter(1), Append(8), Append(8), TruncateAfter(2), Append(8)]),
    // A segment that is not the newest one at the end.
    (&[Append(400), Append(8), Append(8)], &[TruncateAfter(2), Append(8), Append(400), Append(400)]),
    // A segment that was made again.
    (&[Append(400), Append(400), Append(8)], &[TruncateAfter(1), Append(9), Append(400), Append(8)]),
    // The oldest one.
    (&[Append(400), Append(400), Append(8), DropBefore(3)], &[TruncateAfter(2), Append(9)]),
];

/// A life of which a segment was copied before its second part.
struct Copied {
    machine: Machine,
    log: SimLog,
    model: Model,
    offset: usize,
    copy: Vec<u8>,
}

/// Lives, copies segment `at`, and lives on; `None` where there is no such segment.
fn live_past_copy((before, after): (&[Call], &[Call]), at: usize, mistake: Option<Mistake>) -> Option<Copied> {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(device(Granularity::CacheLine));
    let (log, mut model) = live(&machine, before, mistake);
    let (offset, _) = *heads(&machine).get(at)?;
    let copy = machine.source(0).bytes(offset, PAGE);
    for (number, what) in after.iter().enumerate() {
        call(&log, 50 + number, *what);
        model.call(50 + number, *what);
    }
    Some(Copied { machine, log, model, offset, copy })
}

/// Puts the copy of each segment of before the truncation in its place; returns how often the log was opened then.
fn comes_back(life: (&[Call], &[Call]), mistake: Option<Mistake>) -> usize {
    let mut opened = 0;
    for at in 0..8 {
        let Some(Copied { machine, log, model, offset, copy }) = live_past_copy(life, at, mistake) else { break };
        drop(log);
        if machine.source(0).bytes(offset, PAGE) == copy {
            continue;
        }
        overwrite(&machine, offset, &copy);
        match try_open(&machine, &options(mistake)) {
            Err(OpenError::Damaged { sequence }) => {
                let log = open(&machine, &options(mistake).on_damage(OnDamage::CutThere));
                assert_eq!((log.next(), log.recovered().damaged), (sequence, Some(sequence)));
            }
            Err(error) => panic!("{life:?}, segment {at}: {error}"),
            Ok(log) if model.may_be(&Found::of(&log)) => {}
            Ok(_) => opened += 1,
        }
    }
    opened
}

#[test]
fn truncated_records_do_not_come_back_in_an_older_copy_of_a_segment() {
    for life in TRUNCATIONS {
        assert_eq!(comes_back(life, None), 0, "{life:?}");
    }
    for mistake in [Mistake::GenerationKept, Mistake::GenerationUnchecked] {
        let back: usize = TRUNCATIONS.into_iter().map(|life| comes_back(life, Some(mistake))).sum();
        assert!(back > 0, "{mistake:?} is not found");
    }
}

/// Truncations, the last call of each life, that are copied while they are under way, and what is done after them.
const UNDER_WAY: [(Life, &[Call]); 5] = [
    ((&[Append(8), Append(8), Append(8)], &[TruncateAfter(1)]), &[]),
    ((&[Append(8), Append(8), Append(8)], &[TruncateAfter(1)]), &[Append(9), Append(400)]),
    // Records of which a part, or all, is in segments that are freed.
    ((&[Append(320), Append(400), Append(30)], &[TruncateAfter(1)]), &[Append(9)]),
    ((&[Append(400), Append(100), Append(8)], &[TruncateAfter(2)]), &[Append(8)]),
    // The same segment for the second time.
    ((&[Append(8), Append(8), TruncateAfter(1), Append(8), Append(8)], &[TruncateAfter(2)]), &[]),
];

/// Slots that those lives use.
const SLOTS: usize = 3;

/// Cuts the power at every step of a truncation, copies a segment there, and puts the copy back when the truncation is
/// finished and `after` is done.
fn copied_under_way(
    (life, after): (Life, &[Call]),
    slot: usize,
    mistake: Option<Mistake>,
) -> Result<Explored, Failure> {
    let options = options(mistake);
    let first_number = life.0.len();
    let mut model = models(life).pop().unwrap();
    let kept = model.next();
    after.iter().enumerate().for_each(|(number, what)| model.call(50 + number, *what));
    let check = |machine: &Machine| {
        let offset = HEAD_BYTES + slot * PAGE;
        let copy = machine.source(0).bytes(offset, PAGE);
        let log = open(machine, &options);
        life.1.iter().enumerate().for_each(|(number, what)| call(&log, first_number + number, *what));
        after.iter().enumerate().for_each(|(number, what)| call(&log, 50 + number, *what));
        drop(log);
        overwrite(machine, offset, &copy);
        let (log, told) = match try_open(machine, &options) {
            Err(OpenError::Damaged { .. }) => (open(machine, &options.on_damage(OnDamage::CutThere)), true),
            opened => (opened.map_err(|error| error.to_string())?, false),
        };
        let found = Found::of(&log);
        let right = model.begins_with(&found) && (told || found.next() >= kept);
        if right { Ok(()) } else { Err(format!("told: {told}, {found:?}")) }
    };
    let work = |machine: &Machine| live_on(machine, device(Granularity::CacheLine), &options, life);
    Explore::new(hardware()).runs_max(20_000).run(work, check)
}

#[test]
fn a_copy_of_a_segment_from_the_middle_of_a_truncation_brings_nothing_back() {
    let ways = || UNDER_WAY.into_iter().flat_map(|life| (0..SLOTS).map(move |slot| (life, slot)));
    for (life, slot) in ways() {
        let explored = copied_under_way(life, slot, None);
        let explored = explored.unwrap_or_else(|failure| panic!("slot {slot}, {life:?}: {failure}"));
        explored.assert_complete();
        println!("EXPLORED slot {slot} as it was in the middle of {life:?}: {explored}");
    }
    for mistake in [Mistake::GenerationEarly, Mistake::GenerationKept] {
        let failed = ways().filter(|(life, slot)| copied_under_way(*life, *slot, Some(mistake)).is_err());
        assert_ne!(failed.count(), 0, "{mistake:?} is not found");
    }
}

/// What happens before a segment, the newest one then, is copied, and until it is one before the newest: records that
/// nothing but each other vouches for.
const OVERTAKEN: [(&[Call], &[Call]); 5] = [
    (&[Append(300)], &[Append(300)]),
    (&[Append(300)], &[Append(900)]),
    (&[Append(300)], &[Stage(8), Stage(100), Stage(8), Commit]),
    (&[Append(400), Append(300), TruncateAfter(1), Append(300)], &[Append(300)]),
    (&[Append(400), Append(400), DropBefore(2)], &[Append(300)]),
];

/// Returns whether it is told that this copy is in the place of the segment, and nothing else is found.
fn is_told((before, after): (&[Call], &[Call]), mistake: Option<Mistake>) -> bool {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(device(Granularity::CacheLine));
    let (log, mut model) = live(&machine, before, mistake);
    let kept = model.next();
    let (offset, _) = newest(&machine).unwrap();
    let copy = machine.source(0).bytes(offset, PAGE);
    for (number, what) in after.iter().enumerate() {
        call(&log, 50 + number, *what);
        model.call(50 + number, *what);
    }
    drop(log);
    overwrite(&machine, offset, &copy);
    let (log, told) = match try_open(&machine, &options(mistake)) {
        Err(OpenError::Damaged { .. }) => (open_cutting(&machine), true),
        opened => (opened.unwrap(), false),
    };
    let found = Found::of(&log);
    assert!(model.begins_with(&found) && found.next() == kept, "{before:?}, {after:?}: {found:?}");
    told
}

#[test]
fn an_older_copy_of_a_segment_before_the_newest_is_told() {
    for life in OVERTAKEN {
        assert!(is_told(life, None), "{life:?}");
        assert!(!is_told(life, Some(Mistake::OvertakenUnseen)), "{life:?} is told by something else");
    }
}

/// One that lacks no record: it does not even have the mark.
#[test]
fn an_older_copy_of_a_full_segment_is_no_loss() {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(device(Granularity::CacheLine));
    let (log, _) = live(&machine, &[Append(424)], None);
    let (offset, _) = newest(&machine).unwrap();
    let copy = machine.source(0).bytes(offset, PAGE);
    assert_eq!(log.append(&[1; 8]).unwrap(), 2);
    drop(log);
    overwrite(&machine, offset, &copy);
    assert_eq!(open(&machine, &options(None)).next(), 3);
    assert_ne!(machine.source(0).bytes(offset, PAGE), copy, "its mark is not mended");
}

/// A slot that is free holds what it held before: neither is that in the way, nor does it come back later.
#[test]
fn an_older_copy_in_a_free_slot_is_no_loss() {
    let lives: [(&[Call], &[Call]); 4] = [
        (&[Append(400), Append(400), Append(8)], &[TruncateAfter(1)]),
        (&[Append(400), Append(400), Append(400)], &[DropBefore(2), TruncateAfter(2), Append(400), Append(8)]),
        (&[Append(400), Append(400), Append(400)], &[TruncateAfter(1), Append(8)]),
        // That copy knows of records that were durable then.
        (&[Append(400), Append(8), Append(8), Append(8), Append(900)], &[TruncateAfter(1)]),
    ];
    for life in lives {
        for at in 0..3 {
            let Some(Copied { machine, log, model, offset, copy }) = live_past_copy(life, at, None) else { continue };
            let used = log.segments_at().contains(&offset);
            drop(log);
            if used {
                continue;
            }
            overwrite(&machine, offset, &copy);
            let log = open(&machine, &options(None));
            assert!(model.may_be(&Found::of(&log)), "{life:?}, segment {at}");
            let next = log.append(&[3; 500]).unwrap();
            drop(log);
            assert_eq!(open(&machine, &options(None)).next(), next + 1);
        }
    }
}

impl SimLog {
    /// Returns where in the source the segments are.
    fn segments_at(&self) -> Vec<usize> {
        let live = self.live.read();
        let numbers = live.oldest..live.behind();
        numbers.map(|number| self.geometry.offset(live.place_of(number).unwrap().1) as usize).collect()
    }
}
