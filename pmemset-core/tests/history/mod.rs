//! Lives of a program on four sources: without checks, with a record, and with each policy on bad blocks.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use pmemset_core::error::{MapError, RemoveError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::observer::from_fn;
use pmemset_core::sim::{Call, Fault, Hardware, Machine, Medium, Page, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{
    Answer, BadBlockPolicy, BadBlocks, Checked, Config, Event, Extent, Granularity, Health as _, MapConfig, Observer,
    PartState, PartStates, Set, ShutdownRecord, Source, Span,
};

const PAGE: usize = 256;
/// Bad blocks are made of units of so many bytes.
const UNIT: usize = 64;
const CAPACITY: usize = 4;
const PAGES: usize = 8;
const POLICIES: [BadBlockPolicy; 4] =
    [BadBlockPolicy::Off, BadBlockPolicy::Off, BadBlockPolicy::IfKnown, BadBlockPolicy::Required];

type Handle = Arc<Checked<SimSource, SpinRwLock>>;
type HistorySet<'s> = Set<'s, SimPlatform, Handle, &'s dyn Observer<Handle>>;

/// What the observer does about bad blocks and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Clears,
    ClearsTheFirst,
    Ignores,
    Refuses,
    ClearsAndRefuses,
    KeepsNoRecord,
}

const MOODS: [Mood; 6] =
    [Mood::Clears, Mood::ClearsTheFirst, Mood::Ignores, Mood::Refuses, Mood::ClearsAndRefuses, Mood::KeepsNoRecord];

/// What the observer has done since it was last looked at.
#[derive(Default)]
struct Seen {
    mood: Option<Mood>,
    told: usize,
    cleared: Vec<Span>,
    could_not_clear: bool,
    added: usize,
    removed: usize,
}

/// A source as the model has it.
struct Track {
    bad: BTreeSet<usize>,
    length_bytes: usize,
    /// What the observer keeps of the record, and the number that it came with.
    kept: (ShutdownRecord, u64),
    /// What the record has to say.
    references: usize,
}

/// A machine that outlives its programs.
pub(crate) struct History {
    machine: Machine,
    tracks: Mutex<Vec<Track>>,
    /// Address space that the platform has not taken back.
    leaked_bytes: AtomicUsize,
}

/// One segment of a set: extent, source, offset.
type Segment = (Extent, usize, usize);

struct Life<'h, 's, 'o> {
    history: &'h History,
    set: &'s HistorySet<'o>,
    sources: &'s [Handle],
    seen: &'s Mutex<Seen>,
    segments: Vec<Segment>,
    states: PartStates,
}

impl History {
    pub(crate) fn new(random: &mut Random) -> Self {
        let machine = Machine::new(Hardware::new().page_bytes(PAGE).address_space_bytes(64 * PAGE));
        let mut tracks = Vec::new();
        for index in 0..POLICIES.len() {
            let pages = if random.one_in(3) { 2 } else { PAGES };
            let medium = Medium::new((pages * PAGE) as u64).growing_to((PAGES * PAGE) as u64);
            let _ = machine.add_source(medium.device(b"dimm", 7 + index as u64));
            let kept = (ShutdownRecord::new(), 0);
            tracks.push(Track { bad: BTreeSet::new(), length_bytes: pages * PAGE, kept, references: 0 });
        }
        Self { machine, tracks: Mutex::new(tracks), leaked_bytes: AtomicUsize::new(0) }
    }

    /// Runs a program of some steps, some with a failing call; it ends with everything removed, or dies.
    pub(crate) fn live(&mut self, random: &mut Random, steps: usize, told: &mut dyn FnMut(String)) {
        self.run(random, told, |life, random, told| {
            for _ in 0..steps {
                let nth = random.one_in(4).then(|| random.below(9) as u64);
                life.step(random, nth, told);
            }
            if random.one_in(2) {
                while !life.segments.is_empty() {
                    life.remove(0, None, told);
                }
            }
        });
    }

    /// Runs a program whose last step has a failing call.
    pub(crate) fn live_and_fail(&mut self, random: &mut Random, steps: usize, nth: u64, told: &mut dyn FnMut(String)) {
        self.run(random, told, |life, random, told| {
            (0..steps).for_each(|_| life.step(random, None, &mut |_| {}));
            life.step(random, Some(nth), told);
        });
    }

    fn run(
        &mut self,
        random: &mut Random,
        told: &mut dyn FnMut(String),
        program: impl FnOnce(&mut Life<'_, '_, '_>, &mut Random, &mut dyn FnMut(String)),
    ) {
        let seen = Mutex::new(Seen::default());
        let tracks = &self.tracks;
        let observer = from_fn(|event: &Event<'_, Handle>| observe(&seen, tracks, event));
        let sources: Vec<Handle> = (0..POLICIES.len()).map(|index| self.source(index)).collect();
        let states = random.of(&[PartStates::DEFAULT, PartStates::all()]);
        let observer: &dyn Observer<Handle> = &observer;
        let config = Config::new(Granularity::CacheLine).observer(observer).acceptable_states(states);
        let set = HistorySet::with_capacity(self.machine.platform(), config, CAPACITY);
        let (sources, seen) = (&sources, &seen);
        let mut life = Life { history: self, set: &set, sources, seen, segments: Vec::new(), states };
        program(&mut life, random, told);
        drop(set);
        // What was mapped is gone, and its records say that it was not flushed.
        assert_eq!(self.pages(Page::Mapped), 0, "something is left");
        assert_eq!(self.pages(Page::Reserved), self.leaked_bytes.load(Ordering::Relaxed), "something is left");
        self.check_sources(&[]);
    }

    fn source(&self, index: usize) -> Handle {
        let source = Checked::new(self.machine.source(index).reopen()).bad_block_detection(POLICIES[index]);
        let mut tracks = self.tracks.lock().unwrap();
        // Numbers begin anew with each program.
        tracks[index].kept.1 = 0;
        Arc::new(if index == 0 { source } else { source.shutdown_record(tracks[index].kept.0) })
    }

    /// Returns how many bytes of the address space are so.
    fn pages(&self, so: Page) -> usize {
        let runs = self.machine.pages().into_iter().filter(|(_, page)| *page == so);
        runs.map(|(run, _)| run.length_bytes()).sum()
    }

    fn check_sources(&self, segments: &[Segment]) {
        for (index, track) in self.tracks.lock().unwrap().iter().enumerate() {
            let source = self.machine.source(index);
            assert_eq!(source.length_bytes(), Ok(track.length_bytes as u64), "length of source {index}");
            let mut mappings = source.mappings();
            mappings.sort_unstable();
            let of_source = segments.iter().filter(|segment| segment.1 == index);
            let mut expected: Vec<_> = of_source.map(|segment| (segment.0, segment.2)).collect();
            expected.sort_unstable();
            assert_eq!(mappings, expected, "mappings of source {index}");
            assert_eq!(bad_units(&source), track.bad, "bad blocks of source {index}");
            let references = usize::try_from(track.kept.0.references()).unwrap();
            assert_eq!(references, track.references, "record of source {index}");
        }
    }
}

fn bad_units(source: &SimSource) -> BTreeSet<usize> {
    let whole = Span::new(0, (PAGES * PAGE) as u64).unwrap();
    let mut blocks = [whole; PAGES * PAGE / UNIT];
    match source.bad_blocks(whole, &mut blocks) {
        BadBlocks::None => BTreeSet::new(),
        BadBlocks::Listed { count, more: false } => blocks[..count].iter().flat_map(|block| units(*block)).collect(),
        other => panic!("{other:?}"),
    }
}

fn units(span: Span) -> core::ops::Range<usize> {
    let unit = |at: u64| usize::try_from(at).unwrap() / UNIT;
    unit(span.start())..unit(span.end())
}

fn observe(seen: &Mutex<Seen>, tracks: &Mutex<Vec<Track>>, event: &Event<'_, Handle>) -> Answer {
    let mut seen = seen.lock().unwrap();
    let mood = seen.mood;
    match *event {
        Event::BadBlock { source, block } => {
            let track = &mut tracks.lock().unwrap()[source.source().index()];
            assert!(units(block).all(|unit| track.bad.contains(&unit)), "{block} is not bad");
            seen.told += 1;
            let clears = match mood {
                Some(Mood::Refuses) => return Answer::Refuse,
                Some(Mood::Ignores) => false,
                Some(Mood::ClearsTheFirst) => seen.told == 1,
                _ => true,
            };
            if clears {
                match source.clear_bad_block(block) {
                    Ok(()) => {
                        track.bad.retain(|unit| !units(block).contains(unit));
                        seen.cleared.push(block);
                    }
                    Err(_) => seen.could_not_clear = true,
                }
            }
        }
        Event::BadBlocksCleared { .. } if mood == Some(Mood::ClearsAndRefuses) => return Answer::Refuse,
        Event::SdsUpdate { source, record, sequence } => {
            let kept = &mut tracks.lock().unwrap()[source.source().index()].kept;
            if mood == Some(Mood::KeepsNoRecord) {
                return Answer::Refuse;
            }
            if sequence > kept.1 {
                *kept = (*record, sequence);
            }
        }
        Event::PartAdd { .. } => seen.added += 1,
        Event::PartRemove { .. } => seen.removed += 1,
        _ => {}
    }
    Answer::Proceed
}

impl Life<'_, '_, '_> {
    fn step(&mut self, random: &mut Random, nth: Option<u64>, told: &mut dyn FnMut(String)) {
        match random.below(8) {
            0 if nth.is_none() => self.damage(random),
            1 | 2 if !self.segments.is_empty() => self.remove(random.below(self.segments.len()), nth, told),
            _ => {
                if random.one_in(3) {
                    self.damage(random);
                }
                self.map(random, nth, told);
            }
        }
    }

    fn tracks(&self) -> std::sync::MutexGuard<'_, Vec<Track>> {
        self.history.tracks.lock().unwrap()
    }

    fn damage(&self, random: &mut Random) {
        let index = random.below(POLICIES.len());
        let mut tracks = self.tracks();
        let count = tracks[index].length_bytes / UNIT;
        for _ in 0..1 + random.below(10) {
            let start = random.below(count);
            let block = Span::new((start * UNIT) as u64, ((1 + random.below(3).min(count - start - 1)) * UNIT) as u64);
            self.history.machine.source(index).damage(block.unwrap());
            tracks[index].bad.extend(units(block.unwrap()));
        }
    }

    /// Does something while the call number `nth` fails; returns the call that did.
    fn failing<T>(&self, nth: Option<u64>, act: impl FnOnce() -> T) -> (T, Option<Call>) {
        let machine = &self.history.machine;
        let before = machine.failed_calls();
        if let Some(nth) = nth {
            machine.fail(Fault::nth(nth));
        }
        let outcome = act();
        machine.repair();
        let failed = if machine.failed_calls() > before { machine.last_failed_call() } else { None };
        (outcome, failed)
    }

    fn map(&mut self, random: &mut Random, nth: Option<u64>, told: &mut dyn FnMut(String)) {
        let (index, mood) = (random.below(POLICIES.len()), random.of(&MOODS));
        let (page, count) = (random.below(PAGES), 1 + random.below(3));
        let (offset, length) = (page * PAGE, count.min(PAGES - page) * PAGE);
        *self.seen.lock().unwrap() = Seen { mood: Some(mood), ..Seen::default() };
        let (live, before) = (self.mapped(index), self.tracks()[index].references);
        let range = Span::new(offset as u64, length as u64).unwrap();
        let bad = units(range).any(|unit| self.tracks()[index].bad.contains(&unit));
        let config = MapConfig::new().offset(offset as u64).length(length);
        let (outcome, failed) = self.failing(nth, || {
            let mapped = self.set.map(Arc::clone(&self.sources[index]), &config);
            mapped.map(|mapped| (mapped.extent(), mapped.shutdown_verdict()))
        });
        // What was claimed in vain and can't be given back stays reserved for ever.
        if failed == Some(Call::Release) {
            self.history.leaked_bytes.fetch_add(length, Ordering::Relaxed);
        }
        let seen = core::mem::take(&mut *self.seen.lock().unwrap());
        let state = match (live, before) {
            _ if index == 0 => None,
            (1.., _) => Some(PartState::OkButAlreadyOpen),
            (0, 0) => Some(PartState::Ok),
            (0, _) => Some(PartState::OkButInterrupted),
        };
        let name = match outcome {
            Ok((mapped, verdict)) => {
                let quiet = matches!(failed, None | Some(Call::BadBlocks | Call::ClearBadBlock | Call::Release));
                assert!(quiet, "{failed:?} is swallowed");
                assert_eq!(verdict.map(|verdict| verdict.state).is_some(), state.is_some());
                if live == 0 {
                    assert_eq!(verdict.map(|verdict| verdict.state), state);
                }
                let left = units(range).any(|unit| self.tracks()[index].bad.contains(&unit));
                let unknown = failed == Some(Call::BadBlocks) && POLICIES[index] == BadBlockPolicy::IfKnown;
                assert!(!left || POLICIES[index] == BadBlockPolicy::Off || unknown, "mapped over a bad block");
                self.segments.push((mapped, index, offset));
                let mut tracks = self.tracks();
                tracks[index].length_bytes = tracks[index].length_bytes.max(offset + length);
                if index > 0 {
                    tracks[index].references = if live == 0 { 1 } else { before + 1 };
                }
                state.map_or("Ok".to_owned(), |state| format!("{state:?}"))
            }
            Err(error) if failed.is_some() => {
                assert_ne!(error.code(), 0);
                "failed".to_owned()
            }
            Err(error) => {
                self.expect_refusal(error, (index, mood, state), (range, bad), &seen);
                format!("{error:?}")
            }
        };
        assert_eq!(seen.added, usize::from(outcome.is_ok()));
        assert!(bad && POLICIES[index] != BadBlockPolicy::Off || seen.told == 0, "a block that is not there is told");
        if !seen.cleared.is_empty() {
            told("cleared".to_owned());
        }
        if failed.is_some() {
            told("failed".to_owned());
        }
        told(name.split([' ', '(']).next().unwrap_or_default().to_owned());
        self.check();
    }

    /// Checks that a map that no call has made fail had to be refused so.
    fn expect_refusal(
        &self,
        error: MapError,
        (index, mood, state): (usize, Mood, Option<PartState>),
        (range, bad): (Span, bool),
        seen: &Seen,
    ) {
        let left = units(range).any(|unit| self.tracks()[index].bad.contains(&unit));
        let taken = self.segments.iter().any(|(extent, source, offset)| {
            *source == index && Span::new(*offset as u64, extent.length_bytes() as u64).unwrap().overlaps(range)
        });
        let right = match error {
            MapError::UndesirablePartState { verdict } => {
                Some(verdict.state) == state && !self.states.accepts(verdict.state)
            }
            MapError::BadBlock { block } => {
                bad && left && block.overlaps(range) && (mood != Mood::Clears || seen.could_not_clear)
            }
            MapError::ClearedBlocksRefused => bad && !left && mood == Mood::ClearsAndRefuses,
            MapError::RecordNotKept => index > 0 && mood == Mood::KeepsNoRecord,
            MapError::TableFull { .. } => self.segments.len() == CAPACITY,
            MapError::Map { .. } => taken,
            MapError::FailedBefore { .. } => self.has_failed(index),
            _ => false,
        };
        assert!(right, "{error:?}: {mood:?}, {state:?}, bad: {bad}, left: {left}");
    }

    fn has_failed(&self, index: usize) -> bool {
        self.sources[index].failed_write_back().first().is_some()
    }

    fn mapped(&self, index: usize) -> usize {
        self.segments.iter().filter(|segment| segment.1 == index).count()
    }

    fn remove(&mut self, at: usize, nth: Option<u64>, told: &mut dyn FnMut(String)) {
        let (extent, index, _) = self.segments[at];
        *self.seen.lock().unwrap() = Seen::default();
        let part = self.set.part_at(extent.start()).unwrap();
        let lost = self.has_failed(index);
        let (outcome, failed) = self.failing(nth, || self.set.try_remove(part));
        let outcome = match outcome {
            Err(refused) if lost => {
                // What was lost stays lost: nothing is asked, and the record stays dirty.
                assert!(failed.is_none() && matches!(refused.error, RemoveError::FailedBefore { .. }));
                self.set.discard(refused.part).unwrap();
                self.segments.remove(at);
                assert_eq!(self.seen.lock().unwrap().removed, 1);
                told("Discarded".to_owned());
                return self.check();
            }
            outcome => outcome.map_err(|refused| refused.error),
        };
        assert!(!lost, "a source that has lost bytes was flushed");
        match outcome {
            Ok(()) => {
                assert_eq!(failed, None, "a failure is swallowed");
                self.segments.remove(at);
                if index > 0 {
                    self.tracks()[index].references -= 1;
                }
                told("Removed".to_owned());
            }
            Err(error) => {
                assert!(failed.is_some() && matches!(error, RemoveError::Unmap { .. } | RemoveError::DeepFlush { .. }));
                told("failed".to_owned());
            }
        }
        assert_eq!(self.seen.lock().unwrap().removed, usize::from(outcome.is_ok()));
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.set.segment_count(), self.segments.len());
        let mut extents: Vec<Extent> = self.segments.iter().map(|segment| segment.0).collect();
        extents.sort_unstable();
        assert_eq!(self.set.parts().map(|part| part.extent()).collect::<Vec<_>>(), extents);
        let mapped_bytes = extents.iter().map(|extent| extent.length_bytes()).sum();
        assert_eq!(self.history.pages(Page::Mapped), mapped_bytes);
        self.history.check_sources(&self.segments);
    }
}
