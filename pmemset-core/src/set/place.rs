//! Where a segment goes, and the calls that put it there and take it away: the only file of the set that unmaps.
#![allow(unsafe_code, reason = "mapping into and out of address space rests on what the books say about it")]

use super::Set;
use super::books::{Books, Cursor, Retired, Segment};
use super::turn::{Turn, in_turn};
use crate::error::{MapError, MapFailure, RemoveError, ReserveError};
use crate::extent::align_up;
use crate::reservation::reserve;
use crate::set::event::Observer;
use crate::set::pins::Pinned;
use crate::{Coalescing, Errno, Extent, Granularity, Platform, Source, Span};

/// A map call after everything that can be checked without the books has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) offset: u64,
    pub(crate) length_bytes: usize,
    /// Of address, offset and length; at least the page size.
    pub(crate) alignment_bytes: usize,
    pub(crate) granularity: Granularity,
    /// The only address that will do, for a source that cannot be elsewhere.
    pub(crate) fixed: Option<Extent>,
    /// An address of the part to continue, where that was asked for.
    pub(crate) after: Option<usize>,
}

impl Request {
    /// Returns the bytes of the source.
    pub(super) fn range(&self) -> Result<Span, MapError> {
        let (offset, length_bytes) = (self.offset, self.length_bytes as u64);
        Span::new(offset, length_bytes).ok_or(MapError::LengthOutOfRange { offset, length_bytes })
    }
}

/// What the books allow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// Directly behind a part, merged with it.
    Behind {
        part: Extent,
        window: Extent,
        /// Bytes reserved there already.
        spare_bytes: usize,
        /// What to do if the addresses turn out to be taken.
        must: bool,
    },
    /// As a part of its own.
    Anywhere,
}

/// Address space claimed for a segment, and how to give it back.
#[derive(Clone, Copy, Debug)]
struct Claim {
    window: Extent,
    /// Where the part starts that the segment continues.
    joins: Option<usize>,
    /// Bytes behind the window that are reserved too.
    spare_bytes: usize,
    /// Address space newly reserved: the window and what is spare, or what was missing of it.
    reserved: Option<Extent>,
}

/// Why nothing was placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotPlaced {
    pub(super) error: MapError,
    /// Whether the source has to be prepared again, which may help.
    pub(super) outdated: bool,
}

impl From<MapError> for NotPlaced {
    fn from(error: MapError) -> Self {
        Self { error, outdated: false }
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Plans a request; refuses what the books alone can refuse. Asks the platform about nothing: a claim does.
    pub(super) fn plan(&self, books: &Books<'_, P, S>, request: &Request) -> Result<Plan, MapError> {
        if books.is_full() {
            return Err(MapError::TableFull { capacity: self.capacity() });
        }
        if let Some(set) = books.granularity
            && set != request.granularity
        {
            return Err(MapError::GranularityMismatch { set, source: request.granularity });
        }
        let (behind, must) = match (request.after, books.coalescing) {
            (Some(address), _) => (Some(books.end_of_part(address).ok_or(MapError::NoPartAt { address })?), true),
            (None, Coalescing::None) => (None, false),
            (None, coalescing) => (books.previous(), coalescing == Coalescing::Full),
        };
        let Some((part, spare_bytes)) = behind else { return Ok(Plan::Anywhere) };
        // Where nothing else will do, the claim finds out whether it is free.
        match window_behind(part, request).filter(|window| must || books.is_free(*window)) {
            Some(window) => Ok(Plan::Behind { part, window, spare_bytes, must }),
            None if must => Err(MapError::CannotCoalesce { at: part.end() }),
            None => Ok(Plan::Anywhere),
        }
    }

    /// Refuses what the books and the platform would refuse now, before the source grows.
    pub(super) fn check_room(&self, books: &Books<'_, P, S>, request: &Request) -> Result<(), MapError> {
        if let Plan::Behind { window, spare_bytes, must, .. } = self.plan(books, request)? {
            let missing = missing(window, spare_bytes);
            if books.is_free(window) && missing.is_none_or(|missing| self.platform.may_reserve_at(missing).is_ok()) {
                return Ok(());
            }
            if must {
                return Err(MapError::CannotCoalesce { at: window.start() });
            }
        }
        let room = match request.fixed {
            Some(window) => self.platform.may_reserve_at(window),
            None => self.platform.may_reserve(request.length_bytes, request.alignment_bytes),
        };
        room.map_err(|error| refused(request, error))
    }

    /// Waits for the turn, plans, and carries out the plan: claims address space, maps, and inserts and pins the
    /// segment. All of it, or nothing.
    ///
    /// Returns the segment's slot, its addresses, and those of its part.
    #[inline]
    pub(super) fn place(&self, request: &Request, source: &S) -> Result<(u32, Extent, Extent), NotPlaced> {
        in_turn!(self, turn => self.place_in(turn, request, source))
    }

    fn place_in(
        &self,
        mut turn: impl Turn<'m, P, S>,
        request: &Request,
        source: &S,
    ) -> Result<(u32, Extent, Extent), NotPlaced> {
        let books = turn.read();
        let (plan, coalescing) = (self.plan(books, request)?, books.coalescing);
        turn.unlock();
        let claim = match plan {
            Plan::Anywhere => self.claim_anywhere(request, coalescing)?,
            Plan::Behind { part, window, spare_bytes, must } => match self.claim_behind(part, window, spare_bytes) {
                Some(claim) => claim,
                None if must => return Err(MapError::CannotCoalesce { at: window.start() }.into()),
                None => self.claim_anywhere(request, coalescing)?,
            },
        };
        // SAFETY: the claim is address space that this set holds and that has no mapping in it.
        if let Err(failure) = unsafe { source.map(claim.window, request.offset) } {
            return Err(self.not_mapped(turn, &claim, failure));
        }
        match self.commit(turn.write(), request, source, &claim) {
            Some((slot, part)) => Ok((slot, claim.window, part)),
            None => {
                debug_assert!(false, "the plan has found room in the books, and nobody else has mapped since");
                // SAFETY: mapped just above, and nobody has been told of it.
                let _ = unsafe { source.unmap(claim.window, request.offset) };
                self.release(claim.reserved);
                Err(MapError::TableFull { capacity: self.capacity() }.into())
            }
        }
    }

    /// Gives a claim back whose source was not mapped; unless it is lost, in which case nobody touches it again.
    #[cold]
    fn not_mapped(&self, mut turn: impl Turn<'m, P, S>, claim: &Claim, failure: MapFailure) -> NotPlaced {
        let (window, cause) = (claim.window, failure.cause());
        if let MapFailure::WindowLost(_) = failure {
            // What was reserved for it is not released. What was spare behind the part before is nobody's now.
            if claim.joins.is_some() {
                turn.write().forget_spare_before(window.start());
            }
            return MapError::WindowLost { window, cause }.into();
        }
        self.release(claim.reserved);
        let outdated = matches!(failure, MapFailure::Outdated(_));
        NotPlaced { error: MapError::Map { window, cause }, outdated }
    }

    #[inline(never)]
    fn commit(
        &self,
        books: &mut Books<'m, P, S>,
        request: &Request,
        source: &S,
        claim: &Claim,
    ) -> Option<(u32, Extent)> {
        let (extent, offset, source, spare_bytes) = (claim.window, request.offset, source.clone(), claim.spare_bytes);
        self.index.change(books, |books| {
            let (slot, part) = books.insert(Segment { extent, offset, source, spare_bytes }, claim.joins)?;
            // Set, not raised: the slab may be that of a set that was forgotten, handles and all.
            let begin = |what, uses| match P::UNLOCKED_CALLS {
                true => self.pins.open(slot, what, uses, true),
                false => self.pins.set(slot, what, uses),
            };
            begin(Pinned::Segment, 1);
            begin(Pinned::Part, 0);
            books.granularity = Some(request.granularity);
            Some((slot, part))
        })
    }

    fn claim_anywhere(&self, request: &Request, coalescing: Coalescing) -> Result<Claim, MapError> {
        let length_bytes = request.length_bytes;
        let reserved = match request.fixed {
            Some(window) => self.platform.reserve_at(window).map(|()| window),
            None => {
                let ahead_bytes = self.platform.room_ahead_bytes(self.config.reserve_ahead_bytes);
                let generous = align_up(ahead_bytes, self.platform.page_size_bytes());
                let reserve_bytes = length_bytes.max(generous.unwrap_or(0));
                // What is shorter than a large page, and will stay so, has nothing of its alignment.
                let wish = match self.platform.alignment_for(length_bytes) {
                    large if large > reserve_bytes && coalescing == Coalescing::None => 0,
                    wish => wish,
                };
                reserve(&self.platform, reserve_bytes, request.alignment_bytes, wish)
            }
        }
        .map_err(|error| refused(request, error))?;
        let window = reserved.slice(0, length_bytes).ok_or_else(|| refused(request, ReserveError::CannotFit))?;
        let spare_bytes = reserved.end().wrapping_sub(window.end());
        Ok(Claim { window, joins: None, spare_bytes, reserved: Some(reserved) })
    }

    /// Claims the addresses behind `part`, of which `spare_bytes` are the set's; `None` where somebody else has one of
    /// the others.
    fn claim_behind(&self, part: Extent, window: Extent, spare_bytes: usize) -> Option<Claim> {
        let reserved = missing(window, spare_bytes);
        if let Some(missing) = reserved {
            self.platform.reserve_at(missing).ok()?;
        }
        let spare_bytes = spare_bytes.saturating_sub(window.length_bytes());
        Some(Claim { window, joins: Some(part.start()), spare_bytes, reserved })
    }

    /// Unmaps every segment that `range` touches, lowest first, and notes each as gone.
    ///
    /// The caller has made sure that nobody uses the range, nor can begin to: it is closed, or locked; and has perhaps
    /// found the first segment. On failure the error says what is gone, and the books what is still mapped.
    pub(super) fn unmap_range(
        &self,
        turn: &mut impl Turn<'m, P, S>,
        range: Extent,
        cursor: &mut Cursor,
        retired: &mut Retired,
    ) -> Result<(), RemoveError> {
        // The part at hand, if it goes as a whole; and whether the next segment is another one of it.
        let (mut whole, mut goes_on): (Option<Extent>, bool) = (None, false);
        let mut removed: Option<Extent> = None;
        let mut rest = Some(range);
        while let Some(left) = rest
            && let books = turn.read()
            && let Some(place) = books.locate(cursor, left.start())
            && let extent = place.entry.extent
            && extent.overlaps(left)
        {
            let Some((offset, source, spare_bytes)) = books.mapping_at(place) else {
                debug_assert!(false, "a segment of the table has a source");
                return Err(RemoveError::Unmap { segment: range, removed, cause: Errno::FAULT });
            };
            // Never the last one: the books have theirs until the events have been told.
            let source = source.clone();
            let told = goes_on;
            if !told {
                whole = books.whole_from(place, range);
            }
            turn.unlock();
            let held = Extent::between(extent.start(), extent.end().saturating_add(spare_bytes));
            let together = held.filter(|_| self.platform.release_unmaps() && source.goes_with_addresses());
            let unmapped = match together {
                // SAFETY: the set has reserved it, and mapped the segment there, which nobody uses any more.
                Some(held) => unsafe { self.platform.release(held) },
                // SAFETY: mapped by `place` with these values, and not used any more by the caller's promise.
                None => unsafe { source.unmap(extent, offset) },
            };
            if let Err(cause) = unmapped {
                if told && whole.is_some() {
                    turn.write().not_whole(retired);
                }
                return Err(RemoveError::Unmap { segment: extent, removed, cause });
            }
            // Whoever gets the addresses now has other books; in these nobody can pin them, and nobody else maps.
            self.release(held.filter(|_| together.is_none()));
            let books = turn.write();
            goes_on = books.continues(place);
            removed = Extent::between(removed.map_or(extent.start(), |removed| removed.start()), extent.end());
            self.index.change(books, |books| books.remove(place, whole.filter(|_| !told), retired));
            rest = range.starting_at(extent.end());
        }
        Ok(())
    }

    /// Gives back address space of the set's in which nothing is mapped.
    fn release(&self, window: Option<Extent>) {
        if let Some(window) = window {
            // A platform that does not take address space back keeps it: nothing of the set is in there.
            // SAFETY: the set has reserved it, and nothing is mapped in it: not yet, or not any more.
            let _ = unsafe { self.platform.release(window) };
        }
    }
}

/// Returns the addresses behind `part`, if the segment may be there.
fn window_behind(part: Extent, request: &Request) -> Option<Extent> {
    let window = Extent::new(part.end(), request.length_bytes)?;
    let fits = window.is_aligned(request.alignment_bytes) && request.fixed.is_none_or(|fixed| fixed == window);
    fits.then_some(window)
}

/// Returns the rest of `window`, the first `spare_bytes` bytes of which are the set's.
fn missing(window: Extent, spare_bytes: usize) -> Option<Extent> {
    window.starting_at(window.start().saturating_add(spare_bytes))
}

const fn refused(request: &Request, error: ReserveError) -> MapError {
    match error {
        ReserveError::Full { capacity } => MapError::ReservationFull { capacity },
        ReserveError::CannotFit => {
            MapError::CannotFit { length_bytes: request.length_bytes, alignment_bytes: request.alignment_bytes }
        }
        ReserveError::Occupied => MapError::AddressSpace { cause: Errno::EXIST },
        ReserveError::Failed(cause) => MapError::AddressSpace { cause },
    }
}
