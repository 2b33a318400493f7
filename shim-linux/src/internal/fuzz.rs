//! A door for fuzzers to what reads the kernel's binary answers; no part of the interface.

use pmemset_core::{BadBlocks, Errno, Span};

use crate::file::extents::{self, ExtentReader};
use crate::nd::block_device::Pieces;
use crate::nd::ioctl::{Extent, Extents};

/// Answers in place of `FIEMAP`: takes the first byte asked for, and the length in bytes.
pub type Fiemap<'f> = &'f mut dyn FnMut(u64, u64) -> Answer;

/// What `FIEMAP` says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The number of extents that it says there are.
    pub mapped: u32,
    /// Logical and physical start and length in bytes, and flags; what is past the kernel's room is left out.
    pub extents: heapless::Vec<(u64, u64, u64, u32), 64>,
}

struct Reader<'f>(Fiemap<'f>);

impl ExtentReader for Reader<'_> {
    fn read(&mut self, start: u64, length_bytes: u64, to: &mut Extents) -> Result<(), Errno> {
        let answer = self.0(start, length_bytes);
        let extents = answer.extents.iter().map(|&(logical, physical, length_bytes, flags)| Extent {
            logical,
            physical,
            length_bytes,
            flags,
            ..Extent::default()
        });
        *to = Extents::of(extents, answer.mapped);
        Ok(())
    }
}

/// Lists the bad blocks of a file on `pieces` that touch `range`, in whole units of `unit_bytes`.
pub fn bad_blocks(fiemap: Fiemap<'_>, pieces: &Pieces, range: Span, unit_bytes: u64, blocks: &mut [Span]) -> BadBlocks {
    extents::bad_blocks(&mut Reader(fiemap), pieces, range, unit_bytes, blocks)
}
