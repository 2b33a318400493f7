//! Segments that are not there any more: never taken for what a power cut leaves.

use pmemset_core::sim::{Explore, Explored, Failure, Machine};
use pmemset_core::{Granularity, Source};

use super::model::{Call, Found, Model, call, payload};
use super::{
    Life, PAGE, SimLog, device, hardware, live_on, medium, models, open, open_cutting, options, overwrite, records,
    try_open,
};
use crate::OpenError;
use crate::format::{SEGMENT_HEAD_USED_BYTES, SegmentHead};
use crate::log::HEAD_BYTES;
use crate::mistake::Mistake;

use Call::{Append, Commit, DropBefore, Stage, TruncateAfter};

/// Returns the heads of segments that there are, and where in the source they are.
pub(crate) fn heads(machine: &Machine) -> Vec<(usize, SegmentHead)> {
    let source = machine.source(0);
    let length_bytes = source.length_bytes().unwrap() as usize;
    let offsets = (HEAD_BYTES..length_bytes).step_by(PAGE);
    let head = |offset| SegmentHead::from_bytes(source.bytes(offset, SEGMENT_HEAD_USED_BYTES)[..].try_into().unwrap());
    offsets.filter_map(|offset| Some((offset, head(offset)?))).collect()
}

pub(crate) fn newest(machine: &Machine) -> Option<(usize, SegmentHead)> {
    heads(machine).into_iter().max_by_key(|(_, head)| head.number)
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

/// Does calls to a new log.
pub(crate) fn live(machine: &Machine, calls: &[Call], mistake: Option<Mistake>) -> (SimLog, Model) {
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
    let models = models(life);
    let work = |machine: &Machine| live_on(machine, medium(Granularity::CacheLine), &options, life);
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
