//! Shutdown state of the kernel's ring, with firmware tables that say what the last power cut was like.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bench::{Bench, expect};
use super::{BAD, GOOD};
use crate::support::processes::output_of;
use testkit::nfit as tables;

/// Where the ring, the shutdown records and the flush hints are in the machine's memory.
pub(super) const RING: u64 = 64 << 20;
pub(super) const RING_BYTES: u64 = 256 << 10;
pub(super) const STATE: u64 = 80 << 20;
pub(super) const STATE_BYTES: u64 = 64 << 10;
const HINTS: u64 = 96 << 20;

/// State flags: saving, restoring and flushing have failed.
const FAILED: [u16; 3] = [1, 2, 4];

/// What the firmware says.
#[derive(Clone, Copy, Default)]
pub(super) struct Firmware {
    /// State flags of the second of the two modules that the ring is interleaved over.
    ring: u16,
    /// State flags of the module with the records.
    state: u16,
    /// The number of another module instead of the ring's second one.
    other: Option<u32>,
    /// Whether it does not say what the modules are.
    unnamed: bool,
    /// How far from where it should be it says that the ring is.
    shift: u64,
}

impl Firmware {
    pub(super) fn table(self) -> Vec<u8> {
        let mut structures =
            vec![tables::range(1, RING + self.shift, RING_BYTES), tables::range(2, STATE, STATE_BYTES)];
        let serials = [(5, 0x1000), (6, self.other.unwrap_or(0x1001)), (9, 0x2000)];
        for ((handle, serial), (range, state)) in serials.into_iter().zip([(1, 0), (1, self.ring), (2, self.state)]) {
            let control = u16::try_from(handle).unwrap_or_default();
            structures.push(tables::mapping(handle, range, control, state));
            structures.push(tables::flush_hint(handle, HINTS + 0x1000 * u64::from(handle)));
            if !self.unnamed {
                structures.push(tables::control(control, Some([1, 0x26, 0x20]), serial));
            }
        }
        tables::table(&structures)
    }
}

/// Boots with what the firmware says now, and returns the status and what the kernel said.
fn boot(bench: &Bench<'_>, firmware: Firmware, orders: &str) -> Result<(Option<i32>, Vec<String>), String> {
    bench.start_with(&firmware.table(), &format!("state=9 {orders}"))?.finish()
}

/// Boots, and fails unless the kernel found `state` and ended well.
fn good(bench: &Bench<'_>, firmware: Firmware, orders: &str, state: &str) -> Result<Vec<String>, String> {
    let (status, lines) = boot(bench, firmware, orders)?;
    expect(&lines, &format!("state dimms {state}"))?;
    (status == Some(GOOD)).then_some(lines).ok_or_else(|| format!("{status:?}"))
}

/// Boots, and fails unless the kernel refused the ring in `state` and touched nothing.
fn refused(bench: &Bench<'_>, firmware: Firmware, state: &str) -> Result<(), String> {
    let (status, lines) = boot(bench, firmware, "records=1")?;
    let said = lines.last().is_some_and(|line| line.starts_with("stopped cannot map: ") && line.contains(state));
    let good = status == Some(BAD) && said;
    good.then_some(()).ok_or_else(|| format!("not refused as {state}: {status:?}\n{}", lines.join("\n")))
}

/// Boots, and cuts the power when the ring is in use.
fn cut(bench: &Bench<'_>, firmware: Firmware) -> Result<(), String> {
    let mut vm = bench.start_with(&firmware.table(), "state=9 forever")?;
    loop {
        let line = vm.line()?;
        if line.starts_with("stopped") {
            return Err(line);
        }
        if line.starts_with("ack dimms") {
            vm.cut();
            return Ok(());
        }
    }
}

/// What is checked, each on a machine of its own.
pub(super) fn check(kernel: &Path) -> [(&'static str, Result<(), String>); 5] {
    [
        ("a ring that was closed is good, one that was cut is interrupted", closed_and_cut(kernel)),
        ("what a bad power cut has lost is refused until it is repaired", cut_badly(kernel)),
        ("rings on other modules, and on modules without a name, are refused", other_modules(kernel)),
        ("ranges that no page table can hold are left alone", no_pages(kernel)),
        ("every module of a range is deep-flushed", hints(kernel)),
    ]
}

fn closed_and_cut(kernel: &Path) -> Result<(), String> {
    let (bench, fine) = (Bench::new(kernel, "closed and cut")?, Firmware::default());
    good(&bench, fine, "records=3", "Ok")?;
    let kept = record(&bench)?;
    if kept != ("8680-01-2620-000010008680-01-2620-00001001".into(), 0) {
        return Err(format!("the record on the medium is {kept:?}"));
    }
    expect(&good(&bench, fine, "records=1", "Ok")?, "found dimms 1 3")?;
    cut(&bench, fine)?;
    if record(&bench)?.1 != 1 {
        return Err("the record on the medium does not say that the ring is in use".into());
    }
    good(&bench, fine, "records=1", "OkButInterrupted")?;
    good(&bench, fine, "records=1", "Ok").map(drop)
}

fn cut_badly(kernel: &Path) -> Result<(), String> {
    let (bench, fine) = (Bench::new(kernel, "cut badly")?, Firmware::default());
    good(&bench, fine, "records=3", "Ok")?;
    for ring in FAILED {
        let failed = Firmware { ring, ..fine };
        // Nothing was in use.
        good(&bench, failed, "records=1", "Ok")?;
        cut(&bench, fine)?;
        refused(&bench, failed, "shutdown state corrupted")?;
        // The firmware has forgotten it; the kernel has not.
        refused(&bench, fine, "shutdown state corrupted")?;
        let repaired = good(&bench, fine, "records=1 repair", "Ok")?;
        expect(&repaired, "repaired dimms Corrupted")?;
    }
    cut(&bench, fine)?;
    refused(&bench, Firmware { state: FAILED[0], ..fine }, "shutdown state corrupted")
}

fn other_modules(kernel: &Path) -> Result<(), String> {
    let (bench, fine) = (Bench::new(kernel, "other modules")?, Firmware::default());
    let other = Firmware { other: Some(0x3000), ..fine };
    good(&bench, fine, "records=3", "Ok")?;
    good(&bench, other, "records=3", "Ok")?;
    cut(&bench, other)?;
    refused(&bench, fine, "shutdown state indeterminate")?;
    refused(&bench, Firmware { unnamed: true, ..fine }, "shutdown")?;
    let (status, lines) = bench.start_with(&fine.table(), "state=nine records=1")?.finish()?;
    let good = status == Some(BAD) && lines == ["stopped not understood: state=nine"];
    good.then_some(()).ok_or_else(|| format!("an order was passed over: {status:?}\n{}", lines.join("\n")))
}

fn no_pages(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "no pages")?;
    let said = "dimm 5 refused: ";
    for shift in [0x800, 1 << 53] {
        let (status, lines) = boot(&bench, Firmware { shift, ..Firmware::default() }, "records=1")?;
        if status != Some(BAD) || !lines.iter().any(|line| line.starts_with(said) && line.ends_with("(errno 22)")) {
            return Err(format!("{shift:#x}: {status:?}\n{}", lines.join("\n")));
        }
    }
    Ok(())
}

fn hints(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "hints")?;
    good(&bench, Firmware::default(), "records=1", "Ok")?;
    for handle in [5, 6] {
        if bytes(&bench, HINTS + 0x1000 * handle, 8)?.iter().all(|byte| *byte == 0) {
            return Err(format!("the hint of module {handle} was not written"));
        }
    }
    Ok(())
}

/// Fails unless half of the kernel's stack is still as the loader has left it: zeros.
pub(super) fn stack(kernel: &Path) -> Result<(), String> {
    const STACK_BYTES: usize = 64 << 10;
    let bench = Bench::new(kernel, "stack")?;
    good(&bench, Firmware::default(), "records=3", "Ok")?;
    let symbols = output_of("nm", &[kernel])?;
    let top = symbols.lines().find_map(|line| u64::from_str_radix(line.strip_suffix(" b stack_top")?, 16).ok());
    let top = top.ok_or("no stack in the kernel")?;
    let stack = bytes(&bench, top - STACK_BYTES as u64, STACK_BYTES)?;
    let used = STACK_BYTES - stack.iter().take_while(|byte| **byte == 0).count();
    if used > STACK_BYTES / 2 || used == 0 { Err(format!("{used} bytes of stack were used")) } else { Ok(()) }
}

/// Returns the bytes of the machine's memory from `at` on.
fn bytes(bench: &Bench<'_>, at: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    let file = File::open(bench.ram()).map_err(|error| error.to_string())?;
    file.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Returns the device id and the references in the newest record on the medium: libpmemset's 536 bytes at byte 24 of
/// one of two slots of 1 KiB, behind their number at byte 8.
fn record(bench: &Bench<'_>) -> Result<(String, u8), String> {
    let place = bytes(bench, STATE, 2048)?;
    let newest = place.chunks(1024).max_by_key(|slot| slot[8..16].iter().rev().copied().collect::<Vec<u8>>());
    let record = newest.ok_or("no slots")?[24..].to_vec();
    let id = record.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    Ok((id, record[528]))
}
