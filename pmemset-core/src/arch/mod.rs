//! The processor: which instruction writes back a cache line, how stores are fenced and streamed.
#![allow(unsafe_code, reason = "cache instructions and streaming stores have no safe form")]

use core::fmt;

use crate::Extent;

mod aarch64;
pub(crate) mod access;
mod load;
mod riscv64;
mod store;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod wide;
mod words;
mod x86_64;

#[cfg(test)]
pub(crate) use x86_64::CpuidFacts;

/// How a copy stores its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StoreKind {
    /// Ordinary stores: the bytes are in the cache afterwards.
    Cached,
    /// Stores around the cache where the processor has them: durable after a fence. Edges that cannot be streamed are
    /// stored through the cache and written back.
    Streaming,
}

/// The instruction that writes back a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Method {
    /// None: the bytes of a cache line become durable only with the source's help.
    None,
    /// x86-64: keeps the line in the cache.
    Clwb,
    /// x86-64: drops the line; many at a time.
    Clflushopt,
    /// x86-64: drops the line; one after the other.
    Clflush,
    /// aarch64: cleans the line to the point of persistence.
    DcCvap,
    /// aarch64: cleans the line to the point of coherency, which is as far as processors before `ARMv8.2` can go.
    DcCvac,
    /// riscv64 with Zicbom: cleans the block.
    CboClean,
    /// Another way, which is the platform's: that of a simulated processor.
    Platform,
}

impl Method {
    /// Returns the instruction as the processor's manual spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Clwb => "clwb",
            Self::Clflushopt => "clflushopt",
            Self::Clflush => "clflush",
            Self::DcCvap => "dc cvap",
            Self::DcCvac => "dc cvac",
            Self::CboClean => "cbo.clean",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How this processor writes back cache lines: chosen once, from what the processor says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    method: Method,
    /// AVX registers can be used.
    wide: bool,
    /// The memory takes no store narrower than a word.
    whole_words: bool,
    line_bytes: usize,
}

impl Cpu {
    /// A processor that cannot write back cache lines: page granularity only.
    pub const NONE: Self = Self { method: Method::None, wide: false, whole_words: false, line_bytes: 64 };

    /// Returns a processor that does nothing by itself, and whose platform says that it does.
    #[cfg(feature = "sim")]
    pub(crate) const fn simulated(line_bytes: usize) -> Self {
        Self { method: Method::Platform, line_bytes, ..Self::NONE }
    }

    /// Returns the processor with memory that takes no store narrower than a word, which is as wide as a register.
    ///
    /// Copies and fills then store whole words, with what lies beside the range in its first and last word: no two
    /// contexts may store to bytes of one word at the same time. Stores that the program makes itself must be whole
    /// words too. Changes nothing on x86-64, where memory takes bytes.
    #[must_use]
    pub const fn storing_whole_words(self) -> Self {
        Self { whole_words: cfg!(not(target_arch = "x86_64")), ..self }
    }

    /// Returns the width in bytes of the narrowest store that copies and fills make: 1, or that of a register.
    #[must_use]
    pub const fn narrowest_store_bytes(&self) -> usize {
        if cfg!(not(target_arch = "x86_64")) && self.whole_words { access::WORD_BYTES } else { 1 }
    }

    /// Returns whether stores can be made durable without the source's help.
    #[must_use]
    pub const fn can_write_back(&self) -> bool {
        !matches!(self.method, Method::None)
    }

    /// Returns the instruction that writes back a line.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Returns the size of a cache line in bytes, a power of two.
    #[must_use]
    pub const fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// Returns whether long copies are stored in AVX registers: the program has vector registers anyway, and the
    /// operating system saves them. Otherwise integer registers do everything.
    #[must_use]
    pub const fn wide_stores(&self) -> bool {
        self.wide && cfg!(all(target_arch = "x86_64", target_feature = "sse2"))
    }

    /// Writes back every line that `range` touches, once each; [`Cpu::NONE`] does nothing.
    ///
    /// # Safety
    ///
    /// `range` is mapped and readable.
    #[inline]
    pub unsafe fn write_back(&self, range: Extent) {
        match self.method {
            #[cfg(target_arch = "x86_64")]
            Method::Clwb => for_each_line(range, self.line_bytes, x86_64::clwb),
            #[cfg(target_arch = "x86_64")]
            Method::Clflushopt => for_each_line(range, self.line_bytes, x86_64::clflushopt),
            #[cfg(target_arch = "x86_64")]
            Method::Clflush => for_each_line(range, self.line_bytes, x86_64::clflush),
            #[cfg(target_arch = "aarch64")]
            Method::DcCvap => for_each_line(range, self.line_bytes, aarch64::dc_cvap),
            #[cfg(target_arch = "aarch64")]
            Method::DcCvac => for_each_line(range, self.line_bytes, aarch64::dc_cvac),
            #[cfg(target_arch = "riscv64")]
            Method::CboClean => for_each_line(range, self.line_bytes, riscv64::cbo_clean),
            _ => {
                let _ = range;
            }
        }
    }

    /// Copies bytes: what [`Platform::copy`](crate::Platform::copy) does where it is not replaced.
    ///
    /// # Safety
    ///
    /// `source` is readable and `dest` writable for `length_bytes` bytes; the ranges may overlap. Where the memory
    /// [takes whole words](Self::storing_whole_words) only, that is so of each word that a range touches, and nobody
    /// else stores to the words that `dest` touches meanwhile, an interrupt handler included: it would be undone.
    #[inline]
    pub unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        if self.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on.
            return unsafe { words::copy(self, dest, source, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { store::copy(self, dest, source, length_bytes, kind) }
    }

    /// Fills bytes with `value`: what [`Platform::fill`](crate::Platform::fill) does where it is not replaced.
    ///
    /// # Safety
    ///
    /// As for [`copy`](Self::copy).
    #[inline]
    pub unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        if self.narrowest_store_bytes() > 1 {
            // SAFETY: the caller's promise is passed on.
            return unsafe { words::fill(self, dest, value, length_bytes, kind) };
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { store::fill(self, dest, value, length_bytes, kind) }
    }

    /// Copies bytes of a part to ordinary memory: what [`Platform::read`](crate::Platform::read) does where it is not
    /// replaced.
    ///
    /// # Safety
    ///
    /// `source` is mapped and readable and `dest` writable for `length_bytes` bytes.
    #[inline]
    pub unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { load::read(self, dest, source, length_bytes) }
    }

    /// Orders what was written back or streamed before anything later.
    ///
    /// SFENCE on x86-64, DSB on aarch64, a full fence elsewhere.
    #[inline]
    pub fn fence(&self) {
        #[cfg(target_arch = "x86_64")]
        x86_64::sfence();
        #[cfg(target_arch = "aarch64")]
        aarch64::dsb();
        #[cfg(target_arch = "riscv64")]
        riscv64::fence();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }
}

/// Calls `each` with the first address of every line of `line_bytes` bytes (a power of two) that `range` touches.
#[cfg_attr(
    not(any(test, target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    allow(dead_code, reason = "other processors have no lines to write back")
)]
#[inline(always)]
fn for_each_line(range: Extent, line_bytes: usize, mut each: impl FnMut(usize)) {
    let mask = !line_bytes.wrapping_sub(1);
    let last = range.end().wrapping_sub(1) & mask;
    let mut line = range.start() & mask;
    // Ends at the last line, not behind it, so that a range in the last line of the address space ends too.
    loop {
        each(line);
        if line == last {
            break;
        }
        line = line.wrapping_add(line_bytes);
    }
}

/// Asks for the cache line of `at`, without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(at: &T) {
    let at = core::ptr::from_ref(at).cast::<u8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that reads nothing into the program, on an address that a reference vouches for.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint that reads nothing into the program, on an address that a reference vouches for.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_touched_line_once() {
        for (line_bytes, base) in [(16, 0), (64, 4096), (64, usize::MAX - 511), (128, 4096), (2048, 8192)] {
            for (offset, length_bytes) in (0..129).flat_map(|offset| (0..129).map(move |length| (offset, length))) {
                let Some(range) = Extent::new(base + offset, length_bytes) else { continue };
                let mut lines = std::vec::Vec::new();
                for_each_line(range, line_bytes, |line| lines.push(line));
                let mut touched: std::vec::Vec<usize> =
                    (0..length_bytes).map(|byte| (base + offset + byte) / line_bytes * line_bytes).collect();
                touched.dedup();
                assert_eq!(lines, touched, "{range} in lines of {line_bytes}");
            }
        }
    }

    #[test]
    fn no_processor_does_nothing() {
        assert!(!Cpu::NONE.can_write_back());
        assert_eq!(Cpu::NONE.method().name(), "none");
        // SAFETY: without an instruction no address is touched.
        unsafe { Cpu::NONE.write_back(Extent::new(0x1000, 64).unwrap()) };
        Cpu::NONE.fence();
    }
}
