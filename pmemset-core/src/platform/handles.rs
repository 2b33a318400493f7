//! Platforms made of others: handles, and one with another lock.
#![allow(unsafe_code, reason = "the trait is unsafe")]

use core::marker::PhantomData;

use super::Platform;
use crate::lock::RawLock;

/// Forwards the methods of [`Platform`] to the platform inside of another one: all of them, or all but those that
/// follow `except` in the trait's order, which the outer one writes itself, or leaves at what the trait does. Types and
/// constants are the outer one's to write: left out, they are what the trait says, whatever the inner one does.
///
/// The arms are those of a `match`: one for each kind of platform that there may be. What is added to the trait later
/// is forwarded, too.
///
/// ```
/// use pmemset_core::{Platform, forward_platform};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Counts fences; everything else is that of the platform.
/// struct Counting<P> {
///     platform: P,
///     fences: AtomicU64,
/// }
///
/// // SAFETY: every call goes on to the platform inside.
/// unsafe impl<P: Platform> Platform for Counting<P> {
///     type Lock = P::Lock;
///     type Space = P::Space;
///
///     const SEGMENTS_MAX: usize = P::SEGMENTS_MAX;
///     const UNLOCKED_CALLS: bool = P::UNLOCKED_CALLS;
///
///     forward_platform!(self { Self { platform, .. } => platform } except fence);
///
///     fn fence(&self) {
///         self.fences.fetch_add(1, Ordering::Relaxed);
///         self.platform.fence();
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_platform {
    ($self:ident { $($arms:tt)+ } $(except $($own:ident),+)?) => {
        $crate::forward_platform! { @each $self { $($arms)+ } [
            space page_size_bytes cpu alignment_for room_ahead_bytes reserve reserve_at may_reserve
            may_reserve_at release_unmaps release write_back fence write_back_invalidate full_fence copy read
            lend fill
        ] [$($($own)+)?] }
    };
    (@each $self:ident $arms:tt [] []) => {};
    (@each $self:ident $arms:tt [] [$own:ident $($rest:ident)*]) => {
        compile_error!(concat!("`", stringify!($own), "` is no method of `Platform`, or out of the trait's order"));
    };
    (@each $self:ident $arms:tt [space $($rest:ident)*] [space $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [page_size_bytes $($rest:ident)*] [page_size_bytes $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [cpu $($rest:ident)*] [cpu $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [alignment_for $($rest:ident)*] [alignment_for $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [room_ahead_bytes $($rest:ident)*] [room_ahead_bytes $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [reserve $($rest:ident)*] [reserve $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [reserve_at $($rest:ident)*] [reserve_at $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [may_reserve $($rest:ident)*] [may_reserve $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [may_reserve_at $($rest:ident)*] [may_reserve_at $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [release_unmaps $($rest:ident)*] [release_unmaps $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [release $($rest:ident)*] [release $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [write_back $($rest:ident)*] [write_back $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [fence $($rest:ident)*] [fence $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [write_back_invalidate $($rest:ident)*] [write_back_invalidate $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [full_fence $($rest:ident)*] [full_fence $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [copy $($rest:ident)*] [copy $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [read $($rest:ident)*] [read $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [lend $($rest:ident)*] [lend $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [fill $($rest:ident)*] [fill $($own:ident)*]) => {
        $crate::forward_platform! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [$method:ident $($rest:ident)*] $own:tt) => {
        $crate::forward_platform! { @method $method $self $arms }
        $crate::forward_platform! { @each $self $arms [$($rest)*] $own }
    };
    (@method space $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn space(&$self) -> Self::Space {
            match $self {
                $($pattern => $to.space()),+
            }
        }
    };
    (@method page_size_bytes $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn page_size_bytes(&$self) -> usize {
            match $self {
                $($pattern => $to.page_size_bytes()),+
            }
        }
    };
    (@method cpu $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn cpu(&$self) -> &$crate::arch::Cpu {
            match $self {
                $($pattern => $to.cpu()),+
            }
        }
    };
    (@method alignment_for $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn alignment_for(&$self, length_bytes: usize) -> usize {
            match $self {
                $($pattern => $to.alignment_for(length_bytes)),+
            }
        }
    };
    (@method room_ahead_bytes $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn room_ahead_bytes(&$self, ahead_bytes: usize) -> usize {
            match $self {
                $($pattern => $to.room_ahead_bytes(ahead_bytes)),+
            }
        }
    };
    (@method reserve $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn reserve(
            &$self,
            length_bytes: usize,
            alignment_bytes: usize,
        ) -> Result<$crate::Extent, $crate::error::ReserveError> {
            match $self {
                $($pattern => $to.reserve(length_bytes, alignment_bytes)),+
            }
        }
    };
    (@method reserve_at $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn reserve_at(&$self, window: $crate::Extent) -> Result<(), $crate::error::ReserveError> {
            match $self {
                $($pattern => $to.reserve_at(window)),+
            }
        }
    };
    (@method may_reserve $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn may_reserve(&$self, length_bytes: usize, alignment_bytes: usize) -> Result<(), $crate::error::ReserveError> {
            match $self {
                $($pattern => $to.may_reserve(length_bytes, alignment_bytes)),+
            }
        }
    };
    (@method may_reserve_at $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn may_reserve_at(&$self, window: $crate::Extent) -> Result<(), $crate::error::ReserveError> {
            match $self {
                $($pattern => $to.may_reserve_at(window)),+
            }
        }
    };
    (@method release_unmaps $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn release_unmaps(&$self) -> bool {
            match $self {
                $($pattern => $to.release_unmaps()),+
            }
        }
    };
    (@method release $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn release(&$self, window: $crate::Extent) -> Result<(), $crate::Errno> {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.release(window) }),+
            }
        }
    };
    (@method write_back $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn write_back(&$self, range: $crate::Extent) {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.write_back(range) }),+
            }
        }
    };
    (@method fence $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn fence(&$self) {
            match $self {
                $($pattern => $to.fence()),+
            }
        }
    };
    (@method write_back_invalidate $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn write_back_invalidate(&$self, range: $crate::Extent) {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.write_back_invalidate(range) }),+
            }
        }
    };
    (@method full_fence $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn full_fence(&$self) {
            match $self {
                $($pattern => $to.full_fence()),+
            }
        }
    };
    (@method copy $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn copy(&$self, dest: *mut u8, source: *const u8, length_bytes: usize, kind: $crate::arch::StoreKind) {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.copy(dest, source, length_bytes, kind) }),+
            }
        }
    };
    (@method read $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn read(&$self, dest: *mut u8, source: *const u8, length_bytes: usize) {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.read(dest, source, length_bytes) }),+
            }
        }
    };
    (@method lend $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn lend(&$self, range: $crate::Extent) {
            match $self {
                $($pattern => $to.lend(range)),+
            }
        }
    };
    (@method fill $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        unsafe fn fill(&$self, dest: *mut u8, value: u8, length_bytes: usize, kind: $crate::arch::StoreKind) {
            match $self {
                // SAFETY: the caller's promise is passed on as it is.
                $($pattern => unsafe { $to.fill(dest, value, length_bytes, kind) }),+
            }
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
            const UNLOCKED_CALLS: bool = T::UNLOCKED_CALLS;

            forward_platform!(self { _ => (**self) });
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
/// [`UNLOCKED_CALLS`](Platform::UNLOCKED_CALLS) is what the platform says, but `false` where this lock keeps others
/// from running, or this number, and not the platform's own, makes sets small.
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

    /// Returns the platform itself.
    #[must_use]
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// Returns the platform itself, with its own lock.
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
    const UNLOCKED_CALLS: bool =
        P::UNLOCKED_CALLS && L::LETS_OTHERS_RUN && (Self::SEGMENTS_MAX > 64 || P::SEGMENTS_MAX <= 64);

    forward_platform!(self { Self { platform, .. } => platform });
}
