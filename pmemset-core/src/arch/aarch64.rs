//! aarch64: DC CVAP or DC CVAC, DC CIVAC, DSB ("Arm Architecture Reference Manual for A-profile", D7.5 cache
//! maintenance).
#![cfg_attr(
    not(any(test, target_arch = "aarch64")),
    allow(dead_code, reason = "the choice is compiled, and tested, on every processor")
)]

#[cfg(target_arch = "aarch64")]
use core::arch::asm;

#[cfg(target_arch = "aarch64")]
use super::cpu::Cpu;
use super::cpu::Method;

/// Returns the instruction for the bits of `AT_HWCAP`: bit 16 is DCPOP, the point of persistence.
const fn method(hwcap: u64) -> Method {
    if hwcap & (1 << 16) != 0 { Method::DcCvap } else { Method::DcCvac }
}

/// Returns the smallest data cache line in bytes: bits 19-16 of `CTR_EL0` are its binary logarithm in words of 4 bytes.
const fn line_bytes(ctr_el0: u64) -> usize {
    4 << ((ctr_el0 >> 16) & 0xf)
}

#[cfg(target_arch = "aarch64")]
impl Cpu {
    /// Returns the choice for a processor with the capability bits `hwcap` (`getauxval(3)`, `AT_HWCAP`), whose line
    /// size is read from `CTR_EL0`.
    ///
    /// A kernel sets bit 16 where `ID_AA64ISAR1_EL1.DPB` is not 0.
    #[must_use]
    pub fn from_hwcap(hwcap: u64) -> Self {
        let ctr_el0: u64;
        // SAFETY: CTR_EL0 is readable at every level; Linux emulates it where the processor traps.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr_el0, options(nomem, nostack, preserves_flags)) };
        Self::from_registers(hwcap, ctr_el0)
    }

    /// Returns the choice for a processor with the capability bits `hwcap` and the cache type register `ctr_el0`.
    #[must_use]
    pub const fn from_registers(hwcap: u64, ctr_el0: u64) -> Self {
        Self { method: method(hwcap), line_bytes: line_bytes(ctr_el0), ..Self::NONE }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn dc_cvap(line: usize) {
    // SAFETY: cleans a line and changes no byte of it; the caller of `write_back` promises that it is mapped. Spelled
    // as SYS, because assemblers want the name only where the whole program requires ARMv8.2.
    unsafe { asm!("sys #3, c7, c12, #1, {}", in(reg) line, options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn dc_cvac(line: usize) {
    // SAFETY: cleans a line and changes no byte of it; the caller of `write_back` promises that it is mapped.
    unsafe { asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn dc_civac(line: usize) {
    // SAFETY: cleans a line and drops it, and changes no byte; the caller of `write_back_invalidate` promises that it
    // is mapped.
    unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn dsb() {
    // SAFETY: waits for memory accesses and cache maintenance, and does nothing else.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_processors_get_their_instruction() {
        // Name, AT_HWCAP, CTR_EL0, instruction, line size.
        for (name, hwcap, ctr_el0, instruction, length_bytes) in [
            ("Cortex-A53", 0x0000_08ff, 0x8444_8004, Method::DcCvac, 64),
            ("Cortex-A72", 0x0000_08ff, 0x8444_c004, Method::DcCvac, 64),
            ("Neoverse N1", 0x1011_9fff, 0x8444_c004, Method::DcCvap, 64),
            ("lines of 128 bytes", 0x0001_0000, 0x8445_c004, Method::DcCvap, 128),
        ] {
            assert_eq!(method(hwcap), instruction, "{name}");
            assert_eq!(line_bytes(ctr_el0), length_bytes, "{name}");
        }
    }
}
