//! Handles: every call goes to the source or the platform behind them.
#![allow(unsafe_code, reason = "the traits are unsafe")]

use core::marker::PhantomData;

use lock_api::RawRwLock;

use crate::arch::{Cpu, StoreKind};
use crate::error::ReserveError;
use crate::{Errno, Extent, Platform, Source};

/// Forwards the methods of [`Source`] to the source inside of an adapter: all of them, or all but those that follow
/// `except` in the trait's order, which the adapter writes itself.
///
/// The arms are those of a `match`: one for each kind of source that there may be.
///
/// ```
/// use pmemset_core::{Errno, Extent, Source, forward_source};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Counts how often its source is synchronised; health and everything else are that of the source.
/// struct Counting<S> {
///     source: S,
///     syncs: AtomicU64,
/// }
///
/// // SAFETY: every call goes on to the source inside.
/// unsafe impl<S: Source> Source for Counting<S> {
///     type Space = S::Space;
///
///     forward_source!(self { Self { source, .. } => source } except sync);
///
///     fn sync(&self, range: Extent, offset: u64) -> Result<(), Errno> {
///         self.syncs.fetch_add(1, Ordering::Relaxed);
///         self.source.sync(range, offset)
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_source {
    ($self:ident { $($arms:tt)+ } $(except $($own:ident),+)?) => {
        $crate::forward_source! { @each $self { $($arms)+ } [
            space length_bytes alignment_bytes granularity fixed_address write_granule_bytes prepare holds
            undo_growth map unmap sync deep_flush failed_write_back health
        ] [$($($own)+)?] }
    };
    (@each $self:ident $arms:tt [] []) => {};
    (@each $self:ident $arms:tt [] [$own:ident $($rest:ident)*]) => {
        compile_error!(concat!("`", stringify!($own), "` is no method of `Source`, or out of the trait's order"));
    };
    (@each $self:ident $arms:tt [space $($rest:ident)*] [space $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [length_bytes $($rest:ident)*] [length_bytes $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [alignment_bytes $($rest:ident)*] [alignment_bytes $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [granularity $($rest:ident)*] [granularity $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [fixed_address $($rest:ident)*] [fixed_address $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [write_granule_bytes $($rest:ident)*] [write_granule_bytes $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [prepare $($rest:ident)*] [prepare $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [holds $($rest:ident)*] [holds $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [undo_growth $($rest:ident)*] [undo_growth $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [map $($rest:ident)*] [map $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [unmap $($rest:ident)*] [unmap $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [sync $($rest:ident)*] [sync $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [deep_flush $($rest:ident)*] [deep_flush $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [failed_write_back $($rest:ident)*] [failed_write_back $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [health $($rest:ident)*] [health $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [$method:ident $($rest:ident)*] $own:tt) => {
        $crate::forward_source! { @method $method $self $arms }
        $crate::forward_source! { @each $self $arms [$($rest)*] $own }
    };
    (@method space $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn space(&$self) -> Self::Space {
            match $self {
                $($pattern => $to.space()),+
            }
        }
    };
    (@method length_bytes $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn length_bytes(&$self) -> Result<u64, $crate::Errno> {
            match $self {
                $($pattern => $to.length_bytes()),+
            }
        }
    };
    (@method alignment_bytes $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn alignment_bytes(&$self) -> usize {
            match $self {
                $($pattern => $to.alignment_bytes()),+
            }
        }
    };
    (@method granularity $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn granularity(&$self) -> Result<$crate::Granularity, $crate::Errno> {
            match $self {
                $($pattern => $to.granularity()),+
            }
        }
    };
    (@method fixed_address $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn fixed_address(&$self) -> Option<usize> {
            match $self {
                $($pattern => $to.fixed_address()),+
            }
        }
    };
    (@method write_granule_bytes $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn write_granule_bytes(&$self) -> usize {
            match $self {
                $($pattern => $to.write_granule_bytes()),+
            }
        }
    };
    (@method prepare $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn prepare(&$self, range: $crate::Span) -> Result<Option<$crate::Growth>, $crate::error::PrepareError> {
            match $self {
                $($pattern => $to.prepare(range)),+
            }
        }
    };
    (@method holds $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn holds(&$self, range: $crate::Span) -> bool {
            match $self {
                $($pattern => $to.holds(range)),+
            }
        }
    };
    (@method undo_growth $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn undo_growth(&$self, growth: $crate::Growth) {
            match $self {
                $($pattern => $to.undo_growth(growth)),+
            }
        }
    };
    (@method map $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn map(&$self, window: $crate::Extent, offset: u64) -> Result<(), $crate::error::MapFailure> {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.map(window, offset) }),+
            }
        }
    };
    (@method unmap $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn unmap(&$self, window: $crate::Extent, offset: u64) -> Result<(), $crate::Errno> {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.unmap(window, offset) }),+
            }
        }
    };
    (@method sync $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn sync(&$self, range: $crate::Extent, offset: u64) -> Result<(), $crate::Errno> {
            match $self {
                $($pattern => $to.sync(range, offset)),+
            }
        }
    };
    (@method deep_flush $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn deep_flush(&$self, range: $crate::Extent, offset: u64) -> Result<$crate::DeepFlush, $crate::Errno> {
            match $self {
                $($pattern => $to.deep_flush(range, offset)),+
            }
        }
    };
    (@method failed_write_back $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn failed_write_back(&$self) -> &$crate::FailedWriteBack {
            match $self {
                $($pattern => $to.failed_write_back()),+
            }
        }
    };
    (@method health $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn health(&$self) -> Option<&dyn $crate::Health> {
            match $self {
                $($pattern => $to.health()),+
            }
        }
    };
}

macro_rules! forward_handles {
    ($($handle:ty),*) => {$(
        // SAFETY: every call goes to the source behind the handle, which keeps the promises.
        unsafe impl<T: Source + ?Sized> Source for $handle {
            type Space = T::Space;

            forward_source!(self { _ => (**self) });
        }
    )*};
}

forward_handles!(&T);
#[cfg(feature = "alloc")]
forward_handles!(alloc::sync::Arc<T>, alloc::boxed::Box<T>);

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
/// With a number from 1 to 64 as the third parameter, [`SEGMENTS_MAX`](Platform::SEGMENTS_MAX), the code for larger sets is
/// not built either.
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

impl<P: Platform, L: RawRwLock, const SEGMENTS_MAX: usize> WithLock<P, L, SEGMENTS_MAX> {
    /// Returns `platform` with the lock `L`.
    #[must_use]
    pub const fn new(platform: P) -> Self {
        Self { platform, lock: PhantomData }
    }
}

impl<P: core::fmt::Debug, L, const SEGMENTS_MAX: usize> core::fmt::Debug for WithLock<P, L, SEGMENTS_MAX> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("WithLock").field(&self.platform).finish()
    }
}

// SAFETY: every call goes to the platform inside, which keeps the promises.
unsafe impl<P: Platform, L: RawRwLock, const SEGMENTS_MAX: usize> Platform for WithLock<P, L, SEGMENTS_MAX> {
    type Lock = L;
    type Space = P::Space;

    const SEGMENTS_MAX: usize = if SEGMENTS_MAX < P::SEGMENTS_MAX { SEGMENTS_MAX } else { P::SEGMENTS_MAX };

    forward_platform!(self, self.platform);
}
