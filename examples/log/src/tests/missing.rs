//! Segments that are not there any more, or are older copies of themselves: never taken for what a power cut leaves.

use pmemset_core::sim::{Explore, Explored, Failure, Machine};
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Source};

use super::cuts::Life;
use super::model::{Call, Found, Model, call, payload};
use super::{PAGE, SimLog, device, hardware, medium, open, open_cutting, options, records, try_open};
use crate::format::{SEGMENT_HEAD_USED_BYTES, SegmentHead};
use crate::log::HEAD_BYTES;
use crate::mistake::Mistake;
use crate::{OnDamage, OpenError};

use Call::{Append, Commit, DropBefore, Stage, TruncateAfter};

/// Returns the heads of segments that there are, and where in the source they are.
fn heads(machine: &Machine) -> Vec<(usize, SegmentHead)> {
    let source = machine.source(0);
    let length_bytes = source.length_bytes().unwrap() as usize;
    let offsets = (HEAD_BYTES..length_bytes).step_by(PAGE);
    let head = |offset| SegmentHead::from_bytes(source.bytes(offset, SEGMENT_HEAD_USED_BYTES)[..].try_into().unwrap());
    offsets.filter_map(|offset| Some((offset, head(offset)?))).collect()
}

fn newest(machine: &Machine) -> Option<(usize, SegmentHead)> {
    heads(machine).into_iter().max_by_key(|(_, head)| head.number)
}

/// Stores to the source, past the log.
fn overwrite(machine: &Machine, offset: usize, bytes: &[u8]) {
    let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 1);
    let part = set.map(machine.source(0).reopen(), &MapConfig::new()).unwrap();
    part.write_with(offset, bytes, CopyFlags::empty()).unwrap();
}

/// A way in which the newest segment is lost; `false` where it cannot be.
type Loss = fn(&Machine) -> bool;

fn head_is_zeroed(machine: &Machine) -> bool {
    let Some((offset, _)) = newest(machine) else { return false };
    overwrite(machine, offset, &[0; 64]);
    true
}

fn page_is_zeroed(machine: &Machine) -> bool {
    let Some((offset, _)) = newest(machine) else { return false };
    overwrite(machine, offset, &[0; PAGE]);
    true
}

/// The file ends before the newest segment.
fn file_is_cut(machine: &Machine) -> bool {
    let Some((offset, _)) = newest(machine) else { return false };
    machine.source(0).truncate(offset as u64);
    true
}

/// The file has nothing but the log's head.
fn file_is_cut_to_its_head(machine: &Machine) -> bool {
    machine.source(0).truncate(HEAD_BYTES as u64);
    true
}

const LOSSES: [Loss; 4] = [head_is_zeroed, page_is_zeroed, file_is_cut, file_is_cut_to_its_head];

/// Lives of logs that are not closed: records are acknowledged in segments that nothing behind them vouches for.
const LIVES: [&[Call]; 9] = [
    &[Append(8)],
    &[Append(400), Append(8)],
    // Over the end of a segment, and in the last unit of one.
    &[Append(300), Append(300)],
    &[Append(424), Append(8)],
    &[Append(900), Append(8)],
    &[Append(400), Append(400), Append(400), DropBefore(3), Append(8)],
    &[Append(424), DropBefore(2), Append(8)],
    &[Append(400), Append(400), Append(400), TruncateAfter(1), Append(8)],
    &[Append(300), Append(400), DropBefore(9), Append(300)],
];

fn live(machine: &Machine, calls: &[Call], mistake: Option<Mistake>) -> (SimLog, Model) {
    let log = open(machine, &options(mistake));
    let mut model = Model::new();
    for (number, what) in calls.iter().enumerate() {
        call(&log, number, *what);
        model.call(number, *what);
    }
    (log, model)
}

/// Returns whether the loss is told.
fn is_told(calls: &[Call], loss: Loss, mistake: Option<Mistake>, on_device: bool) -> bool {
    let machine = Machine::new(hardware());
    let _ = machine.add_source(if on_device { device } else { medium }(Granularity::CacheLine));
    let (log, model) = live(&machine, calls, mistake);
    let all = records(&log);
    drop(log);
    assert!(loss(&machine));
    let lost = heads(&machine);
    match try_open(&machine, &options(mistake)) {
        Ok(log) => {
            assert!(!model.may_be(&Found::of(&log)), "{calls:?}: nothing is lost");
            false
        }
        Err(OpenError::Damaged { sequence }) => {
            assert_eq!(heads(&machine), lost, "refusing has changed something");
            let log = open_cutting(&machine);
            assert_eq!((log.next(), log.recovered().damaged), (sequence, Some(sequence)));
            let mut kept: Vec<_> = all.into_iter().filter(|(number, _)| *number < sequence).collect();
            assert_eq!(records(&log), kept);
            // It goes on, over the end of a segment, and is whole.
            for length in [8, 500] {
                kept.push((log.append(&vec![5; length]).unwrap(), vec![5; length]));
            }
            drop(log);
            assert_eq!(records(&open(&machine, &options(None))), kept);
            true
        }
        Err(error) => panic!("{calls:?}: {error}"),
    }
}

#[test]
fn a_segment_that_is_lost_is_told() {
    for calls in LIVES {
        for loss in LOSSES {
            assert!(is_told(calls, loss, None, false), "{calls:?}");
        }
        for loss in &LOSSES[..2] {
            assert!(is_told(calls, *loss, None, true), "{calls:?}");
        }
    }
    // The first segment, the second one, the oldest one when others were dropped.
    for (calls, mistake) in
        [(LIVES[0], Mistake::MadeUnsaid), (LIVES[1], Mistake::MarkForgotten), (LIVES[6], Mistake::MarkForgotten)]
    {
        assert!(!is_told(calls, head_is_zeroed, Some(mistake), false), "{mistake:?}");
    }
}

const GROWS: Life = (&[Append(400)], &[Append(16), Append(16)]);
/// Up to the end of a segment, which a segment that was being made follows on.
const FULL: Life = (&[Append(424)], &[Append(16)]);
const GROWS_LONG: Life = (&[Append(8)], &[Append(900)]);
const MADE: Life = (&[], &[Append(5)]);
const STAGES: Life = (&[Append(400)], &[Stage(16), Stage(400), Commit]);
const CUTS: Life = (&[Append(400), Append(400), Append(400)], &[TruncateAfter(1), Append(300)]);
const DROPS: Life = (&[Append(400), Append(300)], &[Append(8), DropBefore(4), Append(16)]);

/// When the newest segment is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before the log is opened.
    Cut,
    /// When it has been opened and appended to.
    Recovered,
}

/// Cuts the power at every step of a life, and loses the newest segment besides.
fn explore(life: Life, when: When, mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let options = options(mistake);
    let (before, explored) = life;
    let mut models = vec![Model::new()];
    for (number, call) in before.iter().chain(explored).enumerate() {
        let mut next = models[number].clone();
        next.call(number, *call);
        models.push(next);
    }
    let work = |machine: &Machine| {
        let _ = machine.add_source(medium(Granularity::CacheLine));
        let log = open(machine, &options);
        machine.acknowledge(1);
        for (number, what) in before.iter().chain(explored).enumerate() {
            if number == before.len() && number > 0 {
                machine.settle();
            }
            call(&log, number, *what);
            machine.acknowledge(number as u64 + 2);
        }
    };
    let check = |machine: &Machine| {
        let done = machine.acknowledged().saturating_sub(1) as usize;
        let mut expected = None;
        if when == When::Recovered {
            let log = open(machine, &options);
            log.append(&payload(100, 8)).unwrap();
            expected = Some(Found::of(&log));
        }
        if !head_is_zeroed(machine) {
            return Ok(());
        }
        let found = match try_open(machine, &options) {
            Err(OpenError::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
            Ok(log) => Found::of(&log),
        };
        let whole = match expected {
            Some(expected) => expected == found,
            None => models[done..].iter().take(2).any(|model| model.may_be(&found)),
        };
        if whole { Ok(()) } else { Err(format!("after call {done} records are lost without a word: {found:?}")) }
    };
    Explore::new(hardware()).runs_max(20_000).run(work, check)
}

#[test]
fn a_segment_that_is_lost_after_a_cut_is_told() {
    for (name, life) in [
        ("made", MADE),
        ("grows", GROWS),
        ("full", FULL),
        ("long", GROWS_LONG),
        ("stages", STAGES),
        ("cuts", CUTS),
        ("drops", DROPS),
    ] {
        for when in [When::Cut, When::Recovered] {
            let explored = explore(life, when, None).unwrap_or_else(|failure| panic!("{name}, {when:?}: {failure}"));
            explored.assert_complete();
            println!("EXPLORED a lost segment, {name}, {when:?}: {explored}");
        }
    }
}

#[test]
fn mistakes_with_marks_are_found() {
    for (mistake, life, when) in [
        (Mistake::MarkForgotten, GROWS, When::Cut),
        (Mistake::MarkNotFenced, GROWS, When::Cut),
        (Mistake::MarkNotMended, FULL, When::Recovered),
        (Mistake::MadeUnsaid, MADE, When::Cut),
        (Mistake::MadeUnsaid, DROPS, When::Cut),
    ] {
        match explore(life, when, Some(mistake)) {
            Ok(explored) => panic!("{mistake:?}, {when:?} is not found: {explored}"),
            Err(failure) => println!("{mistake:?}, {when:?}: {failure}"),
        }
    }
}

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

/// Puts the copy of each segment of before the truncation in its place; returns how often the log was opened then.
fn comes_back(life: (&[Call], &[Call]), mistake: Option<Mistake>) -> usize {
    let mut opened = 0;
    let (before, after) = life;
    for at in 0..8 {
        let machine = Machine::new(hardware());
        let _ = machine.add_source(device(Granularity::CacheLine));
        let (log, mut model) = live(&machine, before, mistake);
        let Some((offset, _)) = heads(&machine).get(at).copied() else { break };
        let copy = machine.source(0).bytes(offset, PAGE);
        for (number, what) in after.iter().enumerate() {
            call(&log, 50 + number, *what);
            model.call(50 + number, *what);
        }
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
    for (before, after) in lives {
        for at in 0..3 {
            let machine = Machine::new(hardware());
            let _ = machine.add_source(device(Granularity::CacheLine));
            let (log, mut model) = live(&machine, before, None);
            let Some((offset, _)) = heads(&machine).get(at).copied() else { continue };
            let copy = machine.source(0).bytes(offset, PAGE);
            for (number, what) in after.iter().enumerate() {
                call(&log, 50 + number, *what);
                model.call(50 + number, *what);
            }
            let used = log.segments_at().contains(&offset);
            drop(log);
            if used {
                continue;
            }
            overwrite(&machine, offset, &copy);
            let log = open(&machine, &options(None));
            assert!(model.may_be(&Found::of(&log)), "{before:?}, {after:?}, segment {at}");
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
