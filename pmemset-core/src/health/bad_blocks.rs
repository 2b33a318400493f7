//! Bad blocks: what a source knows of them, how they are cleared, and the copies that survive them.

use core::fmt;

use crate::{Errno, Span};

/// What a source knows of bad blocks in a range of its bytes.
///
/// An empty list is what the platform knows: a block goes bad before anybody has noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadBlocks {
    /// There are none.
    None,
    /// There are some.
    Listed {
        /// The number of blocks written to the caller's buffer.
        count: usize,
        /// Whether there are others behind the last of them.
        more: bool,
    },
    /// The platform cannot tell.
    Unknown(BadBlocksError),
}

impl BadBlocks {
    /// What a source answers that knows nothing of bad blocks.
    pub const UNKNOWN: Self = Self::Unknown(BadBlocksError::Unsupported);
}

/// Why a platform cannot tell what is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BadBlocksError {
    /// The source is on nothing that lists bad blocks: an ordinary disk, memory on no nd bus.
    NoRegion,
    /// It cannot be read where on the medium the source is: which of the bad blocks are its own is not known.
    NoBounds(Errno),
    /// The medium has no list, or nobody fills it.
    Unsupported,
    /// The list cannot be read.
    Failed(Errno),
}

impl BadBlocksError {
    /// Returns libpmemset's number for this reason.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::NoRegion => -200_036,
            Self::NoBounds(_) => -200_037,
            Self::Unsupported => -200_038,
            Self::Failed(cause) => cause.code(),
        }
    }
}

impl From<Errno> for BadBlocksError {
    fn from(cause: Errno) -> Self {
        if cause == Errno::OPNOTSUPP { Self::Unsupported } else { Self::Failed(cause) }
    }
}

impl fmt::Display for BadBlocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRegion => f.write_str("the source is on no region, which would list them"),
            Self::NoBounds(cause) => write!(f, "where the source is on its region cannot be read: {cause}"),
            Self::Unsupported => f.write_str("the medium does not list them"),
            Self::Failed(cause) => write!(f, "the list cannot be read: {cause}"),
        }
    }
}

impl core::error::Error for BadBlocksError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoBounds(cause) | Self::Failed(cause) => Some(cause),
            _ => None,
        }
    }
}

/// When bad blocks keep a source from being mapped; the stricter, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BadBlockPolicy {
    /// Nobody is asked.
    #[default]
    Off,
    /// Blocks that the platform knows of do; one that cannot tell does not.
    IfKnown,
    /// Blocks that the platform knows of do, and so does one that cannot tell.
    Required,
}

/// Why a bad block was not cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ClearError {
    /// The source, or its medium, cannot clear.
    Unsupported,
    /// The block is not inside the source.
    OutOfRange {
        /// The source's length in bytes.
        length_bytes: u64,
    },
    /// What is bad cannot be told, so nothing was touched.
    Unknown(BadBlocksError),
    /// The platform refused or failed; what was cleared before stays cleared.
    Failed(Errno),
    /// The platform said that it cleared the block, and still lists it.
    StillBad,
}

impl ClearError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Unsupported => -200_038,
            Self::Unknown(reason) => reason.code(),
            Self::OutOfRange { .. } => -200_033,
            Self::Failed(cause) => cause.code(),
            Self::StillBad => -200_032,
        }
    }
}

impl fmt::Display for ClearError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unsupported => f.write_str("the source cannot clear bad blocks"),
            Self::OutOfRange { length_bytes } => write!(f, "the block is not inside the source's {length_bytes} bytes"),
            Self::Unknown(reason) => write!(f, "what is bad cannot be told, nothing was touched: {reason}"),
            Self::Failed(cause) => write!(f, "the block could not be cleared: {cause}"),
            Self::StillBad => f.write_str("the block is bad after it was cleared"),
        }
    }
}

impl core::error::Error for ClearError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(cause) => Some(cause),
            Self::Unknown(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Why a copy from or to a source did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum McsafeError {
    /// The source has no copy that survives damaged memory.
    Unsupported,
    /// The bytes are not all inside the source; nothing was copied.
    OutOfRange {
        /// The source's length in bytes.
        length_bytes: u64,
    },
    /// The medium is damaged; some of the bytes may have been copied.
    IoFail,
    /// The platform's reason; some of the bytes may have been copied.
    Failed(Errno),
}

impl McsafeError {
    /// Returns libpmemset's number for this error.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Unsupported => Errno::OPNOTSUPP.code(),
            Self::OutOfRange { .. } => -200_033,
            Self::IoFail => -200_032,
            Self::Failed(cause) => cause.code(),
        }
    }
}

impl fmt::Display for McsafeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unsupported => f.write_str("the source has no copy that survives damaged memory"),
            Self::OutOfRange { length_bytes } => write!(f, "the bytes are not inside the source's {length_bytes}"),
            Self::IoFail => f.write_str("the medium is damaged"),
            Self::Failed(cause) => write!(f, "the bytes could not be copied: {cause}"),
        }
    }
}

impl core::error::Error for McsafeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Failed(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Checks that `length_bytes` bytes from `offset` lie inside a source of `source_bytes`; 0 bytes are `None`.
///
/// # Errors
///
/// - [`McsafeError::OutOfRange`]: they do not.
pub fn check_bounds(offset: u64, length_bytes: usize, source_bytes: u64) -> Result<Option<Span>, McsafeError> {
    let out_of_range = McsafeError::OutOfRange { length_bytes: source_bytes };
    let end = offset.checked_add(length_bytes as u64).ok_or(out_of_range)?;
    if end > source_bytes { Err(out_of_range) } else { Ok(Span::between(offset, end)) }
}

/// Returns the bytes of the source that a damaged range of the medium means for one extent of the source.
///
/// The extent is `length_bytes` bytes, at `logical` in the source and at `physical` on the medium. The answer is
/// rounded outward to `unit_bytes` (a power of two) in the source; `None` where the two share no byte.
#[must_use]
pub fn in_extent(block: Span, physical: Span, logical: u64, unit_bytes: u64) -> Option<Span> {
    let shared = block.intersect(physical)?;
    let start = logical.checked_add(shared.start().checked_sub(physical.start())?)?;
    Span::new(start, shared.length_bytes())?.align_outward(unit_bytes)
}

/// Collects blocks in the order of their offsets: the lowest ones that there is room for, merged where they touch.
#[derive(Debug)]
pub struct Collector<'b> {
    blocks: &'b mut [Span],
    count: usize,
    /// The lowest start of all blocks that there was no room for.
    left_out: Option<u64>,
}

impl<'b> Collector<'b> {
    /// Returns a collector that writes to `blocks`.
    pub const fn new(blocks: &'b mut [Span]) -> Self {
        Self { blocks, count: 0, left_out: None }
    }

    /// Adds a block.
    pub fn add(&mut self, block: Span) {
        let mut block = block;
        let mut at = 0_usize;
        // Everything that the block touches becomes part of it.
        while let Some(other) = self.blocks.get(at).copied().filter(|_| at < self.count) {
            if other.start() > block.end() || block.start() > other.end() {
                at = at.saturating_add(1);
                continue;
            }
            let merged = Span::between(other.start().min(block.start()), other.end().max(block.end()));
            block = merged.unwrap_or(block);
            let mut gap = at;
            while let Some([here, next, ..]) = self.blocks.get_mut(gap..self.count) {
                *here = *next;
                gap = gap.saturating_add(1);
            }
            self.count = self.count.saturating_sub(1);
        }
        if self.left_out.is_some_and(|start| start <= block.start()) {
            return;
        }
        let mut at = self.count;
        if let Some(free) = self.blocks.get_mut(at) {
            *free = block;
            self.count = at.saturating_add(1);
        } else {
            at = at.saturating_sub(1);
            match self.blocks.last_mut().filter(|last| last.start() > block.start()) {
                Some(last) => self.left_out = Some(core::mem::replace(last, block).start()),
                None => self.left_out = Some(block.start()),
            }
        }
        while let Some([.., before, last]) = self.blocks.get_mut(..=at)
            && before.start() > last.start()
        {
            core::mem::swap(before, last);
            at = at.saturating_sub(1);
        }
    }

    /// Returns the source's answer.
    #[must_use]
    pub const fn finish(self) -> BadBlocks {
        match (self.count, self.left_out) {
            (0, None) => BadBlocks::None,
            (count, left_out) => BadBlocks::Listed { count, more: left_out.is_some() },
        }
    }
}

#[cfg(test)]
mod tests;
