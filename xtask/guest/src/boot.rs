//! The first process of a machine: mounts what the kernel shows, loads modules, runs the scenario, leaves.

use core::panic::AssertUnwindSafe;
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::process::Command;

use lab_machine::Machine;
use rustix::mount::{MountFlags, mount};
use rustix::system::finit_module;

use crate::lab::{Failure, Lab};
use crate::mount::mount_file_systems;
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
    let machine = lab.machine();
    if lab.word("lab.shell").is_some() {
        shell(machine);
    }
    lab.say("start");
    lab.say(format!("note begins at {}", std::fs::read_to_string("/proc/uptime").unwrap_or_default()));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let (_, checks) = scenarios::find(&name).ok_or_else(|| format!("no scenario {name:?}"))?;
        mount_file_systems(machine)?;
        checks(&mut lab)
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

fn shell(machine: &Machine) -> ! {
    if let Err(reason) = mount_file_systems(machine) {
        eprintln!("{reason}");
    }
    let _ = Command::new("/bin/busybox").args(["--install", "-s", "/bin"]).status();
    let shell =
        Command::new("/bin/busybox").args(["setsid", "cttyhack", "sh"]).env("PATH", "/bin").env("HOME", "/").status();
    eprintln!("lab: the shell has ended: {shell:?}");
    let _ = Command::new("/bin/busybox").args(["poweroff", "-f"]).status();
    std::process::exit(0);
}
