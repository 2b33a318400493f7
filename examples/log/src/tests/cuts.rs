//! The power is cut at every step of a log's life, and of its recovery.

use pmemset_core::Granularity;
use pmemset_core::sim::{Explore, Explored, Failure, Machine, Medium};

use super::model::{Call, Found, payload};
use super::{GRANULARITIES, Life, device, hardware, live_on, medium, models, open, options};
use crate::mistake::Mistake;

use Call::{Append, Commit, DropBefore, Stage, StoreNote, TruncateAfter};

const MADE: Life = (&[], &[Append(5)]);
const APPENDS: Life = (&[Append(9)], &[Append(8), Append(0), Append(13)]);
const GROUP: Life = (&[Append(9)], &[Stage(8), Stage(3), Commit]);
/// Over the end of a segment: of a record, between two records, and over more than one segment.
const GROWS: Life = (&[Append(385)], &[Append(16)]);
const FITS: Life = (&[Append(400)], &[Append(16)]);
const LONG: Life = (&[Append(8)], &[Append(900)]);
const DROPS: Life = (&[Append(400), Append(400), Append(400)], &[DropBefore(3), Append(8)]);
const DROPS_ALL: Life = (&[Append(8), Append(8)], &[DropBefore(3), Append(8), DropBefore(9), Append(8)]);
/// Into segments that held other records.
const USES_AGAIN: Life =
    (&[Append(400), Append(400), Append(400), DropBefore(3), Append(400)], &[Append(24), Append(24)]);
const TRUNCATES: Life =
    (&[Append(8), Append(8), Append(8), Append(8)], &[TruncateAfter(1), Append(8), TruncateAfter(0)]);
const TRUNCATES_FAR: Life = (&[Append(300), Append(400), Append(400), Append(30)], &[TruncateAfter(1), Append(300)]);
const NOTES: Life = (&[Append(8), StoreNote(9)], &[StoreNote(20), StoreNote(3)]);

fn explore(medium: Medium, depth: usize, life: Life, mistake: Option<Mistake>) -> Result<Explored, Failure> {
    let options = options(mistake);
    let models = models(life);
    let work = |machine: &Machine| live_on(machine, medium, &options, life);
    let check = |machine: &Machine| {
        // In the upper half, what a recovery has found: it must be found again.
        let (acknowledged, promised) = (machine.acknowledged() & 0xffff_ffff, machine.acknowledged() >> 32);
        let log = open(machine, &options);
        let found = Found::of(&log);
        if promised > 0 && found.next() + 1 != promised {
            return Err(format!("{} was the next once it was recovered, and now {}", promised - 1, found.next()));
        }
        let done = acknowledged.saturating_sub(1) as usize;
        let after = models.get(done + 1).filter(|model| promised == 0 && acknowledged > 0 && model.may_be(&found));
        if !models[done].may_be(&found) && after.is_none() {
            return Err(format!("after call {done}: {found:?}"));
        }
        let now = if models[done].may_be(&found) { acknowledged.max(1) } else { acknowledged + 1 };
        machine.acknowledge(now | (found.next() + 1) << 32);
        if depth == 0 { goes_on(machine, log, &options, found) } else { Ok(()) }
    };
    Explore::new(hardware()).depth(depth).runs_max(12_000).run(work, check)
}

/// Appends another record to a log that was found, opens it once more, and finds just that one in addition.
fn goes_on(machine: &Machine, log: super::SimLog, options: &crate::Options, found: Found) -> Result<(), String> {
    let more = payload(100, 8);
    log.append(&more).unwrap();
    drop(log);
    let mut expected = found;
    expected.records.push(more);
    let again = Found::of(&open(machine, options));
    if again == expected { Ok(()) } else { Err(format!("one was appended to {expected:?}: {again:?}")) }
}

fn is_right(name: &str, life: Life, depth: usize) {
    // What differs between granularities is who makes durable; cut recoveries take long.
    let granularities = if depth == 0 { &GRANULARITIES[..] } else { &GRANULARITIES[..1] };
    for granularity in granularities.iter().copied() {
        let media = [("file", medium(granularity)), ("device", device(granularity))];
        for (kind, medium) in media.into_iter().take(2 - depth) {
            let explored = explore(medium, depth, life, None);
            let explored = explored.unwrap_or_else(|failure| panic!("{name}, {kind}, {granularity:?}: {failure}"));
            explored.assert_complete();
            println!("EXPLORED {name}, {kind}, {granularity:?}, {depth}: {explored}");
        }
    }
}

macro_rules! lives {
    ($($name:ident: $life:expr;)*) => {$(
        mod $name {
            #[test]
            fn a_cut_leaves_what_was_acknowledged() {
                super::is_right(stringify!($name), $life, 0);
            }

            #[test]
            fn a_cut_of_the_recovery_does_too() {
                super::is_right(stringify!($name), $life, 1);
            }
        }
    )*};
}

lives! {
    made: super::MADE;
    appends: super::APPENDS;
    group: super::GROUP;
    grows: super::GROWS;
    fits: super::FITS;
    long: super::LONG;
    drops: super::DROPS;
    drops_all: super::DROPS_ALL;
    uses_again: super::USES_AGAIN;
    truncates: super::TRUNCATES;
    truncates_far: super::TRUNCATES_FAR;
    notes: super::NOTES;
}

/// Each mistake, where it shows.
const MISTAKES: [(Mistake, Life); 18] = [
    (Mistake::AcknowledgedEarly, APPENDS),
    (Mistake::NoFence, APPENDS),
    (Mistake::HeadNotFlushed, LONG),
    (Mistake::PayloadUnchecked, APPENDS),
    (Mistake::HeadUnchecked, APPENDS),
    (Mistake::SegmentHeadLate, FITS),
    (Mistake::HeaderFirst, MADE),
    (Mistake::RemainsLeft, GROUP),
    (Mistake::CutUnannounced, TRUNCATES),
    (Mistake::CutNotErased, TRUNCATES),
    (Mistake::DropUnannounced, DROPS),
    (Mistake::ClaimsTooMuch, GROUP),
    (Mistake::CopiesAtOnce, TRUNCATES),
    (Mistake::AcknowledgedEarly, GROWS),
    (Mistake::MarkEarly, FITS),
    (Mistake::MarkEarly, LONG),
    (Mistake::MarkKept, TRUNCATES_FAR),
    (Mistake::GenerationHasty, TRUNCATES_FAR),
];

#[test]
fn mistakes_are_found() {
    for (mistake, life) in MISTAKES {
        match explore(medium(Granularity::CacheLine), 0, life, Some(mistake)) {
            Ok(explored) => panic!("{mistake:?} is not found: {explored}"),
            Err(failure) => println!("{mistake:?}: {failure}"),
        }
    }
}
