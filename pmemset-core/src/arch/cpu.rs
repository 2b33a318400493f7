//! The processor: the instruction that writes back a line, and the width of its stores.

use core::fmt;

use super::access::WORD_BYTES;

/// How a copy stores its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StoreKind {
    /// Ordinary stores: the bytes are in the cache afterwards.
    Cached,
    /// Stores around the cache, if the processor has them: durable after a fence. Only whole cache lines are stored so.
    /// Pieces of a line are stored through the cache and written back; so are copies of fewer than 256 bytes that do
    /// not begin and end with a line, and [shorter ones](Cpu::streams_from_bytes) if that is faster.
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
    /// The platform's own way, of a simulated processor.
    Platform,
}

impl Method {
    /// Returns the instruction as the processor's manual spells it.
    ///
    /// ```
    /// use pmemset_core::arch::Method;
    ///
    /// assert_eq!(Method::DcCvap.name(), "dc cvap");
    /// ```
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

/// How this processor writes back cache lines; chosen once, from the processor's description of itself.
///
/// ```
/// use pmemset_core::arch::{Cpu, Method};
///
/// let cpu = Cpu::NONE; // what a microcontroller's platform answers
/// assert_eq!(cpu.method(), Method::None);
/// assert!(!cpu.can_write_back());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    pub(super) method: Method,
    /// AVX registers can be used.
    pub(super) wide: bool,
    /// The memory takes no store narrower than a word.
    pub(super) whole_words: bool,
    pub(super) line_bytes: usize,
    pub(super) streams_from_bytes: usize,
}

impl Cpu {
    /// A processor that cannot write back cache lines: page granularity only.
    pub const NONE: Self =
        Self { method: Method::None, wide: false, whole_words: false, line_bytes: 64, streams_from_bytes: 0 };

    /// Returns a processor that does nothing by itself, and whose platform says that it does.
    #[cfg(feature = "sim")]
    pub(crate) const fn simulated(line_bytes: usize) -> Self {
        Self { method: Method::Platform, line_bytes, ..Self::NONE }
    }

    /// Returns the processor, for memory that accepts no store narrower than a word, which is as wide as a register.
    ///
    /// Copies and fills then store whole words; in the first and the last word they store the bytes beside the range
    /// again. So two contexts must not store to bytes of one word at the same time. Stores that the program makes
    /// itself must be whole words too. Has no effect on x86-64, where memory accepts bytes.
    ///
    /// ```
    /// use pmemset_core::arch::Cpu;
    ///
    /// static FRAM: Cpu = Cpu::NONE.storing_whole_words();
    /// let widths = if cfg!(target_arch = "x86_64") { [1, 1] } else { [1, size_of::<usize>()] };
    /// assert_eq!([Cpu::NONE.narrowest_store_bytes(), FRAM.narrowest_store_bytes()], widths);
    /// ```
    #[must_use]
    pub const fn storing_whole_words(self) -> Self {
        Self { whole_words: cfg!(not(target_arch = "x86_64")), ..self }
    }

    /// Returns the width in bytes of the narrowest store that copies and fills make: 1, or that of a register.
    #[must_use]
    pub const fn narrowest_store_bytes(&self) -> usize {
        if cfg!(not(target_arch = "x86_64")) && self.whole_words { WORD_BYTES } else { 1 }
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

    /// Returns from how many bytes on whole lines are streamed: fewer are faster through the cache and written back on
    /// some processors, slower on others.
    #[must_use]
    pub const fn streams_from_bytes(&self) -> usize {
        self.streams_from_bytes
    }

    /// Returns whether long copies use AVX registers: if the program is compiled for vector registers, and the
    /// operating system saves them. Otherwise copies use integer registers only.
    #[must_use]
    pub const fn wide_stores(&self) -> bool {
        self.wide && cfg!(all(target_arch = "x86_64", target_feature = "sse2"))
    }
}
