//! `cargo xtask unikernel`: builds the kernel, boots it again and again, and looks at its memory from outside.

mod bench;
mod disassembly;
mod loss;
mod state;

use std::fs;
use std::path::{Path, PathBuf};

use self::bench::{Bench, STATE, expect};
use crate::support::packages;
use crate::support::processes::{root, run as run_command};
use crate::support::programs::{decode, ring};
use crate::support::progress;
use crate::support::random::Random;
use crate::support::readme;
use crate::support::tally::{Outcome, Tally};
use crate::support::toolchains::Compiler;

#[derive(clap::Args)]
pub(crate) struct Args {}

const TARGET: &str = "x86_64-unknown-none";
/// The kernel's exit code for success, as QEMU's exit device turns it into a status.
const GOOD: i32 = 33;
/// The one for a refusal or a failure that it has told of.
const BAD: i32 = 35;
/// Cuts of power at random times.
const CUTS: usize = 20;

/// A processor, whether its caches are durable, and what the kernel must say it uses.
const PROCESSORS: [(&str, bool, &str); 4] =
    [("qemu64", false, "clflush"), ("max,-clwb", false, "clflushopt"), ("max", false, "clwb"), ("max", true, "clwb")];

pub(crate) fn run(_args: &Args) -> Outcome {
    check().outcome()
}

/// Tests the kernel in virtual machines; what it is made of has tests of its own.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    let kernel = Compiler::with(TARGET, &["qemu-system-x86"]).map(|compiler| {
        let mut cargo = compiler.cargo(&folder(), "build", "core");
        (run_command(cargo.args(["--release", "--quiet", "--locked"])), compiler.release_program("unikernel"))
    });
    match kernel {
        Err(reason) => tally.skip("unikernel in virtual machines", &reason),
        Ok((Err(reason), _)) => tally.check("unikernel builds", Err(reason)),
        Ok((Ok(_), kernel)) => boots(&mut tally, &kernel),
    }
    tally
}

fn boots(tally: &mut Tally, kernel: &Path) {
    match packages::install(&["binutils"]) {
        Ok(()) => {
            tally.run("the kernel has streaming copies, fences and no vector register", || disassembly::check(kernel));
            tally.run("a record is streamed and fenced, and not written back", || streamed(kernel));
            tally.run("half of the stack is never used", || state::stack(kernel));
        }
        Err(reason) => tally.skip("disassembly of the kernel", &reason),
    }
    for (processor, durable_caches, instruction) in PROCESSORS {
        let caches = if durable_caches { ", durable caches" } else { "" };
        let name = format!("records survive reboots on {processor}{caches}");
        tally.run(&name, || two_boots(kernel, processor, durable_caches, instruction));
    }
    tally.run("the kernel says what its README shows", || shown(kernel));
    tally.run("a module that is not armed is left alone", || not_armed(kernel));
    tally.run(&format!("{CUTS} power cuts lose no acknowledged record"), || cuts(kernel));
    for (name, result) in progress::during("shutdown state", || state::check(kernel)) {
        tally.check(name, result);
    }
    loss::check(tally, kernel);
    tally.run("the port keeps every duty, in place", || duties(kernel));
    tally.run("the log on the second line can be decoded", || log(kernel));
}

fn folder() -> PathBuf {
    root().join("examples/unikernel")
}

fn two_boots(kernel: &Path, processor: &str, durable: bool, instruction: &str) -> Result<(), String> {
    let bench = Bench::new(kernel, &format!("{processor} {durable}"))?;
    let machine = if durable { ",nvdimm-persistence=cpu" } else { "" };
    let first = bench.boot(processor, machine, "", &format!("{STATE} records=40"))?;
    for wanted in ["state dimms Ok", "found dimms nothing", "found disk nothing", "ack dimms 40", "closed disk"] {
        expect(&first, wanted)?;
    }
    expect(&first, &format!("cpu {instruction}"))?;
    let granularity = if durable { "Byte" } else { "CacheLine" };
    let part = first.iter().find(|line| line.starts_with("part dimms ")).ok_or("no part of DIMMs")?;
    if !part.ends_with(&format!("granularity Some({granularity}) segments 2")) {
        return Err(format!("another part than expected: {part}"));
    }
    bench.rings_end_with(40)?;
    let second = bench.boot(processor, machine, "", &format!("{STATE} records=2"))?;
    for wanted in ["state dimms Ok", "found dimms 1 40", "found disk 1 40", "ack disk 42"] {
        expect(&second, wanted)?;
    }
    bench.rings_end_with(42)
}

fn shown(kernel: &Path) -> Result<(), String> {
    let said = Bench::new(kernel, "shown")?.boot("max", "", "", &format!("{STATE} records=2"))?;
    readme::compare("unikernel", "qemu-system-x86_64 … -append \"state=3 records=2\"", &said)
}

fn not_armed(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "not armed")?;
    let lines = bench.boot("max", "", ",unarmed=on", &format!("{STATE} records=3"))?;
    expect(&lines, "dimm 1 refused: read-only file system (errno 30)")?;
    expect(&lines, "ack dimms 3")?;
    let untouched = fs::read(&bench.dimms()[0]).map_err(|error| error.to_string())?;
    if untouched.iter().any(|byte| *byte != 0) {
        return Err("the module was written to".into());
    }
    (ring(&bench.dimms()[1..])? == "1 3").then_some(()).ok_or_else(|| "records are elsewhere".into())
}

/// Cuts the power after a random number of acknowledgements, with the next record under way.
fn cuts(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "cuts")?;
    let mut random = Random::new();
    let mut acknowledged = [0_u64; 2];
    for cut in 0..CUTS {
        let mut vm = bench.start("max", "", "", &format!("{STATE} forever"))?;
        let expected = if cut == 0 { "Ok" } else { "OkButInterrupted" };
        let mut left = 1 + random.below(300);
        while left > 0 {
            let line = vm.line().map_err(|error| format!("seed {}, cut {cut}: {error}", random.seed))?;
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["found", name, first, last] => {
                    let before = acknowledged[usize::from(name == "disk")];
                    let found: u64 = last.parse().map_err(|_| line.clone())?;
                    if found < before || found > before + 2 || first != "1" {
                        return Err(format!("seed {}, cut {cut}: `{line}`, acknowledged {before}", random.seed));
                    }
                }
                ["state", "dimms", state] if state != expected => {
                    return Err(format!("seed {}, cut {cut}: `{line}`, not {expected}", random.seed));
                }
                ["found", name, "nothing"] if acknowledged[usize::from(name == "disk")] == 0 => {}
                ["ack", name, number] => {
                    acknowledged[usize::from(name == "disk")] = number.parse().map_err(|_| line.clone())?;
                    left -= 1;
                }
                ["found" | "damaged" | "stopped" | "panic", ..] => return Err(format!("seed {}: {line}", random.seed)),
                _ => {}
            }
        }
        // What was acknowledged while the power went is acknowledged too.
        for line in vm.cut() {
            if let ["ack", name, number] = line.split(' ').collect::<Vec<_>>()[..]
                && let Ok(number) = number.parse::<u64>()
            {
                // The last line may be cut off, and say a smaller number.
                let before = &mut acknowledged[usize::from(name == "disk")];
                *before = number.max(*before);
            }
        }
    }
    let last = bench.boot("max", "", "", &format!("{STATE} records=0"))?;
    expect(&last, "state dimms OkButInterrupted")?;
    let found = last.iter().filter(|line| line.starts_with("found ")).count();
    (found == 2).then_some(()).ok_or_else(|| format!("after the last cut:\n{}", last.join("\n")))
}

/// Stores one record, a cache line, and looks at the instructions that have run for it.
fn streamed(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "streamed")?;
    let run = |orders: &str| {
        let (status, lines) = bench.start_logged(orders)?.finish()?;
        if status != Some(GOOD) {
            return Err(format!("{status:?}\n{}", lines.join("\n")));
        }
        fs::read_to_string(bench.instructions()).map_err(|error| error.to_string())
    };
    let without = run("records=0")?;
    disassembly::ran(kernel, &run("records=1")?, &without)
}

/// Runs the contract suite on the machine, both modules of the ring and the disk; then with a port that breaks some
/// duties.
fn duties(kernel: &Path) -> Result<(), String> {
    const MACHINE: usize = 14;
    const SOURCES: usize = 29 * 3;
    // No source of it grows, is at one address, lists bad blocks or copies past them; the disk has no device.
    const SKIPPED: usize = 6 + 6 + 8;
    let bench = Bench::new(kernel, "contract")?;
    let lines = bench.boot("max", "", "", &format!("{STATE} contract"))?;
    let count = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    let (kept, skipped) = (count("duty kept "), count("duty skipped "));
    if kept + skipped < MACHINE + SOURCES || skipped > SKIPPED {
        return Err(format!("{kept} duties were checked and {skipped} were not:\n{}", lines.join("\n")));
    }
    let (status, lines) = bench.start("max", "", "", &format!("{STATE} contract flawed"))?.finish()?;
    let told = |what: &str| lines.iter().any(|line| line.starts_with(&format!("duty broken {what}: ")));
    let found = ["machine reservation_is_refused_where_one_is", "source 0 offset_selects_the_bytes"].map(told);
    let kept = lines.iter().any(|line| line == "duty kept machine lock_excludes");
    if status == Some(BAD) && found == [true; 2] && kept {
        return Ok(());
    }
    Err(format!("a flawed port has passed: {status:?}\n{}", lines.join("\n")))
}

fn log(kernel: &Path) -> Result<(), String> {
    let bench = Bench::new(kernel, "log")?;
    bench.boot("max", "", "", "records=1")?;
    let decoded = decode(kernel, &bench.log())?;
    for wanted in ["cache lines are written back with clwb", "mapped 0x8000200000..0x8000600000", "removed 0x80"] {
        if !decoded.contains(wanted) {
            return Err(format!("nothing about `{wanted}` in:\n{decoded}"));
        }
    }
    Ok(())
}
