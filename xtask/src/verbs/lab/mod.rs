//! `cargo xtask lab`: boots real kernels with persistent memory and tests the shims there.

mod acpi;
mod cpio;
mod cut;
mod hosts;
mod image;
mod kernel;
mod memory;
mod vm;

use core::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use lab_machine::{Cut, Device, Expect, KERNELS, Machine, SCENARIOS, Scenario};

use self::kernel::Kernel;
use self::vm::{Bench, Boot, End};
use super::c;
use crate::support::downloads::home;
use crate::support::processes::{cargo, root};
use crate::support::programs;
use crate::support::progress;
use crate::support::qemu::{self, Plugged, Qemu, plugged};
use crate::support::tally::{Outcome, Tally};

/// Where a static program for the machines is built.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios by name, or by a piece of their names; all of them if none is given.
    scenarios: Vec<String>,
    /// Print the scenarios and their machines, and run nothing.
    #[arg(long)]
    list: bool,
    /// Only the scenarios of the short list.
    #[arg(long)]
    short: bool,
    /// Keep the files of every machine: memory, console, tables.
    #[arg(long)]
    keep: bool,
    /// Run all chosen scenarios on this series of kernels.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(KERNELS))]
    kernel: Option<String>,
    /// Cut the power this often instead of as often as the scenario says.
    #[arg(long)]
    rounds: Option<u32>,
    /// Exchange this many records between two machines instead of as many as the scenario says.
    #[arg(long)]
    records: Option<u64>,
    /// Boot the machine of one scenario with a shell on this terminal.
    #[arg(long, conflicts_with = "list")]
    shell: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let scenarios = chosen(args);
    if scenarios.is_empty() {
        return Err("no scenario has such a name (see --list)".into());
    }
    if args.list {
        for Scenario { name, short, kernels, .. } in &scenarios {
            println!("{name:32} {:5} {}", if *short { "short" } else { "whole" }, kernels.join(","));
        }
        return Ok(true);
    }
    let bench = build()?;
    if args.shell {
        let [scenario] = &scenarios[..] else { return Err("a shell needs exactly one scenario".into()) };
        return shell(&bench, scenario).map(|()| true).map_err(Into::into);
    }
    let tally = run_all(&bench, &scenarios, args.keep);
    println!("{tally}");
    Ok(tally.good())
}

/// Runs the scenarios of the short list, each on the first of its kernels.
pub(crate) fn short() -> Tally {
    let short = SCENARIOS.iter().filter(|scenario| scenario.short);
    listed(short.map(|scenario| Scenario { kernels: &scenario.kernels[..1], ..*scenario }).collect())
}

/// Runs every scenario, on the kernels that it runs on before every change.
pub(crate) fn whole() -> Tally {
    let change = |scenario: &Scenario| Scenario { kernels: scenario.kernels_each_time(), ..*scenario };
    listed(SCENARIOS.iter().map(change).collect())
}

fn listed(scenarios: Vec<Scenario>) -> Tally {
    let mut tally = Tally::default();
    match build() {
        Ok(bench) => run_all(&bench, &scenarios, false),
        Err(reason) => {
            tally.check("lab", Err(reason));
            tally
        }
    }
}

fn chosen(args: &Args) -> Vec<Scenario> {
    let wanted = |scenario: &&Scenario| {
        let named = |word: &String| match Scenario::find(word) {
            Some(found) => found.name == scenario.name,
            None => scenario.name.contains(word),
        };
        (args.scenarios.is_empty() || args.scenarios.iter().any(named)) && (!args.short || scenario.short)
    };
    let kernel = args.kernel.as_ref().and_then(|kernel| KERNELS.iter().find(|known| *known == kernel));
    let changed = |scenario: &Scenario| Scenario {
        rounds: args.rounds.unwrap_or(scenario.rounds),
        records: if scenario.records == 0 { 0 } else { args.records.unwrap_or(scenario.records) },
        kernels: kernel.map_or(scenario.kernels, core::slice::from_ref),
        ..*scenario
    };
    SCENARIOS.iter().filter(wanted).map(changed).collect()
}

/// Builds the static programs that run inside the machines.
fn build() -> Result<Bench, String> {
    let folder = home().join("build");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let status = cargo()
        .args(["build", "--target", TARGET, "--package", "lab-guest", "--package", "hosted"])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .status()
        .map_err(|error| error.to_string())?;
    if !status.success() {
        return Err("the programs for the machines do not build".into());
    }
    let guest = folder.join(TARGET).join("debug/lab-guest");
    let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let demo = folder.join(TARGET).join("debug/demo");
    let appliance = programs::recorder(&home().join("appliance"))?;
    let cases = c::machine_cases()?;
    let programs = [("init", &guest), ("bin/demo", &demo), ("bin/appliance", &appliance), ("bin/c-cases", &cases)];
    let mut programs =
        programs.map(|(name, path)| Ok((name, read(path)?))).into_iter().collect::<Result<Vec<_>, String>>()?;
    if let Some(busybox) = qemu::program("busybox") {
        programs.push(("bin/busybox", read(&busybox)?));
    }
    Ok(Bench { programs })
}

/// What can be had of the parts that machines are made of, or why not.
struct Parts {
    kernels: BTreeMap<&'static str, Result<Kernel, String>>,
    qemu: Result<Qemu, String>,
    plugin: Result<Plugged, String>,
}

impl Parts {
    fn get(scenarios: &[Scenario]) -> Self {
        let programs = if cfg!(target_arch = "x86_64") {
            qemu::programs()
        } else {
            Err("the machines are x86-64, and their test program is built for the processor of this one".into())
        };
        let mut kernels = BTreeMap::new();
        for name in scenarios.iter().flat_map(|scenario| scenario.kernels) {
            kernels.entry(*name).or_insert_with(|| programs.clone().and_then(|()| Kernel::get(name)));
        }
        let plugin = if scenarios.iter().any(|scenario| scenario.cut == Cut::Flushed) {
            programs.clone().and_then(|()| plugged())
        } else {
            Err("not asked for".into())
        };
        Self { kernels, qemu: programs.and_then(|()| qemu::qemu()), plugin }
    }

    /// Returns what the machine is booted with, and for some also the QEMU that takes the plugin, and the plugin.
    fn for_scenario(&self, scenario: &Scenario, kernel: &str) -> Result<(Kernel, Qemu, Option<Plugged>), String> {
        let kernel = self.kernels.get(kernel).cloned().unwrap_or_else(|| Err("unknown kernel".into()))?;
        let plugin = if scenario.cut == Cut::Flushed { Some(self.plugin.clone()?) } else { None };
        Ok((kernel, self.qemu.clone()?, plugin))
    }
}

/// How one scenario on one kernel came out.
struct Report {
    name: String,
    seconds: f64,
    skipped: bool,
    result: Result<String, String>,
}

/// Runs scenarios, one for each processor at a time, and prints a line for each.
fn run_all(bench: &Bench, scenarios: &[Scenario], keep: bool) -> Tally {
    let parts = progress::during("getting kernels and QEMU", || Parts::get(scenarios));
    let running = Mutex::new(Vec::new());
    let under_way =
        || running.lock().map_or_else(|_| String::new(), |names: MutexGuard<'_, Vec<String>>| names.join(", "));
    progress::watching(under_way, || run_jobs(bench, scenarios, keep, &parts, &running))
}

fn run_jobs(bench: &Bench, scenarios: &[Scenario], keep: bool, parts: &Parts, running: &Mutex<Vec<String>>) -> Tally {
    let jobs = scenarios.iter().flat_map(|scenario| scenario.kernels.iter().map(move |kernel| (scenario, kernel)));
    let mut jobs: Vec<_> = jobs.collect();
    // What boots often begins first, so that no processor waits long for the last one.
    jobs.sort_by_key(|(scenario, _)| Reverse(scenario.rounds));
    let jobs = Mutex::new(jobs.into_iter());
    let (sender, reports) = channel();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (sender, jobs) = (sender.clone(), &jobs);
            scope.spawn(move || {
                let next = || jobs.lock().ok()?.next();
                while let Some((scenario, kernel)) = next() {
                    let name = format!("lab {} on {kernel}", scenario.name);
                    let change = |change: &dyn Fn(&mut Vec<String>)| {
                        if let Ok(mut names) = running.lock() {
                            change(&mut names);
                        }
                    };
                    change(&|names| names.push(name.clone()));
                    let _ = sender.send(one(bench, parts, scenario, kernel, keep));
                    change(&|names| names.retain(|other| *other != name));
                }
            });
        }
        drop(sender);
        for report in reports {
            let name = format!("{} ({:.1} s)", report.name, report.seconds);
            match report.result {
                Err(reason) if report.skipped => tally.skip(&report.name, &reason),
                Ok(note) if !note.is_empty() => tally.check(&format!("{name}: {note}"), Ok(())),
                result => tally.check(&name, result.map(drop)),
            }
        }
    });
    tally
}

fn one(bench: &Bench, parts: &Parts, scenario: &Scenario, kernel: &str, keep: bool) -> Report {
    let begin = Instant::now();
    let name = format!("lab {} on {kernel}", scenario.name);
    let (skipped, result) = match parts.for_scenario(scenario, kernel) {
        Err(reason) => (true, Err(reason)),
        Ok((kernel_files, qemu, plugin)) => {
            let folder = home().join("run").join(format!("{}-{kernel}", scenario.name));
            let boot = Boot {
                bench,
                scenario,
                kernel: &kernel_files,
                qemu: &qemu,
                folder: &folder,
                words: String::new(),
                plugin: None,
                cut_after: None,
                failed: None,
            };
            let result = prepare(&scenario.machine, &folder).and_then(|()| boots(boot, plugin.as_ref()));
            tidy(&folder, keep, result.is_ok());
            let shown = folder.strip_prefix(root()).unwrap_or(&folder).display();
            (false, result.map_err(|reason| format!("{reason} (see {shown})")))
        }
    };
    Report { name, seconds: begin.elapsed().as_secs_f64(), skipped, result }
}

fn prepare(machine: &Machine, folder: &Path) -> Result<(), String> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    image::make(machine, &folder.join("memory"))?;
    if machine.device == Device::Nfit { acpi::write(machine, folder) } else { Ok(()) }
}

fn tidy(folder: &Path, keep: bool, passed: bool) {
    if keep {
        return;
    }
    if passed {
        let _ = fs::remove_dir_all(folder);
    } else {
        // What a failure left to read stays; the memory is big.
        let _ = fs::remove_file(folder.join("memory"));
        let _ = fs::remove_file(folder.join("durable"));
    }
}

/// Boots a machine until its scenario has ended, and compares with how it is to end.
fn boots(mut boot: Boot<'_>, plugin: Option<&Plugged>) -> Result<String, String> {
    if boot.scenario.records > 0 {
        return hosts::exchange(&boot);
    }
    if boot.scenario.cut != Cut::Never {
        return cut::rounds(boot, plugin);
    }
    for phase in 0..100 {
        boot.words = format!("lab.phase={phase}");
        let (end, _) = cut::twice(&boot)?;
        return match (end, boot.scenario.expect) {
            (End::Again, _) => continue,
            (End::Done, Expect::Pass) => Ok(String::new()),
            (End::Done, _) => Err("passed, although it must not".into()),
            (End::Failed(reason), Expect::Oops) if reason.starts_with("the kernel died") => Ok("seen".into()),
            (End::Failed(reason), Expect::Hang) if reason.starts_with("hung") => Ok("seen".into()),
            (End::Failed(reason), Expect::Fail) if reason.starts_with("check") => Ok("seen".into()),
            (End::Failed(reason) | End::NeverReached(reason), _) => Err(reason),
            (End::Cut, _) => Err("cut without being asked to".into()),
        };
    }
    Err("wants to be booted for ever".into())
}

fn shell(bench: &Bench, scenario: &Scenario) -> Result<(), String> {
    let parts = Parts::get(core::slice::from_ref(scenario));
    let kernel = scenario.kernels[0];
    let (kernel, qemu, _) = parts.for_scenario(scenario, kernel)?;
    let folder = home().join("run").join(format!("{}-shell", scenario.name));
    prepare(&scenario.machine, &folder)?;
    println!(
        "The shell ends with `poweroff -f`; ctrl-a x kills the machine. The test program is /init, its file systems are below /mnt0."
    );
    let words = "lab.shell=1".to_owned();
    let boot = Boot {
        bench,
        scenario,
        kernel: &kernel,
        qemu: &qemu,
        folder: &folder,
        words,
        plugin: None,
        cut_after: None,
        failed: None,
    };
    let result = boot.shell();
    tidy(&folder, false, true);
    result
}
