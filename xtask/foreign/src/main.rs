#![no_std]
#![no_main]
//! What depends on the processor: copies against a byte model, the instructions that write back cache lines, and a set.

mod memory;
mod process;
mod set;

use core::panic::PanicInfo;

use pmemset_core::Extent;
use pmemset_core::arch::{Cpu, Method, StoreKind};
use process::{exit, say};

const KINDS: [StoreKind; 2] = [StoreKind::Cached, StoreKind::Streaming];
const ROOM: usize = 9000;

/// Bytes that a copy works on, and what they should become; aligned as a cache line is.
#[repr(align(64))]
struct Bench {
    bytes: [u8; ROOM],
    model: [u8; ROOM],
}

impl Bench {
    /// Fills both with the same pattern.
    fn new() -> Self {
        let mut bytes = [0; ROOM];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (at * 7 + at / 256) as u8;
        }
        Self { bytes, model: bytes }
    }

    fn base(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Copies in both ways that there are, and compares everything with the model.
    fn copies(&mut self, cpu: &Cpu, to: usize, from: usize, length_bytes: usize) -> bool {
        for kind in KINDS {
            self.model.copy_within(from..from + length_bytes, to);
            let (dest, source) = (self.base().wrapping_add(to), self.base().wrapping_add(from).cast_const());
            // SAFETY: both ranges lie in the array.
            unsafe { cpu.copy(dest, source, length_bytes, kind) };
            self.model.copy_within(to..to + length_bytes, from);
            // SAFETY: both ranges, and the words around them, lie in the array.
            unsafe { cpu.storing_whole_words().copy(source.cast_mut(), dest, length_bytes, kind) };
        }
        cpu.fence();
        self.bytes == self.model
    }

    /// Fills, and compares everything with the model.
    fn fills(&mut self, cpu: &Cpu, to: usize, length_bytes: usize) -> bool {
        for (kind, value) in KINDS.into_iter().zip([0xa5, 0x5a]) {
            self.model[to..to + length_bytes].fill(value);
            let dest = self.base().wrapping_add(to);
            // SAFETY: the range lies in the array.
            unsafe { cpu.fill(dest, value, length_bytes, kind) };
            self.model[to..to + length_bytes].fill(value ^ 1);
            // SAFETY: the range, and the words around it, lie in the array.
            unsafe { cpu.storing_whole_words().fill(dest, value ^ 1, length_bytes, kind) };
        }
        cpu.fence();
        self.bytes == self.model
    }
}

fn copies_agree(cpu: &Cpu) -> bool {
    let mut bench = Bench::new();
    let lengths = || (0..160).chain([255, 256, 257, 320]);
    let short = lengths().all(|length| (0..81).all(|at| bench.copies(cpu, at % 9 * 9, at / 9 * 9, length)));
    // Lengths and alignments in steps that have no common factor: each alignment meets each length modulo 64.
    let long = (0..=4096).step_by(3).enumerate().all(|(index, length)| {
        let (to, from) = (index * 5 % 64, index * 7 % 61);
        bench.copies(cpu, to, from, length) && bench.copies(cpu, to, 4200 + from, length)
    });
    let fills = (0..20).all(|to| (0..330).step_by(3).all(|length| bench.fills(cpu, to * 7, length)));
    short && long && fills
}

/// Stores to ranges at all offsets, and writes back and drops their lines, which loses nothing.
fn dropped_lines_are_not_lost(cpu: &Cpu) -> bool {
    let mut bench = Bench::new();
    for (offset, length_bytes) in (0..129).flat_map(|offset| (1..129).map(move |length| (offset, length))) {
        let Some(range) = Extent::new(bench.base().expose_provenance() + offset, length_bytes) else { return false };
        let value = (offset ^ length_bytes) as u8;
        bench.model[offset..offset + length_bytes].fill(value);
        let dest = bench.base().wrapping_add(offset);
        // SAFETY: the range lies in the array.
        unsafe { Cpu::NONE.fill(dest, value, length_bytes, StoreKind::Cached) };
        cpu.full_fence();
        // SAFETY: the range lies in the array.
        unsafe { cpu.write_back_invalidate(range) };
        cpu.full_fence();
        if bench.bytes != bench.model {
            return false;
        }
    }
    true
}

/// Writes back every line of ranges at all offsets, which changes no byte.
fn write_back_is_harmless(cpu: &Cpu) -> bool {
    let mut bench = Bench::new();
    for (offset, length_bytes) in (0..129).flat_map(|offset| (1..129).map(move |length| (offset, length))) {
        let Some(range) = Extent::new(bench.base().expose_provenance() + offset, length_bytes) else { return false };
        // SAFETY: the range lies in the array.
        unsafe { cpu.write_back(range) };
    }
    cpu.fence();
    bench.bytes == bench.model
}

fn told(what: &str, good: bool) -> bool {
    say(what);
    say(if good { ": as it should be\n" } else { ": WRONG\n" });
    good
}

/// `arguments` is more than 1 where the processor, or what plays it, has every instruction; else some are only in the
/// program, for `cargo xtask targets` to look at.
#[cfg(target_arch = "aarch64")]
fn run(arguments: usize) -> bool {
    let (old, new) = (Cpu::from_hwcap(0), Cpu::from_hwcap(1 << 16));
    let line = old.line_bytes();
    let chosen = (old.method(), new.method()) == (Method::DcCvac, Method::DcCvap);
    told("the choice", chosen && line.is_power_of_two() && (16..=2048).contains(&line))
        && told("dc cvac", write_back_is_harmless(&old))
        && (arguments < 2 || told("dc cvap", write_back_is_harmless(&new)))
        && told("dc civac", dropped_lines_are_not_lost(&new))
        && told("copies with dc cvac", copies_agree(&old))
        && told("copies without a cache", copies_agree(&Cpu::NONE))
        && told("a set", set::works())
}

/// As above.
#[cfg(target_arch = "riscv64")]
fn run(arguments: usize) -> bool {
    let block = Cpu::from_zicbom(64);
    let chosen = (block.method(), block.line_bytes()) == (Method::CboClean, 64) && Cpu::from_zicbom(0) == Cpu::NONE;
    told("the choice", chosen)
        && (arguments < 2 || told("cbo.clean", write_back_is_harmless(&block)))
        && (arguments < 2 || told("cbo.flush", dropped_lines_are_not_lost(&block)))
        && told("copies without a cache", copies_agree(&Cpu::NONE))
        && told("a set", set::works())
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    say("a panic\n");
    exit(false)
}
