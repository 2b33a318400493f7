#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), forbid(unsafe_code))]
//! A second copy of a part, durable before the store that made it returns: see [`Mirror`].

extern crate alloc;

#[cfg(test)]
mod tests;

use alloc::sync::{Arc, Weak};
use core::fmt;

use lock_api::{RawRwLock, RwLock};
use pmemset_core::error::PersistError;
use pmemset_core::{Answer, Config, CopyFlags, Event, Extent, Observer, Part, Platform, Set, SetRef, Source};

/// Bytes that are taken over at a time.
const PIECE_BYTES: usize = 1024;

/// A set whose first part is mirrored.
pub type Mirrored<P, S> = Set<'static, P, S, Arc<Mirror<P, S>>>;

/// Where the second copy is.
pub type Replica<P, S> = Part<Arc<Set<'static, P, S>>>;

/// An observer that repeats in a part of another set what happens to the first part of the set that it observes.
///
/// What a call makes durable is durable in the replica, too, when the call returns: stores through the set come to the
/// replica first, stores through pointers and slices when they are flushed.
///
/// For one machine: it survives the loss of one of two media. Both copies are as good as each other after a power cut,
/// and differ at most in what had not been confirmed.
///
/// # Cost
///
/// Each store is made twice, one after the other.
pub struct Mirror<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    replica: Replica<P, S>,
    state: RwLock<P::Lock, State<P, S>>,
}

/// What is known of the other side.
struct State<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    observed: Weak<Mirrored<P, S>>,
    /// The observed part, once there is one; nothing of it after it has been removed.
    part: Option<Extent>,
    removed: bool,
    failure: Option<PersistError>,
}

impl<P, S> State<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    /// Takes notice of a part: the first one, or the same when it has grown.
    fn add(&mut self, part: Extent) {
        let is_ours = self.part.map_or(!self.removed, |ours| ours.start() == part.start());
        if is_ours {
            self.part = Some(part);
        }
    }

    fn remove(&mut self, part: Extent) {
        if self.part.take_if(|ours| part.covers(*ours)).is_some() {
            self.removed = true;
        }
    }
}

impl<P, S> Mirror<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    /// Returns the mirror that keeps its copy in `replica`, which nobody else stores to.
    pub fn new(replica: Replica<P, S>) -> Arc<Self> {
        let state = State { observed: Weak::new(), part: None, removed: false, failure: None };
        Arc::new(Self { replica, state: RwLock::new(state) })
    }

    /// Returns a set with room for `capacity` segments whose first part is mirrored here, until it is removed; other
    /// parts are not. For one set only.
    ///
    /// The replica is to be as long as that part, and to hold the same bytes: see
    /// [`resynchronise`](Self::resynchronise).
    #[must_use]
    pub fn observed(self: &Arc<Self>, platform: P, config: Config, capacity: usize) -> Arc<Mirrored<P, S>> {
        let set = Arc::new(Set::with_capacity(platform, config.observer(Arc::clone(self)), capacity));
        self.state.write().observed = Arc::downgrade(&set);
        set
    }

    /// Returns whether everything that calls have made durable before is durable in the replica.
    ///
    /// # Errors
    ///
    /// The first reason why it is not: from then on nothing has come to the replica.
    pub fn confirm(&self) -> Result<(), PersistError> {
        self.state.read().failure.map_or(Ok(()), Err)
    }

    /// Makes the replica equal to `primary`, durably, and returns how many bytes were not.
    ///
    /// Of use after a power cut, and for a replica that is new. Nobody stores to the part meanwhile. Only the primary
    /// counts until this has returned.
    ///
    /// # Errors
    ///
    /// See [`PersistError`].
    pub fn resynchronise<Q: SetRef>(&self, primary: &Part<Q>) -> Result<usize, PersistError> {
        let (mut ours, mut theirs) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
        let mut differing = 0_usize;
        for at in (0..primary.extent().length_bytes()).step_by(PIECE_BYTES) {
            let length_bytes = primary.extent().length_bytes().saturating_sub(at).min(PIECE_BYTES);
            let ours = ours.get_mut(..length_bytes).unwrap_or_default();
            let theirs = theirs.get_mut(..length_bytes).unwrap_or_default();
            primary.read(at, ours)?;
            self.replica.read(at, theirs)?;
            differing = differing.saturating_add(ours.iter().zip(&*theirs).filter(|(our, their)| our != their).count());
            // Also where they are equal: what is read may be in a cache only.
            self.replica.write_with(at, ours, CopyFlags::NOFLUSH)?;
        }
        self.replica.persist(0, primary.extent().length_bytes())?;
        Ok(differing)
    }

    /// Copies what is in `source` of the observed set to where `dest` is in the replica.
    fn take_over(&self, base: usize, dest: Extent, source: Extent) -> Result<(), PersistError> {
        let observed = self.state.read().observed.upgrade();
        let Some(set) = observed else { return Ok(()) };
        let mut bytes = [0; PIECE_BYTES];
        for at in (0..source.length_bytes()).step_by(PIECE_BYTES) {
            let piece = bytes.get_mut(..source.length_bytes().saturating_sub(at).min(PIECE_BYTES)).unwrap_or_default();
            set.read(source.start().saturating_add(at), piece)?;
            let offset = dest.start().wrapping_sub(base).wrapping_add(at);
            self.replica.write_with(offset, piece, CopyFlags::NODRAIN)?;
        }
        Ok(())
    }

    fn repeat(&self, part: Extent, event: &Event<'_, S>) -> Result<(), PersistError> {
        let base = part.start();
        let offset = |range: &Extent| range.start().wrapping_sub(base);
        match event {
            // What is not in the mirrored part is nobody's business here.
            Event::Write { dest, .. }
            | Event::Fill { dest, .. }
            | Event::CopyWithin { dest, .. }
            | Event::Flush { range: dest }
                if !dest.overlaps(part) =>
            {
                Ok(())
            }
            Event::Drain if makes("does not wait") => Ok(()),
            Event::Flush { .. } if makes("does not look at flushes") => Ok(()),
            Event::CopyWithin { .. } if makes("does not see moves") => Ok(()),
            Event::Write { dest, bytes, .. } if makes("does not flush copies") => {
                self.replica.write_with(offset(dest), bytes, CopyFlags::NOFLUSH)
            }
            Event::Fill { dest, value, .. } if makes("does not flush fills") => {
                self.replica.fill(offset(dest), *value, dest.length_bytes(), CopyFlags::NOFLUSH)
            }
            Event::Write { dest, bytes, flags } => self.replica.write_with(offset(dest), bytes, *flags),
            Event::Fill { dest, value, flags } => self.replica.fill(offset(dest), *value, dest.length_bytes(), *flags),
            // Told before it happens, so the source still is what will be moved; overlapping ranges too.
            Event::CopyWithin { dest, source, .. } => self.take_over(base, *dest, *source),
            // Stores through a slice are seen when they are flushed.
            Event::Flush { range } => self.take_over(base, *range, *range),
            Event::Drain => {
                self.replica.set().drain();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<P, S> Observer<S> for Mirror<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    fn event(&self, event: &Event<'_, S>) -> Answer {
        match event {
            Event::PartAdd { part, .. } => self.state.write().add(*part),
            Event::PartRemove { part } => self.state.write().remove(*part),
            _ => {}
        }
        let (part, failed) = {
            let state = self.state.read();
            (state.part, state.failure.is_some())
        };
        if let (Some(part), false) = (part, failed)
            && let Err(error) = self.repeat(part, event)
        {
            self.state.write().failure.get_or_insert(error);
        }
        Answer::Proceed
    }
}

/// Returns whether a test has planted this mistake.
fn makes(mistake: &str) -> bool {
    #[cfg(test)]
    return tests::MISTAKE.get() == mistake;
    #[cfg(not(test))]
    {
        let _ = mistake;
        false
    }
}

impl<P, S> fmt::Debug for Mirror<P, S>
where
    P: Platform<Lock: RawRwLock> + Send + 'static,
    P::Lock: Send + Sync,
    S: Source<Space = P::Space> + Clone + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("replica", &self.replica).finish_non_exhaustive()
    }
}
