//! The medium of a simulated source.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hardware::Hardware;
use super::image::Image;
use super::line::{UNIT_BYTES, Word};
use super::space::Memory;
use crate::{DeepFlush, Extent, FailedWriteBack, Granularity, Sharing, Span};

/// The medium of a simulated source.
///
/// ```
/// use pmemset_core::{Granularity, sim::Medium};
///
/// let file = Medium::new(0).granularity(Granularity::Page).growing_to(1 << 20);
/// let pmem = Medium::new(1 << 20).device(b"module", 7);
/// let fram = Medium::new(8192).granularity(Granularity::Byte);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Medium {
    pub(super) length_bytes: u64,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) granularity: Granularity,
    pub(super) alignment_bytes: usize,
    pub(super) fixed_address: Option<usize>,
    pub(super) deep_flush: DeepFlush,
    pub(super) device: Option<&'static [u8]>,
    pub(super) unsafe_shutdowns: u64,
    pub(super) sharing: Sharing,
}

impl Medium {
    /// Returns a medium of `length_bytes` bytes, all 0, of cache-line granularity, that cannot grow.
    #[must_use]
    pub const fn new(length_bytes: u64) -> Self {
        Self {
            length_bytes,
            capacity_bytes: None,
            granularity: Granularity::CacheLine,
            alignment_bytes: 1,
            fixed_address: None,
            deep_flush: DeepFlush::Done,
            device: None,
            unsafe_shutdowns: 0,
            sharing: Sharing::Private,
        }
    }

    /// Sets the granularity.
    #[must_use]
    pub const fn granularity(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// Lets the source grow up to `capacity_bytes` bytes; then the device is full.
    ///
    /// ```
    /// use pmemset_core::sim::{Hardware, Machine, Medium};
    /// use pmemset_core::{Config, Granularity, MapConfig, Set};
    ///
    /// let machine = Machine::new(Hardware::new());
    /// let file = machine.add_source(Medium::new(0).granularity(Granularity::Page).growing_to(8192));
    /// let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::Page), 4);
    /// assert!(set.map(file.clone(), &MapConfig::new().length(8192)).is_ok());
    /// assert!(set.map(file, &MapConfig::new().offset(8192).length(4096)).is_err()); // the disk is full
    /// ```
    #[must_use]
    pub const fn growing_to(mut self, capacity_bytes: u64) -> Self {
        self.capacity_bytes = Some(capacity_bytes);
        self
    }

    /// Sets the alignment of mappings in bytes.
    #[must_use]
    pub const fn alignment(mut self, alignment_bytes: usize) -> Self {
        self.alignment_bytes = alignment_bytes;
        self
    }

    /// Fixes the address of the first byte: the source can be mapped nowhere else.
    #[must_use]
    pub const fn fixed_at(mut self, address: usize) -> Self {
        self.fixed_address = Some(address);
        self
    }

    /// Puts the medium on a memory module with the id `id`, which counts every power cut as an unsafe shutdown,
    /// beginning with `unsafe_shutdowns`.
    #[must_use]
    pub const fn device(mut self, id: &'static [u8], unsafe_shutdowns: u64) -> Self {
        self.device = Some(id);
        self.unsafe_shutdowns = unsafe_shutdowns;
        self
    }

    /// Declares the medium as shared by several hosts: see [`Hosts`](super::Hosts).
    #[must_use]
    pub const fn sharing(mut self, sharing: Sharing) -> Self {
        self.sharing = sharing;
        self
    }

    pub(super) const fn of_granularity(&self) -> Granularity {
        self.granularity
    }

    /// Returns what the medium is after the power has been cut.
    pub(super) const fn after_cut(mut self) -> Self {
        self.unsafe_shutdowns = self.unsafe_shutdowns.saturating_add(1);
        self
    }

    /// Sets the answer to deep flushes.
    #[must_use]
    pub const fn deep_flush(mut self, answer: DeepFlush) -> Self {
        self.deep_flush = answer;
        self
    }
}

/// A source as the machine keeps it; survives its handles.
#[derive(Clone, Debug)]
pub(super) struct SourceState {
    pub(super) medium: Medium,
    pub(super) image: Image,
    /// Windows, and the offset of their first byte in the source.
    pub(super) mappings: Vec<(Extent, usize)>,
    pub(super) bad: Vec<Span>,
    /// How often somebody came to rely on the length, and that count at the last growth.
    pub(super) relied: u64,
    pub(super) grown: u64,
    /// Of the source as it was opened last.
    pub(super) failed: Arc<FailedWriteBack>,
}

impl SourceState {
    pub(super) fn new(medium: Medium, hardware: &Hardware) -> Self {
        let length_bytes = (medium.length_bytes as usize).next_multiple_of(hardware.page_bytes);
        Self::with_bytes(medium, hardware, [0].repeat(length_bytes))
    }

    pub(super) fn with_bytes(medium: Medium, hardware: &Hardware, bytes: Vec<u8>) -> Self {
        let image = Image::new(bytes, medium.granularity, hardware);
        let failed = Arc::new(FailedWriteBack::new());
        Self { medium, image, mappings: Vec::new(), bad: Vec::new(), relied: 0, grown: 0, failed }
    }

    /// Returns the address that the byte at `offset` is mapped at.
    pub(super) fn address(&self, offset: usize) -> Option<usize> {
        let mapped = |(window, start): &&(Extent, usize)| (*start..start + window.length_bytes()).contains(&offset);
        self.mappings.iter().find(mapped).map(|(window, start)| window.start() + (offset - start))
    }

    /// Puts a unit to where it is mapped.
    pub(super) fn put(&self, memory: &Memory, offset: usize, unit: Word) {
        if let Some(at) = self.address(offset).and_then(|address| Extent::new(address, UNIT_BYTES)) {
            memory.write(at, &unit.to_le_bytes());
        }
    }

    pub(super) fn resize(&mut self, length_bytes: u64, page_bytes: usize) {
        self.medium.length_bytes = length_bytes;
        self.image.resize((length_bytes as usize).next_multiple_of(page_bytes));
    }
}
