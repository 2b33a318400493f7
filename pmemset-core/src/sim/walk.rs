//! The ways of a check after a power cut: a tree of what it reads, of which every branch is followed once.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use std::collections::{HashMap, HashSet};

use super::base::Base;
use super::cut::Cut;
use super::hardware::Hardware;
use super::line::Word;
use super::machine::Machine;
use super::oracle::{Answers, At, Oracle};
use super::report::{Explored, Failure, Place, Progress};
use super::run::{Cuts, recorded, verdict};

const READS_OTHERWISE: &str = "the check did not read the same again: it depends on something that it does not read, or \
                               its summary leaves something out";

/// What is explored, and how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) hardware: Hardware,
    /// Runs of the check, at most.
    pub(super) runs_max: usize,
    /// How often the check itself is cut, one cut after the other.
    pub(super) depth: usize,
    pub(super) progress: Option<fn(Progress)>,
}

/// What a check does next, after what it has read so far.
#[derive(Debug)]
enum Node {
    Unknown,
    /// It ends.
    Accepts,
    Reads(At, Vec<(Word, usize)>),
}

/// A power cut on the way to where the walk is.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub(super) cuts: Cuts,
    pub(super) point: usize,
    /// What was found after the cut.
    pub(super) trace: Vec<(At, Word)>,
}

/// The cuts of a run of the check that are still to be explored: those after it had read so much.
#[derive(Debug)]
struct Later {
    levels: Vec<Level>,
    cuts: Cuts,
    from_reads: usize,
}

impl Level {
    pub(super) fn cut(&self) -> &Cut {
        &self.cuts[self.point]
    }
}

pub(super) struct Walk<'w, C> {
    pub(super) limits: Limits,
    check: &'w C,
    pub(super) schedule: u64,
    nodes: Vec<Node>,
    /// Where the tree begins, by all that a check can find without reading.
    roots: HashMap<u128, usize>,
    /// Where it goes on after a summary, by root, place and value.
    after: HashMap<(usize, At, Word), usize>,
    /// What was left in every respect as it was at another cut point.
    done: HashSet<u128>,
    /// Where it goes on after a summary, and what was not decided there, at this cut point.
    told: HashSet<(usize, u128)>,
    pub(super) places: HashSet<(Option<Place>, Option<Place>)>,
    /// How many runs of the check there may be before this cut point is left.
    runs_until: usize,
    pub(super) progress: Option<Progress>,
    later: Vec<Later>,
    pub(super) found: Explored,
}

/// One run of the check.
pub(super) struct Run {
    pub(super) trace: Vec<(At, Word)>,
    branches: usize,
    pub(super) outcome: Result<(), String>,
    cuts: Cuts,
}

impl<'w, C: Fn(&Machine) -> Result<(), String>> Walk<'w, C> {
    pub(super) fn new(limits: Limits, check: &'w C) -> Self {
        Self {
            limits,
            check,
            schedule: 0,
            nodes: Vec::new(),
            roots: HashMap::new(),
            after: HashMap::new(),
            done: HashSet::new(),
            told: HashSet::new(),
            places: HashSet::new(),
            runs_until: 0,
            progress: None,
            later: Vec::new(),
            found: Explored::default(),
        }
    }

    /// Explores the cuts of the work: first each of them within its share of the bound, then those that need more.
    pub(super) fn work(&mut self, schedule: u64, cuts: Cuts) -> Result<(), Failure> {
        self.schedule = schedule;
        let mut unfinished = Vec::new();
        for point in 0..cuts.len() {
            let left = self.limits.runs_max.saturating_sub(self.found.runs);
            let share = if self.limits.depth == 0 { left.div_ceil(cuts.len() - point) } else { left };
            self.runs_until = self.found.runs + share;
            self.found.cut_points += 1;
            self.progress = Some(Progress { cut_point: point, cut_points: cuts.len(), runs: 0 });
            self.tell_progress();
            if !self.cut_point(&cuts, point, &mut Vec::new(), false)? {
                unfinished.push(point);
            }
        }
        self.runs_until = self.limits.runs_max;
        for point in unfinished {
            let again = self.limits.depth == 0 && self.found.runs < self.runs_until;
            let whole = again && self.cut_point(&cuts, point, &mut Vec::new(), true)?;
            self.found.bounded += usize::from(!whole);
        }
        Ok(())
    }

    /// Explores the cuts of a run of the check that were made after it had read so much.
    fn cuts(&mut self, cuts: &Cuts, from_reads: usize, levels: &mut Vec<Level>) -> Result<bool, Failure> {
        let mut whole = true;
        for point in (0..cuts.len()).filter(|point| cuts[*point].reads >= from_reads) {
            self.found.cut_points += 1;
            whole &= self.cut_point(cuts, point, levels, false)?;
        }
        Ok(whole)
    }

    /// Returns whether everything was explored that can be found after one cut.
    fn cut_point(&mut self, cuts: &Cuts, point: usize, levels: &mut Vec<Level>, again: bool) -> Result<bool, Failure> {
        let cut = &cuts[point];
        let mut base = Base::of(cut);
        if !self.done.insert(cut.name((levels.len(), &base))) && !again {
            self.found.merged += 1;
            return Ok(true);
        }
        // Where the check is cut itself, it matters what it has not read as well.
        let unread = (levels.len() < self.limits.depth).then_some(&base);
        let key = cut.name((levels.len(), unread));
        let root = match self.roots.get(&key) {
            Some(root) => *root,
            None => {
                let root = self.node();
                self.roots.insert(key, root);
                root
            }
        };
        let outer = core::mem::take(&mut self.told);
        levels.push(Level { cuts: Rc::clone(cuts), point, trace: Vec::new() });
        let mut whole = self.follow(root, root, &mut base, levels)?;
        if levels.len() == 1 {
            self.run_decided(&base, levels)?;
        }
        levels.pop();
        self.told = outer;
        // Only then the cuts of the check: what fails without one is reported without one.
        for Later { mut levels, cuts, from_reads } in core::mem::take(&mut self.later) {
            whole &= self.cuts(&cuts, from_reads, &mut levels)?;
        }
        Ok(whole)
    }

    /// Runs the check with every byte decided, as new and as old as can be: what it reads that the exploration does not
    /// notice may make it fail then, though every way was accepted.
    fn run_decided(&mut self, base: &Base, levels: &[Level]) -> Result<(), Failure> {
        let Some(cut) = levels.last().map(Level::cut) else { return Ok(()) };
        for old in [false, true] {
            let decided = base.decided(old);
            if self.done.insert(cut.name(("decided", &decided))) {
                self.found.decided_runs += 1;
                let machine = decided.restart(self.limits.hardware, cut);
                if let Err(message) = verdict(self.check, &machine) {
                    return Err(self.unnoticed(levels, message));
                }
            }
        }
        Ok(())
    }

    fn node(&mut self) -> usize {
        self.nodes.push(Node::Unknown);
        self.nodes.len() - 1
    }

    /// Returns where the check goes on from `node` when it finds `value`.
    fn child(&mut self, root: usize, node: usize, value: Word) -> usize {
        let new = self.nodes.len();
        let Node::Reads(at, children) = &mut self.nodes[node] else { panic!("{READS_OTHERWISE}") };
        if let Some((_, child)) = children.iter().find(|(known, _)| *known == value) {
            return *child;
        }
        let child = match at {
            At::Summary(..) => {
                assert!(children.is_empty(), "{READS_OTHERWISE}");
                *self.after.entry((root, *at, value)).or_insert(new)
            }
            _ => new,
        };
        children.push((value, child));
        if child == new {
            self.nodes.push(Node::Unknown);
        }
        child
    }

    /// Follows every way from `node` on, and returns whether that was possible within the bound.
    fn follow(
        &mut self,
        root: usize,
        mut node: usize,
        base: &mut Base,
        levels: &mut Vec<Level>,
    ) -> Result<bool, Failure> {
        let depth = levels.len() - 1;
        let begun = levels[depth].trace.len();
        let (mut undo, mut whole) = (Vec::new(), true);
        loop {
            if matches!(self.nodes[node], Node::Unknown) {
                if self.found.runs >= self.runs_until {
                    whole = false;
                    break;
                }
                self.execute(root, node, base, levels)?;
            }
            let (at, mut values) = match &self.nodes[node] {
                Node::Reads(at, children) => (*at, children.iter().map(|(value, _)| *value).collect::<Vec<_>>()),
                _ => {
                    self.found.ways += 1;
                    if depth == 0 {
                        self.look_at_order(&levels[0]);
                    }
                    break;
                }
            };
            // What a summary comes to follows from the one before it and what was read since.
            if !matches!(at, At::Summary(..)) {
                values = base.values(at);
            }
            let (Some(&last), branches) = (values.last(), values.len() > 1) else { break };
            if !branches {
                undo.extend(base.refine(at, last));
                levels[depth].trace.push((at, last));
                node = self.child(root, node, last);
                if matches!(at, At::Summary(..)) && !self.told.insert((node, base.rest())) {
                    self.found.summed += 1;
                    break;
                }
                continue;
            }
            for value in values {
                let next = self.child(root, node, value);
                let before = base.refine(at, value);
                levels[depth].trace.push((at, value));
                whole &= self.follow(root, next, base, levels)?;
                levels[depth].trace.pop();
                before.into_iter().for_each(|before| base.undo(before));
            }
            break;
        }
        undo.into_iter().rev().for_each(|before| base.undo(before));
        levels[depth].trace.truncate(begun);
        Ok(whole)
    }

    pub(super) fn run(&self, answers: Answers, cut: &Cut, base: &Base, deeper: bool) -> Run {
        let machine = base.restart(self.limits.hardware, cut);
        machine.lock().oracle = Some(Oracle::new(answers, !deeper));
        let mut outcome = Ok(());
        let cuts = if deeper {
            recorded(&machine, |machine| outcome = verdict(self.check, machine))
        } else {
            outcome = verdict(self.check, &machine);
            Vec::new()
        };
        let oracle = machine.lock().oracle.take().unwrap_or_default();
        Run { trace: oracle.trace, branches: oracle.branches, outcome, cuts: cuts.into() }
    }

    /// Runs the check along the way that leads to `node`, and to an end from there.
    fn execute(&mut self, root: usize, node: usize, base: &Base, levels: &mut [Level]) -> Result<(), Failure> {
        let depth = levels.len() - 1;
        let deeper = levels.len() <= self.limits.depth;
        let begun = levels[depth].trace.len();
        self.found.runs += 1;
        if self.found.runs.is_multiple_of(1024) {
            self.tell_progress();
        }
        let run = self.run(Answers::picking(&levels[depth].trace), levels[depth].cut(), base, deeper);
        self.found.branches_max = self.found.branches_max.max(run.branches);
        if let Err(message) = run.outcome {
            levels[depth].trace = run.trace;
            return Err(self.failure(levels, message));
        }
        assert!(run.trace.get(..begun) == Some(&levels[depth].trace[..]), "{READS_OTHERWISE}");
        let mut at_node = node;
        for (at, value) in &run.trace[begun..] {
            match &self.nodes[at_node] {
                Node::Unknown => self.nodes[at_node] = Node::Reads(*at, Vec::new()),
                Node::Reads(known, _) if known == at => {}
                _ => panic!("{READS_OTHERWISE}"),
            }
            at_node = self.child(root, at_node, *value);
        }
        match &self.nodes[at_node] {
            Node::Reads(..) => panic!("{READS_OTHERWISE}"),
            _ => self.nodes[at_node] = Node::Accepts,
        }
        if deeper {
            let mut levels = levels.to_vec();
            levels[depth].trace = run.trace;
            self.later.push(Later { levels, cuts: run.cuts, from_reads: begun });
        }
        Ok(())
    }
}
