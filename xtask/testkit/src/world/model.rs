//! The model: a list of intervals, and the rules of a set in the plainest words.

mod expect;

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::sim::{Machine, Page};
use pmemset_core::{Coalescing, Extent, Granularity};

use super::{Ground, Op, Outcome, PAGE, Plan, Told, is_free};

/// One mapping; `head` where it begins a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub extent: Extent,
    /// The end of what the set has reserved behind it.
    pub held_to: usize,
    pub source: usize,
    pub offset: usize,
    pub head: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct ModelSource {
    pub length_bytes: u64,
    pub capacity_bytes: Option<u64>,
    pub alignment_bytes: usize,
    pub granularity: Granularity,
}

/// Where a map call has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Nothing,
    /// At this window, behind the previous part.
    Behind(Extent),
    /// At the lowest hole of the caller's reservation.
    Hole(Extent),
    /// At a window of this length and alignment where nothing was, in a new reservation.
    New {
        length_bytes: usize,
        alignment_bytes: usize,
    },
    Refused(MapError),
    NotRemoved(RemoveError),
    Removed,
}

pub struct Model {
    pub segments: Vec<Segment>,
    pub sources: Vec<ModelSource>,
    pub occupied: Vec<Extent>,
    /// Address space that the platform has not taken back.
    pub leaked: Vec<Extent>,
    /// The start of the part that coalescing extends.
    previous: Option<usize>,
    coalescing: Coalescing,
    /// The caller's reservation.
    window: Option<Extent>,
    /// For each handle, an address of its part.
    pins: Vec<usize>,
    ahead_bytes: usize,
}

impl Model {
    pub fn new(ground: &Ground, plan: Plan) -> Self {
        let page = PAGE as u64;
        let source = |pages, capacity_pages: Option<u64>, alignment_pages| ModelSource {
            length_bytes: pages * page,
            capacity_bytes: capacity_pages.map(|pages| pages * page),
            alignment_bytes: alignment_pages * PAGE,
            granularity: Granularity::CacheLine,
        };
        let paged = ModelSource { granularity: Granularity::Page, ..source(4, None, 1) };
        Self {
            segments: Vec::new(),
            sources: vec![source(6, None, 1), source(2, Some(8), 1), source(8, None, 2), source(0, Some(4), 1), paged],
            occupied: Vec::new(),
            leaked: Vec::new(),
            previous: None,
            coalescing: Coalescing::None,
            window: ground.reservation.as_ref().map(|reservation| reservation.extent()),
            pins: Vec::new(),
            ahead_bytes: plan.ahead_pages * PAGE,
        }
    }

    pub fn parts(&self) -> Vec<Extent> {
        let mut parts: Vec<Extent> = Vec::new();
        for segment in &self.segments {
            match parts.last_mut().filter(|_| !segment.head) {
                Some(part) => *part = Extent::between(part.start(), segment.extent.end()).unwrap(),
                None => parts.push(segment.extent),
            }
        }
        parts
    }

    fn part_of(&self, address: usize) -> Option<Extent> {
        self.parts().into_iter().find(|part| part.contains(address))
    }

    pub fn has(&self, address: usize) -> bool {
        self.part_of(address).is_some()
    }

    pub fn nth_part(&self, nth: usize) -> Option<Extent> {
        let parts = self.parts();
        (!parts.is_empty()).then(|| parts[nth % parts.len()])
    }

    pub fn granularity(&self) -> Option<Granularity> {
        self.segments.first().map(|segment| self.sources[segment.source].granularity)
    }

    /// Returns the address that [`Op::RemoveRange`] means.
    pub fn range_start(&self, segment: usize, delta: isize) -> usize {
        match self.segments.len() {
            0 => PAGE * 100,
            count => self.segments[segment % count].extent.start().wrapping_add_signed(delta),
        }
    }

    pub fn free_page_behind(&self, machine: &Machine, segment: usize) -> Option<Extent> {
        let count = self.segments.len().max(1);
        let page = Extent::new(self.segments.get(segment % count)?.extent.end(), PAGE)?;
        (machine.address_space().covers(page) && is_free(&machine.pages(), page)).then_some(page)
    }

    /// Returns what is at every address that is not free.
    pub fn pages(&self, machine: &Machine) -> Vec<(Extent, Page)> {
        let space = machine.address_space();
        let mut runs: Vec<(Extent, Page)> = Vec::new();
        for start in (space.start()..space.end()).step_by(PAGE) {
            let page = if self.segments.iter().any(|segment| segment.extent.contains(start)) {
                Page::Mapped
            } else if self.window.iter().chain(&self.leaked).any(|reserved| reserved.contains(start))
                || self.segments.iter().any(|segment| (segment.extent.end()..segment.held_to).contains(&start))
            {
                Page::Reserved
            } else if self.occupied.iter().any(|page| page.contains(start)) {
                Page::Occupied
            } else {
                continue;
            };
            match runs.last_mut().filter(|(run, kind)| run.end() == start && *kind == page) {
                Some((run, _)) => *run = Extent::between(run.start(), start + PAGE).unwrap(),
                None => runs.push((Extent::new(start, PAGE).unwrap(), page)),
            }
        }
        runs
    }

    /// Takes note of reservations that nobody owns.
    pub fn note_leaks(&mut self, machine: &Machine) {
        let known = self.pages(machine);
        for (run, _) in machine.pages().into_iter().filter(|(_, page)| *page == Page::Reserved) {
            for start in (run.start()..run.end()).step_by(PAGE) {
                if is_free(&known, Extent::new(start, PAGE).unwrap()) {
                    self.leaked.push(Extent::new(start, PAGE).unwrap());
                }
            }
        }
    }

    /// Makes `op` true in the model, checks that `outcome` is the one expected, and returns the events.
    pub fn apply(&mut self, op: Op, outcome: Outcome, expected: &Expected, machine: &Machine) -> Vec<Told> {
        match (op, outcome, expected) {
            (Op::Map { .. }, Outcome::Map(Err(MapError::Map { cause, .. })), Expected::Refused(refused)) => {
                assert!(matches!(refused, MapError::Map { cause: because, .. } if *because == cause), "{refused}");
                Vec::new()
            }
            (Op::Map { .. }, Outcome::Map(Err(error)), _) => {
                assert_eq!(Expected::Refused(error), *expected);
                Vec::new()
            }
            (Op::Map { source, offset, .. }, Outcome::Map(Ok(extent)), _) => {
                let (joins, held_to) = self.check_place(extent, expected);
                let (source, offset) = (source % self.sources.len(), offset * PAGE);
                vec![self.enter(Segment { extent, held_to, source, offset, head: !joins })]
            }
            (Op::Remove { .. } | Op::RemoveRange { .. }, Outcome::Remove(Err(error)), _) => {
                assert_eq!(Expected::NotRemoved(error), *expected);
                Vec::new()
            }
            (Op::Remove { part }, Outcome::Remove(Ok(())), Expected::Removed) => {
                let part = self.nth_part(part).unwrap();
                self.strike(part)
            }
            (Op::RemoveRange { segment, delta, length_bytes }, Outcome::Remove(Ok(())), Expected::Removed) => {
                let Some(range) = Extent::new(self.range_start(segment, delta), length_bytes) else {
                    return Vec::new();
                };
                let before = self.segments.len();
                let mut told = self.strike(range);
                if self.segments.len() < before {
                    told.insert(0, Told::Range(range));
                }
                told
            }
            (Op::Coalesce(coalescing), ..) => {
                self.coalescing = coalescing;
                Vec::new()
            }
            (Op::Pin { part }, ..) => {
                self.pins.extend(self.nth_part(part).map(|part| part.start()));
                Vec::new()
            }
            (Op::Unpin, ..) => {
                if !self.pins.is_empty() {
                    self.pins.remove(0);
                }
                Vec::new()
            }
            (Op::Occupy { segment }, ..) => {
                let _ = segment;
                let seen = |run: &(Extent, Page)| run.1 == Page::Occupied;
                self.occupied = machine.pages().into_iter().filter(seen).map(|(run, _)| run).collect();
                Vec::new()
            }
            (Op::Vacate, ..) => {
                self.occupied.clear();
                Vec::new()
            }
            (Op::Remove { .. }, Outcome::Done, Expected::Nothing) => Vec::new(),
            _ => panic!("{op:?} came to {outcome:?}, and not to {expected:?}"),
        }
    }

    /// Checks that a segment is where it must be; returns whether it joins a part, and the end of what is reserved
    /// then.
    fn check_place(&mut self, extent: Extent, expected: &Expected) -> (bool, usize) {
        match *expected {
            Expected::Behind(window) => {
                assert_eq!(extent, window, "behind the previous part");
                let before = self.segments.iter_mut().find(|before| before.extent.end() == window.start()).unwrap();
                // What was spare behind the part is the new segment's.
                let spare_to = core::mem::replace(&mut before.held_to, window.start());
                (true, spare_to.max(window.end()))
            }
            Expected::Hole(window) => {
                assert_eq!(extent, window, "the lowest hole");
                (false, extent.end())
            }
            Expected::New { length_bytes, alignment_bytes } => {
                assert_eq!(extent.length_bytes(), length_bytes);
                assert!(extent.is_aligned(alignment_bytes), "{extent} is not aligned");
                let reserved = Extent::new(extent.start(), length_bytes.max(self.ahead_bytes)).unwrap();
                let held =
                    self.segments.iter().map(|other| Extent::between(other.extent.start(), other.held_to).unwrap());
                let mut others = held.chain(self.occupied.iter().chain(&self.leaked).copied());
                assert!(others.all(|other| !other.overlaps(reserved)), "{reserved} is not new");
                (false, reserved.end())
            }
            ref other => panic!("mapped at {extent}, and expected {other:?}"),
        }
    }

    fn enter(&mut self, segment: Segment) -> Told {
        let extent = segment.extent;
        let length_bytes = &mut self.sources[segment.source].length_bytes;
        *length_bytes = (*length_bytes).max((segment.offset + extent.length_bytes()) as u64);
        self.segments.push(segment);
        self.segments.sort_unstable_by_key(|segment| segment.extent);
        if segment.head {
            self.previous = Some(extent.start());
        }
        Told::Add(extent, self.part_of(extent.start()).unwrap())
    }

    /// Removes every segment that `range` touches; returns the parts that went as a whole.
    pub fn strike(&mut self, range: Extent) -> Vec<Told> {
        let (parts, before) = (self.parts(), core::mem::take(&mut self.segments));
        let mut gap = false;
        for segment in before {
            if segment.extent.overlaps(range) {
                gap = true;
            } else {
                self.segments.push(Segment { head: segment.head || gap, ..segment });
                gap = false;
            }
        }
        let left = |part: &Extent| self.segments.iter().find(|segment| part.covers(segment.extent));
        if let Some(previous) = parts.iter().find(|part| Some(part.start()) == self.previous) {
            let starts = || self.segments.iter().filter(|segment| segment.head).map(|segment| segment.extent.start());
            let lower = || starts().filter(|start| *start < previous.start()).max();
            let higher = || starts().filter(|start| *start > previous.start()).min();
            self.previous = left(previous).map(|segment| segment.extent.start()).or_else(lower).or_else(higher);
        }
        parts.iter().filter(|part| left(part).is_none()).map(|part| Told::Remove(*part)).collect()
    }
}
