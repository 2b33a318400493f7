//! Power cuts that leave only what was written back or streamed, and then fenced: a missing fence loses a record here.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bench::{Bench, RAM_BYTES};
use super::state::{Firmware, RING, RING_BYTES, STATE, STATE_BYTES};
use crate::support::qemu::{Plugged, plugged};
use crate::support::random::Random;
use crate::support::tally::Tally;

/// Cuts of power; each boot looks at what the one before has left.
const CUTS: u64 = 8;

/// Cuts the power of a kernel that does as it should, and of one that acknowledges what it has not flushed.
pub(super) fn check(tally: &mut Tally, kernel: &Path) {
    let whole = format!("{CUTS} power cuts that keep only what was fenced lose no acknowledged record");
    let careless = "a kernel that does not flush loses records to such a power cut";
    match plugged() {
        Err(reason) => [whole.as_str(), careless].into_iter().for_each(|name| tally.skip(name, &reason)),
        Ok(plugged) => {
            tally.run(&whole, || rounds(kernel, &plugged, "forever")?.map_or(Ok(()), Err));
            let found = || rounds(kernel, &plugged, "forever careless")?.map(drop).ok_or("it has lost nothing".into());
            tally.run(careless, found);
        }
    }
}

/// Returns what was lost; `None` where it is nothing.
fn rounds(kernel: &Path, plugged: &Plugged, orders: &str) -> Result<Option<String>, String> {
    let bench = Bench::new(kernel, orders)?;
    for path in [bench.ram(), bench.durable()] {
        let file = File::create(&path).and_then(|file| file.set_len(RAM_BYTES));
        file.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let mut random = Random::new();
    let mut acknowledged = 0_u64;
    for cut in 0..CUTS {
        copy(&bench.ram(), &bench.durable())?;
        let mut vm = bench.start_plugged(plugged, &Firmware::default().table(), &format!("state=9 {orders}"))?;
        let mut left = 1 + random.below(40);
        while left > 0 {
            let line = vm.line()?;
            let lost = || Ok(Some(format!("cut {cut}, seed {}: {acknowledged} acknowledged, `{line}`", random.seed)));
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["state", "dimms", state] if state != if cut == 0 { "Ok" } else { "OkButInterrupted" } => {
                    return lost();
                }
                ["found", "dimms", "nothing"] if acknowledged > 0 => return lost(),
                ["found", "dimms", "1", last] if last.parse::<u64>().is_ok_and(|last| last >= acknowledged) => {}
                ["found", "dimms", _, _] | ["damaged" | "stopped" | "panic", ..] => return lost(),
                ["ack", "dimms", number] => {
                    acknowledged = number.parse().map_err(|_| line.clone())?;
                    left -= 1;
                }
                _ => {}
            }
        }
        for line in vm.cut() {
            let number = line.strip_prefix("ack dimms ").and_then(|number| number.parse::<u64>().ok());
            // The last line may be cut off, and say a smaller number.
            acknowledged = number.map_or(acknowledged, |number| number.max(acknowledged));
        }
        copy(&bench.durable(), &bench.ram())?;
    }
    Ok(None)
}

/// Copies the persistent ranges from one file to the other.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = File::open(from).and_then(|from| {
        let to = File::options().write(true).open(to)?;
        [(RING, RING_BYTES), (STATE, STATE_BYTES)].into_iter().try_for_each(|(at, length)| {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            from.read_exact_at(&mut bytes, at)?;
            to.write_all_at(&bytes, at)
        })
    });
    copied.map_err(|error| format!("{}: {error}", from.display()))
}
