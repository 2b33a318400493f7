//! Boots one virtual machine, listens to the test program in it, and says how it ended.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use lab_machine::{BASE, CONTROL, Device, Domain, FileSystem, Machine, SIZE, Scenario};

use super::cpio::Archive;
use super::kernel::{Kernel, unsigned};
use super::memory::Memory;

use crate::support::qemu::Qemu;

/// What every machine of a run is booted from.
pub(crate) struct Bench {
    /// The programs in every machine: path there, and the program, read before anybody can build it anew.
    pub(crate) programs: Vec<(&'static str, Vec<u8>)>,
}

/// How a boot ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The test program has passed all its checks.
    Done,
    /// The same, and wants to be booted again.
    Again,
    /// A check failed, or the machine died or hung while the test program ran.
    Failed(String),
    /// The machine never got to the test program.
    NeverReached(String),
    /// The power was cut where it was to be.
    Cut,
}

/// One boot.
pub(crate) struct Boot<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) scenario: &'a Scenario,
    pub(crate) kernel: &'a Kernel,
    pub(crate) qemu: &'a Qemu,
    /// Holds the memory file, the tables, and what is written down.
    pub(crate) folder: &'a Path,
    /// Words for the test program on the kernel's command line.
    pub(crate) words: String,
    pub(crate) plugin: Option<String>,
    /// The power is cut this long after the first line that starts with this word.
    pub(crate) cut_after: Option<(&'static str, Duration)>,
    /// Why another machine has failed that this one would wait for.
    pub(crate) failed: Option<&'a OnceLock<String>>,
}

/// Everything the test program said, by line.
#[derive(Default)]
pub(crate) struct Said(pub(crate) Vec<String>);

impl Said {
    /// Returns the rest of the last line that starts with `word`.
    pub(crate) fn last(&self, word: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    }
}

/// After how many seconds a machine whose test program has not begun counts as hung.
const BOOT_SECONDS: u64 = 120;

/// How long another machine's failure may stay unnoticed.
const MOMENT: Duration = Duration::from_millis(500);

/// What the kernel writes on its way down.
const DEATHS: [&str; 7] =
    ["Kernel panic", "Oops:", "BUG:", "general protection fault", "soft lockup", "hung task", "kernel BUG at"];

const KERNEL_WORDS: &str = "quiet nokaslr no5lvl tsc=reliable no_timer_check mitigations=off random.trust_cpu=on \
    cryptomgr.notests initcall_blacklist=jent_mod_init rcupdate.rcu_expedited=1 apparmor=0 lsm= audit=0 nowatchdog \
    panic=-1 oops=panic";

impl Boot<'_> {
    /// Boots the machine and waits for its end.
    ///
    /// # Errors
    ///
    /// What kept it from being started at all.
    pub(crate) fn run(&self) -> Result<(End, Said), String> {
        let initrd = self.folder.join("initrd");
        fs::write(&initrd, self.archive()?).map_err(|error| format!("{}: {error}", initrd.display()))?;
        let memory = Memory::open(&self.folder.join("memory"))?;
        let errors = File::create(self.folder.join("qemu.txt")).map_err(|error| error.to_string())?;
        let mut command = self.command("file:console.txt");
        command.args(["-serial", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.qemu.program.display()))?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output of QEMU")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            // A line without an end was cut: half a number would be another one.
            while output.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
                if sender.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let mut said = Said::default();
        let stopped = self.listen(&mut child, &lines, &memory, &mut said);
        // A machine that is already gone needs no killing; either way only this process id is meant.
        let _ = child.kill();
        let code = child.wait().map_err(|error| error.to_string())?.code();
        said.0.extend(lines.iter());
        let _ = fs::write(self.folder.join("said.txt"), said.0.join("\n"));
        Ok((self.judge(stopped, code, &said), said))
    }

    /// Boots the machine with a shell on this terminal.
    pub(crate) fn shell(&self) -> Result<(), String> {
        let initrd = self.folder.join("initrd");
        fs::write(&initrd, self.archive()?).map_err(|error| format!("{}: {error}", initrd.display()))?;
        let mut command = self.command("mon:stdio");
        command.args(["-serial", "null"]);
        command.status().map(drop).map_err(|error| error.to_string())
    }

    fn listen(&self, child: &mut Child, lines: &Receiver<String>, memory: &Memory, said: &mut Said) -> Option<End> {
        // Booting takes what it takes on a busy machine; the scenario's limit is for its checks.
        let mut seconds = self.scenario.limit_seconds.max(BOOT_SECONDS);
        let mut limit = Instant::now() + Duration::from_secs(seconds);
        let mut cut_at = None;
        loop {
            let until = cut_at.unwrap_or(limit).min(limit);
            match lines.recv_timeout(until.saturating_duration_since(Instant::now()).min(MOMENT)) {
                Ok(line) => {
                    if let Some(request) = line.strip_prefix("ask ") {
                        let answer = self.answer(memory, request).unwrap_or_else(|error| format!("error {error}"));
                        let _ = child.stdin.as_mut().map(|input| input.write_all(format!("{answer}\n").as_bytes()));
                    }
                    if let Some((word, delay)) = self.cut_after
                        && line.starts_with(word)
                    {
                        cut_at = cut_at.or(Some(Instant::now() + delay));
                    }
                    if line == "start" {
                        seconds = self.scenario.limit_seconds;
                        limit = Instant::now() + Duration::from_secs(seconds);
                    }
                    said.0.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.failed.is_some_and(|failed| failed.get().is_some()) => {
                    return Some(End::Failed("stopped, for the other machine has failed".into()));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) if cut_at.is_some() => return Some(End::Cut),
                Err(RecvTimeoutError::Timeout) => {
                    let reason = format!("hung: killed after {seconds} s");
                    let started = said.0.iter().any(|line| line == "start");
                    return Some(if started { End::Failed(reason) } else { End::NeverReached(reason) });
                }
            }
        }
    }

    fn answer(&self, memory: &Memory, request: &str) -> Result<String, String> {
        let words: Vec<&str> = request.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).ok_or("bad request");
        match words[0] {
            "bad" => memory.add_bad(self.scenario.machine.address(number(1)?, number(2)?), number(3)?)?,
            "count" => {
                let count = u32::try_from(number(2)?).map_err(|error| error.to_string())?;
                memory.set_count(number(1)?, count, number(3)? != 0)?;
            }
            "hint" => return Ok(format!("ok {}", u8::from(memory.take_hint(number(1)?)?))),
            "find" => {
                let start = self.scenario.machine.address(number(1)?, 0) - BASE;
                let text = words.get(2).ok_or("bad request")?.as_bytes();
                let found = memory.find(start, self.scenario.machine.region_bytes(), text)?;
                return Ok(format!("ok {}", found.ok_or_else(|| format!("no page begins with {:?}", words[2]))?));
            }
            "bad-list" => {
                let base = self.scenario.machine.address(number(1)?, 0);
                let ranges = memory
                    .bad()?
                    .into_iter()
                    .map(|(address, length)| format!(" {}:{length}", address.wrapping_sub(base)));
                return Ok(format!("ok{}", ranges.collect::<String>()));
            }
            _ => return Err(format!("the host does not know {request:?}")),
        }
        Ok("ok".into())
    }

    fn judge(&self, stopped: Option<End>, code: Option<i32>, said: &Said) -> End {
        let console = fs::read(self.folder.join("console.txt")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        if let Some(line) = console.lines().find(|line| DEATHS.iter().any(|death| line.contains(death))) {
            return End::Failed(format!("the kernel died: {}", line.trim()));
        }
        if let Some(end) = stopped {
            return end;
        }
        if !said.0.iter().any(|line| line == "start") {
            let errors = fs::read_to_string(self.folder.join("qemu.txt")).unwrap_or_default();
            let last =
                errors.trim().lines().last().or(console.trim().lines().last()).unwrap_or("nothing on the console");
            return End::NeverReached(format!("QEMU ended with {code:?} before the test program began: {last}"));
        }
        if let Some(reason) = said.last("fail") {
            return End::Failed(reason.to_owned());
        }
        match (code, said.0.iter().any(|line| line == "done"), said.0.iter().any(|line| line == "again")) {
            (Some(1), true, false) => End::Done,
            (Some(1), false, true) => End::Again,
            _ => End::Failed(format!("the machine went away without a result (QEMU ended with {code:?})")),
        }
    }

    fn archive(&self) -> Result<Vec<u8>, String> {
        let mut archive = Archive::default();
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        for folder in ["proc", "sys", "dev", "mnt", "mnt0", "mnt1", "tmp", "bin", "modules"] {
            archive.folder(folder);
        }
        for (path, program) in &self.bench.programs {
            archive.file(path, program);
        }
        let mut order = String::new();
        for path in self.kernel.modules(&self.module_names())? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            archive.file(&format!("modules/{name}"), unsigned(&read(&path)?));
            order.push_str(&name);
            order.push('\n');
        }
        archive.file("modules/order", order.as_bytes());
        Ok(archive.finish())
    }

    fn module_names(&self) -> Vec<&str> {
        let mut names = vec!["crc32c_generic"];
        names.extend(match self.scenario.machine.device {
            Device::None => &[][..],
            Device::Nfit | Device::Qemu => &["nfit", "nd_pmem", "device_dax", "dax_pmem"],
            Device::Virtio => &["virtio_pci", "virtio_pmem", "nd_pmem", "device_dax", "dax_pmem"],
            Device::Cxl => {
                &["cxl_acpi", "cxl_pci", "cxl_port", "cxl_mem", "cxl_pmem", "nd_pmem", "device_dax", "dax_pmem"]
            }
            Device::Legacy => &["nd_e820", "nd_pmem", "device_dax", "dax_pmem"],
            Device::Soft => &["dax_hmem", "device_dax"],
        });
        names.extend(self.scenario.machine.fs.map(FileSystem::name));
        names.extend(self.scenario.machine.modules);
        names
    }

    /// Returns the command up to the second serial port, which is the test program's.
    fn command(&self, console: &str) -> Command {
        let mut command = Command::new(&self.qemu.program);
        command.current_dir(self.folder);
        for folder in &self.qemu.data {
            command.arg("-L").arg(folder);
        }
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            // Linux makes no CXL regions under a hypervisor: it cannot be sure that caches are emptied there.
            if self.scenario.machine.device == Device::Cxl { "max,-hypervisor" } else { "max" },
            "-smp",
            "1",
            "-display",
            "none",
            "-nodefaults",
            "-no-user-config",
        ]);
        command.args(["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        command.args(memory_arguments(&self.scenario.machine));
        command.arg("-kernel").arg(&self.kernel.image).args(["-initrd", "initrd"]);
        let mut words = format!("console=ttyS0 {KERNEL_WORDS} lab={}", self.scenario.name);
        match self.scenario.machine.device {
            Device::Nfit => words.push_str(&format!(" memmap={SIZE:#x}${BASE:#x}")),
            Device::Legacy => words.push_str(&format!(" memmap={SIZE:#x}!{BASE:#x}")),
            // From type 1, ordinary memory, to that of a purpose (E820_TYPE_SOFT_RESERVED).
            Device::Soft => words.push_str(&format!(" memmap={SIZE:#x}%{BASE:#x}-1+0xefffffff")),
            // QEMU 7.2 has no interrupts for CXL events and does not say so; kernels from 6.3 on then refuse the
            // device.
            Device::Cxl => words.push_str(" pci=nomsi"),
            _ => {}
        }
        command.args(["-append", &format!("{words} {}", self.words)]);
        if let Some(plugin) = &self.plugin {
            command.args(["-plugin", plugin]);
        }
        command.args(["-serial", console]);
        command
    }
}

/// Returns QEMU's arguments for memory; the last node is plain, for QEMU puts the initial file system at its end.
fn memory_arguments(machine: &Machine) -> Vec<String> {
    let file = format!("memory-backend-file,size={SIZE},mem-path=memory,share=on,id=pmem");
    let low = format!("memory-backend-ram,size={BASE},id=low");
    let nodes = [
        "-m",
        &format!("{}M", (BASE + SIZE + (128 << 20)) >> 20),
        "-machine",
        "q35",
        "-object",
        &low,
        "-object",
        &file,
        "-object",
        "memory-backend-ram,size=128M,id=high",
        "-numa",
        "node,nodeid=0,memdev=low",
        "-numa",
        "node,nodeid=1,memdev=pmem",
        "-numa",
        "node,nodeid=2,memdev=high",
    ]
    .map(str::to_owned);
    let hot = |machine: &str| {
        ["-machine", machine, "-m", "384M,slots=4,maxmem=16G", "-object", &file].map(str::to_owned).to_vec()
    };
    let mut arguments = Vec::new();
    match machine.device {
        Device::None => arguments.extend(["-m", "384M", "-machine", "q35"].map(str::to_owned)),
        Device::Nfit => {
            arguments.extend(nodes);
            arguments.extend(["-acpitable", "file=nfit.aml", "-acpitable", "file=ssdt.aml"].map(str::to_owned));
        }
        Device::Legacy | Device::Soft => arguments.extend(nodes),
        Device::Qemu => {
            let persistence = match machine.domain {
                Domain::None => "",
                Domain::Memory => ",nvdimm-persistence=mem-ctrl",
                Domain::Cpu => ",nvdimm-persistence=cpu",
            };
            arguments.extend(hot(&format!("q35,nvdimm=on{persistence}")));
            arguments.extend(["-device", "nvdimm,id=nvdimm0,memdev=pmem"].map(str::to_owned));
        }
        Device::Virtio => {
            arguments.extend(hot("q35"));
            arguments.extend(["-device", "virtio-pmem-pci,id=virtio0,memdev=pmem"].map(str::to_owned));
        }
        Device::Cxl => {
            arguments.extend(hot("q35,cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G"));
            arguments.extend(
                [
                    "-object",
                    "memory-backend-ram,size=256K,id=labels",
                    "-device",
                    "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.0",
                    "-device",
                    "cxl-rp,port=0,bus=cxl.0,id=rp0,chassis=0,slot=2",
                    "-device",
                    "cxl-rp,port=1,bus=cxl.0,id=rp1,chassis=0,slot=3",
                    "-device",
                    "cxl-type3,bus=rp0,memdev=pmem,lsa=labels,id=cxl-pmem0",
                ]
                .map(str::to_owned),
            );
        }
    }
    arguments
}

/// Returns the arguments of the plugin that keeps only what was flushed and fenced.
pub(crate) fn plugin_arguments(plugin: &Path) -> String {
    format!("{},base={BASE},size={CONTROL},volatile=memory,durable=durable", plugin.display())
}
