//! What a failure comes from: which stores were lost, where they were made, and what would have saved them; and what
//! was read in an order that never was.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::base::Base;
use super::line::{UNIT_BYTES, Word};
use super::machine::Machine;
use super::oracle::{Answers, At};
use super::replay::{Choice, SimReplay};
use super::report::{Explored, Failure, Hint, Lost, LostUnit, Place, Unordered};
use super::walk::{Level, Walk};

/// Returns what in `trace` is not the newest that `base` could have.
fn odd(base: &Base, trace: &[(At, Word)]) -> BTreeMap<At, Word> {
    let is_odd = |(at, value): &&(At, Word)| matches!(at, At::Unit(..)) && base.values(*at)[0] != *value;
    trace.iter().filter(is_odd).copied().collect()
}

/// Returns the choices that lead to `trace`.
fn choices(mut base: Base, trace: &[(At, Word)]) -> VecDeque<usize> {
    let mut all = VecDeque::new();
    for (at, value) in trace {
        let values = base.values(*at);
        if values.len() > 1 {
            all.push_back(values.iter().position(|one| one == value).unwrap_or(0));
        }
        drop(base.refine(*at, *value));
    }
    all
}

impl<C: Fn(&Machine) -> Result<(), String>> Walk<'_, C> {
    pub(super) fn tell_progress(&mut self) {
        if let (Some(progress), Some(tell)) = (&mut self.progress, self.limits.progress) {
            progress.runs = self.found.runs;
            tell(*progress);
        }
    }

    /// Describes the failure of the run that `levels` lead to, once it has been made as ordinary as it can be.
    pub(super) fn failure(&self, levels: &[Level], mut message: String) -> Failure {
        let mut levels = levels.to_vec();
        let Some(last) = levels.last_mut() else { return self.described(&levels, message) };
        let (cut, base) = (&last.cuts[last.point], Base::of(&last.cuts[last.point]));
        let picked = || last.trace.iter().copied().filter(|(at, _)| matches!(at, At::Pick(_)));
        let (picked, mut trace) = (picked().collect::<Vec<_>>(), last.trace.clone());
        let mut preferred = odd(&base, &trace);
        for at in preferred.keys().copied().collect::<Vec<_>>() {
            let mut fewer = preferred.clone();
            fewer.remove(&at);
            let answers =
                Answers { preferred: fewer.clone().into_iter().chain(picked.clone()).collect(), ..Answers::default() };
            let run = self.run(answers, cut, &base, false);
            if let Err(said) = run.outcome
                && odd(&base, &run.trace).len() < odd(&base, &trace).len()
            {
                (trace, message, preferred) = (run.trace, said, fewer);
            }
        }
        last.trace = trace;
        self.described(&levels, message)
    }

    /// Describes a failure that there is only where all bytes are decided.
    pub(super) fn unnoticed(&self, levels: &[Level], message: String) -> Failure {
        let why =
            "only where all bytes are decided before: the check reads at addresses that it has not got from a part";
        self.described(levels, format!("{message} ({why})"))
    }

    fn described(&self, levels: &[Level], message: String) -> Failure {
        let lost = |level: &Level| Lost { before: Place::of(level.cut()), units: Vec::new() };
        let mut cuts: Vec<Lost> = levels.iter().map(lost).collect();
        let mut path = Vec::new();
        for (depth, level) in levels.iter().enumerate() {
            let base = Base::of(level.cut());
            // What was read after the next cut is not part of the story.
            let reads = levels.get(depth + 1).map_or(usize::MAX, |next| next.cut().reads);
            for (at, value) in odd(&base, &level.trace[..level.trace.len().min(reads)]) {
                let Some((depth, unit)) = lost_unit(&levels[..=depth], at, value) else { continue };
                let units = &mut cuts[depth].units;
                if !units.iter().any(|known| (known.source, known.offset) == (unit.source, unit.offset)) {
                    units.push(unit);
                }
            }
            path.push(Choice { point: level.point, values: choices(base, &level.trace) });
        }
        Failure { message, cuts, replay: SimReplay { schedule: self.schedule, path } }
    }

    /// Looks whether a moment of the work had all that was read.
    pub(super) fn look_at_order(&mut self, level: &Level) {
        let cut = level.cut();
        let (mut later, mut lost): (Option<(usize, _)>, Option<(usize, _)>) = (None, None);
        for (at, value) in &level.trace {
            let At::Unit(source, offset) = *at else { continue };
            let Some(found) = cut.sources.get(source).filter(|found| offset < found.sure.len()) else { continue };
            let since = found.since[offset / UNIT_BYTES] as usize;
            let span = match found.line(offset) {
                Some((line, unit)) => line.span(unit, *value),
                None => Some((since, usize::MAX)),
            };
            let Some((from, until)) = span else { continue };
            if later.is_none_or(|(step, _)| step < from) {
                later = Some((from, (source, offset)));
            }
            if lost.is_none_or(|(step, _)| until < step) {
                lost = Some((until, (source, offset)));
            }
        }
        let (Some((from, later)), Some((until, lost))) = (later, lost) else { return };
        if until < from {
            let places = (Place::of_store(&level.cuts, from), Place::of_store(&level.cuts, until));
            if self.places.insert(places) {
                let (later_place, lost_place) = places;
                self.found.unordered.push(Unordered { later, later_place, lost, lost_place });
            }
        }
    }
}

/// Returns which of the cuts has lost what was stored at `at`, and what that was.
fn lost_unit(levels: &[Level], at: At, value: Word) -> Option<(usize, LostUnit)> {
    let At::Unit(source, offset) = at else { return None };
    levels.iter().enumerate().rev().find_map(|(depth, level)| {
        let found = level.cut().sources.get(source)?;
        let (line, unit) = found.line(offset)?;
        line.stored_word(line.newest(), unit)?;
        let lost = line.lost(unit, value)?;
        let unit = LostUnit {
            source,
            offset,
            survived: value,
            stored: lost.newest,
            place: Place::of_store(&level.cuts, lost.step),
            written_back: lost.pending,
            granularity: found.medium.of_granularity(),
        };
        Some((depth, unit))
    })
}

impl Explored {
    pub(super) fn add_hints(&mut self, hints: Vec<Hint>) {
        for hint in hints {
            *self.hints.entry(hint).or_default() += 1;
        }
    }
}
