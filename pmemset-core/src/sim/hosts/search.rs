//! Every order in which the steps of several hosts can come, every value that each load can have, every power cut.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::panic::Location;
use std::collections::HashSet;

use super::caches::{Caches, Loaded};
use super::program::{Programs, Start};
use super::report::{HostsExplored, HostsFailure};
use crate::Granularity;
use crate::sim::line::Word;
use crate::sim::oracle::name;
use crate::sim::tape::{ACKNOWLEDGED, Act, At, SUMMARY};

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    node: usize,
    /// Which step of it comes next.
    step: usize,
    life: usize,
    acknowledged: u64,
    ended: bool,
}

/// Everything that anything can depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    caches: Caches,
    hosts: Vec<Place>,
    cuts_left: usize,
}

/// Something that has happened.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A step of a node.
    Did(usize, usize),
    Loaded(At, Loaded),
    Cut,
    Ended,
}

/// What comes next, and whether it matters who else does something before.
enum Next {
    End,
    Load(At),
    Other,
}

pub(super) struct Search<'p> {
    pub(super) programs: Programs<'p>,
    /// The hosts, without the check.
    pub(super) hosts: usize,
    pub(super) states_max: usize,
    /// Every step of every host may come before or after every one of another.
    pub(super) everywhere: bool,
    done: HashSet<u128>,
    trail: Vec<(usize, What)>,
    pub(super) found: HostsExplored,
    /// What all hosts had loaded when they ended.
    pub(super) outcomes: BTreeSet<Vec<Vec<Word>>>,
}

impl<'p> Search<'p> {
    pub(super) fn new(programs: Programs<'p>, hosts: usize, states_max: usize, everywhere: bool) -> Self {
        let (done, found) = (HashSet::new(), HostsExplored::default());
        let outcomes = BTreeSet::new();
        Self { programs, hosts, states_max, everywhere, done, trail: Vec::new(), found, outcomes }
    }

    pub(super) fn run(&mut self, line_bytes: usize, cuts: usize) -> Result<(), HostsFailure> {
        let hosts = (0..self.hosts).map(|host| self.begin(host, 0, 0)).collect();
        let world = World { caches: Caches::new(self.hosts, line_bytes), hosts, cuts_left: cuts };
        self.explore(&world)?;
        self.found.runs = self.programs.runs;
        Ok(())
    }

    fn begin(&mut self, host: usize, life: usize, acknowledged: u64) -> Place {
        let node = self.programs.root(Start { host, life, acknowledged });
        Place { node, step: 0, life, acknowledged, ended: false }
    }

    /// Explores what can happen from here on, once.
    fn explore(&mut self, world: &World) -> Result<(), HostsFailure> {
        if !self.done.insert(name(world)) {
            return Ok(());
        }
        if self.found.states >= self.states_max {
            self.found.bounded += 1;
            return Ok(());
        }
        self.found.states += 1;
        let begun = self.trail.len();
        if world.hosts[..self.hosts].iter().all(|host| host.ended) {
            return self.check(world);
        }
        for host in (0..self.hosts).filter(|host| !world.hosts[*host].ended) {
            if world.cuts_left > 0 && (self.everywhere || self.loses_by_waiting(world, host)) {
                let mut cut = world.clone();
                self.found.cuts += 1;
                cut.cuts_left -= 1;
                let media = &self.programs.media;
                cut.caches.cut(host, |source| media[source].0.of_granularity() == Granularity::Byte);
                let Place { life, acknowledged, .. } = cut.hosts[host];
                cut.hosts[host] = self.begin(host, life + 1, acknowledged);
                self.trail.push((host, What::Cut));
                self.explore(&cut)?;
                self.trail.truncate(begun);
            }
            self.advance(world.clone(), host, true, false)?;
            self.trail.truncate(begun);
        }
        Ok(())
    }

    /// Runs the check, if it has not been.
    fn check(&mut self, world: &World) -> Result<(), HostsFailure> {
        if world.hosts.len() > self.hosts {
            self.found.ends += 1;
            return Ok(());
        }
        let paths = |host: &Place| self.programs.nodes[host.node].path.clone();
        self.outcomes.insert(world.hosts.iter().map(paths).collect());
        let mut world = world.clone();
        world.caches.add_host();
        world.hosts.push(self.begin(self.hosts, 0, 0));
        self.advance(world, self.hosts, true, false)
    }

    fn next(&self, place: &Place) -> Next {
        match self.programs.nodes[place.node].steps.get(place.step).map(|step| &step.act) {
            None => Next::End,
            Some(Act::Load(at)) => Next::Load(*at),
            Some(_) => Next::Other,
        }
    }

    /// Returns whether the next step leaves less possible than there was, for whom it is cut before.
    fn loses_by_waiting(&self, world: &World, host: usize) -> bool {
        let place = &world.hosts[host];
        match self.programs.nodes[place.node].steps.get(place.step).map(|step| &step.act) {
            None | Some(Act::Acknowledge(_)) => true,
            Some(Act::Fence | Act::FullFence) => world.caches.waits_for_fence(host),
            Some(_) => false,
        }
    }

    /// Returns whether another host may have to do something before the next step of `host`, which is in the middle of
    /// loads if `loads`.
    ///
    /// A store is seen, or not, by whoever comes later, and lines are dropped as early as can be: nobody need come
    /// before. Loads come as late as can be, all that come together; so does a fence that makes sure of something.
    fn waits(&self, world: &World, host: usize, loads: bool) -> bool {
        match self.next(&world.hosts[host]) {
            _ if self.everywhere => true,
            Next::Load((ACKNOWLEDGED, _)) => true,
            Next::Load((SUMMARY, _)) => false,
            Next::Load(_) => !loads,
            Next::End | Next::Other => self.loses_by_waiting(world, host),
        }
    }

    /// Does the next step of `host`, if it is the `first` or need not wait, and goes on.
    fn advance(&mut self, mut world: World, host: usize, first: bool, loads: bool) -> Result<(), HostsFailure> {
        let alone = host == self.hosts;
        if !first && !alone && self.waits(&world, host, loads) {
            return self.explore(&world);
        }
        let Place { node, step, .. } = world.hosts[host];
        match self.next(&world.hosts[host]) {
            Next::End => {
                self.trail.push((host, What::Ended));
                match self.programs.nodes[node].end.clone() {
                    Some(Err(message)) => Err(self.failure(message)),
                    _ => {
                        world.hosts[host].ended = true;
                        self.explore(&world)
                    }
                }
            }
            Next::Load(at) => self.load(&world, host, at, true),
            Next::Other => {
                if let Act::Store { units, .. } = &self.programs.nodes[node].steps[step].act
                    && let Some(open) = world.caches.open(host, units)
                {
                    return self.load(&world, host, open, false);
                }
                self.act(&mut world, host)?;
                world.hosts[host].step += 1;
                self.advance(world, host, false, false)
            }
        }
    }

    /// Loads every value that there can be at `at`; the program goes on with it if it has `asked`.
    fn load(&mut self, world: &World, host: usize, at: At, asked: bool) -> Result<(), HostsFailure> {
        let (source, other) = at;
        let Place { node, .. } = world.hosts[host];
        if source == ACKNOWLEDGED {
            let mut world = world.clone();
            let told = world.hosts[other].acknowledged;
            (world.hosts[host].node, world.hosts[host].step) = (self.programs.child(node, told), 0);
            return self.advance(world, host, false, false);
        }
        if source == SUMMARY {
            let mut world = world.clone();
            (world.hosts[host].node, world.hosts[host].step) = (self.programs.after(node, other), 0);
            return self.advance(world, host, false, false);
        }
        let begun = self.trail.len();
        for loaded in world.caches.values(host, at, self.programs.before(at)) {
            let mut world = world.clone();
            world.caches.load(host, at, loaded);
            self.trail.push((host, What::Loaded(at, loaded)));
            if asked {
                (world.hosts[host].node, world.hosts[host].step) = (self.programs.child(node, loaded.value), 0);
            }
            // Where it was not asked for, the store is the next step as before.
            self.advance(world, host, !asked, true)?;
            self.trail.truncate(begun);
        }
        Ok(())
    }

    /// Does what the next step of `host` says, which is no load.
    fn act(&mut self, world: &mut World, host: usize) -> Result<(), HostsFailure> {
        let Place { node, step, .. } = world.hosts[host];
        self.trail.push((host, What::Did(node, step)));
        let caches = &mut world.caches;
        match &self.programs.nodes[node].steps[step].act {
            Act::Load(_) => {}
            Act::Store { units, streamed } => {
                let before = |at| self.programs.before(at);
                if let Err((source, offset)) = caches.store(host, units, *streamed, before) {
                    return Err(self.failure(format!(
                        "host {host} stores to a line of source {source} of which it may not have the newest store, at \
                         {offset:#x}: when the line is written back, that is undone"
                    )));
                }
            }
            Act::WriteBack(lines) => caches.write_back(host, lines),
            Act::Drop(lines) => caches.drop_lines(host, lines),
            Act::Fence => caches.fence(host),
            Act::FullFence => caches.full_fence(host),
            Act::Acknowledge(value) => world.hosts[host].acknowledged = *value,
        }
        Ok(())
    }

    fn failure(&self, message: String) -> HostsFailure {
        HostsFailure { message, events: self.trail.iter().map(|(host, what)| self.told(*host, *what)).collect() }
    }

    fn told(&self, host: usize, what: What) -> String {
        let who = if host == self.hosts { "the check".into() } else { format!("host {host}") };
        match what {
            What::Cut => format!("{who} is cut, and starts again"),
            What::Ended => format!("{who} ends"),
            What::Loaded((source, offset), Loaded { value, behind, .. }) => {
                let stale = match behind {
                    0 => String::new(),
                    1 => ", before the last store".into(),
                    more => format!(", before the last {more} stores"),
                };
                format!("{who} loads {value:#x} at {offset:#x} of source {source}{stale}")
            }
            What::Did(node, step) => {
                let step = &self.programs.nodes[node].steps[step];
                let lines = |lines: &[At]| lines.iter().map(|(_, at)| format!(" {at:#x}")).collect::<String>();
                let act = match &step.act {
                    Act::Load(_) => String::new(),
                    Act::Store { units, .. } => {
                        let units = units.iter().map(|((_, at), value)| format!(" {value:#x} at {at:#x}"));
                        format!("stores{}", units.collect::<String>())
                    }
                    Act::WriteBack(all) => format!("writes back the lines at{}", lines(all)),
                    Act::Drop(all) => format!("drops the lines at{}", lines(all)),
                    Act::Fence | Act::FullFence => "fences".into(),
                    Act::Acknowledge(value) => format!("acknowledges {value}"),
                };
                let place = step.origin.map_or_else(String::new, |at: &Location<'_>| format!(" ({at})"));
                format!("{who} {act}{place}")
            }
        }
    }
}
