//! Kernels written in C on that library, in virtual machines: they keep records, the power goes, they find them again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::port::Port;
use super::{WARNINGS, fresh_folder, source};
use crate::support::controller;
use crate::support::packages;
use crate::support::processes::run as run_command;
use crate::support::qemu::{Plugged, plugged};
use crate::support::random::Random;
use crate::support::tally::Tally;
use crate::support::vm::Vm;

/// Cuts of power; each boot looks at what the one before has left.
const CUTS: usize = 6;

/// How a kernel is made for one kind of machine.
struct Kind {
    target: &'static str,
    /// What clang calls it, and what it must not use.
    flags: &'static [&'static str],
    sources: &'static [&'static str],
    script: &'static str,
    /// Length of the machine's memory file, and where in it is what survives.
    memory_bytes: u64,
    persistent: (u64, usize),
    /// Duties that are kept, at least, and that cannot be checked, at most.
    duties: (u32, u32),
}

const X86_64: Kind = Kind {
    target: "x86_64-unknown-none",
    flags: &["--target=x86_64-unknown-none-elf", "-mno-red-zone", "-mgeneral-regs-only"],
    sources: &["x86_64.S", "x86_64.c"],
    script: "x86_64.ld",
    memory_bytes: 128 << 20,
    persistent: (64 << 20, 1 << 20),
    duties: (39, 7),
};

const AARCH64: Kind = Kind {
    target: "aarch64-unknown-none-softfloat",
    flags: &["--target=aarch64-unknown-none-elf", "-mgeneral-regs-only"],
    sources: &["aarch64.S", "aarch64.c"],
    script: "aarch64.ld",
    memory_bytes: 128 << 20,
    persistent: (64 << 20, 1 << 20),
    duties: (39, 7),
};

const CORTEX_M: Kind = Kind {
    target: controller::TARGET,
    flags: &["--target=thumbv7m-none-eabi", "-mcpu=cortex-m3"],
    sources: &["cortex_m.c"],
    script: "cortex_m.ld",
    memory_bytes: 16 << 20,
    persistent: (0, 8 << 20),
    duties: (36, 8),
};

/// Runs the kernels on the library for `target`, where there is one for it.
pub(super) fn check(tally: &mut Tally, target: &str, port: &Port) {
    let Some(kind) = [X86_64, AARCH64, CORTEX_M].into_iter().find(|kind| kind.target == target) else { return };
    let name = |what: &str| format!("a kernel in C on {target} {what}");
    let package = if target == X86_64.target { "qemu-system-x86" } else { "qemu-system-arm" };
    if let Err(reason) = packages::install(&[package]) {
        return tally.skip(&name("runs"), &reason);
    }
    tally.run(&name("links without a panic, where it leaves the checks out"), || {
        kind.build(port, "bare", &["-DWITHOUT_CONTRACT"]).map(drop)
    });
    let kernel = match kind.build(port, "kernel", &[]) {
        Ok(kernel) => kernel,
        Err(reason) => return tally.check(&name("builds"), Err(reason)),
    };
    tally.run(&name("keeps every duty of a port, and finds a flawed one out"), || kind.duties(&kernel));
    tally.run(&name(&format!("finds its records after {CUTS} power cuts")), || {
        let bench = Bench::new(&kind, &kernel, None)?;
        bench.rounds("")?.map_or(Ok(()), Err)
    });
    if target != X86_64.target {
        return;
    }
    let (whole, careless) = (
        name(&format!("finds its records after {CUTS} cuts that keep only what was fenced")),
        name("that is careless loses some then"),
    );
    match plugged() {
        Err(reason) => [whole, careless].iter().for_each(|name| tally.skip(name, &reason)),
        Ok(plugged) => {
            let rounds = |orders| Bench::new(&kind, &kernel, Some(plugged.clone()))?.rounds(orders);
            tally.run(&whole, || rounds("")?.map_or(Ok(()), Err));
            tally.run(&careless, || rounds("careless")?.map(drop).ok_or("it has lost nothing".into()));
        }
    }
}

impl Kind {
    /// Builds the kernel, with `more` for the compiler.
    fn build(&self, port: &Port, name: &str, more: &[&str]) -> Result<PathBuf, String> {
        let programs = source().join("tests/port");
        let mut objects = Vec::new();
        for file in self.sources.iter().chain(&["recorder.c", "string.c"]) {
            let object = port.folder.join(format!("{name}-{file}.o"));
            let mut clang = Command::new("clang");
            clang.args(["-std=gnu11", "-O2", "-ffreestanding", "-fno-stack-protector", "-fno-pic"]);
            clang.args(["-ffunction-sections", "-fdata-sections"]).args(self.flags).args(WARNINGS).args(more);
            clang.arg("-I").arg(source().join("include")).arg("-c").arg(programs.join(file));
            run_command(clang.arg("-o").arg(&object))?;
            objects.push(object);
        }
        let kernel = port.folder.join(name);
        let mut lld = Command::new("ld.lld");
        lld.args(["--gc-sections", "-static", "-nostdlib", "-T"]).arg(programs.join(self.script)).args(objects);
        run_command(lld.arg(&port.archive).arg("-o").arg(&kernel))?;
        Ok(kernel)
    }

    /// Runs the contract suite on the machine; then with a port that gives addresses away twice.
    fn duties(&self, kernel: &Path) -> Result<(), String> {
        let bench = Bench::new(self, kernel, None)?;
        let (good, lines) = bench.finish("contract")?;
        let counted = |what: &str| {
            let line = lines.iter().find_map(|line| line.strip_prefix(&format!("duties {what} ")));
            line.and_then(|number| number.parse::<u32>().ok()).unwrap_or(0)
        };
        let (kept, skipped) = self.duties;
        if !good || counted("kept") < kept || counted("skipped") > skipped {
            return Err(format!("not {kept} kept and {skipped} skipped:\n{}", lines.join("\n")));
        }
        let (good, lines) = bench.finish("flawed")?;
        let found = lines.iter().any(|line| line.starts_with("broken reservation_is_refused_where_one_is"));
        if good || !found { Err(format!("a flawed port has passed:\n{}", lines.join("\n"))) } else { Ok(()) }
    }
}

/// A machine whose memory is a file.
struct Bench<'k> {
    kind: &'k Kind,
    kernel: &'k Path,
    memory: PathBuf,
    /// A QEMU that keeps in another file what a power cut would leave.
    plugged: Option<(Plugged, PathBuf)>,
}

impl<'k> Bench<'k> {
    fn new(kind: &'k Kind, kernel: &'k Path, plugged: Option<Plugged>) -> Result<Self, String> {
        let folder = fresh_folder(&format!("machine-{}", kind.target))?;
        let (memory, durable) = (folder.join("memory"), folder.join("durable"));
        for path in [&memory, &durable] {
            let file = File::create(path).and_then(|file| file.set_len(kind.memory_bytes));
            file.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { kind, kernel, memory, plugged: plugged.map(|plugged| (plugged, durable)) })
    }

    fn start(&self, orders: &str) -> Result<Vm, String> {
        let bytes = self.kind.memory_bytes;
        let object = format!("memory-backend-file,id=memory,share=on,mem-path={},size={bytes}", self.memory.display());
        if self.kind.target == CORTEX_M.target {
            let mut qemu = controller::machine(self.kernel)?;
            qemu.args(["-append", orders, "-object", &object, "-machine", "memory-backend=memory"]);
            return Vm::start(&mut qemu);
        }
        if self.kind.target == AARCH64.target {
            let mut qemu = Command::new("qemu-system-aarch64");
            qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-cpu", "max"]);
            qemu.args(["-semihosting-config", "enable=on,target=native", "-object", &object]);
            qemu.args(["-machine", "virt,accel=tcg,memory-backend=memory", "-m", &format!("{}M", bytes >> 20)]);
            return Vm::start(qemu.arg("-kernel").arg(self.kernel).args(["-append", orders]));
        }
        let program = self.plugged.as_ref().map_or(Path::new("qemu-system-x86_64"), |((qemu, _), _)| &qemu.program);
        let mut qemu = Command::new(program);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-cpu", "max", "-object", &object]);
        qemu.args(["-machine", "q35,accel=tcg,memory-backend=memory", "-m", &format!("{}M", bytes >> 20)]);
        qemu.arg("-kernel").arg(self.kernel).args(["-append", orders]);
        if let Some(((plugged, plugin), durable)) = &self.plugged {
            for folder in &plugged.data {
                qemu.arg("-L").arg(folder);
            }
            let files = format!("volatile={},durable={}", self.memory.display(), durable.display());
            qemu.args(["-plugin", &format!("{},base=0,size={bytes},{files}", plugin.display())]);
        }
        Vm::start(&mut qemu)
    }

    /// Runs the kernel to its end; returns whether it calls that good, and what it has said.
    fn finish(&self, orders: &str) -> Result<(bool, Vec<String>), String> {
        let (status, lines) = self.start(orders)?.finish()?;
        // QEMU's exit device makes 33 of success.
        Ok((status == Some(if self.kind.target == X86_64.target { 33 } else { 0 }), lines))
    }

    /// Cuts the power again and again; returns what was lost, `None` where it is nothing.
    fn rounds(&self, orders: &str) -> Result<Option<String>, String> {
        let mut random = Random::new();
        let mut acknowledged = 0_u64;
        for cut in 0..CUTS {
            if let Some((_, durable)) = &self.plugged {
                self.copy(&self.memory, durable)?;
            }
            let mut vm = self.start(orders)?;
            let mut left = 1 + random.below(60);
            while left > 0 {
                let line = vm.line()?;
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["found", number] => {
                        let found: u64 = number.parse().map_err(|_| line.clone())?;
                        if found < acknowledged {
                            return Ok(Some(format!("cut {cut}, seed {}: {acknowledged}, `{line}`", random.seed)));
                        }
                    }
                    ["ack", number] => {
                        acknowledged = number.parse().map_err(|_| line.clone())?;
                        left -= 1;
                    }
                    ["failed" | "panic" | "a" | "good", ..] => return Err(format!("seed {}: {line}", random.seed)),
                    _ => {}
                }
            }
            for line in vm.cut() {
                let number = line.strip_prefix("ack ").and_then(|number| number.parse::<u64>().ok());
                // The last line may be cut off, and say a smaller number.
                acknowledged = number.map_or(acknowledged, |number| number.max(acknowledged));
            }
            if let Some((_, durable)) = &self.plugged {
                self.copy(durable, &self.memory)?;
            }
        }
        Ok(None)
    }

    /// Copies what is persistent from one file to the other.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), String> {
        let (at, length) = self.kind.persistent;
        let mut bytes = vec![0; length];
        let copied = File::open(from).and_then(|from| from.read_exact_at(&mut bytes, at));
        let copied = copied.and_then(|()| fs::OpenOptions::new().write(true).open(to)?.write_all_at(&bytes, at));
        copied.map_err(|error| format!("{}: {error}", from.display()))
    }
}
