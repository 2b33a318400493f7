//! The results of an exploration: counts, hints, and the failure.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;

use super::fault::Call;
use super::replay::SimReplay;
use crate::Granularity;

/// A step of the work: a call, and who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Place {
    /// The number of the step, counted from the start of the machine.
    pub step: usize,
    /// The call.
    pub call: Call,
    /// Who made it, if it was made through a set or a part.
    pub origin: Option<&'static Location<'static>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.call, self.origin) {
            (Call::End, _) => f.write_str("the end"),
            (call, Some(origin)) => write!(f, "{call:?} at {origin}"),
            (call, None) => write!(f, "{call:?} (step {})", self.step),
        }
    }
}

/// Bytes that did not survive as they were last stored, and that the check has read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostUnit {
    /// The number of the source.
    pub source: usize,
    /// The offset in the source of the first of the 8 bytes.
    pub offset: usize,
    /// Their content after the cut.
    pub survived: u64,
    /// The content that had been stored.
    pub stored: u64,
    /// The call that stored, or after which a program's own instruction did, the first of what was lost; `None` where
    /// that was before the exploration began.
    pub place: Option<Place>,
    /// Whether it was written back, or streamed, and only the fence was missing.
    pub written_back: bool,
    /// The granularity of the source.
    pub granularity: Granularity,
}

impl LostUnit {
    fn remedy(&self) -> &'static str {
        match (self.granularity, self.written_back) {
            (Granularity::Page, _) => "not synchronised since: a persist of it would have saved it",
            (Granularity::CacheLine, false) => "not written back since: a persist of it would have saved it",
            _ => "no fence since: a drain would have saved it",
        }
    }
}

impl fmt::Display for LostUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, offset, survived, stored, place, .. } = self;
        write!(f, "source {source} at {offset:#x}: {survived:#x} survived, {stored:#x} was stored")?;
        match place {
            Some(place @ Place { call: Call::Copy | Call::Fill, .. }) => write!(f, " by {place}")?,
            Some(place) => write!(f, " after {place}")?,
            None => {}
        }
        write!(f, ";\n    {}", self.remedy())
    }
}

/// A power cut, and what it has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// The call that was about to be made.
    pub before: Place,
    /// What was lost and read.
    pub units: Vec<LostUnit>,
}

/// A state that the check did not accept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The check's message.
    pub message: String,
    /// The power cuts that led to it: the one of the work, then those of the check itself.
    pub cuts: Vec<Lost>,
    /// Repeats this failure: see [`Explore::replay`](super::Explore::replay).
    pub replay: SimReplay,
}

impl Failure {
    /// Returns the call before which the power went last.
    #[must_use]
    pub fn call(&self) -> Call {
        self.cuts.last().map_or(Call::End, |cut| cut.before.call)
    }

    /// Returns what was lost in all cuts.
    #[must_use]
    pub fn lost(&self) -> Vec<&LostUnit> {
        self.cuts.iter().flat_map(|cut| &cut.units).collect()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        for (depth, cut) in self.cuts.iter().enumerate() {
            let what = if depth == 0 { "power cut" } else { "then, while the check runs," };
            writeln!(f, "{what} at step {}, before {}", cut.before.step, cut.before)?;
            cut.units.iter().try_for_each(|unit| writeln!(f, "  {unit}"))?;
        }
        if self.lost().is_empty() {
            f.write_str(
                "  nothing was lost of what was stored by then: a store comes too early, or the check is wrong\n",
            )?;
        }
        write!(f, "to see it again: explore.replay(&\"{}\".parse()?, work, check)", self.replay)
    }
}

impl core::error::Error for Failure {}

/// Two units that a check has read together after a power cut, and that no moment of the work had so, though the check
/// has accepted them: one survived as it was stored later than the other was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Unordered {
    /// Source and offset of the one that was stored later.
    pub later: (usize, usize),
    /// The call that stored it, or after which it was stored.
    pub later_place: Option<Place>,
    /// Source and offset of the one that was lost.
    pub lost: (usize, usize),
    /// The call that stored what was lost, or after which it was stored.
    pub lost_place: Option<Place>,
}

impl fmt::Display for Unordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place: &Option<Place>| place.map_or_else(|| "the work".into(), |place| format!("{place}"));
        let Self { later, lost, .. } = self;
        write!(f, "source {} at {:#x}, stored by {}, was read", lost.0, lost.1, place(&self.lost_place))?;
        write!(f, " as it was before, beside source {} at {:#x},", later.0, later.1)?;
        write!(f, " stored later by {}: a persist between them is missing, or luck", place(&self.later_place))
    }
}

/// Something that the work does without need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Hint {
    /// Lines were written back again without a store in between.
    FlushedTwice(Option<&'static Location<'static>>),
    /// A fence, although nothing was written back or streamed before it.
    NothingToFence(Option<&'static Location<'static>>),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, origin) = match self {
            Self::FlushedTwice(origin) => ("written back again without a store between", origin),
            Self::NothingToFence(origin) => ("a fence with nothing to wait for", origin),
        };
        f.write_str(what)?;
        origin.map_or(Ok(()), |origin| write!(f, " at {origin}"))
    }
}

/// The result of an exploration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Explored {
    /// Moments at which the power was cut, also within the check.
    pub cut_points: usize,
    /// Those of them that were not explored to the end, because the bound was reached.
    pub bounded: usize,
    /// Those of them that were skipped because another one had left the same state.
    pub merged: usize,
    /// Runs of the check.
    pub runs: usize,
    /// Runs of the check with every byte decided, to see whether it reads what the exploration does not notice.
    pub decided_runs: usize,
    /// Ways that the check can go, with all that it reads: those of different cut points as well.
    pub ways: usize,
    /// Ways that were not followed on from a [summary](super::Machine::summary), because one like it had been.
    pub summed: usize,
    /// The most branch points in one run.
    pub branches_max: usize,
    /// Pairs that the check has read and accepted, although the work never had them at the same time.
    pub unordered: Vec<Unordered>,
    /// What the work does without need, and how often.
    pub hints: BTreeMap<Hint, usize>,
}

impl Explored {
    /// Returns whether every power cut was explored to its end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.bounded == 0
    }

    /// Panics, with the whole report, unless every power cut was explored to its end.
    ///
    /// ```
    /// use pmemset_core::sim::Explored;
    ///
    /// Explored::default().assert_complete(); // nothing was left out
    /// ```
    #[track_caller]
    pub fn assert_complete(&self) {
        assert!(self.is_complete(), "{self}");
    }
}

impl core::ops::AddAssign for Explored {
    fn add_assign(&mut self, other: Self) {
        self.cut_points += other.cut_points;
        self.bounded += other.bounded;
        self.merged += other.merged;
        self.runs += other.runs;
        self.decided_runs += other.decided_runs;
        self.ways += other.ways;
        self.summed += other.summed;
        self.branches_max = self.branches_max.max(other.branches_max);
        self.unordered.extend(other.unordered);
        for (hint, times) in other.hints {
            *self.hints.entry(hint).or_default() += times;
        }
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_points, bounded, merged, runs, decided_runs, ways, branches_max, .. } = self;
        write!(
            f,
            "{cut_points} cut points ({merged} merged), {ways} ways by {runs} runs and {decided_runs} decided, "
        )?;
        write!(f, "{branches_max} branch points at most")?;
        if *bounded > 0 {
            write!(f, "; NOT COMPLETE: the bound was met, {bounded} cut points were not followed to the end")?;
        }
        self.unordered.iter().try_for_each(|pair| write!(f, "\n  not in order: {pair}"))?;
        self.hints.iter().try_for_each(|(hint, times)| write!(f, "\n  for nothing, {times} times: {hint}"))
    }
}

/// The progress of an exploration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Which cut point of the work is looked at, from 0 on.
    pub cut_point: usize,
    /// How many there are in this schedule.
    pub cut_points: usize,
    /// Runs of the check so far.
    pub runs: usize,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut point {} of {}, {} runs", self.cut_point + 1, self.cut_points, self.runs)
    }
}
