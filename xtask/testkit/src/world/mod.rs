//! A set in a tiny simulated machine, beside a model of it that is nothing but a list of intervals.

mod model;
mod place;

use std::sync::{Mutex, PoisonError};

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::observer::from_fn;
use pmemset_core::sim::{Hardware, Machine, Medium, Page, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{
    Answer, Coalescing, Config, Event, Extent, Granularity, MapConfig, Observer, Part, Reservation, Set, Source,
};

pub use model::Model;
use place::Place;

pub const PAGE: usize = 64;
pub const CAPACITY: usize = 6;

pub type TestSet<'g> = Set<'g, Place<'g>, SimSource, &'g dyn Observer<SimSource>>;
pub type TestPart<'s, 'g> = Part<&'s TestSet<'g>>;

/// What a world can be asked to do. Numbers that are too large count from the start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Maps pages of a source; 0 pages are the rest.
    Map { source: usize, offset: usize, pages: usize },
    /// Removes a part by its number in address order.
    Remove { part: usize },
    /// Removes a range that begins `delta` bytes from the start of a segment.
    RemoveRange { segment: usize, delta: isize, length_bytes: usize },
    /// Sets the coalescing.
    Coalesce(Coalescing),
    /// Takes a handle of a part, by its number in address order.
    Pin { part: usize },
    /// Drops the oldest handle.
    Unpin,
    /// Somebody else maps the page behind a segment, if it is free.
    Occupy { segment: usize },
    /// Somebody else unmaps everything.
    Vacate,
}

/// What a set did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Map(Result<Extent, MapError>),
    Remove(Result<(), RemoveError>),
}

impl Outcome {
    pub fn failed(&self) -> bool {
        matches!(self, Self::Map(Err(_)) | Self::Remove(Err(_)))
    }
}

/// What an observer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Add(Extent, Extent),
    Remove(Extent),
    Range(Extent),
}

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Pages of the caller's reservation; 0 for none.
    pub reservation_pages: usize,
    /// Pages that the set's own reservations have at least.
    pub ahead_pages: usize,
}

pub fn media() -> Vec<Medium> {
    let page = PAGE as u64;
    let medium = |pages| Medium::new(pages * page).granularity(Granularity::CacheLine);
    vec![
        medium(6),
        medium(2).growing_to(8 * page),
        medium(8).alignment(2 * PAGE),
        medium(0).growing_to(4 * page),
        Medium::new(4 * page).granularity(Granularity::Page),
    ]
}

pub type Log = Mutex<Vec<Told>>;

/// Everything that a world borrows; lives longer than its set.
pub struct Ground {
    pub machine: Machine,
    pub log: Log,
    pub reservation: Option<Reservation<'static, SimPlatform>>,
}

impl Ground {
    pub fn new(plan: Plan) -> Self {
        let machine = Machine::new(Hardware::new().page_bytes(PAGE).address_space_bytes(64 * PAGE));
        for medium in media() {
            let _ = machine.add_source(medium);
        }
        Self::on(machine, plan)
    }

    pub fn on(machine: Machine, plan: Plan) -> Self {
        let window = (plan.reservation_pages > 0).then_some(plan.reservation_pages * PAGE);
        let reservation =
            window.map(|length_bytes| Reservation::with_capacity(machine.platform(), length_bytes, 8).unwrap());
        Self { machine, log: Log::default(), reservation }
    }

    pub fn observer(&self) -> impl Observer<SimSource> + '_ {
        from_fn(|event: &Event<'_, SimSource>| {
            let told = match *event {
                Event::PartAdd { segment, part, .. } => Told::Add(segment, part),
                Event::PartRemove { part } => Told::Remove(part),
                Event::RemoveRange { range } => Told::Range(range),
                _ => return Answer::Proceed,
            };
            self.log.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            Answer::Proceed
        })
    }

    pub fn set<'g>(&'g self, plan: Plan, observer: &'g dyn Observer<SimSource>) -> TestSet<'g> {
        let place = match &self.reservation {
            Some(reservation) => Place::Inside(reservation),
            None => Place::Own(self.machine.platform()),
        };
        let config = Config::new(Granularity::Page).observer(observer).reserve_ahead(plan.ahead_pages * PAGE);
        Set::with_capacity(place, config, CAPACITY)
    }
}

/// A set and its model.
pub struct World<'s, 'g> {
    pub ground: &'s Ground,
    pub set: &'s TestSet<'g>,
    pub model: Model,
    pub pins: Vec<TestPart<'s, 'g>>,
}

impl<'s, 'g> World<'s, 'g> {
    pub fn new(ground: &'s Ground, set: &'s TestSet<'g>, plan: Plan) -> Self {
        Self { ground, set, model: Model::new(ground, plan), pins: Vec::new() }
    }

    /// Does `op` to the set alone.
    pub fn act(&mut self, op: Op) -> Outcome {
        let (set, machine) = (self.set, &self.ground.machine);
        match op {
            Op::Map { source, offset, pages } => {
                let config = MapConfig::new().offset((offset * PAGE) as u64).length(pages * PAGE);
                let mapped = set.map(machine.source(source % self.model.sources.len()), &config);
                Outcome::Map(mapped.map(|mapped| mapped.extent()))
            }
            Op::Remove { part } => match self.model.nth_part(part) {
                None => Outcome::Done,
                Some(part) => {
                    let handle = set.part_at(part.start()).unwrap();
                    Outcome::Remove(set.remove(handle))
                }
            },
            Op::RemoveRange { segment, delta, length_bytes } => {
                let start = self.model.range_start(segment, delta);
                Outcome::Remove(set.remove_range(start, length_bytes))
            }
            Op::Coalesce(coalescing) => {
                set.set_coalescing(coalescing);
                Outcome::Done
            }
            Op::Pin { part } => {
                if let Some(part) = self.model.nth_part(part) {
                    self.pins.push(set.part_at(part.end() - 1).unwrap());
                }
                Outcome::Done
            }
            Op::Unpin => {
                if !self.pins.is_empty() {
                    self.pins.remove(0);
                }
                Outcome::Done
            }
            Op::Occupy { segment } => {
                if let Some(page) = self.model.free_page_behind(machine, segment) {
                    machine.occupy(page);
                }
                Outcome::Done
            }
            Op::Vacate => {
                self.model.occupied.iter().for_each(|page| machine.vacate(*page));
                Outcome::Done
            }
        }
    }

    /// Does `op` to the set and to the model, and compares everything.
    pub fn step(&mut self, op: Op) -> Outcome {
        let expected = self.model.expect(op, &self.ground.machine);
        let outcome = self.act(op);
        let told = self.model.apply(op, outcome, &expected, &self.ground.machine);
        self.check(&told);
        outcome
    }

    pub fn take_log(&self) -> Vec<Told> {
        core::mem::take(&mut *self.ground.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Compares the whole state of set, sources and address space with the model.
    pub fn check(&self, told: &[Told]) {
        let Self { set, model, ground, .. } = self;
        assert_eq!(self.take_log(), told, "events");
        let parts: Vec<Extent> = set.parts().map(|part| part.extent()).collect();
        assert!(set.extents().eq(parts.iter().copied()), "extents");
        assert_eq!(parts, model.parts(), "parts");
        assert_eq!(set.segment_count(), model.segments.len(), "segments");
        assert_eq!(set.granularity(), model.granularity(), "granularity");
        for part in &parts {
            for address in [part.start(), part.end() - 1] {
                let found = set.part_at(address).unwrap();
                assert_eq!((found.extent(), found.current_extent()), (*part, *part));
            }
            let beside = [part.start() - 1, part.end()].into_iter().filter(|at| !model.has(*at));
            beside.for_each(|at| assert!(set.part_at(at).is_err(), "{at:#x} is found"));
        }
        self.check_machine();
        assert_eq!(ground.machine.pages(), model.pages(&ground.machine), "address space");
    }

    fn check_machine(&self) {
        for (index, source) in self.model.sources.iter().enumerate() {
            let handle = self.ground.machine.source(index);
            assert_eq!(handle.length_bytes(), Ok(source.length_bytes), "length of source {index}");
            let mut mappings = handle.mappings();
            mappings.sort_unstable();
            let of_source = self.model.segments.iter().filter(|segment| segment.source == index);
            let expected: Vec<_> = of_source.map(|segment| (segment.extent, segment.offset)).collect();
            assert_eq!(mappings, expected, "mappings of source {index}");
        }
    }
}

/// Returns a random operation; `busy` makes removals as likely as maps.
pub fn random_op(random: &mut Random) -> Op {
    let coalescings = [Coalescing::None, Coalescing::Opportunistic, Coalescing::Full];
    match random.below(16) {
        0..=5 => Op::Map { source: random.below(5), offset: random.below(7), pages: random.below(4) },
        6 | 7 => Op::Remove { part: random.below(6) },
        8..=10 => Op::RemoveRange {
            segment: random.below(6),
            delta: random.below(3 * PAGE) as isize - PAGE as isize,
            length_bytes: random.of(&[0, 1, 1, 1, PAGE, PAGE, 2 * PAGE, 3 * PAGE + 1, usize::MAX]),
        },
        11 => Op::Coalesce(random.of(&coalescings)),
        12 => Op::Pin { part: random.below(6) },
        13 => Op::Unpin,
        14 => Op::Occupy { segment: random.below(6) },
        _ => {
            if random.one_in(3) {
                Op::Vacate
            } else {
                Op::Coalesce(random.of(&coalescings))
            }
        }
    }
}

pub fn is_free(pages: &[(Extent, Page)], window: Extent) -> bool {
    pages.iter().all(|(run, _)| !run.overlaps(window))
}
