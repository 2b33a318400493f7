//! Platforms made of others: handles, and one with another lock.
#![allow(unsafe_code, reason = "the trait is unsafe")]

use core::marker::PhantomData;

use super::Platform;
use crate::arch::{Cpu, StoreKind};
use crate::error::ReserveError;
use crate::lock::RawLock;
use crate::{Errno, Extent};

/// Forwards every method of [`Platform`] to `$platform`.
macro_rules! forward_platform {
    ($self:ident, $platform:expr) => {
        fn space(&$self) -> Self::Space {
            $platform.space()
        }
        fn page_size_bytes(&$self) -> usize {
            $platform.page_size_bytes()
        }
        fn cpu(&$self) -> &Cpu {
            $platform.cpu()
        }
        fn alignment_for(&$self, length_bytes: usize) -> usize {
            $platform.alignment_for(length_bytes)
        }
        fn room_ahead_bytes(&$self, ahead_bytes: usize) -> usize {
            $platform.room_ahead_bytes(ahead_bytes)
        }
        fn reserve(&$self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, ReserveError> {
            $platform.reserve(length_bytes, alignment_bytes)
        }
        fn reserve_at(&$self, window: Extent) -> Result<(), ReserveError> {
            $platform.reserve_at(window)
        }
        fn may_reserve(&$self, length_bytes: usize, alignment_bytes: usize) -> Result<(), ReserveError> {
            $platform.may_reserve(length_bytes, alignment_bytes)
        }
        fn may_reserve_at(&$self, window: Extent) -> Result<(), ReserveError> {
            $platform.may_reserve_at(window)
        }
        fn release_unmaps(&$self) -> bool {
            $platform.release_unmaps()
        }
        unsafe fn release(&$self, window: Extent) -> Result<(), Errno> {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.release(window) }
        }
        unsafe fn write_back(&$self, range: Extent) {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.write_back(range) }
        }
        fn fence(&$self) {
            $platform.fence();
        }
        unsafe fn write_back_invalidate(&$self, range: Extent) {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.write_back_invalidate(range) }
        }
        fn full_fence(&$self) {
            $platform.full_fence();
        }
        unsafe fn copy(&$self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: StoreKind) {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.copy(dest, source, length_bytes, kind) }
        }
        unsafe fn read(&$self, dest: *mut u8, source: *const u8, length_bytes: usize) {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.read(dest, source, length_bytes) }
        }
        fn lend(&$self, range: Extent) {
            $platform.lend(range);
        }
        unsafe fn fill(&$self, dest: *mut u8, value: u8, length_bytes: usize, kind: StoreKind) {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $platform.fill(dest, value, length_bytes, kind) }
        }
    };
}

macro_rules! forward_platform_handles {
    ($($handle:ty: [$($bound:tt)*]),*) => {$(
        // SAFETY: every call goes to the platform behind the handle, which keeps the promises.
        unsafe impl<T: Platform $($bound)*> Platform for $handle {
            type Lock = T::Lock;
            type Space = T::Space;

            const SEGMENTS_MAX: usize = T::SEGMENTS_MAX;

            forward_platform!(self, (**self));
        }
    )*};
}

forward_platform_handles!(&T: []);
#[cfg(feature = "alloc")]
forward_platform_handles!(alloc::sync::Arc<T>: [+ Send]);

/// A platform with another lock than its own: such as one that spins, and is small, where a program has one thread.
///
/// With a number from 1 to 64 as the third parameter, [`SEGMENTS_MAX`](Platform::SEGMENTS_MAX), the code for larger
/// sets is not built either.
///
/// ```
/// # #[cfg(feature = "spin-lock")] {
/// use pmemset_core::lock::SpinRwLock;
/// use pmemset_core::{Config, Granularity, Platform, Set, Slab, Source, WithLock};
/// # fn make<P: Platform, S: Source<Space = P::Space> + Clone>(platform: P) {
/// let mut slab = Slab::<S, 16>::new();
/// let platform: WithLock<P, SpinRwLock> = WithLock::new(platform);
/// let set = Set::new(platform, Config::new(Granularity::Page), &mut slab);
/// # }
/// # }
/// ```
pub struct WithLock<P, L, const SEGMENTS_MAX: usize = 65_536> {
    platform: P,
    lock: PhantomData<fn() -> L>,
}

impl<P: Platform, L: RawLock, const SEGMENTS_MAX: usize> WithLock<P, L, SEGMENTS_MAX> {
    /// Returns `platform` with the lock `L`.
    ///
    /// ```
    #[doc = include_str!("../sim/machine.md")]
    /// use pmemset_core::lock::SpinRwLock;
    /// use pmemset_core::WithLock;
    ///
    /// let platform: WithLock<_, SpinRwLock, 16> = WithLock::new(platform); // at most 16 segments
    /// let set: Set<'_, _, _> = Set::with_capacity(platform, Config::new(Granularity::Page), 100);
    /// assert_eq!(set.capacity(), 16);
    /// # let _ = set.map(source, &MapConfig::new());
    /// ```
    #[must_use]
    pub const fn new(platform: P) -> Self {
        Self { platform, lock: PhantomData }
    }

    /// Returns the platform inside.
    #[must_use]
    pub fn into_inner(self) -> P {
        self.platform
    }
}

impl<P: core::fmt::Debug, L, const SEGMENTS_MAX: usize> core::fmt::Debug for WithLock<P, L, SEGMENTS_MAX> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("WithLock").field(&self.platform).finish()
    }
}

// SAFETY: every call goes to the platform inside, which keeps the promises.
unsafe impl<P: Platform, L: RawLock, const SEGMENTS_MAX: usize> Platform for WithLock<P, L, SEGMENTS_MAX> {
    type Lock = L;
    type Space = P::Space;

    const SEGMENTS_MAX: usize = if SEGMENTS_MAX < P::SEGMENTS_MAX { SEGMENTS_MAX } else { P::SEGMENTS_MAX };

    forward_platform!(self, self.platform);
}
