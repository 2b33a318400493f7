#![no_std]
#![no_main]
//! `appliance PATH [COUNT]`: a flight recorder over a file or a device DAX; appends COUNT records, or goes on until
//! it is killed.
//!
//! Prints what it has recovered, and a line for each record once it is durable.

mod print;
mod recorder;
mod start;

use pmemset_core::{Config, Granularity, Set};
use recorder::{Parts, Recorder, Stop};
use shim_devdax::AnySource;
use shim_linux::{Linux, OpenOptions};
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
    let path = arguments.get(1).ok_or(Stop::Usage)?;
    let count = match arguments.get(2) {
        Some(text) => Some(text.to_str().ok().and_then(|text| text.parse::<u64>().ok()).ok_or(Stop::Usage)?),
        None => None,
    };
    let source = AnySource::open(path, OpenOptions::new().create_if_needed()).map_err(Stop::Open)?;
    let parts: Parts<'_, '_> = Set::new(Linux::new(), Config::new(Granularity::Page));
    let mut recorder = Recorder::open(&parts, &source)?;
    let mut left = count;
    while left != Some(0) {
        say!("ack {}", recorder.append()?);
        left = left.map(|left| left.saturating_sub(1));
    }
    recorder.close()
}

/// Reached from nowhere but rustix's checks that a descriptor of the kernel's is not -1: `cargo xtask appliance` looks
/// at every call in the release build.
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
