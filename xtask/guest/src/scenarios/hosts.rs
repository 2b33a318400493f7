//! Two machines that have one memory: records go from one to the other by `examples/shared-ring`.

use core::time::Duration;
use std::sync::Arc;

use pmemset_core::{Granularity, MapConfig, Shared, SharedPart, Sharing, Source as _};
use shared_ring::{Consumer, Error, PAYLOAD_BYTES, Producer, format, length_for};

use super::devdax::device;
use crate::lab::{Checks, Failure, Lab, check, same};
use crate::sets::{AnySet, Handle, set};

pub(crate) const CHECKS: &[Checks] = &[("two-hosts", exchange)];

/// Its end is in the middle of a page, and used again a hundred times.
const SLOTS: u64 = 10_007;

/// Part of one of the machines, until all records are there or it is cut.
fn exchange(lab: &mut Lab) -> Result<(), Failure> {
    page_map_is_apart()?;
    let source = device(0)?;
    let unit = source.alignment_bytes();
    let shared: Handle = Arc::new(Shared::new(source, Sharing::Incoherent));
    let set = set(Granularity::CacheLine);
    let whole = set.map(shared, &MapConfig::new().length(unit))?;
    let ring = whole.extent().slice(0, usize::try_from(length_for(SLOTS))?).ok_or("no room for a ring")?;
    let part = || -> Result<Ring<'_>, Failure> { Ok(set.pin(ring)?.into_shared()?) };
    match lab.word("lab.role") {
        Some("producer") => produce(lab, &part)?,
        Some("consumer") => consume(lab, &part)?,
        other => return Err(format!("no role: {other:?}").into()),
    }
    // Who is to be cut does not end by itself.
    while lab.number("lab.mark") > 0 {
        pause();
    }
    Ok(())
}

/// Checks that this kernel keeps its page map in memory of its own: on the device, two kernels would write over it.
fn page_map_is_apart() -> Result<(), Failure> {
    let mut modes = Vec::new();
    for device in std::fs::read_dir("/sys/bus/nd/devices")? {
        let device = device?;
        if device.file_name().as_encoded_bytes().starts_with(b"dax") {
            modes.push(std::fs::read_to_string(device.path().join("mode"))?);
        }
    }
    // The kernel keeps one device without a namespace ready.
    modes.retain(|mode| mode.trim() != "none");
    same("where the page map is", modes, vec!["ram\n".to_owned()])
}

type Ring<'s> = SharedPart<&'s AnySet<'static>>;
type Part<'s> = &'s dyn Fn() -> Result<Ring<'s>, Failure>;

/// Lets the other machine run: both may be on one processor.
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Returns the payload of record `number`, which no other record has.
fn payload(number: u64) -> [u8; PAYLOAD_BYTES] {
    let mut bytes = [0; PAYLOAD_BYTES];
    for (word, at) in bytes.as_chunks_mut().0.iter_mut().zip(1..) {
        *word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at * 9).wrapping_add(number).to_le_bytes();
    }
    bytes
}

/// Returns how many records go together behind `number` others: 1 to 2003.
const fn batch(number: u64) -> u64 {
    1 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 2003
}

/// What the host is told of how far a machine is, and when it may cut it.
struct Told<'l> {
    lab: &'l mut Lab,
    mark: Option<u64>,
}

impl<'l> Told<'l> {
    fn begin(lab: &'l mut Lab, number: u64) -> Self {
        lab.say(format!("begin {number}"));
        let mark = lab.number("lab.mark");
        Self { mark: (mark > 0).then_some(mark), lab }
    }

    /// Carries out what makes `number` records count, between two words to the host.
    fn counts(&mut self, number: u64, act: impl FnOnce() -> Result<(), Error>) -> Result<(), Failure> {
        // The host has to have it before it is done.
        self.lab.say_now(format!("will {number}"))?;
        act()?;
        self.lab.say(format!("ack {number}"));
        if self.mark.is_some_and(|mark| mark <= number) {
            self.mark = None;
            self.lab.say("mark");
        }
        Ok(())
    }
}

fn produce(lab: &mut Lab, part: Part<'_>) -> Result<(), Failure> {
    let mut producer = match Producer::open(part()?) {
        Err(Error::NoRing) => {
            format(&part()?)?;
            Producer::open(part()?)?
        }
        opened => opened?,
    };
    let records = lab.number("lab.records");
    let mut number = producer.published();
    let mut told = Told::begin(lab, number);
    while number < records {
        let to = records.min(number + batch(number));
        while number < to {
            if producer.push(&payload(number))? {
                number += 1;
            } else {
                pause();
            }
        }
        told.counts(number, || producer.commit())?;
    }
    Ok(())
}

fn consume(lab: &mut Lab, part: Part<'_>) -> Result<(), Failure> {
    let mut consumer = loop {
        match Consumer::open(part()?) {
            Err(Error::NoRing) => pause(),
            opened => break opened?,
        }
    };
    let records = lab.number("lab.records");
    let mut number = consumer.released();
    let mut told = Told::begin(lab, number);
    while number < records {
        let to = records.min(number + batch(number));
        while number < to
            && let Some(record) = consumer.next_record()?
        {
            same("number of a record", record.number, number)?;
            check(record.payload == payload(number), format!("record {number} is what was put"))?;
            number += 1;
        }
        if number > consumer.released() {
            told.counts(number, || consumer.release())?;
        } else {
            pause();
        }
    }
    same("records behind the last one", consumer.next_record()?, None)
}
