//! `cargo xtask uefi`: starts the UEFI application again and again, and looks at its memory from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::firmware::{STARTS, TARGET, program};
use crate::support::processes::root;
use crate::support::readme;
use crate::support::tally::{Outcome, Tally};
use crate::support::toolchains::Compiler;
use crate::support::vm::Vm;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Debian's build of OVMF, with its variables in memory.
const FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";
const DIMM_BYTES: u64 = 4 << 20;

pub(crate) fn run(_args: &Args) -> Outcome {
    check().outcome()
}

/// Tests the application in virtual machines.
pub(crate) fn check() -> Tally {
    type Run = fn(&Path) -> Result<(), String>;
    let mut tally = Tally::default();
    let checks: [(&str, &str, &[&str], Run); 3] = [
        ("an application counts its starts under UEFI firmware", STARTS, &[], counted),
        ("a module that is not armed is refused under UEFI firmware", STARTS, &[], not_armed),
        ("every duty of a port is kept under UEFI firmware", "contract", &["--features", "contract"], duties),
    ];
    let compiler = Compiler::with(TARGET, &["ovmf", "qemu-system-x86"]);
    for (name, bin, features, run) in checks {
        match &compiler {
            Err(reason) => tally.skip(name, reason),
            Ok(compiler) => tally.run(name, || program(compiler, bin, features).and_then(|program| run(&program))),
        }
    }
    tally
}

/// A machine with so many NVDIMMs, and a disk that has the application.
struct Bench {
    folder: PathBuf,
    dimms: Vec<PathBuf>,
}

impl Bench {
    fn new(program: &Path, name: &str, dimms: usize) -> Result<Self, String> {
        let folder = root().join("target/bare/uefi").join(name);
        let make = || {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(folder.join("disk/EFI/BOOT"))?;
            fs::copy(program, folder.join("disk/EFI/BOOT/BOOTX64.EFI"))?;
            let dimms = (0..dimms).map(|index| folder.join(format!("dimm{index}"))).collect::<Vec<_>>();
            dimms.iter().try_for_each(|dimm| fs::File::create(dimm)?.set_len(DIMM_BYTES))?;
            Ok(dimms)
        };
        let dimms = make().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, dimms })
    }

    /// Starts the machine, with `options` for its first NVDIMM, waits for its end, and returns what was said.
    fn start(&self, options: &str) -> Result<String, String> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", "q35,nvdimm=on,accel=tcg", "-cpu", "max", "-m", "256M,slots=4,maxmem=1G"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        qemu.args(["-bios", FIRMWARE, "-device", "virtio-blk-pci,drive=disk", "-drive"]);
        qemu.arg(format!("if=none,id=disk,format=raw,readonly=on,file=fat:{}", self.folder.join("disk").display()));
        for (index, path) in self.dimms.iter().enumerate() {
            let memory = format!("memory-backend-file,id=m{index},share=on,mem-path={}", path.display());
            qemu.args(["-object", &format!("{memory},size={DIMM_BYTES}")]);
            let options = if index == 0 { options } else { "" };
            qemu.args(["-device", &format!("nvdimm,id=d{index},memdev=m{index}{options}")]);
        }
        let (status, lines) = Vm::start(&mut qemu)?.finish()?;
        // The firmware's console moves the cursor about, and the application ends by turning the machine off.
        if status == Some(0) { Ok(lines.join("\n")) } else { Err(format!("{status:?}\n{}", lines.join("\n"))) }
    }
}

fn expect(said: &str, wanted: &str) -> Result<(), String> {
    said.contains(wanted).then_some(()).ok_or_else(|| format!("never said `{wanted}`:\n{said}"))
}

/// Returns the application's lines among the firmware's, which may begin with orders to its console.
fn of_the_program(said: &str) -> Vec<String> {
    let begins = |line: &str| ["start ", "good"].iter().find_map(|word| line.find(word));
    said.lines().filter_map(|line| Some(line[begins(line)?..].to_owned())).collect()
}

fn counted(program: &Path) -> Result<(), String> {
    let bench = Bench::new(program, "starts", 2)?;
    for start in 1..=3_u64 {
        let said = bench.start("")?;
        expect(&said, &format!("start {start} in 0x"))?;
        if start == 1 {
            readme::compare("uefi", "uefi-starts", &of_the_program(&said))?;
        }
        for dimm in &bench.dimms {
            let bytes = fs::read(dimm).map_err(|error| error.to_string())?;
            if bytes[..8] != start.to_le_bytes() {
                return Err(format!("start {start} was not counted: {:?}", &bytes[..8]));
            }
        }
    }
    Ok(())
}

fn duties(program: &Path) -> Result<(), String> {
    const DUTIES: usize = 43;
    // It is at one address, does not grow, lists no bad blocks, and has no device.
    const SKIPPED: usize = 12;
    let said = Bench::new(program, "duties", 1)?.start("")?;
    expect(&said, "good")?;
    let line = said.lines().find_map(|line| line.split_once("duties: ")).ok_or("no duties were checked")?.1;
    let numbers: Vec<usize> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [kept, skipped, 0] if kept + skipped >= DUTIES && skipped <= SKIPPED => Ok(()),
        _ => Err(line.to_owned()),
    }
}

fn not_armed(program: &Path) -> Result<(), String> {
    let bench = Bench::new(program, "not-armed", 1)?;
    let said = bench.start(",unarmed=on")?;
    expect(&said, "refused: read-only file system")?;
    expect(&said, "bad")?;
    let bytes = fs::read(&bench.dimms[0]).map_err(|error| error.to_string())?;
    bytes.iter().all(|byte| *byte == 0).then_some(()).ok_or_else(|| "the module was written to".into())
}
