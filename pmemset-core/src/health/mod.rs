//! What is known of the medium behind a source, and what is checked of it before it is mapped.

mod bad_blocks;
mod error;
mod failed;
mod live;
mod shutdown;

pub use bad_blocks::{BadBlockPolicy, BadBlocks, Collector, check_bounds, in_extent};
pub(crate) use error::Counted;
pub use error::{BadBlocksError, ClearError, DeviceError, McsafeError};
pub use failed::FailedWriteBack;
pub(crate) use live::Step;
pub use live::{LiveRecord, LiveRecordRef, Published};
pub use shutdown::{DeviceId, PartState, PartStates, ShutdownRecord, Verdict};

use crate::Span;

/// The health of a source: see [`Source::health`](crate::Source::health).
///
/// What a set relies on has to be answered; what is left out of the rest is refused when it is asked for.
pub trait Health {
    /// Returns the live shutdown record, where one was attached: see [`Checked`](crate::Checked). Else `None`.
    ///
    /// Without one, nobody asks for the [`device`](Self::device).
    fn shutdown(&self) -> Option<LiveRecordRef<'_>>;

    /// Appends to the empty `id` the ids of the memory modules behind the source, in an order that does not change,
    /// and returns how often they have lost power in a way that may have lost stores.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`]. A count that cannot be had is not 0, and a source without modules is not supported.
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError>;

    /// Returns when bad blocks keep the source from being mapped: see [`Checked`](crate::Checked). Else
    /// [`Off`](BadBlockPolicy::Off).
    fn bad_block_policy(&self) -> BadBlockPolicy;

    /// Lists the bad blocks that touch `range`, the lowest first, as many as `blocks` has room for.
    ///
    /// You must list them in ascending order, none touching another; each may reach beyond `range`, since it is
    /// rounded to what can be cleared. [`Collector`](crate::health::Collector) does this. A source that cannot tell
    /// answers [`UNKNOWN`](BadBlocks::UNKNOWN).
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks;

    /// Clears what is bad in `block`, and makes sure that it is: these bytes are 0 then. Good ones keep their contents.
    ///
    /// After a power cut in the middle some of it is cleared.
    ///
    /// # Errors
    ///
    /// See [`ClearError`].
    #[doc(alias = "pmemset_badblock_clear")]
    fn clear_bad_block(&self, block: Span) -> Result<(), ClearError> {
        let _ = block;
        Err(ClearError::Unsupported)
    }

    /// Copies bytes from `offset` on out of the source, and survives damaged memory
    /// (`pmemset_source_pread_mcsafe`).
    ///
    /// # Errors
    ///
    /// See [`McsafeError`].
    #[doc(alias = "pmemset_source_pread_mcsafe")]
    fn read_mcsafe(&self, offset: u64, bytes: &mut [u8]) -> Result<(), McsafeError> {
        let _ = (offset, bytes);
        Err(McsafeError::Unsupported)
    }

    /// Copies bytes into the source from `offset` on, and survives damaged memory
    /// (`pmemset_source_pwrite_mcsafe`).
    ///
    /// # Errors
    ///
    /// See [`McsafeError`].
    #[doc(alias = "pmemset_source_pwrite_mcsafe")]
    fn write_mcsafe(&self, offset: u64, bytes: &[u8]) -> Result<(), McsafeError> {
        let _ = (offset, bytes);
        Err(McsafeError::Unsupported)
    }
}

/// Forwards to `$inside`, an `Option<&dyn Health>`, what [`Health`] asks of the medium: everything but what an adapter
/// switches on itself, [`shutdown`](Health::shutdown) and [`bad_block_policy`](Health::bad_block_policy).
///
/// ```
/// use pmemset_core::{BadBlockPolicy, Health, LiveRecordRef, Source, forward_health};
///
/// /// Has bad blocks looked for, whatever its source wants.
/// struct Strict<S>(S);
///
/// impl<S: Source> Health for Strict<S> {
///     forward_health!(self => self.0.health());
///
///     fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
///         self.0.health().and_then(Health::shutdown)
///     }
///     fn bad_block_policy(&self) -> BadBlockPolicy {
///         BadBlockPolicy::Required
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_health {
    ($self:ident => $inside:expr) => {
        fn device(&$self, id: &mut $crate::DeviceId) -> Result<u64, $crate::error::DeviceError> {
            $inside.map_or(Err($crate::error::DeviceError::Unsupported), |health| health.device(id))
        }

        fn bad_blocks(&$self, range: $crate::Span, blocks: &mut [$crate::Span]) -> $crate::BadBlocks {
            $inside.map_or($crate::BadBlocks::UNKNOWN, |health| health.bad_blocks(range, blocks))
        }

        fn clear_bad_block(&$self, block: $crate::Span) -> Result<(), $crate::error::ClearError> {
            $inside.map_or(Err($crate::error::ClearError::Unsupported), |health| health.clear_bad_block(block))
        }

        fn read_mcsafe(&$self, offset: u64, bytes: &mut [u8]) -> Result<(), $crate::error::McsafeError> {
            $inside.map_or(Err($crate::error::McsafeError::Unsupported), |health| health.read_mcsafe(offset, bytes))
        }

        fn write_mcsafe(&$self, offset: u64, bytes: &[u8]) -> Result<(), $crate::error::McsafeError> {
            $inside.map_or(Err($crate::error::McsafeError::Unsupported), |health| health.write_mcsafe(offset, bytes))
        }
    };
}
