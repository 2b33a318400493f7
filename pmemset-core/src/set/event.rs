//! What the caller is told, while or after it happens; never under a lock, so the observer may call the set.

use core::fmt;

use crate::{CopyFlags, Extent, ShutdownRecord, Span};

/// What happened. Events carry copies: they stay true after the lock is gone.
#[doc(alias("pmemset_event", "pmemset_event_context"))]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'e, S> {
    /// [`Set::write`](crate::Set::write) or [`Part::write`](crate::Part::write) is about to store `bytes`.
    #[doc(alias("PMEMSET_EVENT_COPY", "pmemset_event_copy"))]
    Write {
        /// Where they go.
        dest: Extent,
        /// What will be stored.
        bytes: &'e [u8],
        /// How.
        flags: CopyFlags,
    },
    /// [`Set::copy_within`](crate::Set::copy_within) or [`Part::copy_within`](crate::Part::copy_within) is about to
    /// store what is in `source`.
    #[doc(alias("PMEMSET_EVENT_MOVE", "pmemset_event_move"))]
    CopyWithin {
        /// Where it goes; may overlap the source.
        dest: Extent,
        /// Where it is now.
        source: Extent,
        /// How.
        flags: CopyFlags,
    },
    /// [`Set::fill`](crate::Set::fill) or [`Part::fill`](crate::Part::fill) is about to store `value` all over `dest`.
    #[doc(alias("PMEMSET_EVENT_SET", "pmemset_event_set"))]
    Fill {
        /// Where it goes.
        dest: Extent,
        /// What each byte will be.
        value: u8,
        /// How.
        flags: CopyFlags,
    },
    /// A flush or a persist of `range` is about to begin: what the program stored there itself is about to reach the
    /// medium.
    #[doc(alias("PMEMSET_EVENT_FLUSH", "pmemset_event_flush"))]
    Flush {
        /// The range as it was given.
        range: Extent,
    },
    /// Everything flushed, streamed or copied before by this thread is durable. Not told after a copy with
    /// [`NODRAIN`](CopyFlags::NODRAIN) or [`NOFLUSH`](CopyFlags::NOFLUSH), nor after a failure.
    #[doc(alias = "PMEMSET_EVENT_DRAIN")]
    Drain,
    /// A persist of `range` has succeeded; comes after `Drain`.
    #[doc(alias("PMEMSET_EVENT_PERSIST", "pmemset_event_persist"))]
    Persist {
        /// The range as it was given.
        range: Extent,
    },
    /// A segment was mapped and is part of the set.
    #[doc(alias("PMEMSET_EVENT_PART_ADD", "pmemset_event_part_add"))]
    PartAdd {
        /// The new segment's own addresses.
        segment: Extent,
        /// The addresses of the whole part that it belongs to; the same as `segment` unless it was coalesced.
        part: Extent,
        /// Where its bytes come from.
        source: &'e S,
    },
    /// A whole part has left the set; its addresses are no longer accessible.
    #[doc(alias("PMEMSET_EVENT_PART_REMOVE", "pmemset_event_part_remove"))]
    PartRemove {
        /// The addresses that it had.
        part: Extent,
    },
    /// [`Set::remove_range`](crate::Set::remove_range) has removed something, or a removal has failed half-way; comes
    /// before the `PartRemove` of each whole part that has gone.
    #[doc(alias("PMEMSET_EVENT_REMOVE_RANGE", "pmemset_event_remove_range"))]
    RemoveRange {
        /// The range as it was given; after a failure, the addresses from the first segment that is gone to the last.
        range: Extent,
    },
    /// The shutdown record of a source has changed and has to be kept, durably, before the event returns.
    ///
    /// Comes before a mapping can be stored to, after an unmapping whose stores were deep-flushed, and when a map call
    /// that had announced itself fails. Calls of several threads may arrive out of order: ignore a record whose number
    /// is lower than that of the one kept. An observer that cannot keep the record of a mapping refuses it.
    #[doc(alias("PMEMSET_EVENT_SDS_UPDATE", "pmemset_event_sds_update"))]
    SdsUpdate {
        /// The source.
        source: &'e S,
        /// Its record now.
        record: &'e ShutdownRecord,
        /// Higher than that of every older record of the source.
        sequence: u64,
    },
    /// A block of the bytes to be mapped is bad. The observer may clear it with
    /// [`clear_bad_block`](crate::Health::clear_bad_block), or refuse the mapping; a block that is left bad refuses it
    /// too.
    #[doc(alias("PMEMSET_EVENT_BADBLOCK", "pmemset_event_badblock"))]
    BadBlock {
        /// The source.
        source: &'e S,
        /// The block's bytes in the source, as far as they have to be cleared together.
        block: Span,
    },
    /// All bad blocks of the bytes to be mapped were cleared; the observer may refuse the mapping all the same.
    #[doc(alias("PMEMSET_EVENT_BADBLOCKS_CLEARED", "pmemset_event_badblocks_cleared"))]
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

/// The caller, told what happens to its set. `S` is the kind of handle to a source that the set has.
///
/// `()` is an observer that is told nothing, and costs nothing. A reference to an observer is one, and so is an `Arc`.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use pmemset_core::{Answer, Event, Observer};
///
/// /// Counts the bytes that were persisted.
/// struct Meter(AtomicUsize);
///
/// impl<S> Observer<S> for Meter {
///     fn event(&self, event: &Event<'_, S>) -> Answer {
///         if let Event::Persist { range } = event {
///             self.0.fetch_add(range.length_bytes(), Ordering::Relaxed);
///         }
///         Answer::Proceed
///     }
/// }
/// ```
#[doc(alias = "pmemset_event_callback")]
pub trait Observer<S>: Send + Sync {
    /// Takes note of `event`, in the thread that caused it and never under a lock of the set: it may call the set.
    fn event(&self, event: &Event<'_, S>) -> Answer;

    /// Returns whether anybody listens; always the same. What is not told need not be worked out.
    #[inline]
    fn listens(&self) -> bool {
        true
    }
}

impl<S> Observer<S> for () {
    #[inline]
    fn event(&self, _: &Event<'_, S>) -> Answer {
        Answer::Proceed
    }

    #[inline]
    fn listens(&self) -> bool {
        false
    }
}

macro_rules! forward_observer {
    ($($handle:ty),*) => {$(
        impl<S, T: Observer<S> + ?Sized> Observer<S> for $handle {
            fn event(&self, event: &Event<'_, S>) -> Answer {
                (**self).event(event)
            }

            fn listens(&self) -> bool {
                (**self).listens()
            }
        }
    )*};
}

forward_observer!(&T);
#[cfg(feature = "alloc")]
forward_observer!(alloc::sync::Arc<T>, alloc::boxed::Box<T>);

/// An observer, or nobody, as it turns out when the program runs.
impl<S, T: Observer<S>> Observer<S> for Option<T> {
    fn event(&self, event: &Event<'_, S>) -> Answer {
        self.as_ref().map_or(Answer::Proceed, |observer| observer.event(event))
    }

    fn listens(&self) -> bool {
        self.as_ref().is_some_and(T::listens)
    }
}

/// A closure as an observer: see [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

impl<S, F: Fn(&Event<'_, S>) -> Answer + Send + Sync> Observer<S> for FromFn<F> {
    fn event(&self, event: &Event<'_, S>) -> Answer {
        (self.0)(event)
    }
}

/// Returns an observer that calls `observer`.
///
/// ```
/// use pmemset_core::{Answer, Config, Event, Granularity, observer};
///
/// # fn config<S>() -> Config<impl pmemset_core::Observer<S>> {
/// Config::new(Granularity::Page).observer(observer::from_fn(|event: &Event<'_, S>| {
///     if let Event::PartAdd { segment, .. } = event {
///         println!("mapped at {segment}");
///     }
///     Answer::Proceed
/// }))
/// # }
/// ```
pub const fn from_fn<S, F: Fn(&Event<'_, S>) -> Answer + Send + Sync>(observer: F) -> FromFn<F> {
    FromFn(observer)
}
