//! The core on processors of other kinds: its tests with 32-bit addresses, and a program under QEMU's user emulation.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::counting::counted_by;
use crate::support::processes::{root, run as run_command};
use crate::support::tally::Tally;
use crate::support::toolchains::Compiler;
use crate::support::vm::Vm;

const NARROW: &str = "i686-unknown-linux-gnu";
const NARROW_PACKAGES: [&str; 2] = ["gcc-i686-linux-gnu", "libc6-dev-i386-cross"];
/// The tests that have to do with addresses and offsets.
const NARROW_TESTS: [&str; 6] =
    ["--lib", "--test=contract", "--test=faults", "--test=model", "--package", "pmemset-core"];

/// A processor, what plays it, and instructions that have to be in the program, for QEMU 7.2 does not play all of them:
/// the mask of each, and its bits.
struct Processor {
    target: &'static str,
    emulator: &'static str,
    instructions: &'static [(&'static str, u32, u32)],
}

const PROCESSORS: [Processor; 2] = [
    // Arm Architecture Reference Manual for A-profile, C5.3: SYS #3, C7, C12, #1, Xt, and C14.
    Processor {
        target: "aarch64-unknown-none",
        emulator: "qemu-aarch64",
        instructions: &[("dc cvap", 0xffff_ffe0, 0xd50b_7c20), ("dc civac", 0xffff_ffe0, 0xd50b_7e20)],
    },
    // RISC-V Base Cache Management Operation ISA Extensions, 2.5.2: imm 1 or 2, rs1, CBO, 0, MISC-MEM.
    Processor {
        target: "riscv64gc-unknown-none-elf",
        emulator: "qemu-riscv64",
        instructions: &[("cbo.clean", 0xfff0_7fff, 0x0010_200f), ("cbo.flush", 0xfff0_7fff, 0x0020_200f)],
    },
];

/// Runs everything.
pub(crate) fn check(tally: &mut Tally) {
    narrow(tally);
    for processor in &PROCESSORS {
        let name = format!("copies, cache instructions and a set on {}", processor.target);
        match Compiler::with(processor.target, &["qemu-user"]) {
            Ok(compiler) => tally.run(&name, || processor.check(&compiler)),
            Err(reason) => tally.skip(&name, &reason),
        }
    }
}

/// Runs the core's tests as 32-bit programs, which x86-64 Linux runs as they are.
fn narrow(tally: &mut Tally) {
    let name = "the core's tests with 32-bit addresses";
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return tally.skip(name, "this is not x86-64 Linux");
    }
    match Compiler::with(NARROW, &NARROW_PACKAGES) {
        Ok(compiler) => {
            let mut cargo = compiler.cargo(&root(), "test", "std,panic_abort,test");
            cargo.args(["--quiet", "--locked", "--no-fail-fast", "--features", "critical-section"]).args(NARROW_TESTS);
            cargo.env("CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER", "i686-linux-gnu-gcc");
            // The machine need not have the libraries.
            cargo.env("CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static");
            let tests = counted_by(&mut cargo);
            let result = if tests.good() { Ok(()) } else { Err(tests.summary()) };
            tally.check(&format!("{name}: {}", tests.summary()), result);
        }
        Err(reason) => tally.skip(name, &reason),
    }
}

impl Processor {
    fn check(&self, compiler: &Compiler) -> Result<(), String> {
        let mut cargo = compiler.cargo(&root().join("xtask/foreign"), "build", "core");
        run_command(cargo.args(["--quiet", "--locked"]))?;
        let program = compiler.debug_program("foreign");
        let (status, lines) = Vm::start(Command::new(self.emulator).arg(&program))?.finish()?;
        if status != Some(0) || lines.last().is_none_or(|line| line != "good") {
            return Err(format!("{status:?}:\n{}", lines.join("\n")));
        }
        for (name, mask, bits) in self.instructions {
            if !has_instruction(&program, *mask, *bits)? {
                return Err(format!("no {name} in {}", program.display()));
            }
        }
        Ok(())
    }
}

/// Returns whether `program` has an instruction word that is `bits` where `mask` is set.
fn has_instruction(program: &Path, mask: u32, bits: u32) -> Result<bool, String> {
    let bytes = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(bytes.windows(4).step_by(2).any(|word| {
        let word = word.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        word & mask == bits
    }))
}
