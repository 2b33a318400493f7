//! riscv64: CBO.CLEAN and CBO.FLUSH where Zicbom is announced ("RISC-V Base Cache Management Operation ISA Extensions",
//! version 1.0).
//!
//! Without Zicbom the processor has no way to write back a line: [`Cpu::NONE`](super::Cpu::NONE), page granularity.
#![cfg_attr(
    not(any(test, target_arch = "riscv64")),
    allow(dead_code, reason = "the choice is compiled, and tested, on every processor")
)]

#[cfg(target_arch = "riscv64")]
use core::arch::asm;

#[cfg(target_arch = "riscv64")]
use super::cpu::Cpu;

/// Returns whether `block_bytes` can be the block size of Zicbom.
const fn is_block_size(block_bytes: usize) -> bool {
    block_bytes.is_power_of_two() && block_bytes >= 4 && block_bytes <= 4096
}

#[cfg(target_arch = "riscv64")]
impl Cpu {
    /// Returns the choice for a processor that announces Zicbom with blocks of `block_bytes` bytes
    /// (device tree: `riscv,cbom-block-size`; Linux: `riscv_hwprobe(2)`, `ZICBOM_BLOCK_SIZE`).
    ///
    /// 0, or anything that cannot be a block size, means no Zicbom: [`Cpu::NONE`], no persistence without the source's
    /// help. Execution in the program's privilege mode must be enabled (`senvcfg.CBCFE`).
    #[must_use]
    pub const fn from_zicbom(block_bytes: usize) -> Self {
        if is_block_size(block_bytes) {
            Self { method: super::cpu::Method::CboClean, line_bytes: block_bytes, ..Self::NONE }
        } else {
            Self::NONE
        }
    }
}

#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(super) fn cbo_clean(line: usize) {
    // SAFETY: cleans a block and changes no byte of it; the caller of `write_back` promises that it is mapped. Spelled
    // by its fields, because assemblers want the name only where the whole program requires Zicbom.
    unsafe { asm!(".insn i 0x0f, 2, x0, {}, 1", in(reg) line, options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(super) fn cbo_flush(line: usize) {
    // SAFETY: cleans a block and drops it, and changes no byte; the caller of `write_back_invalidate` promises that it
    // is mapped. Spelled as above.
    unsafe { asm!(".insn i 0x0f, 2, x0, {}, 2", in(reg) line, options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(super) fn fence() {
    // SAFETY: orders memory accesses and cache management, and does nothing else.
    unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_blocks() {
        assert!(is_block_size(64));
        assert!(is_block_size(128));
        for wrong in [0, 1, 3, 65, 8192] {
            assert!(!is_block_size(wrong), "{wrong}");
        }
    }
}
