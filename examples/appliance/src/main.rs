#![no_std]
#![no_main]
//! `appliance PATH STATE-DIRECTORY [COUNT]`: a flight recorder over a file or a device DAX; appends COUNT records, or goes
//! on until it is killed. The shutdown record of the memory behind it is kept in the directory.
//!
//! Prints what it has recovered, and a line for each record once it is durable.

mod print;
mod recorder;
mod start;

use pmemset_core::shutdown::{DeviceError, DeviceId};
use pmemset_core::{
    Answer, BadBlockPolicy, Checked, Config, Event, Granularity, Observer, PartStates, Set, Source as _,
};
use recorder::{Parts, Recorder, Stop};
use shim_devdax::AnySource;
use shim_linux::{Linux, OpenOptions, RecordFile};
use start::Arguments;

fn run(arguments: &Arguments) -> i32 {
    match record(arguments) {
        Ok(()) => 0,
        Err(stop) => {
            say!("stopped: {stop}");
            1
        }
    }
}

fn record(arguments: &Arguments) -> Result<(), Stop> {
    let (path, directory) = (arguments.get(1).ok_or(Stop::Usage)?, arguments.get(2).ok_or(Stop::Usage)?);
    let count = match arguments.get(3) {
        Some(text) => Some(text.to_str().ok().and_then(|text| text.parse::<u64>().ok()).ok_or(Stop::Usage)?),
        None => None,
    };
    let source = AnySource::open(path, OpenOptions::new().create_if_needed()).map_err(Stop::Open)?;
    let keeper = Keeper(RecordFile::new(directory, b"appliance.sds").map_err(Stop::State)?);
    let source = checked(source, &keeper)?;
    // Records have checksums: being interrupted is no reason to refuse them.
    let states = PartStates::DEFAULT.union(PartStates::OK_BUT_INTERRUPTED);
    // Room for all segments in one place: what lies behind the first one is anybody's otherwise.
    let config = Config::new(Granularity::Page)
        .reserve_ahead(recorder::ring_bytes(&source))
        .acceptable_states(states)
        .observer(&keeper);
    let parts: Parts<'_, '_> = Set::new(Linux::new(), config);
    let mut recorder = Recorder::open(&parts, &source)?;
    let mut left = count;
    while left != Some(0) {
        say!("ack {}", recorder.append()?);
        left = left.map(|left| left.saturating_sub(1));
    }
    recorder.close()
}

/// Switches on what the medium has: bad blocks where they are known, the shutdown state where modules count.
fn checked(source: AnySource, keeper: &Keeper) -> Result<recorder::Source, Stop> {
    let counts = !matches!(source.device(&mut DeviceId::new()), Err(DeviceError::Unsupported));
    let source = Checked::new(source).bad_block_detection(BadBlockPolicy::IfKnown);
    if !counts {
        say!("shutdown state unknown: no memory modules behind it");
        return Ok(source);
    }
    let record = keeper.0.load().map_err(Stop::State)?;
    Ok(source.shutdown_record(record.unwrap_or_default()))
}

/// Keeps the shutdown record, and refuses to go on where that fails.
struct Keeper(RecordFile);

impl<const N: usize> Observer<Linux, &recorder::Source, N> for Keeper {
    fn event(&self, _: &Set<'_, Linux, &recorder::Source, N>, event: &Event<'_, &recorder::Source>) -> Answer {
        match event {
            Event::SdsUpdate { record, sequence, .. } if self.0.keep(record, *sequence).is_err() => Answer::Refuse,
            _ => Answer::Proceed,
        }
    }
}

/// Ends the program. What can get here are checks in rustix and heapless that no system call makes fail (a descriptor
/// that is -1, a text that was measured before); nothing in the core: the Cortex-M example links only without panics.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    start::exit(101)
}

/// Says what a build with debug assertions found.
#[cfg(debug_assertions)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    start::exit(101)
}
