//! Where a segment goes, and the calls that put it there and take it away: the only file of the set that unmaps.
#![allow(unsafe_code, reason = "mapping into and out of address space rests on what the books say about it")]

use super::Set;
use super::books::{Books, Farewell, NONE, PartEntry, Place, Segment};
use crate::error::{MapError, RemoveError};
use crate::extent::align_up;
use crate::reservation::ClaimError;
use crate::{Coalescing, Extent, Granularity, Platform, Source, Span};

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
    /// Directly behind the previous part, merged with it.
    Behind {
        window: Extent,
        reservation: u32,
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
    joins: bool,
    /// The set's own reservation that the window lies in, if it is there already.
    reservation: u32,
    /// Address space newly reserved: a whole reservation, or the tail of one.
    reserved: Option<Extent>,
}

impl<P: Platform, S: Source + Clone, const N: usize> Set<'_, P, S, N> {
    /// Plans a request; refuses what the books alone can refuse.
    pub(super) fn plan(&self, books: &Books<S, N>, request: &Request) -> Result<Plan, MapError> {
        if books.is_full() {
            return Err(MapError::TableFull { capacity: N });
        }
        if let Some(set) = books.granularity
            && set != request.granularity
        {
            return Err(MapError::GranularityMismatch { set, source: request.granularity });
        }
        let must = books.coalescing == Coalescing::Full;
        if books.coalescing != Coalescing::None
            && let Some((part, reservation)) = books.previous()
        {
            match self.window_behind(books, part, request) {
                Some(window) => return Ok(Plan::Behind { window, reservation, must }),
                None if must => return Err(MapError::CannotCoalesce { at: part.extent.end() }),
                None => {}
            }
        }
        Ok(Plan::Anywhere)
    }

    /// Refuses what the books and the caller's reservation would refuse now, before the source grows.
    pub(super) fn check_room(&self, books: &Books<S, N>, request: &Request) -> Result<(), MapError> {
        match (self.plan(books, request)?, self.config.reservation) {
            (Plan::Anywhere, Some(window)) if request.fixed.is_none() => window
                .check_first_fit(request.length_bytes, request.alignment_bytes)
                .map_err(|error| refused(request, error)),
            _ => Ok(()),
        }
    }

    /// Returns the addresses behind `part`, if a segment may go there as far as this set knows.
    fn window_behind(&self, books: &Books<S, N>, part: PartEntry, request: &Request) -> Option<Extent> {
        let window = Extent::new(part.extent.end(), request.length_bytes)?;
        let fits = window.is_aligned(request.alignment_bytes)
            && request.fixed.is_none_or(|fixed| fixed == window)
            && books.is_free(window)
            && self.config.reservation.is_none_or(|reservation| reservation.extent().covers(window));
        fits.then_some(window)
    }

    /// Carries out the plan: claims address space, maps, and enters the segment. All of it, or nothing.
    pub(super) fn place(
        &self,
        books: &mut Books<S, N>,
        request: &Request,
        source: &S,
    ) -> Result<(Extent, PartEntry), MapError> {
        let claim = match self.plan(books, request)? {
            Plan::Anywhere => self.claim_anywhere(request)?,
            Plan::Behind { window, reservation, must } => match self.claim_behind(books, window, reservation) {
                Some(claim) => claim,
                None if must => return Err(MapError::CannotCoalesce { at: window.start() }),
                None => self.claim_anywhere(request)?,
            },
        };
        // SAFETY: the claim is address space that this set holds and that has no mapping in it.
        if let Err(cause) = unsafe { source.map(claim.window, request.offset) } {
            self.abandon(&claim);
            return Err(MapError::Map { window: claim.window, cause });
        }
        match self.commit(books, request, source, &claim) {
            Some(part) => Ok((claim.window, part)),
            None => {
                // Not reached: the plan has found room in the books, and they have been locked since.
                // SAFETY: mapped just above, and nobody has been told of it.
                let _ = unsafe { source.unmap(claim.window, request.offset) };
                self.abandon(&claim);
                Err(MapError::TableFull { capacity: N })
            }
        }
    }

    #[inline(never)]
    fn commit(&self, books: &mut Books<S, N>, request: &Request, source: &S, claim: &Claim) -> Option<PartEntry> {
        let reservation = match claim.reserved {
            Some(reserved) if claim.reservation == NONE => books.enter_reservation(reserved)?,
            Some(tail) => {
                books.resize_reservation(claim.reservation, tail.end());
                claim.reservation
            }
            None => claim.reservation,
        };
        let (extent, offset, source) = (claim.window, request.offset, source.clone());
        let part = books.enter(Segment { extent, offset, source, reservation, failed: false }, claim.joins)?;
        books.granularity = Some(request.granularity);
        Some(part)
    }

    fn claim_anywhere(&self, request: &Request) -> Result<Claim, MapError> {
        let length_bytes = request.length_bytes;
        if let Some(reservation) = self.config.reservation {
            let claimed = match request.fixed {
                Some(window) => reservation.claim_at(window).map(|()| window),
                None => reservation.claim_first_fit(length_bytes, request.alignment_bytes),
            };
            return match claimed {
                Ok(window) => Ok(Claim { window, joins: false, reservation: NONE, reserved: None }),
                Err(error) => Err(refused(request, error)),
            };
        }
        let reserved = match request.fixed {
            Some(window) => self.platform.reserve_at(window).map(|()| window),
            None => {
                let generous = align_up(self.config.reserve_ahead_bytes, self.platform.page_size_bytes());
                let reserve_bytes = length_bytes.max(generous.unwrap_or(0));
                let alignment_bytes = request.alignment_bytes.max(self.platform.alignment_for(length_bytes));
                self.platform.reserve(reserve_bytes, alignment_bytes)
            }
        }
        .map_err(|cause| MapError::AddressSpace { cause })?;
        let window = reserved.slice(0, length_bytes).ok_or_else(|| cannot_fit(request))?;
        Ok(Claim { window, joins: false, reservation: NONE, reserved: Some(reserved) })
    }

    /// Claims the addresses behind the previous part; `None` where somebody else has them.
    fn claim_behind(&self, books: &Books<S, N>, window: Extent, reservation: u32) -> Option<Claim> {
        let mut claim = Claim { window, joins: true, reservation, reserved: None };
        if let Some(shared) = self.config.reservation {
            shared.claim_at(window).ok()?;
            return Some(claim);
        }
        let held = books.reservation(reservation)?;
        if let Some(tail) = window.from(held.end()) {
            self.platform.reserve_at(tail).ok()?;
            claim.reserved = Some(tail);
        }
        Some(claim)
    }

    /// Gives back a claim in which nothing is mapped.
    fn abandon(&self, claim: &Claim) {
        if let Some(reservation) = self.config.reservation {
            reservation.give_back(claim.window);
        } else if let Some(reserved) = claim.reserved {
            // A platform that does not take address space back keeps it: nothing of the set is in there.
            // SAFETY: reserved for this claim, and nothing is mapped in it.
            let _ = unsafe { self.platform.release(reserved) };
        }
    }

    /// Unmaps every segment that `range` touches, lowest first, and enters each as gone.
    ///
    /// `whole` is given where the range is known to be one part: where that is in the books. The caller has made sure
    /// that nobody uses the range. On failure the books say what is still mapped.
    pub(super) fn unmap_range(
        &self,
        books: &mut Books<S, N>,
        range: Extent,
        whole: Option<Place>,
        farewell: &mut Farewell,
    ) -> Result<(), RemoveError> {
        // The part at hand, whether it goes as a whole, and whether that has been entered already.
        let mut current = whole.is_some().then_some((range, true, false));
        let mut next = whole.or_else(|| books.find_from(range.start()));
        while let Some(place) = next {
            let Some(segment) = books.segment_at(&place) else { break };
            let extent = segment.extent;
            if !extent.overlaps(range) {
                break;
            }
            // SAFETY: mapped by `place` with these values, and not used any more by the caller's promise.
            let unmapped = unsafe { segment.source.unmap(extent, segment.offset) };
            let (part, goes_whole, told) = match current {
                Some((part, goes_whole, told)) if part.covers(extent) => (part, goes_whole, told),
                _ => {
                    let Some(part) = books.part_at(extent.start()) else { break };
                    (part.extent, books.goes_whole(part.extent, range), false)
                }
            };
            if let Err(cause) = unmapped {
                if goes_whole && told {
                    books.not_whole(farewell);
                }
                return Err(RemoveError::Unmap { segment: extent, cause });
            }
            current = Some((part, goes_whole, true));
            let announced = (goes_whole && !told).then_some(part);
            let reservation = books.strike(&place, extent.end() == part.end(), announced, farewell);
            match (self.config.reservation, reservation) {
                (Some(shared), _) => shared.give_back(extent),
                (None, Some(index)) => self.release_if_empty(books, index),
                (None, None) => {}
            }
            next = range.from(extent.end()).and_then(|rest| books.find_from(rest.start()));
        }
        Ok(())
    }

    fn release_if_empty(&self, books: &mut Books<S, N>, index: u32) {
        if let Some(extent) = books.strike_empty_reservation(index) {
            // A platform that does not take address space back keeps it: nothing of the set is in there.
            // SAFETY: the set's own reservation, and the books say that nothing is mapped in it.
            let _ = unsafe { self.platform.release(extent) };
        }
    }
}

const fn refused(request: &Request, error: ClaimError) -> MapError {
    match error {
        ClaimError::Full { capacity } => MapError::ReservationFull { capacity },
        ClaimError::CannotFit | ClaimError::Occupied | ClaimError::OutOfRange => cannot_fit(request),
    }
}

const fn cannot_fit(request: &Request) -> MapError {
    MapError::CannotFit { length_bytes: request.length_bytes, alignment_bytes: request.alignment_bytes }
}
