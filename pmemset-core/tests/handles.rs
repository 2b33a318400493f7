//! Handles to ranges and to whole parts against a model that keeps each of them as an interval; `after` and `close`.

use std::collections::BTreeMap;

use pmemset_core::error::{LookupError, MapError, RemoveError};
use pmemset_core::sim::{Call, Fault, Hardware, Machine, Medium, Page, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{Config, Errno, Extent, Granularity, MapConfig, Part, Reservation, Set};

const PAGE: usize = 64;
const ROOM: usize = 20;
const CAPACITY: usize = 12;

type Inside<'r> = Set<'static, &'r Reservation<'static, SimPlatform>, SimSource>;

/// A segment; `head` where it begins a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    extent: Extent,
    page: usize,
    head: bool,
}

/// A handle, as what it pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// The part that has the address.
    Whole(usize),
    /// The segments that the range touches.
    Range(Extent),
}

#[derive(Default)]
struct Model {
    segments: Vec<Segment>,
    handles: Vec<Held>,
}

impl Model {
    fn parts(&self) -> Vec<Extent> {
        let mut parts: Vec<Extent> = Vec::new();
        for segment in &self.segments {
            match parts.last_mut().filter(|_| !segment.head) {
                Some(part) => *part = Extent::between(part.start(), segment.extent.end()).unwrap(),
                None => parts.push(segment.extent),
            }
        }
        parts
    }

    fn part_at(&self, address: usize) -> Option<Extent> {
        self.parts().into_iter().find(|part| part.contains(address))
    }

    /// Returns the first address of a range at which nothing is mapped.
    fn missing(&self, range: Extent) -> Option<usize> {
        let mapped = |at: &usize| self.segments.iter().any(|segment| segment.extent.contains(*at));
        (range.start()..range.end()).find(|at| !mapped(at))
    }

    /// Returns what keeps a range from being removed, but for handle number `own`.
    fn in_the_way(&self, range: Extent, own: Option<usize>) -> Option<RemoveError> {
        let others = || self.handles.iter().enumerate().filter(move |(index, _)| Some(*index) != own);
        self.segments.iter().filter(|segment| segment.extent.overlaps(range)).find_map(|segment| {
            let part = self.part_at(segment.extent.start()).unwrap();
            let whole = |held: &Held| matches!(held, Held::Whole(at) if part.contains(*at));
            let uses = |held: &Held| matches!(held, Held::Range(range) if range.overlaps(segment.extent));
            if others().any(|(_, held)| whole(held)) {
                return Some(RemoveError::Pinned { part });
            }
            others().any(|(_, held)| uses(held)).then_some(RemoveError::InUse { segment: segment.extent })
        })
    }

    /// Takes the segments out that a range touches; what follows one in its part goes on as a part.
    fn remove(&mut self, range: Extent) {
        let mut gone_before = false;
        let segments = core::mem::take(&mut self.segments);
        for mut segment in segments {
            if segment.extent.overlaps(range) {
                gone_before |= true;
                continue;
            }
            segment.head |= gone_before;
            gone_before = false;
            self.segments.push(segment);
        }
    }
}

/// Returns the addresses that a handle's removal takes out: all of the part, or of each segment that it touches.
fn pinned(model: &Model, held: Held) -> Extent {
    match held {
        Held::Whole(at) => model.part_at(at).unwrap(),
        Held::Range(range) => range,
    }
}

struct World<'s, 'r> {
    set: &'s Inside<'r>,
    source: SimSource,
    space: Extent,
    model: Model,
    handles: Vec<Part<&'s Inside<'r>>>,
    seen: BTreeMap<&'static str, usize>,
}

impl World<'_, '_> {
    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Maps a page that is not mapped yet: anywhere, or behind a part.
    fn map(&mut self, random: &mut Random) {
        let mapped = |page: &usize| self.model.segments.iter().any(|segment| segment.page == *page);
        let Some(page) = (0..ROOM).find(|page| !mapped(page)) else { return };
        let config = MapConfig::new().offset((page * PAGE) as u64).length(PAGE);
        let parts = self.model.parts();
        let behind = (!parts.is_empty() && random.one_in(2)).then(|| random.of(&parts));
        let config = behind.map_or(config, |part| config.after(part.start() + random.below(part.length_bytes())));
        let result = self.set.map(self.source.clone(), &config);
        let taken = |at: usize| !self.space.contains(at) || self.model.part_at(at).is_some();
        match (result, behind) {
            (Err(error), _) if self.model.segments.len() == CAPACITY => {
                assert_eq!(error, MapError::TableFull { capacity: CAPACITY });
                self.note("full");
            }
            (Err(error), Some(part)) => {
                assert!(taken(part.end()), "there is room behind {part}: {error}");
                assert_eq!(error, MapError::CannotCoalesce { at: part.end() });
                self.note("no room behind");
            }
            (Err(error), None) => panic!("{error}"),
            (Ok(handle), behind) => {
                let extent = handle.extent();
                assert!(behind.is_none_or(|part| part.end() == extent.start() && !taken(part.end())));
                let head = behind.is_none();
                self.model.segments.push(Segment { extent, page, head });
                self.model.segments.sort_by_key(|segment| segment.extent.start());
                assert_eq!(handle.part_extent(), self.model.part_at(extent.start()).unwrap());
                self.note(if head { "mapped" } else { "continued" });
                if random.one_in(3) {
                    self.model.handles.push(Held::Range(extent));
                    self.handles.push(handle);
                }
            }
        }
    }

    fn pin(&mut self, random: &mut Random) {
        let start = self.space.start() + random.below(self.space.length_bytes());
        if random.one_in(3) {
            match (self.set.part_at(start), self.model.part_at(start)) {
                (Ok(handle), Some(part)) => {
                    assert_eq!((handle.extent(), handle.is_whole()), (part, true));
                    self.model.handles.push(Held::Whole(start));
                    self.handles.push(handle);
                    self.note("whole");
                }
                (result, part) => {
                    assert_eq!(part, None);
                    assert_eq!(result.err(), Some(LookupError::NotMapped { address: start }));
                }
            }
            return;
        }
        let range = Extent::new(start, 1 + random.below(3 * PAGE)).unwrap();
        match (self.set.pin(range), self.model.missing(range)) {
            (Ok(handle), None) => {
                assert_eq!((handle.extent(), handle.is_whole()), (range, false));
                self.model.handles.push(Held::Range(range));
                self.handles.push(handle);
                self.note("range");
            }
            (result, address) => {
                let refused = result.err().map(|error| matches!(error, LookupError::NotMapped { .. }));
                assert_eq!((refused, address.is_some()), (Some(true), true), "{range}");
                self.note("not mapped");
            }
        }
    }

    fn drop_one(&mut self, random: &mut Random) {
        if !self.handles.is_empty() {
            let index = random.below(self.handles.len());
            self.handles.remove(index);
            self.model.handles.remove(index);
        }
    }

    /// Removes what a handle pins, which comes back where something is in the way.
    fn remove_by_handle(&mut self, random: &mut Random) {
        if self.handles.is_empty() {
            return;
        }
        let index = random.below(self.handles.len());
        let held = self.model.handles[index];
        let range = pinned(&self.model, held);
        let expected = self.model.in_the_way(range, Some(index));
        match (self.set.try_remove(self.handles.remove(index)), expected) {
            (Ok(()), None) => {
                self.model.handles.remove(index);
                self.model.remove(range);
                self.note(if matches!(held, Held::Range(_)) { "removed by range" } else { "removed by part" });
            }
            (Err(refused), Some(expected)) => {
                assert_eq!(refused.error, expected, "{held:?}");
                self.handles.insert(index, refused.part);
                self.note("handle refused");
            }
            (result, expected) => panic!("{held:?}: {result:?}, expected {expected:?}"),
        }
    }

    fn remove_range(&mut self, random: &mut Random) {
        let start = self.space.start() + random.below(self.space.length_bytes());
        let range = Extent::new(start, 1 + random.below(3 * PAGE)).unwrap();
        let expected = self.model.in_the_way(range, None);
        assert_eq!(self.set.remove_range(range.start(), range.length_bytes()).err(), expected, "{range}");
        if expected.is_none() {
            self.model.remove(range);
            self.note("range removed");
        } else {
            self.note("range refused");
        }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0..=4 => self.map(random),
            5 | 6 => self.pin(random),
            7 | 8 => self.drop_one(random),
            9 | 10 => self.remove_by_handle(random),
            _ => self.remove_range(random),
        }
        assert!(self.set.extents().eq(self.model.parts()), "{:?}", self.model.segments);
        assert_eq!(self.set.segment_count(), self.model.segments.len());
    }
}

#[test]
fn handles_pin_what_the_interval_model_says() {
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 0..200 {
        println!("seed {seed}");
        let machine = Machine::new(Hardware::new().page_bytes(PAGE).without_tracking());
        let source = machine.add_source(Medium::new((ROOM * PAGE) as u64).granularity(Granularity::CacheLine));
        let mut reservation = Reservation::with_capacity(machine.platform(), ROOM * PAGE, ROOM).unwrap();
        let set: Inside<'_> = Set::with_capacity(&reservation, Config::new(Granularity::Page), CAPACITY);
        let mut random = Random::new(seed);
        let (space, model) = (reservation.extent(), Model::default());
        let mut world = World { set: &set, source, space, model, handles: Vec::new(), seen: BTreeMap::new() };
        for _ in 0..150 {
            world.step(&mut random);
        }
        world.seen.iter().for_each(|(what, times)| *seen.entry(what).or_default() += times);
        drop(world);
        set.close().unwrap();
        assert_eq!(machine.pages(), [(space, Page::Reserved)], "closed");
        reservation.close().unwrap();
    }
    println!("{seen:?}");
    let all = [
        "mapped",
        "continued",
        "no room behind",
        "full",
        "whole",
        "range",
        "not mapped",
        "removed by range",
        "removed by part",
        "handle refused",
        "range removed",
        "range refused",
    ];
    let rare: Vec<_> = all.into_iter().filter(|what| seen.get(what).is_none_or(|times| *times < 20)).collect();
    assert_eq!(rare, [""; 0]);
}

#[test]
fn after_continues_the_part_of_an_address_or_nothing() {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE).without_tracking());
    let source = machine.add_source(Medium::new((ROOM * PAGE) as u64).granularity(Granularity::CacheLine));
    let set: Set<'_, _, _> =
        Set::with_capacity(machine.platform(), Config::new(Granularity::Page).reserve_ahead(4 * PAGE), CAPACITY);
    let page = |index: usize| MapConfig::new().offset((index * PAGE) as u64).length(PAGE);
    let first = set.map(source.clone(), &page(0)).unwrap().extent();
    let second = set.map(source.clone(), &page(1)).unwrap().extent();
    // An address in the middle of the first part, not of the one that was mapped last.
    let more = set.map(source.clone(), &page(2).after(first.start() + 7)).unwrap();
    assert_eq!(more.extent().start(), first.end());
    assert_eq!(more.part_extent(), Extent::between(first.start(), more.extent().end()).unwrap());
    let nowhere = set.map(source.clone(), &page(3).after(first.start() - 1)).map(|_| ());
    assert_eq!(nowhere, Err(MapError::NoPartAt { address: first.start() - 1 }));
    // The mode of the set is what it was: the next one is a part of its own.
    let apart = set.map(source.clone(), &page(3)).unwrap().part_extent();
    assert_eq!(apart.length_bytes(), PAGE);
    let behind = Extent::new(second.end() + 3 * PAGE, PAGE).unwrap();
    for index in 4..7 {
        drop(set.map(source.clone(), &page(index).after(second.start())).unwrap());
    }
    if machine.pages().iter().all(|(run, _)| !run.overlaps(behind)) {
        machine.occupy(behind);
    }
    let refused = set.map(source, &page(7).after(second.start())).map(|_| ());
    assert_eq!(refused, Err(MapError::CannotCoalesce { at: behind.start() }));
    assert_eq!(set.segment_count(), 7, "nothing was mapped elsewhere");
}

#[test]
fn close_flushes_unmaps_and_reports() {
    for fault in [None, Some(Call::DeepFlush), Some(Call::Release)] {
        let machine = Machine::new(Hardware::new().page_bytes(PAGE));
        let source = machine.add_source(Medium::new((ROOM * PAGE) as u64).granularity(Granularity::CacheLine));
        let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), CAPACITY);
        let part = set.map(source.clone(), &MapConfig::new().length(2 * PAGE)).unwrap();
        let segment = part.extent();
        // A store that is left in the cache.
        part.write_with(0, &[7; 8], pmemset_core::CopyFlags::NOFLUSH).unwrap();
        assert_eq!(source.unsure_lines(), [0]);
        drop(part);
        if let Some(call) = fault {
            machine.fail(Fault::nth(0).only(call).errno(Errno::IO));
        }
        let closed = set.close();
        let cause = Errno::IO;
        let expected = match fault {
            None => Ok(()),
            Some(Call::DeepFlush) => Err(RemoveError::DeepFlush { segment, cause }),
            Some(_) => Err(RemoveError::Unmap { segment, removed: None, cause }),
        };
        assert_eq!(closed, expected);
        // What was still mapped has been unmapped by the drop that follows.
        assert_eq!(source.mappings(), []);
        assert!(source.unsure_lines().is_empty(), "flushed before the failure: {fault:?}");
        assert!(machine.pages().is_empty(), "the addresses are given back: {:?}", machine.pages());
    }
}
