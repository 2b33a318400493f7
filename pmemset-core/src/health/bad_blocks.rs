//! Bad blocks: which ones a source knows, and when they keep it from being mapped.

use super::error::{BadBlocksError, McsafeError};
use crate::Span;

/// The bad blocks that a source knows in a range of its bytes.
///
/// `None` means that the platform knows of none. A block can be bad before anything has read it.
///
/// ```
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # let source = Machine::new(Hardware::new()).add_source(Medium::new(4096));
/// # source.damage(pmemset_core::Span::new(512, 256).unwrap());
/// use pmemset_core::{BadBlocks, Health, Source, Span};
///
/// let (mut found, whole) = ([Span::new(0, 1).unwrap(); 8], Span::new(0, 4096).unwrap());
/// match source.health().unwrap().bad_blocks(whole, &mut found) {
///     BadBlocks::Listed { count, more } => println!("{:?}, others: {more}", &found[..count]),
///     BadBlocks::None => println!("none is known"),
///     BadBlocks::Unknown(reason) => println!("not known: {reason}"),
///     _ => {}
/// }
/// # assert_eq!(found[0], Span::new(512, 256).unwrap());
/// ```
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
    /// They cannot be listed.
    Unknown(BadBlocksError),
}

impl BadBlocks {
    /// The answer of a source that does not know its bad blocks.
    pub const UNKNOWN: Self = Self::Unknown(BadBlocksError::Unsupported);
}

/// When bad blocks keep a source from being mapped; the stricter, the greater.
///
/// ```
/// use pmemset_core::BadBlockPolicy;
///
/// assert_eq!(BadBlockPolicy::default(), BadBlockPolicy::Off);
/// assert!(BadBlockPolicy::Required > BadBlockPolicy::IfKnown);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BadBlockPolicy {
    /// Never: sets do not look for them.
    #[default]
    Off,
    /// Refuse known bad blocks; accept a source whose bad blocks cannot be listed.
    IfKnown,
    /// Refuse known bad blocks, and a source whose bad blocks cannot be listed.
    Required,
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
