//! Cutting the power at every step of some work, and checking every state that can be left.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::collections::HashSet;
use std::hash::DefaultHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::line::Line;
use super::source::{self, Medium};
use super::{Call, Hardware, Machine, Origin, SimReplay};
use crate::Span;

/// What a machine could leave behind at one step.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    step: usize,
    call: Call,
    origin: Origin,
    acknowledged: u64,
    kept: Vec<u8>,
    sources: Vec<SourceCut>,
}

#[derive(Clone, Debug)]
struct SourceCut {
    medium: Medium,
    sure: Arc<Vec<u8>>,
    lines: BTreeMap<usize, Arc<Line>>,
    bad: Vec<Span>,
}

impl Cut {
    pub(super) fn new(step: usize, call: Call, acknowledged: u64, kept: &[u8], sources: &[source::State]) -> Self {
        let cut = |source: &source::State| SourceCut {
            medium: source.medium.after_cut(),
            sure: Arc::clone(&source.image.sure),
            lines: source.image.lines.clone(),
            bad: source.bad.clone(),
        };
        let origin = super::CALLER.get().filter(|_| call.is_made_by_a_part());
        Self { step, call, origin, acknowledged, kept: kept.to_vec(), sources: sources.iter().map(cut).collect() }
    }

    /// Returns a number for all that a check can find after this cut, `bytes` among it: 128 bits, so that no two agree.
    fn name(&self, bytes: impl Hash) -> u128 {
        let about = |source: &SourceCut| format!("{:?} {:?}", source.medium, source.bad);
        let sources: Vec<String> = self.sources.iter().map(about).collect();
        let all = (bytes, self.acknowledged, &self.kept, sources);
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        u128::from(hasher.hash_one((0, &all))) << 64 | u128::from(hasher.hash_one((1, &all)))
    }

    /// Returns every line of which more than one content can survive.
    fn unsure(&self) -> Vec<Unsure> {
        let mut all = Vec::new();
        for (source, cut) in self.sources.iter().enumerate() {
            for (&offset, line) in &cut.lines {
                all.push(Unsure { source, offset, contents: line.survivors() });
            }
        }
        all
    }

    /// Returns the bytes of every source with content number `choice[i]` in line number `i` of `unsure`.
    fn images(&self, unsure: &[Unsure], choice: &[usize]) -> Vec<Vec<u8>> {
        let mut images: Vec<Vec<u8>> = self.sources.iter().map(|source| source.sure.to_vec()).collect();
        for (line, &chosen) in unsure.iter().zip(choice) {
            let content = &line.contents[chosen];
            images[line.source][line.offset..line.offset + content.len()].copy_from_slice(content);
        }
        images
    }

    /// Starts the machine again with `images` on its media.
    fn restart(&self, hardware: Hardware, images: Vec<Vec<u8>>) -> Machine {
        let machine = Machine::new(hardware);
        let mut state = machine.lock();
        state.acknowledged = self.acknowledged;
        state.kept.clone_from(&self.kept);
        for (source, image) in self.sources.iter().zip(images) {
            let mut started = source::State::with_bytes(source.medium, &hardware, image);
            started.bad.clone_from(&source.bad);
            state.sources.push(started);
        }
        drop(state);
        machine
    }
}

#[derive(Debug)]
struct Unsure {
    source: usize,
    offset: usize,
    /// The oldest content first, then the newest, then those in between.
    contents: Vec<Vec<u8>>,
}

/// A line that did not survive as its program last saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostLine {
    /// The number of its source.
    pub source: usize,
    /// The offset of its first byte in the source.
    pub offset: usize,
    /// What survived of it.
    pub survived: Vec<u8>,
    /// What the program had stored.
    pub stored: Vec<u8>,
}

/// A state that the check did not accept.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step at which the power went, counted from the start of the work.
    pub step: usize,
    /// The call that was about to be made.
    pub call: Call,
    /// Who made it, if it was made through a set or a part.
    pub origin: Option<&'static core::panic::Location<'static>>,
    /// The seed of the exploration.
    pub seed: u64,
    /// The lines that were lost.
    pub lost: Vec<LostLine>,
    /// What makes the same state again.
    pub replay: SimReplay,
    /// What the check said.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        write!(f, "power cut at step {}, before {:?}", self.step, self.call)?;
        if let Some(origin) = self.origin {
            write!(f, " at {origin}")?;
        }
        writeln!(f, "; seed {}", self.seed)?;
        for line in &self.lost {
            writeln!(f, "  source {}, line at {:#x} is old in whole or in part:", line.source, line.offset)?;
            writeln!(f, "    stored   {:02x?}", line.stored)?;
            writeln!(f, "    survived {:02x?}", line.survived)?;
        }
        write!(f, "to see it again: Explore::replay(&\"{}\".parse()?, work, check)", self.replay)
    }
}

impl core::error::Error for Failure {}

/// What an exploration came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Moments at which the power was cut.
    pub cut_points: usize,
    /// Those of them with more states than the bound, of which a sample was taken.
    pub sampled: usize,
    /// States that were handed to the check.
    pub states: usize,
    /// States that were left out, because the check had seen the same bytes before.
    pub merged: usize,
}

impl core::ops::AddAssign for Explored {
    fn add_assign(&mut self, other: Self) {
        self.cut_points += other.cut_points;
        self.sampled += other.sampled;
        self.states += other.states;
        self.merged += other.merged;
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_points, sampled, states, merged } = self;
        write!(f, "{cut_points} cut points ({sampled} sampled), {states} states checked, {merged} merged")
    }
}

/// How power cuts are explored.
#[derive(Clone, Copy, Debug)]
pub struct Explore {
    hardware: Hardware,
    seed: u64,
    states_max: usize,
    depth: usize,
}

impl Explore {
    /// Returns the exploration of a machine made of `hardware`: up to 1024 states at each cut point, no cuts of the
    /// check itself.
    #[must_use]
    pub const fn new(hardware: Hardware) -> Self {
        Self { hardware, seed: 0, states_max: 1024, depth: 0 }
    }

    /// Takes samples, where samples must be taken, by `seed`.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Tries all states of a cut point that has at most `states_max`, and a sample of so many where it has more.
    ///
    /// A sample begins with the state without any unsure line, the one with all, those with just one, and those with
    /// all but one, as far as they fit in.
    #[must_use]
    pub const fn states_max(mut self, states_max: usize) -> Self {
        self.states_max = states_max;
        self
    }

    /// Cuts the power while the check runs, too, `depth` times in a row: for checks that repair what they find.
    #[must_use]
    pub const fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Does `work` once, and calls `check` with a machine started anew for every state that a power cut can leave.
    ///
    /// The work adds its sources, may prepare them and call [`Machine::settle`], and then does what is to be explored.
    /// The check finds the sources under the same numbers. It fails by returning an error, or by panicking.
    ///
    /// # Errors
    ///
    /// The first state that the check did not accept.
    pub fn run<W, C>(&self, work: W, check: C) -> Result<Explored, Failure>
    where
        W: FnOnce(&Machine),
        C: Fn(&Machine) -> Result<(), String>,
    {
        let mut walk = Walk { explore: self, check: &check, seen: HashSet::default(), explored: Explored::default() };
        let mut path = Vec::new();
        walk.cuts(&self.record(work), &mut path)?;
        Ok(walk.explored)
    }

    /// Does `work` once, and calls `check` with the one state that `replay` names.
    ///
    /// # Errors
    ///
    /// The check's verdict, or that the work is not the one that the replay belongs to.
    pub fn replay<W, C>(&self, replay: &SimReplay, work: W, check: C) -> Result<(), String>
    where
        W: FnOnce(&Machine),
        C: Fn(&Machine) -> Result<(), String>,
    {
        let mut cuts = self.record(work);
        for (depth, (point, choice)) in replay.path.iter().enumerate() {
            let other = || format!("the replay is of other work: it has no cut {point} with these lines");
            let cut = cuts.get(*point).ok_or_else(other)?;
            let unsure = cut.unsure();
            let fits = |(line, chosen): (&Unsure, &usize)| *chosen < line.contents.len();
            if unsure.len() != choice.len() || !unsure.iter().zip(choice).all(fits) {
                return Err(other());
            }
            let machine = cut.restart(self.hardware, cut.images(&unsure, choice));
            if depth + 1 == replay.path.len() {
                return verdict(&check, &machine);
            }
            cuts = recorded(&machine, |machine| drop(verdict(&check, machine)));
        }
        Err("the replay is empty".to_string())
    }

    fn record(&self, work: impl FnOnce(&Machine)) -> Vec<Cut> {
        recorded(&Machine::new(self.hardware), work)
    }
}

/// Returns the cuts of `work` on `machine`, the last one at its end.
fn recorded(machine: &Machine, work: impl FnOnce(&Machine)) -> Vec<Cut> {
    machine.lock().cuts = Some(Vec::new());
    work(machine);
    drop(machine.step(Call::End));
    machine.lock().cuts.take().unwrap_or_default()
}

fn verdict<C: Fn(&Machine) -> Result<(), String>>(check: &C, machine: &Machine) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check(machine))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("the check panicked: {}", text.unwrap_or("no message")))
    })
}

struct Walk<'w, C> {
    explore: &'w Explore,
    check: &'w C,
    seen: HashSet<u128>,
    explored: Explored,
}

impl<C: Fn(&Machine) -> Result<(), String>> Walk<'_, C> {
    fn cuts(&mut self, cuts: &[Cut], path: &mut Vec<(usize, Vec<usize>)>) -> Result<(), Failure> {
        for (point, cut) in cuts.iter().enumerate() {
            self.explored.cut_points += 1;
            let unsure = cut.unsure();
            let states = unsure.iter().try_fold(1_usize, |product, line| product.checked_mul(line.contents.len()));
            match states.filter(|states| *states <= self.explore.states_max) {
                Some(states) => {
                    for number in 0..states {
                        self.state(cut, &unsure, point, digits(&unsure, number), path)?;
                    }
                }
                None => {
                    self.explored.sampled += 1;
                    for choice in sample(&unsure, self.explore.states_max, self.explore.seed ^ cut.step as u64) {
                        self.state(cut, &unsure, point, choice, path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn state(
        &mut self,
        cut: &Cut,
        unsure: &[Unsure],
        point: usize,
        choice: Vec<usize>,
        path: &mut Vec<(usize, Vec<usize>)>,
    ) -> Result<(), Failure> {
        let images = cut.images(unsure, &choice);
        if !self.seen.insert(cut.name((&images, path.len()))) {
            self.explored.merged += 1;
            return Ok(());
        }
        self.explored.states += 1;
        let machine = cut.restart(self.explore.hardware, images);
        path.push((point, choice));
        let mut outcome = Ok(());
        let check = |machine: &Machine| outcome = verdict(self.check, machine);
        let deeper = if path.len() <= self.explore.depth {
            recorded(&machine, check)
        } else {
            let mut check = check;
            check(&machine);
            Vec::new()
        };
        if let Err(message) = outcome {
            return Err(self.failure(cut, unsure, path, message));
        }
        self.cuts(&deeper, path)?;
        path.pop();
        Ok(())
    }

    fn failure(&self, cut: &Cut, unsure: &[Unsure], path: &[(usize, Vec<usize>)], message: String) -> Failure {
        let mut lost = Vec::new();
        for (line, &chosen) in unsure.iter().zip(path.last().map_or(&[][..], |(_, choice)| choice)) {
            let (survived, stored) = (&line.contents[chosen], &line.contents[1.min(line.contents.len() - 1)]);
            if survived != stored {
                let (survived, stored) = (survived.clone(), stored.clone());
                lost.push(LostLine { source: line.source, offset: line.offset, survived, stored });
            }
        }
        let replay = SimReplay { path: path.to_vec() };
        Failure { step: cut.step, call: cut.call, origin: cut.origin, seed: self.explore.seed, lost, replay, message }
    }
}

/// Returns state number `number` as one content per line.
fn digits(unsure: &[Unsure], mut number: usize) -> Vec<usize> {
    let mut digit = |line: &Unsure| {
        let digit = number % line.contents.len();
        number /= line.contents.len();
        digit
    };
    unsure.iter().map(&mut digit).collect()
}

/// Returns `states_max` states, and no fewer than two: the corners first, then random ones.
fn sample(unsure: &[Unsure], states_max: usize, seed: u64) -> Vec<Vec<usize>> {
    let newest = |line: &Unsure| usize::from(line.contents.len() > 1);
    let old = [0].repeat(unsure.len());
    let new: Vec<usize> = unsure.iter().map(newest).collect();
    let mut all = Vec::from([old.clone(), new.clone()]);
    for line in 0..unsure.len() {
        let (mut only, mut all_but) = (old.clone(), new.clone());
        only[line] = new[line];
        all_but[line] = 0;
        all.extend([only, all_but]);
    }
    all.truncate(states_max.max(2));
    let mut random = super::Random::new(seed);
    while all.len() < states_max {
        all.push(unsure.iter().map(|line| random.below(line.contents.len())).collect());
    }
    all
}
