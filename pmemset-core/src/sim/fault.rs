//! Calls that fail on purpose.

use crate::Errno;

/// A call of the simulated platform or of a simulated source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`Platform::reserve`](crate::Platform::reserve).
    Reserve,
    /// [`Platform::reserve_at`](crate::Platform::reserve_at).
    ReserveAt,
    /// [`Platform::release`](crate::Platform::release).
    Release,
    /// [`Platform::write_back`](crate::Platform::write_back).
    WriteBack,
    /// [`Platform::fence`](crate::Platform::fence).
    Fence,
    /// [`Platform::write_back_invalidate`](crate::Platform::write_back_invalidate).
    WriteBackInvalidate,
    /// [`Platform::full_fence`](crate::Platform::full_fence).
    FullFence,
    /// [`Platform::copy`](crate::Platform::copy).
    Copy,
    /// [`Platform::fill`](crate::Platform::fill).
    Fill,
    /// [`Source::length_bytes`](crate::Source::length_bytes).
    Length,
    /// [`Source::granularity`](crate::Source::granularity).
    Granularity,
    /// [`Source::prepare`](crate::Source::prepare).
    Prepare,
    /// [`Source::undo_growth`](crate::Source::undo_growth).
    UndoGrowth,
    /// [`Source::give_back`](crate::Source::give_back).
    GiveBack,
    /// [`Source::map`](crate::Source::map).
    Map,
    /// [`Source::unmap`](crate::Source::unmap).
    Unmap,
    /// [`Source::sync`](crate::Source::sync).
    Sync,
    /// [`Source::deep_flush`](crate::Source::deep_flush).
    DeepFlush,
    /// [`Health::device`](crate::Health::device).
    Device,
    /// [`Health::bad_blocks`](crate::Health::bad_blocks).
    BadBlocks,
    /// [`Health::clear_bad_block`](crate::Health::clear_bad_block).
    ClearBadBlock,
    /// [`Health::read_mcsafe`](crate::Health::read_mcsafe).
    ReadMcsafe,
    /// [`Health::write_mcsafe`](crate::Health::write_mcsafe).
    WriteMcsafe,
    /// [`Machine::keep`](super::Machine::keep): cannot fail.
    Keep,
    /// The end of the work under exploration: not a call, and it cannot fail.
    End,
}

impl Call {
    /// Returns whether parts and sets make the call for one who stores or flushes.
    pub(super) const fn is_made_by_a_part(self) -> bool {
        matches!(
            self,
            Self::WriteBack
                | Self::Fence
                | Self::WriteBackInvalidate
                | Self::FullFence
                | Self::Copy
                | Self::Fill
                | Self::Sync
                | Self::DeepFlush
        )
    }

    /// Returns whether the call can fail.
    #[must_use]
    pub const fn can_fail(self) -> bool {
        !matches!(
            self,
            Self::WriteBack
                | Self::Fence
                | Self::WriteBackInvalidate
                | Self::FullFence
                | Self::Copy
                | Self::Fill
                | Self::UndoGrowth
                | Self::Keep
                | Self::End
        )
    }
}

/// Which calls fail, counted from the moment that it is given to [`Machine::fail`](super::Machine::fail).
///
/// ```
/// use pmemset_core::{Errno, sim::{Call, Fault}};
///
/// let full_disk = Fault::nth(0).only(Call::Prepare).errno(Errno::NOSPC).for_good();
/// assert_eq!((full_disk.after, full_disk.times), (0, u64::MAX));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of calls that succeed first.
    pub after: u64,
    /// The number of calls that fail after that.
    pub times: u64,
    /// Only calls of this kind count; `None` means every call that can fail.
    pub only: Option<Call>,
    /// How they fail.
    pub errno: Errno,
}

impl Fault {
    /// Returns the fault that makes the call number `nth` (the next is 0) fail with an input/output error, once.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.fail(Fault::nth(1).only(Call::DeepFlush));
    /// assert!(part.deep_flush(0, 64).is_ok());
    /// assert!(part.deep_flush(0, 64).is_err()); // the second one
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn nth(nth: u64) -> Self {
        Self { after: nth, times: 1, only: None, errno: Errno::IO }
    }

    /// Fails every later call as well.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// machine.fail(Fault::nth(0).only(Call::Map).for_good());
    /// set.remove(part)?;
    /// for _ in 0..3 {
    ///     assert!(set.map(source.clone(), &MapConfig::new()).is_err());
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn for_good(mut self) -> Self {
        self.times = u64::MAX;
        self
    }

    /// Counts, and fails, only calls of this kind.
    #[must_use]
    pub const fn only(mut self, call: Call) -> Self {
        self.only = Some(call);
        self
    }

    /// Fails with `errno`.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::{Errno, error::MapError};
    ///
    /// machine.fail(Fault::nth(0).only(Call::Map).errno(Errno::NOMEM));
    /// set.remove(part)?;
    /// let refused = set.map(source, &MapConfig::new()).unwrap_err();
    /// assert!(matches!(refused, MapError::Map { cause: Errno::NOMEM, .. }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn errno(mut self, errno: Errno) -> Self {
        self.errno = errno;
        self
    }
}

/// The faults still to come, and what has happened so far.
#[derive(Debug, Default)]
pub(super) struct Script {
    faults: alloc::vec::Vec<Fault>,
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) last_failed: Option<Call>,
}

impl Script {
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Counts `call`, and returns how it fails if it does.
    pub(super) fn next(&mut self, call: Call) -> Result<(), Errno> {
        if !call.can_fail() {
            return Ok(());
        }
        self.calls += 1;
        let mut outcome = Ok(());
        for fault in self.faults.iter_mut().filter(|fault| fault.only.is_none_or(|only| only == call)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                outcome = Err(fault.errno);
            }
        }
        if outcome.is_err() {
            self.failed += 1;
            self.last_failed = Some(call);
        }
        outcome
    }
}
