//! An adapter that forgets to pass something on.

use pmemset_core::error::{ClearError, DeviceError, McsafeError};
use pmemset_core::lock::SpinRwLock;
use pmemset_core::sim::{Hardware, Machine, Medium, SimSource, SimSpace};
use pmemset_core::{
    BadBlockPolicy, BadBlocks, Checked, DeviceId, Errno, FailedWriteBack, Granularity, GranularityLimit, Health,
    LiveRecordRef, Sharing, ShutdownRecord, Source, Span, forward_source,
};

/// A source that knows all that a source can know, in memory that takes whole words only.
pub(crate) struct Knowing(Checked<SimSource, SpinRwLock>);

impl Knowing {
    pub(crate) fn new() -> Self {
        let machine = Machine::new(Hardware::new());
        let address = machine.address_space().start() + (1 << 20);
        let medium = Medium::new(1 << 16).granularity(Granularity::Page).alignment(8192);
        let source = machine.add_source(medium.fixed_at(address).device(b"dimm", 3));
        source.damage(Span::new(4096, 64).unwrap());
        let checked = Checked::new(source).shutdown_record(ShutdownRecord::new());
        Self(checked.bad_block_detection(BadBlockPolicy::Required))
    }
}

// SAFETY: every call goes to the source inside.
unsafe impl Source for Knowing {
    type Space = SimSpace;

    forward_source!(self { Self(source) => source } except granularity_limit, write_granule_bytes);

    fn granularity_limit(&self) -> GranularityLimit {
        GranularityLimit::Request
    }
    fn write_granule_bytes(&self) -> usize {
        4
    }
}

/// What an adapter forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    AnotherSpace,
    Alignment,
    Granule,
    FixedAddress,
    FinerGranularity,
    GranularityLimit,
    Longer,
    Sharing,
    FailureOfItsOwn,
    Health,
    Record,
    Detection,
    Device,
    BlocksUnknown,
    NoBlocks,
    Copies,
}

pub(crate) struct Adapter<'k> {
    knowing: &'k Knowing,
    lapse: Option<Lapse>,
    failed: FailedWriteBack,
    other: Machine,
}

impl<'k> Adapter<'k> {
    pub(crate) fn new(knowing: &'k Knowing, lapse: Option<Lapse>) -> Self {
        Self { knowing, lapse, failed: FailedWriteBack::new(), other: Machine::new(Hardware::new()) }
    }

    fn forgets(&self, lapse: Lapse) -> bool {
        self.lapse == Some(lapse)
    }

    fn inside(&self) -> &dyn Health {
        self.knowing.health().unwrap()
    }
}

// SAFETY: what is mapped is the source's.
unsafe impl Source for Adapter<'_> {
    type Space = SimSpace;

    forward_source!(self { Self { knowing, .. } => knowing } except space, length_bytes, alignment_bytes, granularity,
        granularity_limit, fixed_address, write_granule_bytes, sharing, failed_write_back, health);

    fn space(&self) -> SimSpace {
        use pmemset_core::Platform;
        if self.forgets(Lapse::AnotherSpace) { self.other.platform().space() } else { self.knowing.space() }
    }
    fn length_bytes(&self) -> Result<u64, Errno> {
        Ok(self.knowing.length_bytes()? + u64::from(self.forgets(Lapse::Longer)))
    }
    fn alignment_bytes(&self) -> usize {
        if self.forgets(Lapse::Alignment) { 1 } else { self.knowing.alignment_bytes() }
    }
    fn granularity(&self) -> Result<Granularity, Errno> {
        if self.forgets(Lapse::FinerGranularity) { Ok(Granularity::CacheLine) } else { self.knowing.granularity() }
    }
    fn granularity_limit(&self) -> GranularityLimit {
        if self.forgets(Lapse::GranularityLimit) {
            GranularityLimit::Unspecified
        } else {
            self.knowing.granularity_limit()
        }
    }
    fn fixed_address(&self) -> Option<usize> {
        self.knowing.fixed_address().filter(|_| !self.forgets(Lapse::FixedAddress))
    }
    fn write_granule_bytes(&self) -> usize {
        if self.forgets(Lapse::Granule) { 1 } else { self.knowing.write_granule_bytes() }
    }
    fn sharing(&self) -> Sharing {
        if self.forgets(Lapse::Sharing) { Sharing::Coherent } else { self.knowing.sharing() }
    }
    fn failed_write_back(&self) -> &FailedWriteBack {
        if self.forgets(Lapse::FailureOfItsOwn) { &self.failed } else { self.knowing.failed_write_back() }
    }
    fn health(&self) -> Option<&dyn Health> {
        if self.forgets(Lapse::Health) { None } else { Some(self) }
    }
}

impl Health for Adapter<'_> {
    fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
        if self.forgets(Lapse::Record) { None } else { self.inside().shutdown() }
    }
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
        if self.forgets(Lapse::Device) { Err(DeviceError::Unsupported) } else { self.inside().device(id) }
    }
    fn bad_block_policy(&self) -> BadBlockPolicy {
        if self.forgets(Lapse::Detection) { BadBlockPolicy::Off } else { self.inside().bad_block_policy() }
    }
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks {
        match self.lapse {
            Some(Lapse::BlocksUnknown) => BadBlocks::UNKNOWN,
            Some(Lapse::NoBlocks) => BadBlocks::None,
            _ => self.inside().bad_blocks(range, blocks),
        }
    }
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        self.inside().clear_bad_block(block)
    }
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        if self.forgets(Lapse::Copies) {
            Err(McsafeError::Unsupported)
        } else {
            self.inside().read_mcsafe(offset, bytes)
        }
    }
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        self.inside().write_mcsafe(offset, bytes)
    }
}
