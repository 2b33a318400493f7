//! What tests break on purpose, to see that they notice; nothing of it is left in other builds.

use lock_api::RawRwLock;
use pmemset_core::{Observer, Platform, Source};

use crate::log::Log;

/// A mistake that a log may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// `append` returns before its record is durable.
    AcknowledgedEarly,
    /// Who commits does not wait for the medium.
    NoFence,
    /// Who commits writes back all but the heads of records.
    HeadNotFlushed,
    /// Who commits takes what was staged meanwhile for durable, too.
    CountsTooMany,
    /// The checksum of payloads is not looked at.
    PayloadUnchecked,
    /// The checksum of heads is not looked at.
    HeadUnchecked,
    /// The head of a segment is durable some time after its records.
    SegmentHeadLate,
    /// No segment says that the next one was made.
    MarkForgotten,
    /// A segment says that the next one was made before it is.
    MarkEarly,
    /// That a segment says so is durable some time later.
    MarkNotFenced,
    /// A segment whose next ones were truncated still says that one was made.
    MarkKept,
    /// Opening does not see to it that a segment says so whose next one was being made.
    MarkNotMended,
    /// Which segments were made is not kept with what is dropped, or when the first one is made.
    MadeUnsaid,
    /// That something is stored in a segment although none says that it was made is not looked at.
    OvertakenUnseen,
    /// A segment that was truncated is of the same generation as before.
    GenerationKept,
    /// A segment is of the next generation before it is kept that it is truncated.
    GenerationHasty,
    /// A segment is of the next generation before what is truncated in it is erased.
    GenerationEarly,
    /// The generation of segments is not looked at.
    GenerationUnchecked,
    /// A segment is used again as it was.
    SegmentNotErased,
    /// The header is there before the state.
    HeaderFirst,
    /// What was torn is left where it is.
    RemainsLeft,
    /// Records are erased before it is kept that they are to go.
    CutUnannounced,
    /// It is kept that records are gone before they are.
    CutNotErased,
    /// Segments behind one that is missing stay where they are.
    StraysLeft,
    /// Segments are freed, and used again, before it is kept that their records are dropped.
    DropUnannounced,
    /// What opening has found is not made durable.
    FoundNotDurable,
    /// What opening has found is made durable, and not stored again.
    FoundNotStored,
    /// A record says that itself was durable when it was written.
    ClaimsTooMuch,
    /// The copies of a cell are stored with one fence.
    CopiesAtOnce,
    /// A log is made without a look for the segments of one whose head is zeros.
    RemainsUnseen,
}

impl<P: Platform<Lock: RawRwLock>, S: Source<Space = P::Space> + Clone, O: Observer<S>> Log<'_, P, S, O> {
    /// Returns whether the log makes this mistake.
    #[cfg(test)]
    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Returns whether the log makes this mistake: no.
    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests have something to ask")]
    pub(crate) const fn makes(&self, _: Mistake) -> bool {
        false
    }
}
