//! What the checks have in common: reservations and mappings that are given back at the end of each.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::{Breach, ensure};
use crate::error::ReserveError;
use crate::{Errno, Extent, Platform, Source, Span};

/// A reservation that is released with its owner.
pub(super) struct Reserved<'p, P: Platform> {
    platform: &'p P,
    pub(super) extent: Extent,
}

impl<'p, P: Platform> Reserved<'p, P> {
    pub(super) fn new(platform: &'p P, length_bytes: usize, alignment_bytes: usize) -> Result<Self, Breach> {
        match platform.reserve(length_bytes, alignment_bytes) {
            Ok(extent) => {
                let reserved = Self { platform, extent };
                ensure(extent.length_bytes() == length_bytes, Breach::of("the length asked for").at(extent))?;
                Ok(reserved)
            }
            Err(error) => Err(Breach::of("address space to be had").number(length_bytes as u64).refused(error)),
        }
    }

    pub(super) fn at(platform: &'p P, extent: Extent) -> Result<Self, Breach> {
        match platform.reserve_at(extent) {
            Ok(()) => Ok(Self { platform, extent }),
            Err(error) => Err(Breach::of("this address space to be free").at(extent).refused(error)),
        }
    }

    /// Returns a piece of address space that is reserved.
    pub(super) const fn of(platform: &'p P, extent: Extent) -> Self {
        Self { platform, extent }
    }

    /// Returns what is reserved, which is somebody else's to release from now on.
    pub(super) fn keep(self) -> Extent {
        core::mem::ManuallyDrop::new(self).extent
    }

    /// Releases the piece from `at` on.
    pub(super) fn shorten(&mut self, at: usize) -> Result<(), Breach> {
        let (Some(rest), Some(tail)) = (self.extent.ending_at(at), self.extent.starting_at(at)) else { return Ok(()) };
        // SAFETY: the reservation belongs to this value, and nothing is mapped in it.
        match unsafe { self.platform.release(tail) } {
            Ok(()) => {
                self.extent = rest;
                Ok(())
            }
            Err(errno) => Err(Breach::of("the tail of a reservation to be released").at(tail).because(errno)),
        }
    }

    /// Extends the reservation to `end`.
    pub(super) fn lengthen(&mut self, end: usize) -> Result<(), Breach> {
        let Some(tail) = Extent::between(self.extent.end(), end) else { return Ok(()) };
        if let Err(error) = self.platform.reserve_at(tail) {
            return Err(Breach::of("a reservation to be extended into free space").at(tail).refused(error));
        }
        self.extent = Extent::between(self.extent.start(), end).unwrap_or(self.extent);
        Ok(())
    }

    pub(super) fn release(self) -> Result<(), Breach> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: the reservation belongs to this value, and nothing is mapped in it.
        unsafe { this.platform.release(this.extent) }
            .map_err(|errno| Breach::of("a reservation to be released").at(this.extent).because(errno))
    }
}

impl<P: Platform> Drop for Reserved<'_, P> {
    fn drop(&mut self) {
        // SAFETY: the reservation belongs to this value; `Mapping` borrows it, so nothing is mapped any more.
        let _ = unsafe { self.platform.release(self.extent) };
    }
}

/// Fails unless every page of `extent` is taken, by asking for each.
pub(super) fn ensure_taken<P: Platform>(platform: &P, extent: Extent) -> Result<(), Breach> {
    let page_bytes = platform.page_size_bytes();
    let mut at = extent.start();
    while let Some(page) = extent.starting_at(at).and_then(|rest| Extent::new(rest.start(), page_bytes)) {
        match platform.reserve_at(page) {
            Err(ReserveError::Occupied) => {}
            Err(error) => return Err(Breach::of("Occupied where something is").at(page).refused(error)),
            Ok(()) => {
                // SAFETY: reserved just now, wrongly, and nothing of ours is mapped there.
                let _ = unsafe { platform.release(page) };
                return Err(Breach::of("address space to be taken").at(page));
            }
        }
        at = page.end();
    }
    Ok(())
}

/// Units of a bed, and of the source that it is for.
pub(super) const UNITS: usize = 4;

/// A reservation of some units, and a source whose unit `i` fits it at unit `i`.
pub(super) struct Bed<'p, P: Platform, S: ?Sized> {
    pub(super) source: &'p S,
    pub(super) unit_bytes: usize,
    page_bytes: usize,
    pub(super) reserved: Reserved<'p, P>,
}

/// Returns the unit in bytes of a source's mappings on this platform.
pub(super) fn unit_bytes<P: Platform, S: Source<Space = P::Space> + ?Sized>(platform: &P, source: &S) -> usize {
    source.alignment_bytes().max(platform.page_size_bytes())
}

impl<'p, P: Platform, S: Source<Space = P::Space> + ?Sized> Bed<'p, P, S> {
    pub(super) fn new(platform: &'p P, source: &'p S, units: usize) -> Result<Self, Breach> {
        let page_bytes = platform.page_size_bytes();
        let unit_bytes = source.alignment_bytes().max(page_bytes);
        let words = page_bytes.is_power_of_two() && page_bytes >= WORD_BYTES;
        ensure(words, Breach::of("pages of whole machine words").number(page_bytes as u64))?;
        ensure(unit_bytes.is_power_of_two(), Breach::of("units of whole pages").number(unit_bytes as u64))?;
        let length_bytes = unit_bytes.saturating_mul(units);
        let reserved = match source.fixed_address() {
            None => Reserved::new(platform, length_bytes, unit_bytes)?,
            Some(start) => {
                let window = Extent::new(start, length_bytes).ok_or(Breach::of("a fixed address that fits"))?;
                Reserved::at(platform, window)?
            }
        };
        let aligned = reserved.extent.start() & page_bytes.wrapping_sub(1) == 0;
        ensure(aligned, Breach::of("a reservation of whole pages").at(reserved.extent))?;
        Ok(Self { source, unit_bytes, page_bytes, reserved })
    }

    pub(super) fn window(&self, unit: usize, units: usize) -> Result<Extent, Breach> {
        let offset = self.unit_bytes.saturating_mul(unit);
        let window = self.reserved.extent.slice(offset, self.unit_bytes.saturating_mul(units));
        window.ok_or(Breach::of("a window inside of the reservation"))
    }

    /// Maps `units` units of the source from unit `unit` on, at the same place in the reservation.
    pub(super) fn map<'b>(&'b self, unit: usize, units: usize) -> Result<Mapping<'b, S>, Breach> {
        self.map_at(unit, unit, units)
    }

    /// Maps `units` units of the source from unit `unit` on, from unit `place` of the reservation on.
    pub(super) fn map_at<'b>(&'b self, place: usize, unit: usize, units: usize) -> Result<Mapping<'b, S>, Breach> {
        let extent = self.window(place, units)?;
        let offset = (self.unit_bytes as u64).saturating_mul(unit as u64);
        // SAFETY: the window lies in the reservation, and every mapping before has been taken out again.
        match unsafe { self.source.map(extent, offset) } {
            Ok(()) => Ok(Mapping { source: self.source, extent, offset, page_bytes: self.page_bytes }),
            Err(failure) => {
                Err(Breach::of("the source to be mapped").number(offset).at(extent).because(failure.cause()))
            }
        }
    }

    /// Returns where unit `unit` of the source goes so that as few units as possible are at their own place.
    pub(super) fn elsewhere(&self, unit: usize) -> usize {
        if self.source.fixed_address().is_some() { unit } else { UNITS.saturating_sub(1).saturating_sub(unit) }
    }

    /// Stores `seed` in every unit, through a mapping for each that leaves other bytes at the places of the units.
    pub(super) fn paint(&self, seed: u8) -> Result<(), Breach> {
        for unit in 0..UNITS {
            let mapping = self.map_at(self.elsewhere(unit), unit, 1)?;
            mapping.store(seed);
            mapping.unmap()?;
        }
        Ok(())
    }

    /// Fails unless each unit holds what `seeds` says, seen through a mapping for each.
    pub(super) fn ensure_units(&self, seeds: [u8; UNITS]) -> Result<(), Breach> {
        for (unit, seed) in seeds.into_iter().enumerate() {
            let mapping = self.map_at(self.elsewhere(unit), unit, 1)?;
            mapping.holds(seed)?;
            mapping.unmap()?;
        }
        Ok(())
    }

    /// Fails unless the source's length is `length_bytes`.
    pub(super) fn ensure_length(&self, length_bytes: u64) -> Result<(), Breach> {
        ensure_length(self.source, length_bytes)
    }
}

/// Another place, through which single units are looked at while they are mapped in a [`Bed`].
pub(super) struct Eye<'p, P: Platform, S: ?Sized>(Bed<'p, P, S>);

impl<'p, P: Platform, S: Source<Space = P::Space> + ?Sized> Eye<'p, P, S> {
    /// Returns `None` for a source that can be at one address only.
    pub(super) fn new(platform: &'p P, source: &'p S) -> Result<Option<Self>, Breach> {
        if source.fixed_address().is_some() {
            return Ok(None);
        }
        Bed::new(platform, source, 1).map(|bed| Some(Self(bed)))
    }

    /// Maps unit `unit` once more; `None` where the source says that its bytes are mapped already (`EBUSY`).
    pub(super) fn on<'b>(&'b self, unit: usize) -> Result<Option<Mapping<'b, S>>, Breach> {
        match self.0.map_at(0, unit, 1) {
            Ok(mapping) => Ok(Some(mapping)),
            Err(Breach { errno: Some(Errno::BUSY), .. }) => Ok(None),
            Err(breach) => Err(breach),
        }
    }
}

pub(super) fn length_of<S: Source + ?Sized>(source: &S) -> Result<u64, Breach> {
    source.length_bytes().map_err(|errno| Breach::of("a length").because(errno))
}

pub(super) fn ensure_length<S: Source + ?Sized>(source: &S, length_bytes: u64) -> Result<(), Breach> {
    let now = length_of(source)?;
    ensure(now == length_bytes, Breach::of("the length to be another one").number(now))
}

/// The suite stores whole words only: memory that takes no narrower stores can be checked too.
const WORD_BYTES: usize = size_of::<usize>();
/// The distance of two marks in bytes: odd in words, so that they fall on every word of a cache line in turn.
const STEP_BYTES: usize = 5 * WORD_BYTES;

/// Returns what is stored at byte `position` of a source: another number for each position and seed.
fn mark(position: u64, seed: u8) -> usize {
    let position = usize::try_from(position & u64::from(u32::MAX)).unwrap_or(0);
    position.wrapping_add(1).wrapping_mul(0x9e37_79b1) ^ usize::from(seed).wrapping_mul(usize::MAX / 255)
}

/// A mapping that is taken out with its owner.
pub(super) struct Mapping<'b, S: Source + ?Sized> {
    source: &'b S,
    pub(super) extent: Extent,
    pub(super) offset: u64,
    page_bytes: usize,
}

impl<S: Source + ?Sized> Mapping<'_, S> {
    /// Stores marks of `seed` in every page, the last word of each among them.
    pub(super) fn store(&self, seed: u8) {
        for (at, position) in self.marks(self.extent) {
            let word = core::ptr::with_exposed_provenance_mut::<usize>(at);
            // SAFETY: the mapping is writable from `map` to `unmap`, and the aligned word at `at` lies in it.
            unsafe { word.write_volatile(mark(position, seed)) }
        }
    }

    /// Returns whether what [`store`](Self::store) has stored is there.
    pub(super) fn holds(&self, seed: u8) -> Result<(), Breach> {
        self.ensure_marks(self.extent, None, &[seed])
    }

    /// Returns whether the words that [`store`](Self::store) stores to are 0.
    pub(super) fn is_zero(&self) -> Result<(), Breach> {
        for (at, position) in self.marks(self.extent) {
            ensure(self.word_at(at) == 0, Breach::of("bytes that were given back to be 0").number(position))?;
        }
        Ok(())
    }

    /// Returns whether each mark is that of one of two seeds.
    pub(super) fn holds_either(&self, one: u8, other: u8) -> Result<(), Breach> {
        self.ensure_marks(self.extent, None, &[one, other])
    }

    /// Returns whether the first page holds `seed`.
    pub(super) fn first_page_holds(&self, seed: u8) -> Result<(), Breach> {
        self.ensure_marks(self.extent.slice(0, self.page_bytes).unwrap_or(self.extent), None, &[seed])
    }

    /// Returns whether everything but `except`, in bytes of the source, holds `seed`.
    pub(super) fn holds_outside(&self, seed: u8, except: Span) -> Result<(), Breach> {
        self.ensure_marks(self.extent, Some(except), &[seed])
    }

    fn ensure_marks(&self, range: Extent, except: Option<Span>, seeds: &[u8]) -> Result<(), Breach> {
        for (at, position) in self.marks(range) {
            let word = Span::new(position, WORD_BYTES as u64);
            if except.zip(word).is_some_and(|(except, word)| word.overlaps(except)) {
                continue;
            }
            let now = self.word_at(at);
            let breach = Breach::of("the bytes stored before, at this offset of the source").number(position);
            let place = Extent::new(at, WORD_BYTES).unwrap_or(self.extent);
            ensure(seeds.iter().any(|seed| now == mark(position, *seed)), breach.at(place))?;
        }
        Ok(())
    }

    fn word_at(&self, at: usize) -> usize {
        let word = core::ptr::with_exposed_provenance::<usize>(at);
        // SAFETY: the mapping is readable from `map` to `unmap`, and the aligned word at `at` lies in it.
        unsafe { word.read_volatile() }
    }

    /// Returns the addresses of the marks in whole pages of the mapping, each with its position in the source.
    fn marks(&self, range: Extent) -> impl Iterator<Item = (usize, u64)> {
        let (start, offset) = (self.extent.start(), self.offset);
        let in_page = (0..self.page_bytes.saturating_sub(WORD_BYTES)).step_by(STEP_BYTES);
        let in_page = in_page.chain([self.page_bytes.saturating_sub(WORD_BYTES)]);
        // `Bed::new` has made sure that a page is whole words, and a window whole pages.
        let pages = (range.start()..range.end()).step_by(self.page_bytes.max(WORD_BYTES));
        let marks = pages.flat_map(move |page| in_page.clone().map(move |at| page.saturating_add(at)));
        marks.map(move |at| (at, offset.saturating_add(at.saturating_sub(start) as u64)))
    }

    pub(super) fn unmap(self) -> Result<(), Breach> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: mapped by one call with this window and offset, and nobody else knows of it.
        unsafe { this.source.unmap(this.extent, this.offset) }
            .map_err(|errno| Breach::of("the mapping to be taken out").at(this.extent).because(errno))
    }
}

impl<S: Source + ?Sized> Drop for Mapping<'_, S> {
    fn drop(&mut self) {
        // SAFETY: as in `unmap`.
        let _ = unsafe { self.source.unmap(self.extent, self.offset) };
    }
}
