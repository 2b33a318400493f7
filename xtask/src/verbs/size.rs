//! `cargo xtask size`: what the library costs in text, memory and stack, compared with a table.

use crate::support::controller::{TARGET, boot};
use crate::support::firmware;
use crate::support::processes::{self, root, run as run_command};
use crate::support::tally::{Outcome, Tally};
use crate::support::toolchains::Compiler;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// A figure in bytes.
struct Figure {
    name: &'static str,
    /// What it was when the table was made.
    bytes: u64,
    /// What it may be at most, where that was promised.
    most: Option<u64>,
}

const fn figure(name: &'static str, bytes: u64) -> Figure {
    Figure { name, bytes, most: None }
}

const fn limited(name: &'static str, bytes: u64, most: u64) -> Figure {
    Figure { name, bytes, most: Some(most) }
}

const KIB: u64 = 1024;

/// A Cortex-M3, opt-level s. `text` is that of a program that maps, persists and removes, its platform and its source
/// included; `large` is the same with room for 1,000 segments instead of 8 and a lock that spins, `program` the whole
/// example.
const CONTROLLER: [Figure; 14] = [
    limited("text", 11564, 12 * KIB),
    figure("text_large", 18612),
    figure("text_program", 15139),
    figure("set_fixed", 184),
    figure("set_segment", 60),
    limited("stack_map", 780, 2 * KIB),
    limited("stack_map_checked", 1000, 2 * KIB),
    limited("stack_part_at", 388, 2 * KIB),
    limited("stack_persist", 216, 2 * KIB),
    limited("stack_persist_many", 360, 2 * KIB),
    limited("stack_copy", 216, 2 * KIB),
    limited("stack_deep_flush", 616, 2 * KIB),
    limited("stack_remove_range_checked", 948, 2 * KIB),
    limited("stack_remove_checked", 1004, 2 * KIB),
];

/// x86-64, a release build.
const HOST: [Figure; 12] = [
    limited("set_fixed", 392, 2 * KIB),
    limited("set_segment", 84, 96),
    limited("stack_map", 1120, 2 * KIB),
    limited("stack_map_checked", 1120, 2 * KIB),
    limited("stack_part_at", 560, 2 * KIB),
    limited("stack_persist", 992, 2 * KIB),
    limited("stack_persist_many", 992, 2 * KIB),
    limited("stack_copy", 896, 2 * KIB),
    limited("stack_deep_flush", 832, 2 * KIB),
    limited("stack_remove_range_checked", 1464, 2 * KIB),
    limited("stack_remove_checked", 1120, 2 * KIB),
    limited("stack_repair_shutdown_state_checked", 1304, 2 * KIB),
];

/// x86-64 under UEFI firmware, opt-level s: the file of the program that counts its starts.
const FIRMWARE: [Figure; 1] = [limited("file", 64000, 64 * KIB)];

/// Compilers differ; growth by more than this many hundredths is the library's.
const TOLERANCE_HUNDREDTHS: u64 = 15;

pub(crate) fn run(_args: &Args) -> Outcome {
    check().outcome()
}

/// Measures everything and compares it with the tables.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    match Compiler::with(TARGET, &["binutils", "qemu-system-arm"]) {
        Ok(compiler) => compare(&mut tally, "controller", &CONTROLLER, controller(&compiler)),
        Err(reason) => tally.skip("size on a controller", &reason),
    }
    match Compiler::find(firmware::TARGET) {
        Ok(compiler) => compare(&mut tally, "UEFI", &FIRMWARE, firmware(&compiler)),
        Err(reason) => tally.skip("size under UEFI firmware", &reason),
    }
    if cfg!(target_arch = "x86_64") {
        compare(&mut tally, "x86-64", &HOST, host());
    } else {
        tally.skip("size on x86-64", "this is another processor");
    }
    tally
}

/// What was measured: names and bytes. A name that comes again counts with its highest number.
type Measured = Vec<(String, u64)>;

fn compare(tally: &mut Tally, place: &str, table: &[Figure], measured: Result<Measured, String>) {
    let measured = match measured {
        Ok(measured) => measured,
        Err(reason) => return tally.check(&format!("size on {place}"), Err(reason)),
    };
    for figure in table {
        let name = format!("{place}, {}", figure.name);
        match measured.iter().filter(|(name, _)| name == figure.name).map(|(_, bytes)| *bytes).max() {
            Some(bytes) => tally.check(&format!("{name}: {bytes} bytes"), figure.judge(bytes)),
            None => tally.check(&name, Err("was not measured".into())),
        }
    }
}

impl Figure {
    fn judge(&self, bytes: u64) -> Result<(), String> {
        match self.most {
            Some(most) if bytes > most => Err(format!("{bytes} bytes are more than the {most} that were promised")),
            _ if bytes > self.bytes + self.bytes * TOLERANCE_HUNDREDTHS / 100 => {
                Err(format!("{bytes} bytes, the table says {}", self.bytes))
            }
            _ => Ok(()),
        }
    }
}

fn controller(compiler: &Compiler) -> Result<Measured, String> {
    let build = |features: &[&str]| {
        let mut cargo = compiler.cargo(&root().join("examples/cortex-m"), "build", "core");
        run_command(cargo.args(["--release", "--quiet", "--locked"]).args(features))
    };
    let text_of = |program: &str| {
        let program = compiler.release_program(program);
        let output = processes::output_of("size", &["-A".as_ref(), "-d".as_ref(), program.as_os_str()])?;
        parse(&output).ok_or_else(|| format!("size said: {output}"))
    };
    build(&["--bin", "size", "--features", "large"])?;
    let large = text_of("size")?;
    build(&[])?;
    let texts = [("text", text_of("size")?), ("text_large", large), ("text_program", text_of("cortex-m-fram")?)];
    boot(&compiler.release_program("size"))?;
    let mut measured = figures(&boot(&compiler.release_program("stack"))?);
    measured.extend(texts.map(|(name, bytes)| (name.to_owned(), bytes)));
    Ok(measured)
}

fn firmware(compiler: &Compiler) -> Result<Measured, String> {
    let program = firmware::program(compiler, firmware::STARTS, &[])?;
    let file = std::fs::metadata(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(vec![("file".to_owned(), file.len())])
}

fn host() -> Result<Measured, String> {
    let mut cargo = processes::cargo();
    cargo.args(["test", "--release", "--quiet", "--locked", "--package", "own-platform", "--test", "stack"]);
    let output = run_command(cargo.args(["--", "--nocapture", "--test-threads=1"]))?;
    Ok(figures(&output.lines().map(str::to_owned).collect::<Vec<_>>()))
}

/// Reads lines of a name and a number.
fn figures(lines: &[String]) -> Measured {
    let read = |line: &String| {
        let (name, bytes) = line.trim().split_once(' ')?;
        Some((name.to_owned(), bytes.parse().ok()?))
    };
    lines.iter().filter_map(read).collect()
}

/// Reads the bytes of text and read-only data from what size(1) prints of sections. The table of vectors is the chip's.
fn parse(output: &str) -> Option<u64> {
    let section = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(section(".text")? + section(".rodata")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_size_is_read() {
        let output = "x  :\nsection            size        addr\n.vector_table      1024           0\n\
                      .text             11728        1024\n.rodata              12       12752\nTotal  13611\n";
        assert_eq!(parse(output), Some(11740));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn growth_and_broken_promises_are_found() {
        let lines = ["stack_map 90", "running 2 tests", "stack_map 100", "good"].map(str::to_owned);
        let judge = |figure: Figure| {
            let mut tally = Tally::default();
            compare(&mut tally, "here", &[figure], Ok(figures(&lines)));
            tally.good()
        };
        assert!(judge(figure("stack_map", 100)) && judge(figure("stack_map", 87)) && judge(figure("stack_map", 300)));
        assert!(!judge(figure("stack_map", 86)), "the highest number counts");
        assert!(judge(limited("stack_map", 100, 100)));
        assert!(!judge(limited("stack_map", 100, 99)));
        assert!(!judge(figure("stack", 100)), "not measured");
    }
}
