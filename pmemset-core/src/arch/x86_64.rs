//! x86-64: CLWB, CLFLUSHOPT or CLFLUSH, MOVNTI, SFENCE, MFENCE ("Intel 64 and IA-32 Architectures Software Developer's
//! Manual", volume 2).
#![cfg_attr(
    not(any(test, target_arch = "x86_64")),
    allow(dead_code, reason = "the choice is compiled, and tested, on every processor")
)]

#[cfg(target_arch = "x86_64")]
use core::arch::asm;

#[cfg(target_arch = "x86_64")]
use super::cpu::Cpu;
use super::cpu::Method;

const OSXSAVE: u32 = 1 << 27;
const AVX: u32 = 1 << 28;

/// What CPUID says about flushing, so that the choice can be tested with the values of other processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuidFacts {
    /// Leaf 0, EBX: the beginning of the maker's name.
    pub(crate) maker: u32,
    /// Leaf 1, EBX: bits 15-8 are the line size of CLFLUSH in units of 8 bytes.
    pub(crate) leaf1_ebx: u32,
    /// Leaf 1, ECX: bit 27 is OSXSAVE (XCR0 can be read), bit 28 is AVX.
    pub(crate) leaf1_ecx: u32,
    /// Leaf 1, EDX: bit 19 is CLFLUSH.
    pub(crate) leaf1_edx: u32,
    /// Leaf 7, subleaf 0, EBX: bit 23 is CLFLUSHOPT, bit 24 is CLWB; 0 where there is no leaf 7.
    pub(crate) leaf7_ebx: u32,
    /// XCR0: the operating system saves SSE state (bit 1) and AVX state (bit 2); 0 where it cannot be read.
    pub(crate) xcr0: u64,
}

impl CpuidFacts {
    /// Asks this processor.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn read() -> Self {
        let (leaf0, leaf1) = (cpuid(0), cpuid(1));
        let leaf7_ebx = if leaf0.eax >= 7 { cpuid(7).ebx } else { 0 };
        let xcr0 = if leaf1.ecx & OSXSAVE != 0 { xcr0() } else { 0 };
        Self { maker: leaf0.ebx, leaf1_ebx: leaf1.ebx, leaf1_ecx: leaf1.ecx, leaf1_edx: leaf1.edx, leaf7_ebx, xcr0 }
    }

    /// Returns the best instruction that the facts announce. CLWB counts only beside CLFLUSHOPT, which drops lines
    /// then: all processors that have the one have the other, and who hides one of them gets what is announced.
    pub(crate) const fn method(&self) -> Method {
        if self.leaf7_ebx & (3 << 23) == 3 << 23 {
            Method::Clwb
        } else if self.leaf7_ebx & (1 << 23) != 0 {
            Method::Clflushopt
        } else if self.leaf1_edx & (1 << 19) != 0 {
            Method::Clflush
        } else {
            Method::None
        }
    }

    /// Returns whether the processor has AVX *and* the operating system saves its registers.
    pub(crate) const fn has_avx(&self) -> bool {
        let needed = OSXSAVE | AVX;
        self.leaf1_ecx & needed == needed && self.xcr0 & 0b110 == 0b110
    }

    /// Returns from how many bytes on storing whole lines around the cache is no slower than storing through it and
    /// writing back.
    ///
    /// Measured, a fence behind each: on a Xeon of family 6, model 143 (Sapphire Rapids), 64 to 192 bytes take up to a
    /// half longer around the cache, from 256 on they take as long or less; on EPYC 7003, 64 take two thirds of the
    /// time.
    pub(crate) const fn streams_from_bytes(&self) -> usize {
        const INTEL: u32 = u32::from_le_bytes(*b"Genu");
        if self.maker == INTEL && matches!(self.method(), Method::Clwb) { 256 } else { 0 }
    }

    /// Returns the size of a cache line in bytes; 64, which all have, where the processor says nothing sensible.
    pub(crate) const fn line_bytes(&self) -> usize {
        match (self.leaf1_ebx >> 8) & 0xff {
            0x04 => 32,
            0x10 => 128,
            _ => 64,
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Cpu {
    /// Returns the choice for the processor that this runs on.
    #[must_use]
    pub fn detect() -> Self {
        Self::from_cpuid(&CpuidFacts::read())
    }

    /// Returns the choice for a processor with the CPUID values `facts`.
    ///
    /// An instruction that the processor does not have raises an invalid-opcode exception later.
    pub(crate) const fn from_cpuid(facts: &CpuidFacts) -> Self {
        let (line_bytes, streams_from_bytes) = (facts.line_bytes(), facts.streams_from_bytes());
        Self { method: facts.method(), wide: facts.has_avx(), line_bytes, streams_from_bytes, ..Self::NONE }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpuid(leaf: u32) -> core::arch::x86_64::CpuidResult {
    #[allow(unused_unsafe, reason = "safe since Rust 1.93")]
    // SAFETY: every x86-64 processor has CPUID.
    unsafe {
        core::arch::x86_64::__cpuid_count(leaf, 0)
    }
}

#[cfg(target_arch = "x86_64")]
fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE says that the instruction can be used, and register 0 exists then.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    (u64::from(high) << 32) | u64::from(low)
}

#[cfg(target_arch = "x86_64")]
macro_rules! line_instruction {
    ($($name:ident $template:literal)*) => {$(
        #[inline(always)]
        pub(super) fn $name(line: usize) {
            // SAFETY: writes a line back and changes no byte of it; the caller of `write_back` or
            // `write_back_invalidate` promises that it is mapped.
            unsafe { asm!($template, in(reg) line, options(nostack, preserves_flags)) }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
line_instruction! {
    clwb "clwb [{}]"
    clflushopt "clflushopt [{}]"
    clflush "clflush [{}]"
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn sfence() {
    // SAFETY: orders stores and does nothing else.
    unsafe { asm!("sfence", options(nostack, preserves_flags)) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn mfence() {
    // SAFETY: orders loads and stores and does nothing else.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) }
}

/// Stores a word around the cache.
///
/// # Safety
///
/// `dest` is writable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn movnti(dest: *mut usize, value: usize) {
    // SAFETY: the caller promises the word.
    unsafe { asm!("movnti [{}], {}", in(reg) dest, in(reg) value, options(nostack, preserves_flags)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CPUID values and XCR0 as read from the processors named: instruction, AVX.
    const RECORDED: &[(&str, CpuidFacts, Method, bool)] = &[
        ("Intel Core 2 Duo E8400", facts(0x0008_e3bd, 0xbfeb_fbff, 0, 0), Method::Clflush, false),
        ("Intel Core i7-4770 (Haswell)", facts(0x7ffa_fbbf, 0xbfeb_fbff, 0x0000_27ab, 7), Method::Clflush, true),
        ("Intel Core i7-7700 (Kaby Lake)", facts(0x7ffa_fbbf, 0xbfeb_fbff, 0x029c_6fbf, 7), Method::Clflushopt, true),
        ("Intel Xeon Gold 6154 (Skylake-SP)", facts(0x7ffe_fbff, 0xbfeb_fbff, 0xd39f_fffb, 0xe7), Method::Clwb, true),
        ("AMD EPYC 7551 (Zen)", facts(0x7ed8_320b, 0x178b_fbff, 0x209c_01a9, 7), Method::Clflushopt, true),
        ("AMD EPYC 7742 (Zen 2)", facts(0x7ed8_320b, 0x178b_fbff, 0x219c_91a9, 7), Method::Clwb, true),
        ("AMD EPYC 7003 under KVM", facts(0xfffa_3203, 0x178b_fbff, 0x219c_07ab, 0x207), Method::Clwb, true),
        ("the same, AVX state not saved", facts(0xfffa_3203, 0x178b_fbff, 0x219c_07ab, 3), Method::Clwb, false),
        ("the same, no XSAVE", facts(0xf7fa_3203, 0x178b_fbff, 0x219c_07ab, 0), Method::Clwb, false),
        ("the same, CLFLUSHOPT hidden", facts(0xfffa_3203, 0x178b_fbff, 0x211c_07ab, 7), Method::Clflush, true),
        ("no CLFLUSH at all", facts(0, 0, 0, 0), Method::None, false),
    ];

    const fn facts(leaf1_ecx: u32, leaf1_edx: u32, leaf7_ebx: u32, xcr0: u64) -> CpuidFacts {
        CpuidFacts { maker: 0, leaf1_ebx: 0x0010_0800, leaf1_ecx, leaf1_edx, leaf7_ebx, xcr0 }
    }

    #[test]
    fn short_copies_go_through_the_cache_where_that_is_faster() {
        let of = |maker: &[u8; 4], leaf7_ebx| {
            let facts = facts(0x7ffe_fbff, 0xbfeb_fbff, leaf7_ebx, 7);
            CpuidFacts { maker: u32::from_le_bytes(*maker), ..facts }.streams_from_bytes()
        };
        assert_eq!((of(b"Genu", 0xd39f_fffb), of(b"Auth", 0xd39f_fffb)), (256, 0));
        assert_eq!(of(b"Genu", 0x0000_27ab), 0, "one line after the other is no gain");
    }

    #[test]
    fn recorded_processors_get_their_instruction() {
        for (name, facts, method, avx) in RECORDED {
            assert_eq!(facts.method(), *method, "{name}");
            assert_eq!(facts.has_avx(), *avx, "{name}");
            assert_eq!(facts.line_bytes(), 64, "{name}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_announced_instruction_runs_and_changes_nothing() {
        let bytes: std::vec::Vec<u8> = (0..=255).collect();
        let range = crate::Extent::new(bytes.as_ptr().addr(), bytes.len()).unwrap();
        let read = CpuidFacts::read();
        for mask in [0, 1 << 24, 1 << 24 | 1 << 23] {
            let cpu = Cpu::from_cpuid(&CpuidFacts { leaf7_ebx: read.leaf7_ebx & !mask, ..read });
            // SAFETY: the vector is alive.
            unsafe { cpu.write_back(range) };
            cpu.fence();
            // SAFETY: as above.
            unsafe { cpu.write_back_invalidate(range) };
            cpu.full_fence();
        }
        assert!(Cpu::detect().can_write_back());
        assert!(bytes.iter().copied().eq(0..=255));
    }
}
