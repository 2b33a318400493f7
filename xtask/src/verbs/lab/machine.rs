//! A scenario's declaration, as the test program prints it: its name and the machine that it wants, one line each.

use super::layout::{BASE, REGIONS_END};

/// How persistent memory is shown to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
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
pub(crate) enum Domain {
    None,
    Memory,
    Cpu,
}

/// What a region is made into before the first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Raw,
    FsDax,
    DevDax,
}

/// How a scenario is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Pass,
    /// With a failed check, and the lab must see it.
    Fail,
    /// With the death of the kernel, and the lab must see it.
    Oops,
    /// Not at all, and the lab must see it.
    Hang,
}

/// How power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    None,
    /// The machine stops; all stores are kept.
    Kill,
    /// The machine stops; only what was flushed and fenced is kept.
    Flushed,
}

/// One scenario.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) short: bool,
    pub(crate) kernels: Vec<String>,
    pub(crate) device: Device,
    pub(crate) dimms: u64,
    pub(crate) interleave: bool,
    pub(crate) armed: bool,
    /// Whether the firmware says that the memory is volatile.
    pub(crate) volatile: bool,
    pub(crate) domain: Domain,
    pub(crate) modes: Vec<Mode>,
    pub(crate) align: u64,
    pub(crate) fs: Option<String>,
    /// Region, offset in it and length of what is bad at the first boot.
    pub(crate) bad: Vec<(u64, u64, u64)>,
    pub(crate) counts: Vec<u32>,
    pub(crate) modules: Vec<String>,
    pub(crate) limit_seconds: u64,
    pub(crate) expect: Expect,
    pub(crate) cut: Cut,
    pub(crate) rounds: u32,
    /// Whether at least one round must lose data.
    pub(crate) canary: bool,
}

impl Machine {
    /// Reads one line of `--list`: `key=value` words in any order.
    ///
    /// # Errors
    ///
    /// The word that is not understood.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut machine = Self {
            name: String::new(),
            short: false,
            kernels: vec!["6.1".into()],
            device: Device::None,
            dimms: 1,
            interleave: false,
            armed: true,
            volatile: false,
            domain: Domain::None,
            modes: vec![Mode::FsDax],
            align: 2 << 20,
            fs: None,
            bad: Vec::new(),
            counts: Vec::new(),
            modules: Vec::new(),
            limit_seconds: 120,
            expect: Expect::Pass,
            cut: Cut::None,
            rounds: 0,
            canary: false,
        };
        for word in line.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is no key=value"))?;
            machine.set(key, value).ok_or_else(|| format!("cannot understand {word:?} in the declaration {line:?}"))?;
        }
        if machine.name.is_empty() || !(1..=2).contains(&machine.dimms) {
            return Err(format!("a scenario needs a name and one or two modules: {line:?}"));
        }
        Ok(machine)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "name" => value.clone_into(&mut self.name),
            "list" => self.short = one_of(value, &[("short", true), ("whole", false)])?,
            "kernels" => self.kernels = value.split(',').map(str::to_owned).collect(),
            "device" => self.device = device(value)?,
            "dimms" => self.dimms = value.parse().ok()?,
            "interleave" => self.interleave = flag(value)?,
            "armed" => self.armed = flag(value)?,
            "volatile" => self.volatile = flag(value)?,
            "domain" => {
                self.domain =
                    one_of(value, &[("none", Domain::None), ("memory", Domain::Memory), ("cpu", Domain::Cpu)])?;
            }
            "modes" => self.modes = value.split(',').map(mode).collect::<Option<_>>()?,
            "align" => self.align = value.parse().ok()?,
            "fs" => self.fs = (value != "none").then(|| value.to_owned()),
            "bad" => self.bad = list(value, bad_range)?,
            "counts" => self.counts = list(value, |word| word.parse().ok())?,
            "modules" => self.modules = list(value, |word| Some(word.to_owned()))?,
            "limit" => self.limit_seconds = value.parse().ok()?,
            "expect" => self.expect = expect(value)?,
            "cut" => self.cut = one_of(value, &[("none", Cut::None), ("kill", Cut::Kill), ("flushed", Cut::Flushed)])?,
            "rounds" => self.rounds = value.parse().ok()?,
            "canary" => self.canary = flag(value)?,
            _ => return None,
        }
        Some(())
    }

    /// Returns the number of regions.
    pub(crate) fn regions(&self) -> u64 {
        if self.interleave || self.device != Device::Nfit { 1 } else { self.dimms }
    }

    /// Returns the length of each region in bytes, a multiple of 16 MiB.
    pub(crate) fn region_bytes(&self) -> u64 {
        REGIONS_END / self.regions() / (16 << 20) * (16 << 20)
    }

    /// Returns the physical address of byte `offset` of `region`.
    pub(crate) fn address(&self, region: u64, offset: u64) -> u64 {
        BASE + region * self.region_bytes() + offset
    }
}

fn one_of<T: Copy>(value: &str, table: &[(&str, T)]) -> Option<T> {
    table.iter().find(|row| row.0 == value).map(|row| row.1)
}

fn flag(value: &str) -> Option<bool> {
    one_of(value, &[("0", false), ("1", true)])
}

fn device(value: &str) -> Option<Device> {
    let table = [
        ("none", Device::None),
        ("nfit", Device::Nfit),
        ("qemu", Device::Qemu),
        ("virtio", Device::Virtio),
        ("cxl", Device::Cxl),
        ("legacy", Device::Legacy),
        ("soft", Device::Soft),
    ];
    one_of(value, &table)
}

fn mode(value: &str) -> Option<Mode> {
    one_of(value, &[("raw", Mode::Raw), ("fsdax", Mode::FsDax), ("devdax", Mode::DevDax)])
}

fn expect(value: &str) -> Option<Expect> {
    let table = [("pass", Expect::Pass), ("fail", Expect::Fail), ("oops", Expect::Oops), ("hang", Expect::Hang)];
    one_of(value, &table)
}

fn list<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.split(',').filter(|word| !word.is_empty()).map(read).collect()
}

/// Reads `region:offset:length`.
fn bad_range(value: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = value.split(':').map(|number| number.parse().ok());
    let range = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(range)
}

#[cfg(test)]
mod tests {
    use super::{Device, Machine, Mode};

    #[test]
    fn a_declaration_is_read() {
        let line =
            "name=two list=short device=nfit dimms=2 modes=fsdax,devdax bad=1:4096:512,0:0:256 counts=7,9 fs=xfs";
        let machine = Machine::parse(line).unwrap();
        assert_eq!((machine.name.as_str(), machine.short, machine.device), ("two", true, Device::Nfit));
        assert_eq!(machine.modes, [Mode::FsDax, Mode::DevDax]);
        assert_eq!(machine.bad, [(1, 4096, 512), (0, 0, 256)]);
        assert_eq!(machine.counts, [7, 9]);
        assert_eq!(machine.regions(), 2);
        assert_eq!(machine.region_bytes() % (16 << 20), 0);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in
            ["name=x device=floppy", "name=x colour=red", "device=nfit", "name=x dimms=3", "name", "name=x bad=1:2"]
        {
            assert!(Machine::parse(line).is_err(), "{line}");
        }
    }
}
