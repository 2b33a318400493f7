//! The memory that hosts share, and what the caches of each can have of it.
//!
//! Nothing is decided before somebody loads: of each unit there are the values that were stored to it, in order. Memory
//! has one from `floor` on, a host has one from `seen` on, and whoever loads one has decided both: memory has had it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::sim::line::Word;
use crate::sim::tape::At;

/// In place of a host: who stored last is gone, or nobody did.
const NOBODY: usize = usize::MAX;

/// What a host has of a unit. Values go by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct View {
    /// The oldest value that it can load.
    seen: usize,
    /// What its next fence makes sure of.
    written: usize,
    /// The oldest value that it can load after its next full fence.
    dropped: usize,
    /// What it loads comes from memory since the last store that a power cut may have lost.
    fresh: bool,
    /// So it is after its next full fence.
    freshening: bool,
}

/// A unit that was stored to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unit {
    /// In the order in which they were stored; the oldest that anybody can load comes first.
    values: Vec<Word>,
    /// The oldest that memory can have.
    floor: usize,
    /// Who stored the last one, and may have it in a dirty line.
    writer: usize,
    /// The writer was cut: memory has one of the values, and gets no other by itself.
    frozen: bool,
    hosts: Vec<View>,
}

impl Unit {
    fn newest(&self) -> usize {
        self.values.len() - 1
    }

    /// Returns whether `host` would decide for all what a power cut has left, by loading it.
    fn is_open_for(&self, host: usize) -> bool {
        self.frozen && self.hosts[host].fresh
    }

    /// Forgets what nobody can load any more, and that something is open once it is not.
    fn trim(&mut self) {
        if self.floor == self.newest() && core::mem::take(&mut self.frozen) {
            for host in &mut self.hosts {
                // Memory has had nothing else since.
                if host.fresh {
                    host.seen = host.seen.max(self.floor);
                }
                if host.freshening {
                    host.dropped = host.dropped.max(self.floor);
                }
            }
        }
        let gone = self.hosts.iter().map(|host| host.seen).min().unwrap_or(0).min(self.floor);
        self.values.drain(..gone);
        self.floor -= gone;
        for host in &mut self.hosts {
            host.seen -= gone;
            host.written = host.written.saturating_sub(gone);
            host.dropped = host.dropped.saturating_sub(gone);
        }
    }
}

/// One thing that a host can load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    number: usize,
    pub(super) value: Word,
    /// How many stores were made to the unit since.
    pub(super) behind: usize,
}

/// All units that were stored to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caches {
    units: BTreeMap<At, Unit>,
    hosts: usize,
    line_bytes: usize,
}

impl Caches {
    pub(super) fn new(hosts: usize, line_bytes: usize) -> Self {
        Self { units: BTreeMap::new(), hosts, line_bytes }
    }

    fn line_of(&self, (source, offset): At) -> At {
        (source, offset & !(self.line_bytes - 1))
    }

    /// Returns what `host` can load at `at`, where memory was `before` all stores, the newest first.
    pub(super) fn values(&self, host: usize, at: At, before: Word) -> Vec<Loaded> {
        let Some(unit) = self.units.get(&at) else { return [Loaded { number: 0, value: before, behind: 0 }].into() };
        let view = unit.hosts[host];
        let from = if unit.is_open_for(host) { view.seen.max(unit.floor) } else { view.seen };
        let mut all: Vec<Loaded> = Vec::new();
        for number in from..=unit.newest() {
            // Of the same value twice the older one leaves more open.
            if all.iter().all(|known| known.value != unit.values[number]) {
                all.push(Loaded { number, value: unit.values[number], behind: unit.newest() - number });
            }
        }
        all.reverse();
        all
    }

    /// Notes that `host` has loaded that.
    pub(super) fn load(&mut self, host: usize, at: At, loaded: Loaded) {
        let Some(unit) = self.units.get_mut(&at) else { return };
        let number = loaded.number;
        unit.floor = unit.floor.max(number);
        unit.hosts[host].seen = number;
        if unit.is_open_for(host) {
            // That is what memory has, for good.
            unit.values.truncate(number + 1);
            for host in &mut unit.hosts {
                host.seen = host.seen.min(number);
                host.written = host.written.min(number);
                host.dropped = host.dropped.min(number);
            }
        }
        unit.trim();
    }

    /// Returns a unit beside those of `stored`, in their lines, of which it is still open what a power cut has left for
    /// `host`: that is written back with them.
    pub(super) fn open(&self, host: usize, stored: &[(At, Word)]) -> Option<At> {
        let stored_too = |at: At| stored.iter().any(|(stored, _)| *stored == at);
        self.beside(stored).find(|(at, unit)| unit.is_open_for(host) && !stored_too(*at)).map(|(at, _)| at)
    }

    fn beside<'c>(&'c self, stored: &'c [(At, Word)]) -> impl Iterator<Item = (At, &'c Unit)> {
        let lines = move |at: &At| stored.iter().any(|(stored, _)| self.line_of(*stored) == self.line_of(*at));
        self.units.iter().filter(move |(at, _)| lines(at)).map(|(at, unit)| (*at, unit))
    }

    /// Stores units by `host`, where memory was `before` all stores.
    ///
    /// # Errors
    ///
    /// A unit of the same lines that the host may have otherwise than it was last stored: when the line is written
    /// back, a store of another host is undone.
    pub(super) fn store(
        &mut self,
        host: usize,
        stored: &[(At, Word)],
        streamed: bool,
        before: impl Fn(At) -> Word,
    ) -> Result<(), At> {
        // What is open, and now stored, nobody has in a dirty line.
        let stale = |unit: &Unit| unit.hosts[host].seen < unit.newest() && !unit.is_open_for(host);
        if let Some((at, _)) = self.beside(stored).find(|(_, unit)| stale(unit)) {
            return Err(at);
        }
        for (at, value) in stored {
            let hosts = [View::default()].repeat(self.hosts);
            let fresh = || Unit { values: [before(*at)].into(), floor: 0, writer: NOBODY, frozen: false, hosts };
            let unit = self.units.entry(*at).or_insert_with(fresh);
            unit.values.push(*value);
            unit.writer = host;
            unit.frozen = false;
            let newest = unit.newest();
            unit.hosts[host].seen = newest;
            if streamed {
                unit.hosts[host].written = newest;
            }
        }
        Ok(())
    }

    fn of_lines<'c>(&'c mut self, lines: &'c [At]) -> impl Iterator<Item = &'c mut Unit> {
        let mask = !(self.line_bytes - 1);
        let inside = move |(source, offset): &At| lines.contains(&(*source, offset & mask));
        self.units.iter_mut().filter(move |(at, _)| inside(at)).map(|(_, unit)| unit)
    }

    /// Begins to write back what `host` has stored in these lines.
    pub(super) fn write_back(&mut self, host: usize, lines: &[At]) {
        for unit in self.of_lines(lines).filter(|unit| unit.writer == host) {
            unit.hosts[host].written = unit.newest();
        }
    }

    /// Begins to drop these lines.
    pub(super) fn drop_lines(&mut self, host: usize, lines: &[At]) {
        self.write_back(host, lines);
        for unit in self.of_lines(lines) {
            let written = if unit.writer == host { unit.newest() } else { unit.floor };
            let view = &mut unit.hosts[host];
            view.dropped = view.dropped.max(written);
            view.freshening = true;
        }
    }

    /// Returns whether a fence of `host` would make sure of anything.
    pub(super) fn waits_for_fence(&self, host: usize) -> bool {
        self.units.values().any(|unit| unit.hosts[host].written > unit.floor)
    }

    pub(super) fn fence(&mut self, host: usize) {
        for unit in self.units.values_mut() {
            unit.floor = unit.floor.max(unit.hosts[host].written);
            unit.trim();
        }
    }

    pub(super) fn full_fence(&mut self, host: usize) {
        self.fence(host);
        for unit in self.units.values_mut() {
            let view = &mut unit.hosts[host];
            view.seen = view.seen.max(view.dropped);
            view.fresh |= core::mem::take(&mut view.freshening);
            unit.trim();
        }
    }

    /// Takes the power from `host`: its caches are lost, or saved where `saved` says so of the source.
    pub(super) fn cut(&mut self, host: usize, saved: impl Fn(usize) -> bool) {
        for ((source, _), unit) in &mut self.units {
            if unit.writer == host {
                unit.writer = NOBODY;
                if saved(*source) {
                    unit.floor = unit.newest();
                }
                unit.frozen = true;
                unit.hosts.iter_mut().for_each(|view| (view.fresh, view.freshening) = (false, false));
            }
            unit.hosts[host] = View { seen: unit.floor, fresh: true, ..View::default() };
            unit.trim();
        }
    }

    /// Lets one host more begin, whose caches are empty.
    pub(super) fn add_host(&mut self) {
        for unit in self.units.values_mut() {
            unit.hosts.push(View { seen: unit.floor, fresh: true, ..View::default() });
        }
        self.hosts += 1;
    }
}
