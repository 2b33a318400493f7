#![no_std]
#![no_main]
//! Sets on a microcontroller: one fixed address, and a timer whose handler uses the set that the program is changing.

mod chip;
mod fram;

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU32, Ordering};

use chip::{exit, say};
use fram::{Controller, FRAM_BYTES, FRAM_START, Fram};
use pmemset_core::error::MapError;
use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set};

static SET: Set<'static, Controller, &Fram, 8> = Set::new(Controller::new(), Config::new(Granularity::Byte));
static FRAM: Fram = Fram;

/// Calls of the handler, and how many of them found a part.
static TICKS: AtomicU32 = AtomicU32::new(0);
static FOUND: AtomicU32 = AtomicU32::new(0);

const HALF: usize = FRAM_BYTES / 2;
/// Rounds of mapping and removing; the handler must have come in between often, or the rounds go on.
const ROUNDS: u32 = 2000;
const TICKS_WANTED: u32 = 200;

/// Runs in the timer's handler: looks the part up, and stores to it if it is there.
pub fn tick() {
    TICKS.fetch_add_relaxed();
    let Ok(part) = SET.part_at(FRAM_START) else { return };
    let count = FOUND.fetch_add_relaxed();
    if part.write(64, &count.to_le_bytes(), CopyFlags::empty()).is_err() {
        say("the handler could not store\n");
        exit(false);
    }
}

/// A count that one writer raises: loads and stores are enough, and every processor has them.
trait Count {
    fn fetch_add_relaxed(&self) -> u32;
}

impl Count for AtomicU32 {
    fn fetch_add_relaxed(&self) -> u32 {
        let count = self.load(Ordering::Relaxed).wrapping_add(1);
        self.store(count, Ordering::Relaxed);
        count
    }
}

/// Called after reset.
pub fn main() -> ! {
    let good = placed_where_it_is() && stored_in_whole_words() && offsets_are_not_cut() && handler_comes_in_between();
    say(if good { "good\n" } else { "bad\n" });
    exit(good)
}

/// A source with a fixed address is there or nowhere.
fn placed_where_it_is() -> bool {
    let config = MapConfig::new().length(HALF);
    let Ok(mapped) = SET.map(&FRAM, &config) else { return false };
    let again = SET.map(&FRAM, &config);
    let Ok(part) = SET.part_at(FRAM_START + HALF - 1) else { return false };
    let stored = part.write(12, b"kept", CopyFlags::empty()).is_ok();
    let mut bytes = [0; 4];
    let read = part.read(12, &mut bytes).is_ok() && &bytes == b"kept";
    let placed = mapped.part.start() == FRAM_START && again.is_err() && stored && read;
    say(if placed { "placed at its address, and only there\n" } else { "not placed where it is\n" });
    placed && SET.remove(part).is_ok()
}

/// The memory takes words of four bytes: what lies beside a shorter store stays as it is.
fn stored_in_whole_words() -> bool {
    if SET.map(&FRAM, &MapConfig::new().length(HALF)).is_err() {
        return false;
    }
    let Ok(part) = SET.part_at(FRAM_START) else { return false };
    let none = CopyFlags::empty();
    let stored = part.write(0, b"0123456789abcdef", none).is_ok()
        && part.write(3, b"-five-", none).is_ok()
        && part.copy_within(9, 6, 5, none).is_ok()
        && part.fill(15, b'!', 1, none).is_ok();
    let mut bytes = [0; 16];
    let kept = part.read(0, &mut bytes).is_ok() && &bytes == b"012-five-ve-9ae!";
    say(if stored && kept { "stored in whole words\n" } else { "not stored in whole words\n" });
    stored && kept && SET.remove(part).is_ok()
}

/// 4 GiB and a bit are no offset of 32 bits, and not the bit either.
fn offsets_are_not_cut() -> bool {
    let Ok(config) = MapConfig::new().offset(1 << 32) else { return false };
    let refused =
        matches!(SET.map(&FRAM, &config.length(HALF)), Err(MapError::LengthOutOfRange { .. })) && SET.segments() == 0;
    say(if refused { "an offset of 4 GiB is refused\n" } else { "an offset was cut\n" });
    refused
}

/// Maps and removes while the handler looks up: whatever it finds, nobody waits for anybody.
fn handler_comes_in_between() -> bool {
    chip::start_timer(2500);
    let mut round = 0_u32;
    while round < ROUNDS || TICKS.load(Ordering::Relaxed) < TICKS_WANTED || FOUND.load(Ordering::Relaxed) == 0 {
        if SET.map(&FRAM, &MapConfig::new().length(HALF)).is_err() {
            say("could not map\n");
            return false;
        }
        let Ok(part) = SET.part_at(FRAM_START) else { return false };
        if SET.remove(part).is_err() {
            say("could not remove\n");
            return false;
        }
        round = round.wrapping_add(1);
    }
    chip::stop_timer();
    say("the handler used the set in between\n");
    SET.segments() == 0
}

/// Never called: the release build links only if no panic can be reached.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        safe fn a_panic_can_be_reached() -> !;
    }
    a_panic_can_be_reached()
}

/// Ends the program.
#[cfg(debug_assertions)]
#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    say("a panic\n");
    exit(false)
}
