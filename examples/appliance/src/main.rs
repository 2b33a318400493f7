#![no_std]
#![no_main]
//! `appliance PATH DIRECTORY [COUNT]`: a flight recorder over a file or a device DAX; appends COUNT records, or goes
//! on until it is killed. The shutdown record of the memory behind it is kept in the directory.
//!
//! Prints what it has recovered, and a line for each record once it is durable.

mod print;
mod recorder;
mod start;

use core::ffi::CStr;
use core::mem::ManuallyDrop;

use pmemset_core::error::DeviceError;
use pmemset_core::{
    Answer, BadBlockPolicy, Checked, Config, DeviceId, Event, Granularity, Observer, PartStates, Set, Source as _,
    WithLock,
};
use pmemset_devdax::AnySource;
use pmemset_linux::{Linux, OpenOptions, RecordError, RecordFile};
use print::Line;
use recorder::{At, Parts, Recorder, Room, Stop};
use start::Arguments;

fn run(arguments: &Arguments) -> i32 {
    match record(arguments) {
        Ok(()) => 0,
        Err(stop) => {
            stop.print();
            1
        }
    }
}

fn record(arguments: &Arguments) -> Result<(), Stop> {
    let (path, directory) = (arguments.get(1).ok_or(At::Usage)?, arguments.get(2).ok_or(At::Usage)?);
    let count = match arguments.get(3) {
        Some(text) => Some(number(text).ok_or(At::Usage)?),
        None => None,
    };
    // Not dropped, like what follows: the kernel takes everything back when the program ends.
    let keeper = ManuallyDrop::new(Keeper(RecordFile::new(directory, b"appliance.sds").map_err(state)?));
    match &*ManuallyDrop::new(checked(ManuallyDrop::new(open(path)?), &keeper)) {
        Ok(source) => record_in(source, &keeper, count),
        Err(stop) => Err(*stop),
    }
}

#[inline(never)]
fn record_in(source: &recorder::Source, keeper: &Keeper, count: Option<u64>) -> Result<(), Stop> {
    // Records have checksums: being interrupted is no reason to refuse them.
    let states = PartStates::DEFAULT.union(PartStates::OK_BUT_INTERRUPTED);
    // Room for all segments in one place: what lies behind the first one is anybody's otherwise.
    let config = Config::new(Granularity::Page)
        .reserve_ahead(recorder::ring_bytes(source))
        .acceptable_states(states)
        .observer(keeper);
    let mut room = Room::new();
    let parts: ManuallyDrop<Parts<'_, '_>> =
        ManuallyDrop::new(Set::new(WithLock::new(Linux::new()), config, &mut room));
    let mut recorder = ManuallyDrop::new(Recorder::open(&parts, source)?);
    let mut left = count;
    while left != Some(0) {
        Line::new("ack ").number(recorder.append()?).print();
        left = left.map(|left| left.saturating_sub(1));
    }
    ManuallyDrop::into_inner(recorder).close()
}

fn state(error: RecordError) -> Stop {
    match error {
        RecordError::Failed(cause) => At::State.code(cause.code()),
        _ => At::State.into(),
    }
}

fn number(text: &CStr) -> Option<u64> {
    let digit = |byte: u8| char::from(byte).to_digit(10).map(u64::from);
    let text = text.to_bytes();
    let number = text.iter().try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(*byte)?));
    number.filter(|_| !text.is_empty())
}

fn open(path: &CStr) -> Result<AnySource, Stop> {
    AnySource::open(path, OpenOptions::new().create_if_needed()).map_err(|error| At::Open.code(error.code()))
}

/// Switches on what the medium has: bad blocks where they are known, the shutdown state where modules count; with the
/// record that the last run has kept, or a new one.
fn checked(source: ManuallyDrop<AnySource>, keeper: &Keeper) -> Result<recorder::Source, Stop> {
    let device = source.health().map(|health| health.device(&mut DeviceId::new()));
    let record = if matches!(device, None | Some(Err(DeviceError::Unsupported))) {
        Line::new("shutdown state unknown").print();
        None
    } else {
        Some(keeper.0.load().map_err(state)?.unwrap_or_default())
    };
    let source = ManuallyDrop::into_inner(source);
    Ok(Checked::new(source).bad_block_detection(BadBlockPolicy::IfKnown).shutdown_record(record))
}

/// Keeps the shutdown record, and refuses to go on where that fails.
#[derive(Debug)]
pub struct Keeper(RecordFile);

impl Observer<&recorder::Source> for Keeper {
    fn event(&self, event: &Event<'_, &recorder::Source>) -> Answer {
        match event {
            Event::SdsUpdate { record, sequence, .. } if self.0.keep(record, *sequence).is_err() => Answer::Refuse,
            _ => Answer::Proceed,
        }
    }
}

/// Never called: the release build links only if no panic can be reached.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        safe fn a_panic_can_be_reached() -> !;
    }
    a_panic_can_be_reached()
}

/// Says what a build with debug assertions found.
#[cfg(debug_assertions)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut line = Line::new("");
    let _ = core::fmt::Write::write_fmt(&mut line, format_args!("{info}"));
    line.print();
    start::exit(101)
}
