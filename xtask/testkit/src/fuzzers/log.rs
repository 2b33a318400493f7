//! Images of logs that are damaged in one place: opening one finds what was acknowledged, or says that it is damaged.

use core::ops::Range;

use pmemset_core::sim::{Hardware, Machine, Medium, SimPlatform, SimSource};
use pmemset_core::support::Random;
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Source};
use pmemset_log::{Log, OnDamage, OpenError, Options, Table};

const PAGE: usize = 512;
const SEGMENTS: usize = 8;
/// Two pages for header, state and notes, which are what a bad block takes.
const HEAD_BYTES: usize = 8192;
const HEAD_PAGE_BYTES: usize = 4096;
const RECORD_HEAD_BYTES: usize = 24;
const SEGMENT_HEAD_BYTES: usize = 40;
/// Where in the head of a segment it says whether there is a next one.
const MARK_AT: usize = 32;
/// What a segment has for records.
const DATA_BYTES: u64 = PAGE as u64 - 64;
/// Where the value of the log's state is.
const STATE_AT: usize = 512 + 16;

type SimLog = Log<'static, SimPlatform, SimSource>;

/// What a log has to hold.
#[derive(Clone, Debug, Default)]
struct Model {
    first: u64,
    /// The payloads of all records that there ever were, and are not truncated.
    payloads: Vec<Vec<u8>>,
    /// How many of them are durable, and how many the log's own state says are.
    durable: u64,
    stated: u64,
    note: Vec<u8>,
}

fn try_open(machine: &Machine, on_damage: OnDamage) -> Result<SimLog, OpenError> {
    let config = Config::new(Granularity::Page).reserve_ahead(8 * PAGE);
    let set = Set::with_capacity(machine.platform(), config, SEGMENTS + 1);
    let options = Options::new().segment_bytes(PAGE).on_damage(on_damage);
    Log::open(set, machine.source(0).reopen(), &options, Table::on_heap(SEGMENTS))
}

fn image(machine: &Machine) -> Vec<u8> {
    let source = machine.source(0);
    source.bytes(0, source.length_bytes().unwrap() as usize)
}

fn overwrite(machine: &Machine, bytes: &[u8]) {
    machine.source(0).truncate(bytes.len() as u64);
    let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 1);
    let part = set.map(machine.source(0).reopen(), &MapConfig::new()).unwrap();
    part.write_with(0, bytes, CopyFlags::empty()).unwrap();
}

/// A random call of a log that has room for what it does.
fn call(random: &mut Random, log: &SimLog, model: &mut Model) {
    let next = model.payloads.len() as u64 + 1;
    match random.below(12) {
        0 => {
            let first = model.first + random.below((next - model.first) as usize + 1) as u64;
            log.drop_before(first).unwrap();
            if first > model.first {
                // What is not durable yet becomes so before it is dropped.
                model.durable = if first > model.durable + 1 { next - 1 } else { model.durable };
                (model.first, model.stated) = (first, model.stated.max(model.durable));
            }
        }
        1 => {
            let last = next - 1 - random.below((next - model.first) as usize + 1) as u64;
            log.truncate_after(last).unwrap();
            if last + 1 < next {
                model.payloads.truncate(last as usize);
                (model.durable, model.stated) = (last, last);
            }
        }
        2 => {
            model.note = (0..random.below(40)).map(|_| random.word() as u8).collect();
            log.store_note(2, &model.note).unwrap();
        }
        3 => {
            log.commit().unwrap();
            model.durable = next - 1;
        }
        kind => {
            let length = random.of(&[0, 8, 17, 40, 200, 440, 700]);
            let payload: Vec<u8> = (0..length).map(|_| random.word() as u8).collect();
            let appended = if kind < 6 { log.stage(&payload) } else { log.append(&payload) };
            if appended.is_ok() {
                model.payloads.push(payload);
                model.durable = if kind < 6 { model.durable } else { next };
            }
        }
    }
}

/// Damages `bytes` in one place.
fn damage(random: &mut Random, bytes: &mut Vec<u8>, older: &[u8]) -> &'static str {
    let segments = (bytes.len() - HEAD_BYTES) / PAGE;
    let segment = |at: usize| HEAD_BYTES + at * PAGE..HEAD_BYTES + (at + 1) * PAGE;
    let (at, other) = (random.below(segments.max(1)), random.below(segments.max(1)));
    let line = random.below(bytes.len() / 64) * 64;
    match random.below(10) {
        0 => {
            let bit = random.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            "a bit"
        }
        1 => {
            let length = 1 + random.below(64);
            bytes[line..].iter_mut().take(length).for_each(|byte| *byte = random.word() as u8);
            "garbage"
        }
        2 => {
            bytes[line..].iter_mut().take(random.of(&[64, 256, 512])).for_each(|byte| *byte = 0);
            "zeros"
        }
        3 => {
            let page = random.below(2) * HEAD_PAGE_BYTES;
            bytes[page..page + HEAD_PAGE_BYTES].fill(0);
            "a page of the head, cleared"
        }
        4 => {
            bytes[..HEAD_BYTES].fill(0);
            "the head, cleared"
        }
        5 => {
            bytes.truncate(HEAD_BYTES + random.below(segments + 1) * PAGE);
            "cut short"
        }
        6 if segments > 0 => {
            let newest = live_heads(bytes).into_iter().max().map_or(HEAD_BYTES, |(_, at)| at);
            bytes[newest..newest + random.of(&[8, SEGMENT_HEAD_BYTES, 64, PAGE])].fill(0);
            "the front of the newest segment, cleared"
        }
        7 if segments > 1 => {
            let newest = live_heads(bytes).into_iter().max().map_or(HEAD_BYTES, |(_, at)| at);
            if let Some(before) = older.get(newest..newest + PAGE) {
                bytes[newest..newest + PAGE].copy_from_slice(before);
            }
            "an older copy of the newest segment"
        }
        8 if segments > 1 => {
            let (one, two) = (bytes[segment(at)].to_vec(), bytes[segment(other)].to_vec());
            bytes[segment(at)].copy_from_slice(&two);
            bytes[segment(other)].copy_from_slice(&one);
            "two segments, exchanged"
        }
        _ => {
            let range = if segments > 0 { segment(at) } else { 0..HEAD_PAGE_BYTES };
            if let Some(before) = older.get(range.clone()) {
                bytes[range].copy_from_slice(before);
            }
            "an older copy of a segment"
        }
    }
}

/// Returns whether one of the bytes has changed.
fn touched(before: &[u8], after: &[u8], range: Range<usize>) -> bool {
    before.get(range.clone()) != after.get(range)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Returns the numbers of the segments of a log that is whole, and where they are.
fn live_heads(image: &[u8]) -> Vec<(u64, usize)> {
    let before_start = word(image, STATE_AT + 32) >> 63;
    let oldest = (word(image, STATE_AT) / DATA_BYTES).saturating_sub(before_start);
    let segments = (HEAD_BYTES..image.len()).step_by(PAGE).filter(|at| image[*at..*at + 4] == *b"PLGS");
    segments.map(|at| (word(image, at + 8), at)).filter(|(number, _)| *number >= oldest).collect()
}

/// Returns whether nothing that is left says that record `lost` was durable: not the state, not the head of a later
/// record, nor that of a segment that was made later. That a segment is lost is told by the one before it, or the
/// state; that it is an older copy of itself, of before the next one was made, by that one, once it is used.
fn is_without_evidence(model: &Model, before: &[u8], after: &[u8], lost: u64) -> bool {
    let is_there = |at: usize| !touched(before, after, at..at + MARK_AT);
    let heads = live_heads(before);
    if lost <= model.stated || heads.iter().any(|(_, at)| !is_there(*at)) {
        return false;
    }
    // What is stored in a segment, or that there is another one, says that the one before it had a mark.
    let has_followed = |number: u64| {
        let used = |at: usize| before[at + 64..at + PAGE].iter().any(|byte| *byte != 0);
        heads.iter().any(|(other, at)| *other == number + 1 && used(*at) || *other > number + 1)
    };
    let unmarked = |at: usize| word(after, at + MARK_AT) == 0 && word(before, at + MARK_AT) != 0;
    if heads.iter().any(|(number, at)| unmarked(*at) && has_followed(*number)) {
        return false;
    }
    let word = |at: usize| word(before, at);
    let half = |at: usize| u32::from_le_bytes(before[at..at + 4].try_into().unwrap());
    let of_record = |at: &usize| {
        let (number, length) = (word(at + 8), half(at + 16) as usize);
        let is_one = number > lost && model.payloads.get(number as usize - 1).is_some_and(|one| one.len() == length);
        is_one && number - u64::from(half(at + 20)) >= lost
    };
    let mut records = (HEAD_BYTES..before.len() - RECORD_HEAD_BYTES + 1).step_by(8).filter(of_record);
    let segments = (HEAD_BYTES..before.len()).step_by(PAGE);
    let mut segments = segments.filter(|at| before[*at..*at + 4] == *b"PLGS" && word(at + 16) >= lost);
    records.all(|at| touched(before, after, at..at + RECORD_HEAD_BYTES)) && segments.all(|at| !is_there(at))
}

/// Checks what a damaged log holds; what it does not hold must have been damaged.
fn check(log: &SimLog, model: &Model, context: &str, lost: impl Fn(u64) -> bool) {
    let mut note = [0; 64];
    let length = log.load_note(2, &mut note).unwrap();
    assert_eq!(note[..length], model.note, "{context}: another note");
    assert_eq!(log.first(), model.first, "{context}");
    let mut next = log.first();
    for record in log.iter(0) {
        let record = record.expect("opening has looked at it");
        assert_eq!(record.sequence, next, "{context}");
        let written = model.payloads.get(next as usize - 1);
        assert!(written == Some(&record.payload), "{context}: record {next} was never written, or is truncated");
        next += 1;
    }
    assert_eq!(next, log.next());
    let durable = model.durable;
    assert!(next > durable || lost(next), "{context}: record {next} of {durable} is lost without a word");
}

/// Writes a log, damages its image, and opens it.
pub fn log(random: &mut Random) {
    let machine = Machine::new(Hardware::new().page_bytes(PAGE).address_space_bytes(128 * PAGE));
    let capacity = (HEAD_BYTES + SEGMENTS * PAGE) as u64;
    let grows = random.one_in(2);
    let medium = if grows { Medium::new(0).growing_to(capacity) } else { Medium::new(capacity) };
    let _ = machine.add_source(medium.granularity(random.of(&[Granularity::CacheLine, Granularity::Page])));
    let mut model = Model { first: 1, ..Model::default() };
    let log = try_open(&machine, OnDamage::Refuse).unwrap();
    let (calls, mut older) = (random.below(30), Vec::new());
    let copied = random.below(calls.max(1));
    for number in 0..calls {
        if number == copied {
            older = image(&machine);
        }
        call(random, &log, &mut model);
    }
    let closed = random.one_in(2);
    if closed {
        log.close().unwrap();
        model.durable = model.payloads.len() as u64;
        model.stated = model.durable;
    } else {
        drop(log);
    }
    let before = image(&machine);
    check(&try_open(&machine, OnDamage::Refuse).expect("nothing is damaged"), &model, "no damage", |_| false);
    overwrite(&machine, &before);

    let mut after = before.clone();
    let what = damage(random, &mut after, &older);
    overwrite(&machine, &after);
    let context = format!("{what}, closed: {closed}");
    let opened = try_open(&machine, OnDamage::Refuse);
    let refused = opened.as_ref().err().copied();
    match opened {
        // Nothing is left of a log whose head is cleared and which has no segments.
        Ok(log) if log.recovered().made => {
            let heads = (HEAD_BYTES..after.len()).step_by(PAGE).filter(|at| after[*at..*at + 4] == *b"PLGS");
            assert_eq!((what, heads.count()), ("the head, cleared", 0));
        }
        Ok(log) => check(&log, &model, &context, |record| is_without_evidence(&model, &before, &after, record)),
        Err(error) => assert_ne!(before, after, "{context}: {error}"),
    }
    if let Some(OpenError::Damaged { sequence }) = refused {
        assert_eq!(image(&machine)[..after.len()], after, "{context}: refusing has changed something");
        let log = match try_open(&machine, OnDamage::CutThere) {
            // A device that is cut has no room for a segment.
            Err(OpenError::Map(_)) if !grows && after.len() == HEAD_BYTES => return,
            opened => opened.unwrap_or_else(|error| panic!("{context}: {error}")),
        };
        assert_eq!((log.next(), log.recovered().damaged), (sequence, Some(sequence)), "{context}");
        check(&log, &model, &context, |_| true);
    }
}
