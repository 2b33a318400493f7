//! Events, which a set reports to its observer, never under a lock: the observer may call the set.

use core::fmt;

use crate::{CopyFlags, Extent, ShutdownRecord, Span};

/// What has happened, or is about to. Events carry copies, so they need no lock.
///
/// ```
/// use pmemset_core::{Answer, Event};
///
/// fn log<S>(event: &Event<'_, S>) -> Answer {
///     match event {
///         Event::PartAdd { segment, .. } => println!("mapped at {segment}"),
///         Event::PartRemove { part } => println!("removed from {part}"),
///         Event::BadBlock { .. } => return Answer::Refuse, // map nothing that is damaged
///         _ => {}
///     }
///     Answer::Proceed
/// }
/// # assert_eq!(log::<()>(&Event::Drain), Answer::Proceed);
/// ```
#[doc(alias("pmemset_event", "pmemset_event_context"))]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event<'e, S> {
    /// [`Set::write`](crate::Set::write) or [`Part::write`](crate::Part::write) is about to store `bytes`.
    #[doc(alias("PMEMSET_EVENT_COPY", "pmemset_event_copy"))]
    Write {
        /// The destination.
        dest: Extent,
        /// The bytes.
        bytes: &'e [u8],
        /// How they are stored.
        flags: CopyFlags,
    },
    /// [`Set::copy_within`](crate::Set::copy_within) or [`Part::copy_within`](crate::Part::copy_within) is about to
    /// store what is in `source`.
    #[doc(alias("PMEMSET_EVENT_MOVE", "pmemset_event_move"))]
    CopyWithin {
        /// The destination; may overlap the source.
        dest: Extent,
        /// The source.
        source: Extent,
        /// How the bytes are stored.
        flags: CopyFlags,
    },
    /// [`Set::fill`](crate::Set::fill) or [`Part::fill`](crate::Part::fill) is about to store `value` all over `dest`.
    #[doc(alias("PMEMSET_EVENT_SET", "pmemset_event_set"))]
    Fill {
        /// The destination.
        dest: Extent,
        /// The value of each byte.
        value: u8,
        /// How the bytes are stored.
        flags: CopyFlags,
    },
    /// A flush or a persist of `range` is about to begin. It includes bytes that the program has stored through
    /// pointers.
    #[doc(alias("PMEMSET_EVENT_FLUSH", "pmemset_event_flush"))]
    Flush {
        /// The range as it was given.
        range: Extent,
    },
    /// Everything that this thread has flushed, streamed or copied before is durable. Not reported after a copy with
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
        /// The source.
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
    /// The shutdown record of a source has changed. The observer must store it durably before it returns.
    ///
    /// Reported before a mapping can be stored to, after a segment was deep-flushed and unmapped, and when a map call
    /// fails that had reported a record before. Events of several threads may arrive out of order: ignore a record
    /// whose number is lower than that of the stored one. If the observer cannot store the record of a new mapping, it
    /// refuses it.
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
    /// [`clear_bad_block`](crate::Health::clear_bad_block), or refuse the mapping. The mapping also fails if a block
    /// stays bad.
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

/// The observer's answer to an event.
///
/// ```
/// use pmemset_core::Answer;
///
/// assert_eq!(Answer::default(), Answer::Proceed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// Go on. Events whose documentation does not mention a refusal ignore the answer.
    #[default]
    Proceed,
    /// Stop, and leave everything as it was.
    Refuse,
}

/// Gets the events of a set. `S` is the set's type of handle to a source.
///
/// `()` is the observer that gets no events and costs nothing. A reference to an observer, or an `Arc` of one, is an
/// observer.
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
    /// Handles `event`, in the thread that caused it, and never under a lock of the set: it may call the set.
    fn event(&self, event: &Event<'_, S>) -> Answer;

    /// Returns whether the observer wants events; always the same. If not, sets do not prepare any.
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
