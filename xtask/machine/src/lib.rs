//! The machines and scenarios of the lab, for the host that boots them and the test program inside.
//!
//! A scenario is declared in `scenarios`; the function of that name in the test program does its checks.

#![no_std]

mod layout;
mod scenarios;

pub use self::layout::{BASE, CONTROL, HINTS, REGIONS_END, SIZE};
pub use self::scenarios::SCENARIOS;

/// How persistent memory is shown to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// None at all.
    None,
    /// Firmware tables of the lab's own: bad blocks, shutdown counts, flush hints, capabilities.
    Nfit,
    /// QEMU's own NVDIMM.
    Qemu,
    /// A virtio-pmem disk.
    Virtio,
    /// A CXL type 3 memory device.
    Cxl,
    /// Ordinary memory set apart on the kernel's command line.
    Legacy,
    /// The same, as if the firmware had set it apart for a purpose ("soft-reserved").
    Soft,
}

/// What the platform says about power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Nothing.
    None,
    /// What has reached the memory controller is kept.
    Memory,
    /// Caches are kept too.
    Cpu,
}

/// What a region is made into before the first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Raw,
    /// A disk whose files are mapped directly.
    FsDax,
    /// A character device.
    DevDax,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// Returns the kernel's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// Memory that is bad at the first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The number of the region.
    pub region: u64,
    /// Where it begins in the region, in bytes.
    pub offset: u64,
    /// How much of it there is.
    pub length_bytes: u64,
}

/// The machine of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// How memory is shown.
    pub device: Device,
    /// NVDIMMs: 1 or 2, each its own region unless interleaved.
    pub dimms: u64,
    /// Whether they are one region.
    pub interleave: bool,
    /// Whether the modules will save their content.
    pub armed: bool,
    /// Whether the firmware says that the memory is volatile; it has no modules then.
    pub volatile: bool,
    /// What the platform says about power failure.
    pub domain: Domain,
    /// What each region is.
    pub modes: &'static [Mode],
    /// Alignment of the namespaces in bytes.
    pub align: u64,
    /// What is on the [`Mode::FsDax`] regions.
    pub fs: Option<FileSystem>,
    /// How file systems are mounted, at `/mnt0` and `/mnt1`.
    pub options: &'static str,
    /// What is bad at the first boot.
    pub bad: &'static [Bad],
    /// Counts of unsafe shutdowns at the first boot, for each module.
    pub counts: &'static [u32],
    /// Whether several machines have the memory at a time: no kernel keeps its map of pages there, as else all would.
    pub shared: bool,
    /// More kernel modules.
    pub modules: &'static [&'static str],
}

impl Machine {
    /// One NVDIMM that the lab's own firmware tables describe, flushed by cache lines, with ext4 on it.
    pub const NFIT: Self = Self {
        device: Device::Nfit,
        dimms: 1,
        interleave: false,
        armed: true,
        volatile: false,
        domain: Domain::Memory,
        modes: &[Mode::FsDax],
        align: 2 << 20,
        fs: Some(FileSystem::Ext4),
        options: "dax=always",
        bad: &[],
        counts: &[],
        shared: false,
        modules: &[],
    };
    /// The same with XFS.
    pub const XFS: Self = Self { fs: Some(FileSystem::Xfs), ..Self::NFIT };
    /// The same as a character device.
    pub const DEVDAX: Self = Self { modes: &[Mode::DevDax], fs: None, ..Self::NFIT };
}

/// How a scenario must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// With all checks passed.
    Pass,
    /// With a failed check, and the lab must see it.
    Fail,
    /// With the death of the kernel, and the lab must see it.
    Oops,
    /// Not at all, and the lab must see it.
    Hang,
}

/// What happens to the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Never,
    /// The machine stops; all stores are kept.
    Kill,
    /// The machine stops; only what was flushed and fenced is kept.
    Flushed,
}

/// The kernel series that the lab knows.
pub const KERNELS: &[&str] = &["6.1", "6.12"];

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, without spaces.
    pub name: &'static str,
    /// Whether it belongs to the short list.
    pub short: bool,
    /// Kernel series that it runs on.
    pub kernels: &'static [&'static str],
    /// Whether kernels differ in what it looks at, so that it runs on each of them before every change.
    pub differs: bool,
    /// What the machine is made of.
    pub machine: Machine,
    /// How it must end.
    pub expect: Expect,
    /// What happens to the power.
    pub cut: Cut,
    /// How often the power is cut.
    pub rounds: u32,
    /// Records that two machines exchange over one memory; 0 where there is one machine.
    pub records: u64,
    /// Whether at least one round must lose data.
    pub loses: bool,
    /// After how many seconds the test program counts as hung.
    pub limit_seconds: u64,
}

impl Scenario {
    /// Returns a scenario on one NVDIMM with an ext4 file system, on every kernel of the lab.
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            short: false,
            kernels: KERNELS,
            differs: false,
            machine: Machine::NFIT,
            expect: Expect::Pass,
            cut: Cut::Never,
            rounds: 0,
            records: 0,
            loses: false,
            limit_seconds: 120,
        }
    }

    /// Puts it on the short list.
    const fn short(self) -> Self {
        Self { short: true, ..self }
    }

    /// Says that kernels differ in what it looks at: the way there, the answers, or what they survive.
    const fn differs(self) -> Self {
        Self { differs: true, ..self }
    }

    /// Returns the kernels that it runs on before every change: each of its own if it is on the short list or kernels
    /// differ in it, and else the newest.
    #[must_use]
    pub fn kernels_each_time(&self) -> &'static [&'static str] {
        let from = if self.short || self.differs { 0 } else { self.kernels.len().saturating_sub(1) };
        &self.kernels[from..]
    }

    /// Runs it on kernel 6.1 only: nothing in it depends on the kernel's version.
    const fn once(self) -> Self {
        Self { kernels: &["6.1"], ..self }
    }

    /// Runs it on kernel 6.12 only: older ones die of it.
    const fn newer(self) -> Self {
        Self { kernels: &["6.12"], ..self }
    }

    /// Gives it another machine.
    const fn on(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// Cuts the power while it runs, so often.
    const fn cut(self, cut: Cut, rounds: u32) -> Self {
        Self { cut, rounds, ..self }
    }

    /// Boots two machines over one memory, which exchange so many records.
    const fn exchanges(self, records: u64, limit_seconds: u64) -> Self {
        Self { records, limit_seconds, ..self }
    }

    /// Says that data must be lost.
    const fn loses(self) -> Self {
        Self { loses: true, ..self }
    }

    /// Lets it end otherwise than well, which the lab must see.
    const fn expect(self, expect: Expect, limit_seconds: u64) -> Self {
        Self { expect, limit_seconds, ..self }
    }

    /// Returns the scenario of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_make_sense() {
        for scenario in SCENARIOS {
            let (name, machine) = (scenario.name, scenario.machine);
            assert!(!name.is_empty() && !name.contains(' '), "{name:?}");
            assert_eq!(SCENARIOS.iter().filter(|other| other.name == name).count(), 1, "{name}");
            assert!((1..=2).contains(&machine.dimms) && machine.region_bytes() % (16 << 20) == 0, "{name}");
            assert!(scenario.kernels.iter().all(|kernel| KERNELS.contains(kernel)), "{name}");
            assert_eq!(scenario.cut == Cut::Never, scenario.rounds == 0, "{name}");
            assert!(!scenario.differs || scenario.kernels == KERNELS && !scenario.short, "{name}");
            assert_eq!(machine.shared, scenario.records > 0, "{name}");
            let inside =
                |bad: &Bad| bad.region < machine.regions() && bad.offset + bad.length_bytes <= machine.region_bytes();
            assert!(machine.bad.iter().all(inside), "{name}");
        }
        let each_time = |name| Scenario::find(name).map(Scenario::kernels_each_time);
        assert_eq!(each_time("file-ext4"), Some(KERNELS), "on the short list");
        assert_eq!(each_time("facts-xfs"), Some(KERNELS), "kernels differ");
        assert_eq!(each_time("file-xfs"), Some(&["6.12"][..]));
        assert_eq!(each_time("demo-xfs"), Some(&["6.1"][..]));
        assert!(
            Scenario::find("devdax").is_some_and(|found| found.name == "devdax") && Scenario::find("dev").is_none()
        );
    }
}
