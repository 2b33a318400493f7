//! Handles: every call goes to the source or the platform behind them.
#![allow(unsafe_code, reason = "the traits are unsafe")]

use core::marker::PhantomData;

use lock_api::RawRwLock;

use crate::arch::{Cpu, StoreKind};
use crate::badblock::BadBlockPolicy;
use crate::cell::Shutdown;
use crate::{Errno, Extent, Platform, Source};

/// Forwards every method of [`Source`] but `shutdown` and `bad_block_policy` to `$source`.
macro_rules! forward_to {
    ($self:ident, $source:expr) => {
        fn length_bytes(&$self) -> Result<u64, $crate::Errno> {
            $source.length_bytes()
        }
        fn alignment_bytes(&$self) -> usize {
            $source.alignment_bytes()
        }
        fn granularity(&$self) -> Result<$crate::Granularity, $crate::Errno> {
            $source.granularity()
        }
        fn fixed_address(&$self) -> Option<usize> {
            $source.fixed_address()
        }
        fn write_granule_bytes(&$self) -> usize {
            $source.write_granule_bytes()
        }
        fn prepare(&$self, range: $crate::Span) -> Result<Option<$crate::Growth>, $crate::error::PrepareError> {
            $source.prepare(range)
        }
        fn holds(&$self, range: $crate::Span) -> bool {
            $source.holds(range)
        }
        fn undo_growth(&$self, growth: $crate::Growth) {
            $source.undo_growth(growth);
        }
        unsafe fn map(&$self, window: $crate::Extent, offset: u64) -> Result<(), $crate::Errno> {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $source.map(window, offset) }
        }
        unsafe fn unmap(&$self, window: $crate::Extent, offset: u64) -> Result<(), $crate::Errno> {
            // SAFETY: the caller's promise is passed on as it is.
            unsafe { $source.unmap(window, offset) }
        }
        fn sync(&$self, range: $crate::Extent, offset: u64) -> Result<(), $crate::Errno> {
            $source.sync(range, offset)
        }
        fn deep_flush(&$self, range: $crate::Extent, offset: u64) -> Result<$crate::DeepFlush, $crate::Errno> {
            $source.deep_flush(range, offset)
        }
        fn device(&$self, id: &mut $crate::shutdown::DeviceId) -> Result<u64, $crate::shutdown::DeviceError> {
            $source.device(id)
        }
        fn bad_blocks(&$self, range: $crate::Span, blocks: &mut [$crate::Span]) -> $crate::badblock::BadBlocks {
            $source.bad_blocks(range, blocks)
        }
        fn clear_bad_block(&$self, block: $crate::Span) -> Result<(), $crate::badblock::ClearError> {
            $source.clear_bad_block(block)
        }
        fn read_mcsafe(&$self, offset: u64, bytes: &mut [u8]) -> Result<(), $crate::badblock::McsafeError> {
            $source.read_mcsafe(offset, bytes)
        }
        fn write_mcsafe(&$self, offset: u64, bytes: &[u8]) -> Result<(), $crate::badblock::McsafeError> {
            $source.write_mcsafe(offset, bytes)
        }
    };
}
pub(crate) use forward_to;

macro_rules! forward_source {
    ($($handle:ty),*) => {$(
        // SAFETY: every call goes to the source behind the handle, which keeps the promises.
        unsafe impl<T: Source + ?Sized> Source for $handle {
            forward_to!(self, (**self));

            fn shutdown(&self) -> Option<Shutdown<'_>> {
                (**self).shutdown()
            }
            fn bad_block_policy(&self) -> BadBlockPolicy {
                (**self).bad_block_policy()
            }
        }
    )*};
}

forward_source!(&T);
#[cfg(feature = "alloc")]
forward_source!(alloc::sync::Arc<T>, alloc::boxed::Box<T>);

/// Forwards every method of [`Platform`] to `$platform`.
macro_rules! forward_platform {
    ($self:ident, $platform:expr) => {
        fn page_size_bytes(&$self) -> usize {
            $platform.page_size_bytes()
        }
        fn cpu(&$self) -> &Cpu {
            $platform.cpu()
        }
        fn alignment_for(&$self, length_bytes: usize) -> usize {
            $platform.alignment_for(length_bytes)
        }
        fn reserve(&$self, length_bytes: usize, alignment_bytes: usize) -> Result<Extent, Errno> {
            $platform.reserve(length_bytes, alignment_bytes)
        }
        fn reserve_at(&$self, window: Extent) -> Result<(), Errno> {
            $platform.reserve_at(window)
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

// SAFETY: every call goes to the platform behind the reference, which keeps the promises.
unsafe impl<T: Platform> Platform for &T {
    type Lock = T::Lock;

    forward_platform!(self, (**self));
}

/// A platform with another lock than its own: such as one that spins, and is small, where a program has one thread.
///
/// ```
/// # #[cfg(feature = "spin")] {
/// use pmemset_core::lock::SpinRwLock;
/// use pmemset_core::{Config, Granularity, Platform, Set, Source, WithLock};
/// # fn make<P: Platform, S: Source + Clone>(platform: P, config: Config<'_, WithLock<P, SpinRwLock>, S, 16>) {
/// let set: Set<'_, WithLock<P, SpinRwLock>, S, 16> = Set::new(WithLock::new(platform), config);
/// # }
/// # }
/// ```
pub struct WithLock<P, L> {
    platform: P,
    lock: PhantomData<fn() -> L>,
}

impl<P: Platform, L: RawRwLock> WithLock<P, L> {
    /// Returns `platform` with the lock `L`.
    #[must_use]
    pub const fn new(platform: P) -> Self {
        Self { platform, lock: PhantomData }
    }
}

impl<P: core::fmt::Debug, L> core::fmt::Debug for WithLock<P, L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("WithLock").field(&self.platform).finish()
    }
}

// SAFETY: every call goes to the platform inside, which keeps the promises.
unsafe impl<P: Platform, L: RawRwLock> Platform for WithLock<P, L> {
    type Lock = L;

    forward_platform!(self, self.platform);
}
