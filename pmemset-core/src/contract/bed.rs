//! What the checks have in common: reservations and mappings that are given back at the end of each.
#![allow(unsafe_code, reason = "the checks do with a port what a set does")]

use super::{Breach, ensure};
use crate::{Errno, Extent, Platform, Source};

/// A reservation that is released with its owner.
pub(super) struct Reserved<'p, P: Platform> {
    platform: &'p P,
    pub(super) extent: Extent,
}

impl<'p, P: Platform> Reserved<'p, P> {
    pub(super) fn new(platform: &'p P, length_bytes: usize, alignment_bytes: usize) -> Result<Self, Breach> {
        match platform.reserve(length_bytes, alignment_bytes) {
            Ok(extent) => Ok(Self { platform, extent }),
            Err(errno) => Err(Breach::of("address space to be had").number(length_bytes as u64).because(errno)),
        }
    }

    pub(super) fn at(platform: &'p P, extent: Extent) -> Result<Self, Breach> {
        match platform.reserve_at(extent) {
            Ok(()) => Ok(Self { platform, extent }),
            Err(errno) => Err(Breach::of("this address space to be free").at(extent).because(errno)),
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
        let (Some(rest), Some(tail)) = (self.extent.before(at), self.extent.from(at)) else { return Ok(()) };
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
        if let Err(errno) = self.platform.reserve_at(tail) {
            return Err(Breach::of("a reservation to be extended into free space").at(tail).because(errno));
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
    while let Some(page) = extent.from(at).and_then(|rest| Extent::new(rest.start(), page_bytes)) {
        match platform.reserve_at(page) {
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Breach::of("EEXIST where something is").at(page).because(errno)),
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

/// A reservation of some units, and a source whose unit `i` fits it at unit `i`.
pub(super) struct Bed<'p, P: Platform, S: ?Sized> {
    pub(super) source: &'p S,
    pub(super) unit_bytes: usize,
    pub(super) reserved: Reserved<'p, P>,
}

/// Returns the unit in bytes of a source's mappings on this platform.
pub(super) fn unit_bytes<P: Platform, S: Source + ?Sized>(platform: &P, source: &S) -> usize {
    source.alignment_bytes().max(platform.page_size_bytes())
}

impl<'p, P: Platform, S: Source + ?Sized> Bed<'p, P, S> {
    pub(super) fn new(platform: &'p P, source: &'p S, units: usize) -> Result<Self, Breach> {
        let unit_bytes = unit_bytes(platform, source);
        let length_bytes = unit_bytes.saturating_mul(units);
        let reserved = match source.fixed_address() {
            None => Reserved::new(platform, length_bytes, unit_bytes)?,
            Some(start) => {
                let window = Extent::new(start, length_bytes).ok_or(Breach::of("a fixed address that fits"))?;
                Reserved::at(platform, window)?
            }
        };
        Ok(Self { source, unit_bytes, reserved })
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
            Ok(()) => Ok(Mapping { source: self.source, extent, offset }),
            Err(errno) => Err(Breach::of("the source to be mapped").number(offset).at(extent).because(errno)),
        }
    }

    /// Fails unless the source's length is `length_bytes`.
    pub(super) fn ensure_length(&self, length_bytes: u64) -> Result<(), Breach> {
        ensure_length(self.source, length_bytes)
    }
}

pub(super) fn length_of<S: Source + ?Sized>(source: &S) -> Result<u64, Breach> {
    source.length_bytes().map_err(|errno| Breach::of("a length").because(errno))
}

pub(super) fn ensure_length<S: Source + ?Sized>(source: &S, length_bytes: u64) -> Result<(), Breach> {
    let now = length_of(source)?;
    ensure(now == length_bytes, Breach::of("the length to be another one").number(now))
}

/// A mapping that is taken out with its owner.
pub(super) struct Mapping<'b, S: Source + ?Sized> {
    source: &'b S,
    pub(super) extent: Extent,
    pub(super) offset: u64,
}

impl<S: Source + ?Sized> Mapping<'_, S> {
    /// Stores `seed`, and numbers made from it, in the first and last byte of every 64.
    pub(super) fn store(&self, seed: u8) {
        for (at, value) in self.marks(seed) {
            let byte = core::ptr::with_exposed_provenance_mut::<u8>(at);
            // SAFETY: the mapping is writable from `map` to `unmap`, and `at` lies in it.
            unsafe { byte.write_volatile(value) }
        }
    }

    /// Returns whether what [`store`](Self::store) has stored is there.
    pub(super) fn holds(&self, seed: u8) -> Result<(), Breach> {
        for (at, value) in self.marks(seed) {
            let byte = core::ptr::with_exposed_provenance::<u8>(at);
            // SAFETY: the mapping is readable from `map` to `unmap`, and `at` lies in it.
            let now = unsafe { byte.read_volatile() };
            ensure(now == value, Breach::of("the bytes that were stored before").number(at as u64).at(self.extent))?;
        }
        Ok(())
    }

    fn marks(&self, seed: u8) -> impl Iterator<Item = (usize, u8)> {
        let numbers = (1_u8..=251).cycle().map(move |number| number.wrapping_mul(3) ^ seed);
        (self.extent.start()..self.extent.end()).step_by(31).zip(numbers)
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
