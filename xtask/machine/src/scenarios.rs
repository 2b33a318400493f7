//! All scenarios, by subject: what of them is checked is in the test program, in the file of the same subject.

use crate::{Bad, Cut, Device, Domain, Expect, FileSystem, Machine, Mode, Scenario};

const XFS: Machine = Machine::XFS;
const DEVDAX: Machine = Machine::DEVDAX;
const NONE: Machine = Machine { device: Device::None, fs: None, ..Machine::NFIT };
const QEMU: Machine = Machine { device: Device::Qemu, domain: Domain::None, ..Machine::NFIT };
const QEMU_DEVDAX: Machine = Machine { device: Device::Qemu, domain: Domain::None, ..DEVDAX };
const VIRTIO: Machine = Machine { device: Device::Virtio, domain: Domain::None, ..Machine::NFIT };
const LEGACY: Machine = Machine { device: Device::Legacy, domain: Domain::None, ..Machine::NFIT };
const CXL: Machine =
    Machine { device: Device::Cxl, domain: Domain::None, modes: &[Mode::Raw], fs: None, ..Machine::NFIT };
const CXL_DISK: Machine = Machine { modes: &[Mode::FsDax], fs: Some(FileSystem::Ext4), ..CXL };
const NO_DAX: Machine = Machine { options: "", ..Machine::NFIT };
const INTERLEAVED: Machine = Machine { dimms: 2, interleave: true, ..Machine::NFIT };
const TWO_FILE_SYSTEMS: Machine = Machine { dimms: 2, modes: &[Mode::FsDax; 2], ..Machine::NFIT };
const FILE_SYSTEM_AND_DEVICE: Machine = Machine { modes: &[Mode::FsDax, Mode::DevDax], ..TWO_FILE_SYSTEMS };
const SHARED: Machine = Machine { shared: true, ..DEVDAX };
const SMALL_PAGES: Machine = Machine { align: 4096, ..DEVDAX };
/// The device begins 8 MiB into its region: its bytes 4096 to 8191 are bad, and some of its second unit.
const BAD_DEVICE: Machine = Machine {
    bad: &[
        Bad { region: 0, offset: 8_392_704, length_bytes: 4096 },
        Bad { region: 0, offset: 10_486_272, length_bytes: 512 },
    ],
    ..DEVDAX
};

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    // itself
    Scenario::new("lab-map-sync").short(),
    Scenario::new("lab-map-sync-xfs").on(XFS).differs(),
    Scenario::new("lab-sees-failure").on(NONE).once().expect(Expect::Fail, 60).short(),
    Scenario::new("lab-sees-oops").on(NONE).once().expect(Expect::Oops, 60).short(),
    Scenario::new("lab-sees-hang").on(NONE).once().expect(Expect::Hang, 20).short(),
    // demo
    Scenario::new("demo-ext4").short(),
    Scenario::new("demo-xfs").on(XFS).once(),
    Scenario::new("demo-devdax").on(DEVDAX),
    Scenario::new("appliance-ext4").once(),
    Scenario::new("appliance-devdax").on(DEVDAX).once(),
    // c
    Scenario::new("c-state").on(Machine { counts: &[5, 5], ..TWO_FILE_SYSTEMS }).short(),
    Scenario::new("c-bad").short(),
    Scenario::new("c-bad-xfs").on(XFS).once(),
    Scenario::new("c-devdax").on(DEVDAX),
    Scenario::new("c-devdax-bad").on(BAD_DEVICE),
    // files
    Scenario::new("file-ext4").short(),
    Scenario::new("file-xfs").on(XFS),
    Scenario::new("file-cpu-domain").on(Machine { domain: Domain::Cpu, ..Machine::NFIT }).short(),
    Scenario::new("file-contract").short(),
    Scenario::new("file-contract-xfs").on(XFS).differs(),
    Scenario::new("file-contract-no-dax").on(NO_DAX).once(),
    Scenario::new("file-grows").short(),
    Scenario::new("file-grows-xfs").on(XFS),
    Scenario::new("file-system-full").short(),
    Scenario::new("file-system-full-xfs").on(XFS),
    Scenario::new("file-interleaved").on(INTERLEAVED).short(),
    Scenario::new("file-two-regions").on(TWO_FILE_SYSTEMS),
    Scenario::new("file-no-dax").on(NO_DAX).short(),
    Scenario::new("file-no-dax-xfs").on(Machine { options: "dax=never", ..XFS }),
    Scenario::new("file-not-armed").on(Machine { armed: false, ..Machine::NFIT }),
    // refusals
    Scenario::new("plain-nvdimm").on(QEMU).short(),
    Scenario::new("plain-nvdimm-memory-domain").on(Machine { domain: Domain::Memory, ..QEMU }).once(),
    Scenario::new("plain-nvdimm-cpu-domain").on(Machine { domain: Domain::Cpu, ..QEMU }).once(),
    Scenario::new("no-domain").on(Machine { domain: Domain::None, ..Machine::NFIT }).once(),
    Scenario::new("virtio-pmem-file").on(VIRTIO).short(),
    Scenario::new("legacy-pmem-file").on(LEGACY),
    // state
    Scenario::new("state-table").on(Machine { counts: &[5, 5], ..TWO_FILE_SYSTEMS }).short(),
    Scenario::new("state-interleaved").on(Machine { counts: &[3, 4], ..INTERLEAVED }),
    Scenario::new("state-devdax").on(Machine { counts: &[5, 5], ..FILE_SYSTEM_AND_DEVICE }),
    Scenario::new("state-no-count").on(Machine { domain: Domain::Memory, ..QEMU }).once(),
    Scenario::new("state-no-module").on(LEGACY).once(),
    // badblocks
    Scenario::new("bad-at-boot").short(),
    Scenario::new("bad-at-boot-xfs").on(XFS),
    Scenario::new("bad-while-running").short(),
    Scenario::new("bad-while-running-xfs").on(XFS),
    Scenario::new("bad-interleaved").on(INTERLEAVED).once(),
    Scenario::new("bad-devdax").on(BAD_DEVICE).short(),
    Scenario::new("bad-plain-nvdimm").on(QEMU),
    Scenario::new("bad-overwritten").differs(),
    Scenario::new("bad-overwritten-xfs").on(XFS),
    // broken
    Scenario::new("write-back-fails").on(Machine { modules: &["dm_mod"], ..NO_DAX }).short(),
    Scenario::new("file-shut-down").on(NO_DAX),
    Scenario::new("file-shut-down-dax"),
    Scenario::new("volatile-memory").on(Machine { volatile: true, ..FILE_SYSTEM_AND_DEVICE }),
    Scenario::new("grows-while-a-timer-ticks").on(NONE),
    // mapped
    Scenario::new("bad-behind-linear").on(Machine { modules: &["dm_mod"], counts: &[5], ..Machine::NFIT }),
    // devdax
    Scenario::new("devdax").on(DEVDAX).short(),
    Scenario::new("devdax-4k").on(SMALL_PAGES),
    Scenario::new("devdax-contract").on(DEVDAX).differs(),
    Scenario::new("devdax-contract-4k").on(SMALL_PAGES).once(),
    Scenario::new("devdax-two-regions").on(Machine { dimms: 2, modes: &[Mode::DevDax; 2], ..DEVDAX }),
    Scenario::new("devdax-and-file").on(FILE_SYSTEM_AND_DEVICE).short(),
    Scenario::new("devdax-1000-parts").on(SMALL_PAGES).once(),
    Scenario::new("devdax-cpu-domain").on(Machine { domain: Domain::Cpu, ..DEVDAX }).once(),
    Scenario::new("devdax-plain-nvdimm").on(QEMU_DEVDAX).once(),
    Scenario::new("devdax-not-armed").on(Machine { armed: false, ..DEVDAX }).once(),
    Scenario::new("devdax-virtio-pmem").on(Machine { modes: &[Mode::DevDax], fs: None, ..VIRTIO }).short(),
    Scenario::new("devdax-system-ram").on(Machine { modules: &["kmem"], ..DEVDAX }),
    // devdax_damage
    Scenario::new("devdax-bad").on(DEVDAX).short(),
    Scenario::new("devdax-bad-4k").on(SMALL_PAGES).once(),
    Scenario::new("devdax-cannot-clear").on(QEMU_DEVDAX).once(),
    Scenario::new("devdax-mcsafe").on(DEVDAX).once(),
    Scenario::new("devdax-ordinary-user").on(DEVDAX),
    // cxl
    Scenario::new("cxl-devdax").on(CXL).differs(),
    Scenario::new("cxl-file").on(CXL_DISK).differs(),
    Scenario::new("soft-reserved").on(Machine { device: Device::Soft, ..CXL }).differs(),
    // facts
    Scenario::new("facts-ext4").short(),
    Scenario::new("facts-xfs").on(XFS).differs(),
    Scenario::new("facts-devdax").on(DEVDAX).short(),
    Scenario::new("facts-devdax-4k").on(SMALL_PAGES).once(),
    // vanishing
    Scenario::new("devdax-vanishes").on(DEVDAX).differs(),
    Scenario::new("disk-vanishes").newer(),
    Scenario::new("disk-vanishes-xfs").on(XFS).newer(),
    // doctor
    Scenario::new("doctor-nvdimm").on(Machine { counts: &[3, 4], ..INTERLEAVED }).short(),
    Scenario::new("doctor-no-dax").on(NO_DAX).once(),
    Scenario::new("doctor-not-armed").on(Machine { armed: false, ..Machine::NFIT }),
    Scenario::new("doctor-bad-blocks").on(BAD_DEVICE),
    Scenario::new("doctor-virtio-pmem").on(VIRTIO).short(),
    Scenario::new("doctor-cxl").on(CXL_DISK).differs(),
    Scenario::new("doctor-soft-reserved").on(Machine { device: Device::Soft, ..CXL }),
    // hosts
    Scenario::new("two-hosts").on(SHARED).once().cut(Cut::Kill, 2).exchanges(1_000_000, 300),
    // cuts: the canaries lose something in the first; `--rounds` makes them more
    Scenario::new("cut-kill-ext4").once().cut(Cut::Kill, 4),
    Scenario::new("cut-kill-xfs").on(XFS).once().cut(Cut::Kill, 4),
    Scenario::new("cut-kill-canary-sparse").once().cut(Cut::Kill, 10).loses(),
    Scenario::new("cut-flushed-ext4").once().cut(Cut::Flushed, 4),
    Scenario::new("cut-flushed-xfs").on(XFS).once().cut(Cut::Flushed, 4),
    Scenario::new("cut-flushed-devdax").on(FILE_SYSTEM_AND_DEVICE).once().cut(Cut::Flushed, 4),
    Scenario::new("cut-flushed-log").on(DEVDAX).once().cut(Cut::Flushed, 3),
    Scenario::new("cut-flushed-canary-no-flush").once().cut(Cut::Flushed, 10).loses(),
];
