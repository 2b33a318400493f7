//! Every state that a power cut can leave, one after the other: what the other explorer is measured by.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use std::collections::HashSet;

use super::cut::Cut;
use super::explore::Explore;
use super::machine::Machine;
use super::random::Random;
use super::run::{recorded, verdict};

/// What an eager exploration came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Eagerly {
    /// Moments at which the power was cut.
    pub cut_points: usize,
    /// Those of them with more states than the bound, of which a sample was taken.
    pub sampled: usize,
    /// States that were handed to the check.
    pub states: usize,
    /// States that were left out, because the check had seen the same before.
    pub merged: usize,
}

impl core::ops::AddAssign for Eagerly {
    fn add_assign(&mut self, other: Self) {
        self.cut_points += other.cut_points;
        self.sampled += other.sampled;
        self.states += other.states;
        self.merged += other.merged;
    }
}

impl fmt::Display for Eagerly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_points, sampled, states, merged } = self;
        write!(f, "{cut_points} cut points ({sampled} sampled), {states} states checked, {merged} merged")
    }
}

/// A line of which more than one content can survive.
#[derive(Debug)]
struct Unsure {
    source: usize,
    offset: usize,
    /// The oldest content first, then the newest, then those in between.
    contents: Vec<Vec<u8>>,
}

impl Explore {
    /// Does `work` once, and calls `check` with every state that a power cut can leave, whatever it reads of it; where
    /// there are more than `states_max` at a cut point, with a sample of so many.
    ///
    /// For tests of [`run`](Self::run), which finds the same with fewer calls and takes no samples.
    ///
    /// # Errors
    ///
    /// What the check said of the first state that it did not accept.
    pub fn eagerly<W, C>(&self, states_max: usize, work: W, check: C) -> Result<Eagerly, String>
    where
        W: Fn(&Machine),
        C: Fn(&Machine) -> Result<(), String>,
    {
        let mut found = Eagerly::default();
        let mut walk = Walk { explore: self, states_max, check: &check, seen: HashSet::new(), found: &mut found };
        for schedule in 0..self.schedules {
            walk.cuts(&self.record(schedule, &work), 0)?;
        }
        Ok(found)
    }
}

struct Walk<'w, C> {
    explore: &'w Explore,
    states_max: usize,
    check: &'w C,
    seen: HashSet<u128>,
    found: &'w mut Eagerly,
}

impl<C: Fn(&Machine) -> Result<(), String>> Walk<'_, C> {
    fn cuts(&mut self, cuts: &[Cut], depth: usize) -> Result<(), String> {
        for cut in cuts {
            self.found.cut_points += 1;
            let unsure = unsure(cut);
            let states = unsure.iter().try_fold(1_usize, |product, line| product.checked_mul(line.contents.len()));
            match states.filter(|states| *states <= self.states_max) {
                Some(states) => {
                    for number in 0..states {
                        self.state(cut, &unsure, &digits(&unsure, number), depth)?;
                    }
                }
                None => {
                    self.found.sampled += 1;
                    for choice in sample(&unsure, self.states_max, self.explore.seed ^ cut.step as u64) {
                        self.state(cut, &unsure, &choice, depth)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks the state with content number `choice[i]` in line number `i` of `unsure`.
    fn state(&mut self, cut: &Cut, unsure: &[Unsure], choice: &[usize], depth: usize) -> Result<(), String> {
        let mut images: Vec<Vec<u8>> = cut.sources.iter().map(|source| source.sure.to_vec()).collect();
        for (line, &chosen) in unsure.iter().zip(choice) {
            let content = &line.contents[chosen];
            images[line.source][line.offset..line.offset + content.len()].copy_from_slice(content);
        }
        if !self.seen.insert(cut.name((&images, depth))) {
            self.found.merged += 1;
            return Ok(());
        }
        self.found.states += 1;
        let machine =
            cut.restart(self.explore.limits.hardware, images.into_iter().map(|bytes| (bytes, Default::default())));
        if depth < self.explore.limits.depth {
            let mut outcome = Ok(());
            let deeper = recorded(&machine, |machine| outcome = verdict(self.check, machine));
            outcome?;
            self.cuts(&deeper, depth + 1)
        } else {
            verdict(self.check, &machine)
        }
    }
}

fn unsure(cut: &Cut) -> Vec<Unsure> {
    let mut all = Vec::new();
    for (source, lines) in cut.sources.iter().map(|source| &source.lines).enumerate() {
        all.extend(lines.iter().map(|(&offset, line)| Unsure { source, offset, contents: line.survivors() }));
    }
    all
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
    let mut random = Random::new(seed);
    while all.len() < states_max {
        all.push(unsure.iter().map(|line| random.below(line.contents.len())).collect());
    }
    all
}
