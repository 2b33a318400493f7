//! The first process of a machine: mounts what the kernel shows, loads modules, runs the scenario, leaves.

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use crate::lab::Lab;
use crate::machine::{Failure, Machine};
use crate::scenarios;

/// Runs the scenario that the kernel's command line names; the machine is gone afterwards.
pub(crate) fn run() -> ! {
    let early = || -> Result<Lab, Failure> {
        for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
            mount(kind, target, kind, MountFlags::empty(), None)?;
        }
        mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None)?;
        load_modules()?;
        Lab::open()
    };
    let mut lab = match early() {
        Ok(lab) => lab,
        Err(reason) => {
            eprintln!("lab: cannot begin: {reason}");
            std::process::exit(1);
        }
    };
    let name = lab.word("lab").unwrap_or_default().to_owned();
    let scenario = scenarios::all().find(|scenario| scenario.name == name);
    if lab.word("lab.shell").is_some() {
        shell(scenario.map(|scenario| scenario.machine));
    }
    lab.say("start");
    lab.say(format!("note begins at {}", std::fs::read_to_string("/proc/uptime").unwrap_or_default()));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let scenario = scenario.ok_or_else(|| format!("no scenario {name:?}"))?;
        mount_file_systems(&scenario.machine)?;
        (scenario.run)(&mut lab)
    }));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default().into())
    });
    lab.leave(&result)
}

fn load_modules() -> Result<(), Failure> {
    for name in fs::read_to_string("/modules/order")?.lines() {
        let file = File::open(format!("/modules/{name}"))?;
        finit_module(&file, c"", 0).map_err(|error| format!("module {name}: {error}"))?;
    }
    Ok(())
}

/// Mounts the file systems of the regions in order, at `/mnt0` and `/mnt1`.
pub(crate) fn mount_file_systems(machine: &Machine) -> Result<(), Failure> {
    // What is behind CXL is made into a disk by the scenario.
    if machine.fs == "none" || matches!(machine.device, "none" | "cxl") {
        return Ok(());
    }
    for (index, _) in machine.modes.split(',').enumerate().filter(|(_, mode)| *mode == "fsdax") {
        mount_file_system(machine, index)?;
    }
    Ok(())
}

/// Mounts the file system of region `index`.
pub(crate) fn mount_file_system(machine: &Machine, index: usize) -> Result<(), Failure> {
    let options = std::ffi::CString::new(machine.options)?;
    let flags = if machine.armed { MountFlags::NOATIME } else { MountFlags::RDONLY };
    let device = format!("/dev/pmem{index}");
    wait_for(&device)?;
    mount(&device, format!("/mnt{index}"), machine.fs, flags, Some(options.as_c_str()))
        .map_err(|error| format!("mounting {device}: {error}"))?;
    Ok(())
}

/// How long the kernel may take for what it does in threads of its own: half of what the host allows.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a file or device: devices are probed in threads of the kernel.
pub(crate) fn wait_for(path: &str) -> Result<(), Failure> {
    until(path, || Path::new(path).exists().then_some(()))
}

/// Asks until there is an answer, and gives up with a word about `what` never came.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("{what} never came").into());
        }
        std::thread::yield_now();
    }
}

fn shell(machine: Option<Machine>) -> ! {
    if let Some(Err(reason)) = machine.map(|machine| mount_file_systems(&machine)) {
        eprintln!("{reason}");
    }
    let _ = Command::new("/bin/busybox").args(["--install", "-s", "/bin"]).status();
    let shell =
        Command::new("/bin/busybox").args(["setsid", "cttyhack", "sh"]).env("PATH", "/bin").env("HOME", "/").status();
    eprintln!("lab: the shell has ended: {shell:?}");
    let _ = Command::new("/bin/busybox").args(["poweroff", "-f"]).status();
    std::process::exit(0);
}
