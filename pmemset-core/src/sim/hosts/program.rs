//! What a host does, as a tree: between two loads it does always the same, and where it goes on depends on what it
//! loads.
//!
//! A program is run once for each way that it can go, by itself: the steps of several are put together afterwards.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::Hash;
use core::panic::Location;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sim::caller::called_by_nobody;
use crate::sim::hardware::Hardware;
use crate::sim::line::{UNIT_BYTES, Word, word};
use crate::sim::machine::Machine;
use crate::sim::medium::{Medium, SourceState};
use crate::sim::oracle::name;
use crate::sim::platform::SimPlatform;
use crate::sim::source::SimSource;
use crate::sim::tape::{ACKNOWLEDGED, Act, At, SUMMARY, Step, Stop, Tape};

/// One of several hosts, as its program sees it.
#[derive(Clone, Debug)]
pub struct Host {
    machine: Machine,
    life: usize,
}

impl Host {
    /// Returns the host's platform.
    #[must_use]
    pub fn platform(&self) -> SimPlatform {
        self.machine.platform()
    }

    /// Returns source number `index`, which all hosts share.
    #[must_use]
    pub fn source(&self, index: usize) -> SimSource {
        self.machine.source(index)
    }

    /// Returns how often the host has lost its power before it was started.
    #[must_use]
    pub const fn life(&self) -> usize {
        self.life
    }

    /// Records a value outside of the simulation: what the host has promised so far, or done with what it got.
    pub fn acknowledge(&self, value: u64) {
        self.machine.acknowledge(value);
    }

    /// Returns the value that this host has recorded last, also before it lost its power; 0 if none.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.machine.acknowledged()
    }

    /// Returns the value that host number `host` has recorded last.
    #[must_use]
    pub fn acknowledged_by(&self, host: usize) -> u64 {
        self.load((ACKNOWLEDGED, host))
    }

    /// Declares that the rest of the program depends only on `value` and on what it loads from now on. Runs that reach
    /// the same value are explored once. For programs that poll.
    #[track_caller]
    pub fn summary(&self, value: &impl Hash) {
        let line = Location::caller().line();
        let count = self.machine.lock().tape.as_mut().map(|tape| {
            tape.summaries += 1;
            tape.summaries
        });
        let _ = self.load((SUMMARY, name((line, count, value)) as usize));
    }

    /// Returns what the script says, or ends the program where it says no more.
    fn load(&self, at: At) -> Word {
        let loaded = self.machine.lock().tape.as_mut().and_then(|tape| tape.load(at));
        loaded.unwrap_or_else(|| resume_unwind(Box::new(Stop)))
    }
}

/// What a host does.
pub(super) type Program<'p> = &'p dyn Fn(&Host) -> Result<(), String>;

/// How a program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Start {
    pub(super) host: usize,
    pub(super) life: usize,
    pub(super) acknowledged: u64,
}

/// A piece of a program: what it does after it has loaded `path`, up to the next load, or to its end.
#[derive(Debug)]
pub(super) struct Node {
    start: Start,
    pub(super) path: Vec<Word>,
    pub(super) steps: Vec<Step>,
    pub(super) end: Option<Result<(), String>>,
    children: BTreeMap<Word, usize>,
}

/// The programs of all hosts.
pub(super) struct Programs<'p> {
    hardware: Hardware,
    pub(super) media: Vec<(Medium, Vec<u8>)>,
    hosts: Vec<Program<'p>>,
    pub(super) nodes: Vec<Node>,
    roots: BTreeMap<Start, usize>,
    /// Where a program goes on after a summary, by its number.
    after: BTreeMap<(Start, usize), usize>,
    pub(super) runs: usize,
}

impl<'p> Programs<'p> {
    pub(super) fn new(hardware: Hardware, media: Vec<(Medium, Vec<u8>)>, hosts: Vec<Program<'p>>) -> Self {
        Self { hardware, media, hosts, nodes: Vec::new(), roots: BTreeMap::new(), after: BTreeMap::new(), runs: 0 }
    }

    /// Returns what was at `at` before any host began.
    pub(super) fn before(&self, (source, offset): At) -> Word {
        word(&self.media[source].1[offset..offset + UNIT_BYTES])
    }

    /// Returns where a program begins.
    pub(super) fn root(&mut self, start: Start) -> usize {
        if let Some(root) = self.roots.get(&start) {
            return *root;
        }
        let root = self.run(start, Vec::new(), None);
        self.roots.insert(start, root);
        root
    }

    /// Returns where a program goes on that has loaded `value`.
    pub(super) fn child(&mut self, node: usize, value: Word) -> usize {
        if let Some(child) = self.nodes[node].children.get(&value) {
            return *child;
        }
        let path = [&self.nodes[node].path[..], &[value]].concat();
        let child = self.run(self.nodes[node].start, path, Some(node));
        self.nodes[node].children.insert(value, child);
        child
    }

    /// Returns where a program goes on after a summary of that number.
    pub(super) fn after(&mut self, node: usize, summary: usize) -> usize {
        let key = (self.nodes[node].start, summary);
        if let Some(after) = self.after.get(&key) {
            return *after;
        }
        let after = self.child(node, 0);
        self.after.insert(key, after);
        after
    }

    /// Runs a program that loads `path`, as far as it goes then; so far as `parent`, it has run before.
    fn run(&mut self, start: Start, path: Vec<Word>, parent: Option<usize>) -> usize {
        self.runs += 1;
        let machine = Machine::new(self.hardware);
        let mut state = machine.lock();
        for (medium, bytes) in &self.media {
            state.sources.push(SourceState::with_bytes(*medium, &self.hardware, bytes.clone()));
        }
        state.acknowledged = start.acknowledged;
        state.tape = Some(Tape::new(path.clone()));
        drop(state);
        called_by_nobody();
        let host = Host { machine: machine.clone(), life: start.life };
        let ended = catch_unwind(AssertUnwindSafe(|| self.hosts[start.host](&host)));
        let end = match ended {
            Ok(end) => Some(end),
            Err(panic) if panic.is::<Stop>() => None,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                Some(Err(format!("the program panicked: {}", text.unwrap_or("no message"))))
            }
        };
        let tape = machine.lock().tape.take();
        let mut steps = tape.map(|tape| tape.steps).unwrap_or_default();
        let known = parent.map_or(&[][..], |parent| &self.nodes[parent].steps);
        let loads = |step: &Step| matches!(step.act, Act::Load(_));
        let mut loaded = steps.iter().enumerate().filter(|(_, step)| loads(step)).map(|(at, _)| at + 1);
        let begun = path.len().checked_sub(1).map_or(Some(0), |last| loaded.nth(last));
        let again = begun.and_then(|begun| steps.get(begun.checked_sub(known.len())?..begun));
        assert!(
            again == Some(known) && loaded.count() == usize::from(end.is_none()),
            "a program did not do the same again: it depends on something that it does not load"
        );
        steps.drain(..begun.unwrap_or(0));
        self.nodes.push(Node { start, path, steps, end, children: BTreeMap::new() });
        self.nodes.len() - 1
    }
}
