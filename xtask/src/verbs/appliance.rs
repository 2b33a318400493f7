//! `cargo xtask appliance`: builds the flight recorder, kills it again and again, and measures it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::processes::root;
use crate::support::programs::{recorder, ring};
use crate::support::random::Random;
use crate::support::readme;
use crate::support::tally::{Outcome, Tally, say};
use crate::support::vm::Vm;

#[derive(clap::Args)]
pub(crate) struct Args {}

const KILLS: usize = 20;
/// The program with shutdown state and bad blocks.
const FILE_BYTES_MAX: u64 = 48 << 10;
/// Memory that the running program has besides the mapped parts.
const MEMORY_KIB_MAX: u64 = 72;

pub(crate) fn run(_args: &Args) -> Outcome {
    check().outcome()
}

/// Builds, kills, measures.
pub(crate) fn check() -> Tally {
    let mut tally = Tally::default();
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        tally.skip("appliance", "its entry point is written for x86-64 Linux");
        return tally;
    }
    let folder = root().join("target/bare/appliance");
    let built = recorder(&folder);
    tally.check("appliance builds without std, libc and allocator", built.as_ref().map(drop).map_err(Clone::clone));
    if let Ok(program) = built {
        tally.run("appliance is small", || size(&program));
        tally.run("appliance says what its README shows", || shown(&program, &folder));
        tally.run(&format!("{KILLS} kills lose no acknowledged record"), || kills(&program, &folder));
    }
    tally
}

fn size(program: &Path) -> Result<(), String> {
    let bytes = fs::metadata(program).map_err(|error| error.to_string())?.len();
    say(&format!("        {bytes} bytes"));
    (bytes <= FILE_BYTES_MAX).then_some(()).ok_or_else(|| format!("{bytes} bytes, more than {FILE_BYTES_MAX}"))
}

fn shown(program: &Path, folder: &Path) -> Result<(), String> {
    let file = folder.join("shown");
    let _ = fs::remove_file(&file);
    let mut said = Vec::new();
    for _ in 0..2 {
        let (status, lines) = start(program, &file, folder, Some("2"))?.finish()?;
        said.extend(lines);
        if status != Some(0) {
            return Err(format!("{status:?}: {}", said.join("\n")));
        }
    }
    readme::compare("appliance", "appliance PATH DIRECTORY 2; appliance PATH DIRECTORY 2", &said)
}

fn kills(program: &Path, folder: &Path) -> Result<(), String> {
    let file = folder.join("records");
    let _ = fs::remove_file(&file);
    let mut random = Random::new();
    let mut acknowledged = 0;
    let mut memory = 0;
    for kill in 0..KILLS {
        let context = format!("seed {}, kill {kill}", random.seed);
        let mut vm = start(program, &file, folder, None)?;
        let mut left = 1 + random.below(400);
        while left > 0 {
            let line = vm.line().map_err(|error| format!("{context}: {error}"))?;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["ack", number] => {
                    acknowledged = number.parse().map_err(|_| line.clone())?;
                    left -= 1;
                }
                ["recovered", "nothing"] if acknowledged == 0 => {}
                ["recovered", _, "to", last] => {
                    let last: u64 = last.parse().map_err(|_| line.clone())?;
                    if last < acknowledged || last > acknowledged + 2 {
                        return Err(format!("{context}: `{line}`, acknowledged {acknowledged}"));
                    }
                }
                ["shutdown", ..] => {}
                _ => return Err(format!("{context}: {line}")),
            }
        }
        memory = memory.max(resident_kib(vm.id(), &file)?);
        for line in vm.cut() {
            // The last line may be cut off, and say a smaller number.
            let number = line.strip_prefix("ack ").and_then(|number| number.parse().ok());
            acknowledged = number.unwrap_or(0).max(acknowledged);
        }
    }
    say(&format!("        {memory} KiB of memory besides the mapped parts"));
    let (status, lines) = start(program, &file, folder, Some("3"))?.finish()?;
    if status != Some(0) || lines.last().is_none_or(|line| line != "closed") {
        return Err(format!("{status:?}: {}", lines.join("\n")));
    }
    ring(&[file])?;
    (memory <= MEMORY_KIB_MAX).then_some(()).ok_or_else(|| format!("{memory} KiB of memory"))
}

fn start(program: &Path, file: &Path, folder: &Path, count: Option<&str>) -> Result<Vm, String> {
    // What cargo puts into the environment is not the memory of the program.
    Vm::start(Command::new(program).env_clear().arg(file).arg(folder).args(count))
}

/// Returns the memory that process `id` has in use, that of `file` and of the kernel's own pages left out (proc(5)).
fn resident_kib(id: u32, file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(PathBuf::from(format!("/proc/{id}/smaps"))).map_err(|error| error.to_string())?;
    let (mut counted, mut sum) = (true, 0);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Rss:") {
            let kib = rest.trim().trim_end_matches(" kB").parse::<u64>().map_err(|error| error.to_string())?;
            sum += if counted { kib } else { 0 };
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            counted =
                !line.ends_with(&*file.to_string_lossy()) && !line.ends_with("[vdso]") && !line.ends_with("[vvar]");
        }
    }
    Ok(sum)
}
