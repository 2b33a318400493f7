//! A platform that is the machine's own, or the caller's reservation in it.
#![allow(unsafe_code, reason = "an implementation of an unsafe trait")]

use pmemset_core::arch::{Cpu, StoreKind};
use pmemset_core::error::ReserveError;
use pmemset_core::sim::SimPlatform;
use pmemset_core::{Errno, Extent, Platform, Reservation};

pub enum Place<'g> {
    Own(SimPlatform),
    Inside(&'g Reservation<'static, SimPlatform>),
}

macro_rules! either {
    ($self:ident, $platform:ident => $call:expr) => {
        match $self {
            Self::Own($platform) => $call,
            Self::Inside($platform) => $call,
        }
    };
}

// SAFETY: every call goes to a platform that keeps the promises.
unsafe impl Platform for Place<'_> {
    type Lock = <SimPlatform as Platform>::Lock;
    type Space = <SimPlatform as Platform>::Space;

    fn space(&self) -> Self::Space {
        either!(self, platform => platform.space())
    }
    fn page_size_bytes(&self) -> usize {
        either!(self, platform => platform.page_size_bytes())
    }
    fn cpu(&self) -> &Cpu {
        either!(self, platform => platform.cpu())
    }
    fn room_ahead_bytes(&self, ahead_bytes: usize) -> usize {
        either!(self, platform => platform.room_ahead_bytes(ahead_bytes))
    }
    fn reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
        either!(self, platform => platform.reserve(length_bytes, alignment_bytes))
    }
    fn reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        either!(self, platform => platform.reserve_at(window))
    }
    fn may_reserve(&self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ReserveError> {
        either!(self, platform => platform.may_reserve(length_bytes, alignment_bytes))
    }
    fn may_reserve_at(&self, window: Extent) -> Result<(), ReserveError> {
        either!(self, platform => platform.may_reserve_at(window))
    }
    fn release_unmaps(&self) -> bool {
        either!(self, platform => platform.release_unmaps())
    }
    unsafe fn release(&self, window: Extent) -> Result<(), Errno> {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, platform => unsafe { platform.release(window) })
    }
    unsafe fn write_back(&self, range: Extent) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, platform => unsafe { platform.write_back(range) });
    }
    fn fence(&self) {
        either!(self, platform => platform.fence());
    }
    unsafe fn copy(&self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, platform => unsafe { platform.copy(dest, source, length_bytes, kind) });
    }
    unsafe fn read(&self, dest: *mut u8, source: *const u8, length_bytes: usize) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, platform => unsafe { platform.read(dest, source, length_bytes) });
    }
    fn lend(&self, range: Extent) {
        either!(self, platform => platform.lend(range));
    }
    unsafe fn fill(&self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
        // SAFETY: the caller's promise is passed on as it is.
        either!(self, platform => unsafe { platform.fill(dest, value, length_bytes, kind) });
    }
}
