//! The declaration of a scenario: the machine that it wants, and when it runs.

use core::error::Error;

use crate::lab::Lab;

/// Why a scenario failed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// One scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// Its name, without spaces.
    pub(crate) name: &'static str,
    /// Whether it belongs to the short list.
    pub(crate) short: bool,
    /// Kernel series that it runs on.
    pub(crate) kernels: &'static str,
    /// What the machine is made of.
    pub(crate) machine: Machine,
    /// How it must end.
    pub(crate) expect: Expect,
    /// What happens to the power.
    pub(crate) cut: Cut,
    /// After how many seconds a boot counts as hung.
    pub(crate) limit_seconds: u32,
    /// The checks.
    pub(crate) run: fn(&mut Lab) -> Result<(), Failure>,
}

impl Scenario {
    /// Returns a scenario on one NVDIMM with an ext4 file system, on every kernel of the lab.
    pub(crate) const fn new(name: &'static str, run: fn(&mut Lab) -> Result<(), Failure>) -> Self {
        let (machine, expect, cut) = (Machine::NFIT, Expect::Pass, Cut::Never);
        Self { name, short: false, kernels: "6.1,6.12", machine, expect, cut, limit_seconds: 120, run }
    }

    /// Puts it on the short list.
    pub(crate) const fn short(mut self) -> Self {
        self.short = true;
        self
    }

    /// Runs it on kernel 6.1 only: nothing in it depends on the kernel's version.
    pub(crate) const fn once(mut self) -> Self {
        self.kernels = "6.1";
        self
    }

    /// Gives it another machine.
    pub(crate) const fn on(mut self, machine: Machine) -> Self {
        self.machine = machine;
        self
    }

    /// Cuts the power while it runs.
    pub(crate) const fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// Lets it end otherwise than well, which the lab must see.
    pub(crate) const fn expect(mut self, expect: Expect, limit_seconds: u32) -> Self {
        self.expect = expect;
        self.limit_seconds = limit_seconds;
        self
    }

    /// Returns the line that the host reads.
    pub(crate) fn line(&self) -> String {
        let Machine {
            device, dimms, interleave, armed, volatile, domain, modes, align, fs, bad, counts, modules, ..
        } = self.machine;
        let (cut, rounds, canary) = match self.cut {
            Cut::Never => ("none", 0, false),
            Cut::Kill(rounds) => ("kill", rounds, false),
            Cut::KillLoses(rounds) => ("kill", rounds, true),
            Cut::Flushed(rounds) => ("flushed", rounds, false),
            Cut::FlushedLoses(rounds) => ("flushed", rounds, true),
        };
        let list = if self.short { "short" } else { "whole" };
        let expect = format!("{:?}", self.expect).to_lowercase();
        let counts = counts.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        format!(
            "name={} list={list} kernels={} device={device} dimms={dimms} interleave={} armed={} volatile={} \
             domain={domain} \
             modes={modes} align={align} fs={fs} bad={bad} counts={counts} modules={modules} limit={} expect={expect} \
             cut={cut} rounds={rounds} canary={}",
            self.name,
            self.kernels,
            u8::from(interleave),
            u8::from(armed),
            u8::from(volatile),
            self.limit_seconds,
            u8::from(canary),
        )
    }
}

/// The machine of a scenario.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    /// `nfit`, `qemu`, `virtio`, `cxl`, `legacy`, `soft` or `none`.
    pub(crate) device: &'static str,
    /// NVDIMMs: 1 or 2, each its own region unless interleaved.
    pub(crate) dimms: u32,
    pub(crate) interleave: bool,
    /// Whether the modules will save their content.
    pub(crate) armed: bool,
    /// Whether the firmware says that the memory is volatile; it has no modules then.
    pub(crate) volatile: bool,
    /// What the platform says about power failure: `none`, `memory` or `cpu`.
    pub(crate) domain: &'static str,
    /// What each region is: `fsdax`, `devdax` or `raw`.
    pub(crate) modes: &'static str,
    /// Alignment of the namespaces in bytes.
    pub(crate) align: u32,
    /// File system of the `fsdax` regions: `ext4`, `xfs` or `none`.
    pub(crate) fs: &'static str,
    /// How file systems are mounted, at `/mnt0` and `/mnt1`.
    pub(crate) options: &'static str,
    /// What is bad at the first boot: `region:offset:length`, separated by commas.
    pub(crate) bad: &'static str,
    /// Counts of unsafe shutdowns at the first boot, for each module.
    pub(crate) counts: &'static [u32],
    /// More kernel modules.
    pub(crate) modules: &'static str,
}

impl Machine {
    /// One NVDIMM that the lab's own firmware tables describe, flushed by cache lines, with ext4 on it.
    pub(crate) const NFIT: Self = Self {
        device: "nfit",
        dimms: 1,
        interleave: false,
        armed: true,
        volatile: false,
        domain: "memory",
        modes: "fsdax",
        align: 2 << 20,
        fs: "ext4",
        options: "dax=always",
        bad: "",
        counts: &[],
        modules: "",
    };
    /// The same with XFS.
    pub(crate) const XFS: Self = Self { fs: "xfs", ..Self::NFIT };
    /// The same as a character device.
    pub(crate) const DEVDAX: Self = Self { modes: "devdax", fs: "none", ..Self::NFIT };
}

/// How a scenario must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Pass,
    Fail,
    Oops,
    Hang,
}

/// What happens to the power, and in how many rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "used by the scenarios that map")]
pub(crate) enum Cut {
    Never,
    /// The machine is killed; every store is kept.
    Kill(u32),
    /// The same, and data must be lost.
    KillLoses(u32),
    /// The machine is killed; only what was flushed and fenced is kept.
    Flushed(u32),
    /// The same, and data must be lost.
    FlushedLoses(u32),
}
