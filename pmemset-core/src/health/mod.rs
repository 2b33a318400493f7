//! The state of the medium behind a source, and the checks that are made before it is mapped.

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
pub use shutdown::{DeviceId, PartState, PartStates, ShutdownRecord, ShutdownVerdict};

use crate::Span;

/// The health of a source: see [`Source::health`](crate::Source::health).
///
/// A source must implement what a set relies on. The other methods fail as "not supported" unless it implements them.
///
/// ```
/// use pmemset_core::error::DeviceError;
/// use pmemset_core::{BadBlockPolicy, BadBlocks, DeviceId, Health, LiveRecordRef, Span};
///
/// /// Memory of which nothing is known but how often it has lost power.
/// struct Module {
///     power_cuts: u64,
/// }
///
/// impl Health for Module {
///     fn shutdown(&self) -> Option<LiveRecordRef<'_>> {
///         None // `Checked` attaches one
///     }
///     fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError> {
///         id.push(b"module")?;
///         Ok(self.power_cuts)
///     }
///     fn bad_block_policy(&self) -> BadBlockPolicy {
///         BadBlockPolicy::Off
///     }
///     fn bad_blocks(&self, _: Span, _: &mut [Span]) -> BadBlocks {
///         BadBlocks::UNKNOWN
///     }
/// }
/// # assert_eq!(Module { power_cuts: 3 }.device(&mut DeviceId::new()), Ok(3));
/// ```
pub trait Health {
    /// Returns the live shutdown record if one was attached (see [`Checked`](crate::Checked)), else `None`.
    ///
    /// Sets ask for the [`device`](Self::device) only if there is a record.
    fn shutdown(&self) -> Option<LiveRecordRef<'_>>;

    /// Appends to the empty `id` the ids of the memory modules behind the source, in an order that does not change,
    /// and returns how often they have lost power in a way that may have lost stores.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`]. Do not return 0 for a count that you cannot read. A source without modules is
    /// [`Unsupported`](DeviceError::Unsupported).
    fn device(&self, id: &mut DeviceId) -> Result<u64, DeviceError>;

    /// Returns when bad blocks keep the source from being mapped (see [`Checked`](crate::Checked)), else
    /// [`Off`](BadBlockPolicy::Off).
    fn bad_block_policy(&self) -> BadBlockPolicy;

    /// Lists the bad blocks that touch `range`, the lowest first, as many as `blocks` has room for.
    ///
    /// You must list them in ascending order, none touching another. A block may reach beyond `range`, since it is
    /// rounded to what can be cleared. A source that does not know its bad blocks returns
    /// [`UNKNOWN`](BadBlocks::UNKNOWN).
    fn bad_blocks(&self, range: Span, blocks: &mut [Span]) -> BadBlocks;

    /// Clears the bad bytes in `block`, and makes sure that they are good: they are 0 then. Good bytes keep their
    /// contents.
    ///
    /// After a power cut in the middle, some of them are cleared.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # let source = Machine::new(Hardware::new()).add_source(Medium::new(4096));
    /// # let block = pmemset_core::Span::new(512, 256).unwrap();
    /// # source.damage(block);
    /// use pmemset_core::{BadBlocks, Health, Source};
    ///
    /// let health = source.health().ok_or("nothing is known of it")?;
    /// health.clear_bad_block(block)?;
    /// assert_eq!(health.bad_blocks(block, &mut [block]), BadBlocks::None);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
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
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # let source = Machine::new(Hardware::new()).add_source(Medium::new(4096));
    /// # source.damage(pmemset_core::Span::new(512, 256).unwrap());
    /// use pmemset_core::{Health, Source};
    ///
    /// let health = source.health().ok_or("nothing is known of it")?;
    /// let mut bytes = [0; 64];
    /// health.read_mcsafe(0, &mut bytes)?;
    /// assert!(health.read_mcsafe(512, &mut bytes).is_err()); // an error, not a machine check
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
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

/// Implements the methods of [`Health`] that concern the medium by calling `$inside`, an `Option<&dyn Health>`. An
/// adapter writes the other two itself: [`shutdown`](Health::shutdown) and
/// [`bad_block_policy`](Health::bad_block_policy).
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
