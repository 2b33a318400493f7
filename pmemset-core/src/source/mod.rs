//! Where the bytes of parts come from: the duties of a port's files, devices or memory.
#![allow(unsafe_code, reason = "the trait's duties are what the memory safety of a set rests on")]

mod checked;
mod handles;
mod shared;

use core::fmt;

pub use checked::Checked;
pub use shared::{Shared, Sharing};

use crate::error::{MapFailure, PrepareError};
use crate::{Errno, Extent, FailedWriteBack, Granularity, GranularityLimit, Health, Span};

/// What [`Source::prepare`] did to the length of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Growth {
    /// Length in bytes before.
    pub from_bytes: u64,
    /// Length in bytes after.
    pub to_bytes: u64,
}

/// What a deep flush came to.
///
/// ```
#[doc = include_str!("../sim/example.md")]
/// use pmemset_core::DeepFlush;
///
/// part.write(0, b"abc")?;
/// if part.deep_flush(0, 3)? == DeepFlush::NotPermitted {
///     println!("durable, but not in the most reliable domain: only the administrator may ask for that");
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeepFlush {
    /// The bytes are in the most reliable domain that software can reach.
    Done,
    /// The medium says that there is nothing beyond an ordinary flush.
    NotNeeded,
    /// The medium has a deep flush, and this program may not use it.
    NotPermitted,
}

impl fmt::Display for DeepFlush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::NotNeeded => "not needed",
            Self::NotPermitted => "not permitted",
        })
    }
}

/// Where the bytes of parts come from.
///
/// An adapter, which is a source made of another one, uses [`forward_source!`](crate::forward_source), which forwards
/// all methods that the adapter does not write itself.
///
/// An adapter that is written by hand and does not forward the health of its source does not compile:
///
/// ```compile_fail,E0046
/// # use pmemset_core::error::MapFailure;
/// # use pmemset_core::{DeepFlush, Errno, Extent, FailedWriteBack, Granularity, Source};
/// struct Counting<S>(S);
///
/// // SAFETY: every call goes on to the source inside.
/// unsafe impl<S: Source> Source for Counting<S> {
///     type Space = S::Space;
///
///     fn space(&self) -> S::Space { self.0.space() }
///     fn length_bytes(&self) -> Result<u64, Errno> { self.0.length_bytes() }
///     fn alignment_bytes(&self) -> usize { self.0.alignment_bytes() }
///     fn granularity(&self) -> Result<Granularity, Errno> { self.0.granularity() }
///     # unsafe fn map(&self, at: Extent, offset: u64) -> Result<(), MapFailure> { unsafe { self.0.map(at, offset) } }
///     # unsafe fn unmap(&self, at: Extent, offset: u64) -> Result<(), Errno> { unsafe { self.0.unmap(at, offset) } }
///     // …
///     fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> { self.0.sync(range, offset) }
///     fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno> {
///         self.0.deep_flush(range, offset)
///     }
///     fn failed_write_back(&self) -> &FailedWriteBack { self.0.failed_write_back() }
/// }
/// ```
///
/// # Safety
///
/// After [`map`](Self::map) has returned `Ok`, every byte of the window is readable and writable memory of the source,
/// until [`unmap`](Self::unmap) returns `Ok` for it. Neither touches an address outside its window.
///
/// Windows are given to the source by platforms of its [`space`](Self::space) alone: it can map there, and its
/// placeholders are those that such a platform reserves.
///
/// No method panics: what a set was mapping or unmapping then is neither here nor there.
#[doc(alias("pmemset_source", "pmemset_source_delete"))]
pub unsafe trait Source: Send + Sync {
    /// The kind of address space that it maps into: that of the platforms it works with ([`Platform::Space`]).
    ///
    /// [`Platform::Space`]: crate::Platform::Space
    type Space: Copy + Eq + Send + Sync;

    /// Returns which address space it maps into; always the same.
    fn space(&self) -> Self::Space;

    /// Returns the length in bytes, asked anew.
    ///
    /// # Errors
    ///
    /// The platform's reason.
    fn length_bytes(&self) -> Result<u64, Errno>;

    /// Returns the alignment in bytes, a power of two, of offset, length and address of its mappings.
    #[doc(alias = "pmemset_source_alignment")]
    fn alignment_bytes(&self) -> usize;

    /// Returns how stores to its mappings become durable; never finer than the platform guarantees.
    ///
    /// # Errors
    ///
    /// The platform's reason why it could not be found out.
    fn granularity(&self) -> Result<Granularity, Errno>;

    /// Returns why the granularity is no finer, for the message of [`MapError::GranularityNotSupported`]. Sets call it
    /// only after they have refused the source.
    ///
    /// [`MapError::GranularityNotSupported`]: crate::error::MapError::GranularityNotSupported
    fn granularity_limit(&self) -> GranularityLimit {
        GranularityLimit::Unspecified
    }

    /// Returns the address of its first byte if the source cannot be mapped elsewhere (memory without an MMU).
    fn fixed_address(&self) -> Option<usize> {
        None
    }

    /// Returns the width in bytes, a power of two, of the narrowest store that the medium takes; 1 where any will do.
    ///
    /// A set refuses a source whose granule is wider than the narrowest store of its platform's copies:
    /// [`Cpu::narrowest_store_bytes`]. Stores that the program makes itself, through a pointer or a slice, are its own
    /// duty.
    ///
    /// [`Cpu::narrowest_store_bytes`]: crate::arch::Cpu::narrowest_store_bytes
    fn write_granule_bytes(&self) -> usize {
        1
    }

    /// Returns whether other hosts have the same memory, and whether their caches and this host's agree; always the
    /// same.
    ///
    /// The default is [`Private`](Sharing::Private), for which [`publish`](crate::Set::publish) and
    /// [`refresh`](crate::Set::refresh) fail. You must not guess [`Coherent`](Sharing::Coherent): no line is written
    /// back or dropped then. [`Shared`] is an adapter for users who know that their memory is shared.
    fn sharing(&self) -> Sharing {
        Sharing::Private
    }

    /// Makes sure that the bytes of `range` exist and are backed, growing the source if it may grow.
    ///
    /// May answer from memory when [`map`](Self::map) checks again. Only ever enlarges, also when called by several
    /// threads at once. After a power cut in the middle the source has the old or the new length.
    ///
    /// # Errors
    ///
    /// See [`PrepareError`]; the length is the old one then.
    fn prepare(&self, range: Span) -> Result<Option<Growth>, PrepareError> {
        let length_bytes = self.length_bytes().map_err(PrepareError::Length)?;
        if range.end() <= length_bytes { Ok(None) } else { Err(PrepareError::TooSmall { length_bytes }) }
    }

    /// Returns whether [`prepare`](Self::prepare) of `range` would have nothing to do; may answer from memory, like it.
    ///
    /// Return `false` if finding out is expensive. The set then looks for free addresses before it calls `prepare`.
    fn holds(&self, range: Span) -> bool {
        let _ = range;
        false
    }

    /// Undoes `growth`, unless somebody relies on the new length since.
    fn undo_growth(&self, growth: Growth) {
        let _ = growth;
    }

    /// Frees the storage of `range`, no byte of which is mapped ([`Set::give_back`](crate::Set::give_back) sees to
    /// that, for its own parts). Its bytes are 0 from then on, durably when this returns. [`prepare`](Self::prepare)
    /// allocates storage for them again. The length stays.
    ///
    /// The range is on multiples of [`alignment_bytes`](Self::alignment_bytes). After a power cut in the middle, or a
    /// failure, each page is as it was, or 0.
    ///
    /// # Errors
    ///
    /// The platform's reason; `EOPNOTSUPP` if storage cannot be freed, and nothing has changed.
    fn give_back(&self, range: Span) -> Result<(), Errno> {
        let _ = range;
        Err(Errno::OPNOTSUPP)
    }

    /// Maps the bytes from `offset` on into `window`, in place of the reservation's placeholder.
    ///
    /// The core guarantees: the window lies in a reservation, holds no mapping, and window and offset are multiples of
    /// [`alignment_bytes`](Self::alignment_bytes).
    ///
    /// You must not map over anything but the placeholder. On failure restore the placeholder, but only if you know
    /// that no other thread has mapped something there; else report that the window is lost. Before you touch the
    /// window, check everything that does not depend on the address.
    ///
    /// # Errors
    ///
    /// See [`MapFailure`]; for example `Outdated` if the source has become too short meanwhile. A plain [`Errno`]
    /// converts to `Refused`.
    ///
    /// # Safety
    ///
    /// The caller holds the reservation.
    unsafe fn map(&self, window: Extent, offset: u64) -> Result<(), MapFailure>;

    /// Unmaps `window` and restores the placeholder.
    ///
    /// # Errors
    ///
    /// The platform's reason; the mapping is still there then.
    ///
    /// # Safety
    ///
    /// `window` was mapped by one call of [`map`](Self::map) with this `offset`, and is not used any more.
    unsafe fn unmap(&self, window: Extent, offset: u64) -> Result<(), Errno>;

    /// Returns whether a mapping may be removed by releasing its addresses, with a platform that
    /// [unmaps](crate::Platform::release_unmaps) what it releases. Sets do not call [`unmap`](Self::unmap) then.
    #[inline]
    fn goes_with_addresses(&self) -> bool {
        false
    }

    /// Makes the bytes of `range` durable at page granularity; `range` is on page boundaries, `offset` is its first
    /// byte in the source. Sets repeat interrupted calls. After a failed call, no set calls it again for this source:
    /// see [`failed_write_back`](Self::failed_write_back).
    ///
    /// # Errors
    ///
    /// The platform's reason; bytes of the source, of this range or of any other, may be lost then. `EOPNOTSUPP` where
    /// the granularity is finer than a page and the medium has no such call.
    fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno>;

    /// Pushes the bytes of `range` to the most reliable domain that software can reach.
    ///
    /// The core has already made them durable in the ordinary way: written back cache lines and fenced, or called
    /// [`sync`](Self::sync). `range` lies in one mapping of this source, `offset` is its first byte in the source;
    /// neither need be aligned.
    ///
    /// # Errors
    ///
    /// The platform's reason why the flush failed; sticks as for [`sync`](Self::sync).
    fn deep_flush(&self, range: Extent, offset: u64) -> Result<DeepFlush, Errno>;

    /// Returns the record of failures of [`sync`](Self::sync) and [`deep_flush`](Self::deep_flush).
    ///
    /// You must always return the same one, for every handle and every adapter of one source, and make a new one only
    /// when the source is opened again. Sets write to it, and read it before and after every flush. If your platform
    /// reports a failure only once, you must make everybody else fail too: other sources of the same medium (two on one
    /// open file description), and calls that run at the same time, which must not return before the failure is
    /// recorded.
    fn failed_write_back(&self) -> &FailedWriteBack;

    /// Returns the state of the medium and the checks that were switched on; `None` if nothing is known and nothing is
    /// checked.
    ///
    /// An adapter must return that of the source inside.
    fn health(&self) -> Option<&dyn Health>;
}
