//! The virtual machine that the kernel runs in, and the files that are its memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::GOOD;
use crate::support::processes::root;
use crate::support::programs::ring;
use crate::support::qemu::Plugged;
use crate::support::vm::Vm;

const QEMU: &str = "qemu-system-x86_64";
const DIMM_BYTES: [u64; 2] = [4 << 20, 1 << 20];
const DISK_BYTES: u64 = 2 << 20;
const STATE_BYTES: u64 = 1 << 20;
pub(super) const RAM_BYTES: u64 = 128 << 20;
/// Has shutdown records kept in the third module.
pub(super) const STATE: &str = "state=3";

/// Memory files in a folder of their own, and how to start a machine with them.
pub(super) struct Bench<'k> {
    kernel: &'k Path,
    folder: PathBuf,
}

impl<'k> Bench<'k> {
    pub(super) fn new(kernel: &'k Path, name: &str) -> Result<Self, String> {
        let folder = root().join("target/bare/unikernel").join(name.replace([' ', ','], "_"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let bench = Self { kernel, folder };
        let others = [(bench.state(), STATE_BYTES), (bench.disk(), DISK_BYTES)];
        for (path, length) in bench.dimms().into_iter().zip(DIMM_BYTES).chain(others) {
            let file = fs::File::create(&path).and_then(|file| file.set_len(length));
            file.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(bench)
    }

    pub(super) fn dimms(&self) -> [PathBuf; 2] {
        [self.folder.join("dimm1"), self.folder.join("dimm2")]
    }

    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns what every machine is started with, and `orders` on the kernel's command line.
    fn qemu(&self, program: &Path, orders: &str) -> Command {
        let mut qemu = Command::new(program);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        qemu.arg("-serial").arg(format!("file:{}", self.log().display()));
        qemu.arg("-kernel").arg(self.kernel).args(["-append", orders]);
        qemu
    }

    /// Starts a machine whose memory is the file `ram`, some of which the firmware table in `table` calls persistent.
    pub(super) fn start_with(&self, table: &[u8], orders: &str) -> Result<Vm, String> {
        Vm::start(&mut self.machine_with(Path::new(QEMU), table, orders)?)
    }

    /// The same with a QEMU that keeps what a power cut would leave of `ram` in the file `durable`.
    pub(super) fn start_plugged(&self, (qemu, plugin): &Plugged, table: &[u8], orders: &str) -> Result<Vm, String> {
        let mut command = self.machine_with(&qemu.program, table, orders)?;
        for folder in &qemu.data {
            command.arg("-L").arg(folder);
        }
        let (ram, durable) = (self.ram(), self.durable());
        let files = format!("volatile={},durable={}", ram.display(), durable.display());
        command.args(["-plugin", &format!("{},base=0,size={RAM_BYTES},{files}", plugin.display())]);
        Vm::start(&mut command)
    }

    fn machine_with(&self, program: &Path, table: &[u8], orders: &str) -> Result<Command, String> {
        let path = self.folder.join("nfit");
        fs::write(&path, table).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut qemu = self.qemu(program, orders);
        memory(&mut qemu, "ram", &self.ram(), RAM_BYTES);
        qemu.args(["-machine", "q35,accel=tcg,memory-backend=ram", "-cpu", "max"]);
        qemu.args(["-m", &format!("{}M", RAM_BYTES >> 20), "-acpitable", &format!("file={}", path.display())]);
        Ok(qemu)
    }

    pub(super) fn durable(&self) -> PathBuf {
        self.folder.join("durable")
    }

    pub(super) fn ram(&self) -> PathBuf {
        self.folder.join("ram")
    }

    /// Starts a machine with NVDIMMs and a disk, and logs every instruction when it first comes to be run.
    pub(super) fn start_logged(&self, orders: &str) -> Result<Vm, String> {
        let mut qemu = self.machine("max", "", "", orders);
        Vm::start(qemu.args(["-d", "in_asm", "-D"]).arg(self.instructions()))
    }

    pub(super) fn instructions(&self) -> PathBuf {
        self.folder.join("instructions")
    }

    /// Starts a machine with NVDIMMs and a disk.
    pub(super) fn start(&self, processor: &str, machine: &str, dimm: &str, orders: &str) -> Result<Vm, String> {
        Vm::start(&mut self.machine(processor, machine, dimm, orders))
    }

    fn machine(&self, processor: &str, machine: &str, dimm: &str, orders: &str) -> Command {
        let mut qemu = self.qemu(Path::new(QEMU), orders);
        qemu.args(["-machine", &format!("q35,nvdimm=on,accel=tcg{machine}"), "-cpu", processor]);
        qemu.args(["-m", "128M,slots=4,maxmem=1G"]);
        for (index, (path, bytes)) in self.dimms().iter().zip(DIMM_BYTES).enumerate() {
            memory(&mut qemu, &format!("nv{index}"), path, bytes);
            let options = if index == 0 { dimm } else { "" };
            qemu.args(["-device", &format!("nvdimm,id=dimm{index},memdev=nv{index}{options}")]);
        }
        memory(&mut qemu, "state", &self.state(), STATE_BYTES);
        qemu.args(["-device", "nvdimm,id=dimm-state,memdev=state"]);
        memory(&mut qemu, "vp", &self.disk(), DISK_BYTES);
        qemu.args(["-device", "virtio-pmem-pci,id=disk,memdev=vp"]);
        qemu
    }

    /// Boots, waits for the end, and returns what the kernel said.
    pub(super) fn boot(&self, processor: &str, machine: &str, dimm: &str, orders: &str) -> Result<Vec<String>, String> {
        let (status, lines) = self.start(processor, machine, dimm, orders)?.finish()?;
        if status == Some(GOOD) { Ok(lines) } else { Err(format!("status {status:?}\n{}", lines.join("\n"))) }
    }

    /// Looks at the rings from outside: both must hold records 1, or what is left of them, to `last`.
    pub(super) fn rings_end_with(&self, last: u64) -> Result<(), String> {
        let disk = [self.disk()];
        for files in [&self.dimms()[..], &disk[..]] {
            let found = ring(files)?;
            if found != format!("1 {last}") {
                return Err(format!("the files hold records {found}, not 1 {last}"));
            }
        }
        Ok(())
    }
}

fn memory(qemu: &mut Command, id: &str, path: &Path, bytes: u64) {
    let object = format!("memory-backend-file,id={id},share=on,mem-path={},size={bytes}", path.display());
    qemu.args(["-object", &object]);
}

/// Fails unless the kernel has said `wanted`.
pub(super) fn expect(lines: &[String], wanted: &str) -> Result<(), String> {
    let said = lines.iter().any(|line| line == wanted);
    said.then_some(()).ok_or_else(|| format!("never said `{wanted}`:\n{}", lines.join("\n")))
}
