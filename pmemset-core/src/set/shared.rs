//! Memory that other hosts share: stores are published to them, and what they have published is visible after a
//! refresh.
#![allow(unsafe_code, reason = "writes back and drops lines of mapped memory")]

use core::fmt;
use core::ops::Deref;

use super::Set;
use super::calls::{called, range_of};
use super::handle::{Operations, SetRef};
use super::part::Part;
use crate::error::{PersistError, ShareError};
use crate::set::event::Observer;
use crate::{Extent, Platform, Sharing, Source};

impl<P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'_, P, S, O> {
    /// Publishes what this host has stored to a range: other hosts that share the memory see it once they
    /// [refresh](Self::refresh) the range.
    ///
    /// See [`SharedPart::publish`] for the guarantees. This call looks the range up under the read lock, and asks the
    /// source of each segment; a [`SharedPart`] has done both when it was made. Reports no event.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
    /// # let machine = Machine::new(Hardware::new());
    /// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    /// let address = set.map(&memory, &MapConfig::new())?.extent().start(); // memory that hosts share
    /// set.write_with(address, b"a record", CopyFlags::NOFLUSH)?;
    /// set.publish(address, 8)?; // in the shared memory
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ShareError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn publish(&self, address: usize, length_bytes: usize) -> Result<(), ShareError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        let pinned = self.pin(range)?;
        // SAFETY: mapped, and pinned.
        unsafe { publish(&self.platform, range, pinned.caches_agree(range)?) };
        Ok(())
    }

    /// Refreshes a range: this host then sees what other hosts had published of it when the call was made, or later.
    ///
    /// See [`SharedPart::refresh`] for the guarantees. Takes a look-up, like [`publish`](Self::publish). Reports no
    /// event.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
    /// # let machine = Machine::new(Hardware::new());
    /// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    /// let address = set.map(&memory, &MapConfig::new())?.extent().start(); // memory that hosts share
    /// let mut record = [0; 8];
    /// set.refresh(address, 8)?; // what this host had cached is dropped
    /// set.read(address, &mut record)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ShareError`].
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn refresh(&self, address: usize, length_bytes: usize) -> Result<(), ShareError> {
        called!();
        let Some(range) = range_of(address, length_bytes)? else { return Ok(()) };
        let pinned = self.pin(range)?;
        // SAFETY: mapped, and pinned.
        unsafe { refresh(&self.platform, range, pinned.caches_agree(range)?) };
        Ok(())
    }
}

impl<R: SetRef> Part<R> {
    /// Returns a handle for exchanging bytes with other hosts. It checks once that the memory is shared, and that this
    /// processor has the instructions.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// use pmemset_core::{Sharing, error::ShareError};
    ///
    /// let part = set.map(source, &MapConfig::new())?; // not declared as shared
    /// let address = part.extent().start();
    /// assert!(matches!(part.into_shared(), Err(ShareError::Private { .. })));
    /// set.remove(set.part_at(address)?)?; // the handle was dropped; the part is still mapped
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShareError::Private`], [`ShareError::NoInstruction`]; the handle is dropped then, and nothing else has
    /// changed.
    pub fn into_shared(self) -> Result<SharedPart<R>, ShareError> {
        let coherent = self.caches_agree(self.extent())?;
        Ok(SharedPart { part: self, coherent })
    }

    /// Returns whether barriers are enough to share all of `range`, which is pinned.
    fn caches_agree(&self, range: Extent) -> Result<bool, ShareError> {
        let mut coherent = true;
        self.over_segments::<ShareError>(range, |segment, _| match segment.source.sharing() {
            Sharing::Private => Err(ShareError::Private { segment: segment.extent }),
            sharing => {
                coherent &= sharing == Sharing::Coherent;
                Ok(())
            }
        })?;
        if coherent || self.owner().platform_of().cpu().can_write_back() {
            Ok(coherent)
        } else {
            Err(ShareError::NoInstruction)
        }
    }
}

/// A handle to bytes that other hosts have, too; a [`Part`] otherwise.
///
/// To *publish* is not to persist. What is persisted survives a power cut, and may be in a cache that is kept then
/// ([`Byte`](crate::Granularity::Byte) granularity: a fence), or in memory of this host that is not written yet;
/// another host sees it if it happens to be written back. What is published is in the memory that all hosts have; it
/// survives this host, and survives a power cut of the memory as it does where lines are the
/// [granularity](crate::Granularity::CacheLine).
///
/// # Duties
///
/// Lines travel by themselves: a processor may write back a line that it has stored to, and fetch one that nobody has
/// asked for, at any time. So
///
/// - a reader may see any store to a line, in any order, before it is published, and does see it only once it has
///   refreshed the line after that: also when it reads the line for the first time;
/// - a line, of the longest that any of the hosts has (64 bytes, or 128), is stored to by *one host at a time*. It is
///   passed on by publishing it here and refreshing it there, before the first store. Where two hosts have stored to
///   one line, also to different bytes, the one that is written back last undoes the other;
/// - what says that bytes are ready, an index or a mark, lies in another line, and is stored after they have been
///   published. Who reads it refreshes them after having read it.
///
/// ```
/// # use pmemset_core::sim::{Hardware, Machine, Medium};
/// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
/// # let machine = Machine::new(Hardware::new());
/// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
/// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
/// let part = set.map(&memory, &MapConfig::new())?.into_shared()?;
/// // One host:
/// part.write_with(256, b"a record", CopyFlags::NOFLUSH)?;
/// part.publish(256, 8)?;
/// part.write_with(0, &1_u64.to_le_bytes(), CopyFlags::NOFLUSH)?;
/// part.publish(0, 8)?;
/// // The other, with a set of its own:
/// part.refresh(0, 8)?;
/// let mut count = [0; 8];
/// part.read(0, &mut count)?;
/// if u64::from_le_bytes(count) == 1 {
///     part.refresh(256, 8)?;
///     let mut record = [0; 8];
///     part.read(256, &mut record)?;
///     assert_eq!(&record, b"a record");
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct SharedPart<R: SetRef> {
    part: Part<R>,
    /// Barriers are enough.
    coherent: bool,
}

impl<R: SetRef> SharedPart<R> {
    /// Publishes what this host has stored to `length_bytes` bytes from `offset` on: other hosts see it once they
    /// [refresh](Self::refresh) these bytes.
    ///
    /// Writes back each line that the bytes touch, once, and then fences. When it returns, the bytes are in the shared
    /// memory, before anything that is stored later. With coherent caches it is the fence alone. A length of 0 does
    /// nothing.
    ///
    /// Covers what the calling processor has stored or seen. Another processor must fence its own streamed stores.
    /// Takes no lock and no look-up.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
    /// # let machine = Machine::new(Hardware::new());
    /// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    /// let part = set.map(&memory, &MapConfig::new())?.into_shared()?;
    /// part.write_with(0, b"a record", CopyFlags::NOFLUSH)?;
    /// part.publish(0, 8)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PersistError::NotMapped`], [`PersistError::OutOfRange`]: they are not all in the part as it was when the
    /// handle was made.
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn publish(&self, offset: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        let Some(range) = self.range(offset, length_bytes)? else { return Ok(()) };
        // SAFETY: mapped, and pinned.
        unsafe { publish(self.part.owner().platform_of(), range, self.coherent) };
        Ok(())
    }

    /// Refreshes `length_bytes` bytes from `offset` on: this host then sees them as other hosts had published them when
    /// the call was made, or later. Call it before reading them.
    ///
    /// It fences, so that earlier loads come before; then it writes back each dirty line that the bytes touch, drops
    /// each line, and fences. With coherent caches it is the fence alone. A length of 0 does nothing.
    ///
    /// Stores of this host are not lost: a line that it has stored to is published by this call. If another host has
    /// stored to that line meanwhile, the other host's stores are undone, which breaks the [duties](Self#duties) of
    /// both.
    ///
    /// Takes no lock and no look-up. Each line is fetched again when it is read next.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
    /// # let machine = Machine::new(Hardware::new());
    /// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    /// let part = set.map(&memory, &MapConfig::new())?.into_shared()?;
    /// let mut record = [0; 8];
    /// part.refresh(0, 8)?; // before each look at what another host may have changed
    /// part.read(0, &mut record)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    #[inline]
    #[cfg_attr(feature = "sim", track_caller)]
    pub fn refresh(&self, offset: usize, length_bytes: usize) -> Result<(), PersistError> {
        called!();
        let Some(range) = self.range(offset, length_bytes)? else { return Ok(()) };
        // SAFETY: mapped, and pinned.
        unsafe { refresh(self.part.owner().platform_of(), range, self.coherent) };
        Ok(())
    }

    /// Returns whether hardware keeps the caches of the hosts coherent, so that publishing and refreshing are barriers.
    ///
    /// ```
    /// # use pmemset_core::sim::{Hardware, Machine, Medium};
    /// # use pmemset_core::{Config, CopyFlags, Granularity, MapConfig, Set, Shared, Sharing};
    /// # let machine = Machine::new(Hardware::new());
    /// # let memory = Shared::new(machine.add_source(Medium::new(4096)), Sharing::Incoherent);
    /// # let set: Set<'_, _, _> = Set::with_capacity(machine.platform(), Config::new(Granularity::CacheLine), 4);
    /// let part = set.map(&memory, &MapConfig::new())?.into_shared()?;
    /// assert!(!part.is_coherent()); // lines are written back and dropped
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn is_coherent(&self) -> bool {
        self.coherent
    }

    /// Returns the handle that this one was made from.
    #[must_use]
    pub fn into_part(self) -> Part<R> {
        self.part
    }

    /// What the part has grown by since has not been asked whether it is shared.
    #[inline]
    fn range(&self, offset: usize, length_bytes: usize) -> Result<Option<Extent>, PersistError> {
        let part = self.part.extent();
        match part.slice(offset, length_bytes) {
            None if length_bytes > 0 => Err(outside(part, offset, length_bytes)),
            range => Ok(range),
        }
    }
}

#[cold]
fn outside(part: Extent, offset: usize, length_bytes: usize) -> PersistError {
    match part.start().checked_add(offset).and_then(|start| Extent::new(start, length_bytes)) {
        Some(range) => PersistError::NotMapped { address: range.start().max(part.end()) },
        None => PersistError::OutOfRange { start: offset, length_bytes },
    }
}

/// # Safety
///
/// `range` is mapped.
#[inline]
unsafe fn publish<P: Platform>(platform: &P, range: Extent, coherent: bool) {
    if !coherent {
        // SAFETY: the caller's promise.
        unsafe { platform.write_back(range) };
    }
    platform.fence();
}

/// # Safety
///
/// `range` is mapped.
#[inline]
unsafe fn refresh<P: Platform>(platform: &P, range: Extent, coherent: bool) {
    if !coherent {
        // A line may else be dropped, and fetched again, before an index in another line is loaded that says it is
        // ready: CLFLUSHOPT and DC are not ordered with loads of other lines.
        platform.full_fence();
        // SAFETY: the caller's promise.
        unsafe { platform.write_back_invalidate(range) };
    }
    platform.full_fence();
}

impl<R: SetRef> Deref for SharedPart<R> {
    type Target = Part<R>;

    #[inline]
    fn deref(&self) -> &Part<R> {
        &self.part
    }
}

impl<R: SetRef> fmt::Debug for SharedPart<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPart").field("part", &self.part).field("coherent", &self.coherent).finish()
    }
}
