//! What the caller is told, while or after it happens; never under a lock, so the observer may call the set.

use crate::set::Set;
use crate::{CopyFlags, Extent, Platform, ShutdownRecord, Source, Span};

/// What happened. Events carry copies: they stay true after the lock is gone.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'e, S> {
    /// [`Set::copy`] or [`Part::write`](crate::Part::write) is about to store `bytes`.
    Copy {
        /// Where they go.
        dest: Extent,
        /// What will be stored.
        bytes: &'e [u8],
        /// How.
        flags: CopyFlags,
    },
    /// [`Set::copy_within`] or [`Part::copy_within`](crate::Part::copy_within) is about to store what is in `source`.
    Move {
        /// Where it goes; may overlap the source.
        dest: Extent,
        /// Where it is now.
        source: Extent,
        /// How.
        flags: CopyFlags,
    },
    /// [`Set::fill`] or [`Part::fill`](crate::Part::fill) is about to store `value` all over `dest`.
    Set {
        /// Where it goes.
        dest: Extent,
        /// What each byte will be.
        value: u8,
        /// How.
        flags: CopyFlags,
    },
    /// A flush or a persist of `range` is about to begin: what the program stored there itself is about to reach the
    /// medium.
    Flush {
        /// The range as it was given.
        range: Extent,
    },
    /// Everything flushed, streamed or copied before by this thread is durable. Not told after a copy with
    /// [`NODRAIN`](CopyFlags::NODRAIN) or [`NOFLUSH`](CopyFlags::NOFLUSH), nor after a failure.
    Drain,
    /// A persist of `range` has succeeded; comes after `Drain`.
    Persist {
        /// The range as it was given.
        range: Extent,
    },
    /// A segment was mapped and is part of the set.
    PartAdd {
        /// The new segment's own addresses.
        segment: Extent,
        /// The addresses of the whole part that it belongs to; the same as `segment` unless it was coalesced.
        part: Extent,
        /// Where its bytes come from.
        source: &'e S,
    },
    /// A whole part has left the set; its addresses are no longer accessible.
    PartRemove {
        /// The addresses that it had.
        part: Extent,
    },
    /// [`Set::remove_range`] has removed something, or a removal has failed half-way; comes before the `PartRemove` of
    /// each whole part that has gone.
    RemoveRange {
        /// The range as it was given; after a failure, the addresses from the first segment that is gone to the last.
        range: Extent,
    },
    /// The shutdown record of a source has changed and has to be kept, durably, before the event returns.
    ///
    /// Comes before a mapping can be stored to, after an unmapping whose stores were deep-flushed, and when a map call
    /// that had announced itself fails. Calls of several threads may arrive out of order: ignore a record whose number
    /// is lower than that of the one kept. An observer that cannot keep the record of a mapping refuses it.
    SdsUpdate {
        /// The source.
        source: &'e S,
        /// Its record now.
        record: &'e ShutdownRecord,
        /// Higher than that of every older record of the source.
        sequence: u64,
    },
    /// A block of the bytes to be mapped is bad. The observer may clear it with
    /// [`clear_bad_block`](crate::Health::clear_bad_block), or refuse the mapping; a block that is left bad refuses it too.
    BadBlock {
        /// The source.
        source: &'e S,
        /// The block's bytes in the source, as far as they have to be cleared together.
        block: Span,
    },
    /// All bad blocks of the bytes to be mapped were cleared; the observer may refuse the mapping all the same.
    BadBlocksCleared {
        /// The source.
        source: &'e S,
        /// The bytes to be mapped.
        range: Span,
    },
}

/// What the observer wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// Go on. The only answer that counts where the event's documentation names no other.
    #[default]
    Proceed,
    /// Stop, and leave everything as it was.
    Refuse,
}

/// The caller, told what happens to its set.
///
/// Called in the thread that caused the event and never under a lock of the set, so it may call the set.
pub trait Observer<P: Platform, S: Source<Space = P::Space> + Clone, const N: usize>: Sync {
    /// Takes note of `event`.
    fn event(&self, set: &Set<'_, P, S, N>, event: &Event<'_, S>) -> Answer;
}

impl<P, S, const N: usize, F> Observer<P, S, N> for F
where
    P: Platform,
    S: Source<Space = P::Space> + Clone,
    F: Fn(&Set<'_, P, S, N>, &Event<'_, S>) -> Answer + Sync,
{
    fn event(&self, set: &Set<'_, P, S, N>, event: &Event<'_, S>) -> Answer {
        self(set, event)
    }
}

/// Returns `observer` as it is; helps the compiler to see a closure as an [`Observer`].
///
/// ```
/// use pmemset_core::{Answer, Event, Observer, Platform, Source};
/// # fn of<P: Platform, S: Source<Space = P::Space> + Clone>() -> impl Observer<P, S, 8> {
/// pmemset_core::event::from_fn(|set, event| {
///     if let Event::PartAdd { segment, .. } = event {
///         println!("{segment} of {} segments", set.segments());
///     }
///     Answer::Proceed
/// })
/// # }
/// ```
pub const fn from_fn<P, S, const N: usize, F>(observer: F) -> F
where
    P: Platform,
    S: Source<Space = P::Space> + Clone,
    F: Fn(&Set<'_, P, S, N>, &Event<'_, S>) -> Answer + Sync,
{
    observer
}
