//! Sources made of others: handles, and what adapters forward.
#![allow(unsafe_code, reason = "the trait is unsafe")]

use super::Source;

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
            space length_bytes alignment_bytes granularity granularity_limit fixed_address write_granule_bytes sharing
            prepare holds undo_growth give_back map unmap goes_with_addresses sync deep_flush failed_write_back health
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
    (@each $self:ident $arms:tt [granularity_limit $($rest:ident)*] [granularity_limit $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [fixed_address $($rest:ident)*] [fixed_address $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [write_granule_bytes $($rest:ident)*] [write_granule_bytes $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [sharing $($rest:ident)*] [sharing $($own:ident)*]) => {
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
    (@each $self:ident $arms:tt [give_back $($rest:ident)*] [give_back $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [map $($rest:ident)*] [map $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [unmap $($rest:ident)*] [unmap $($own:ident)*]) => {
        $crate::forward_source! { @each $self $arms [$($rest)*] [$($own)*] }
    };
    (@each $self:ident $arms:tt [goes_with_addresses $($rest:ident)*] [goes_with_addresses $($own:ident)*]) => {
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
    (@method granularity_limit $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn granularity_limit(&$self) -> $crate::GranularityLimit {
            match $self {
                $($pattern => $to.granularity_limit()),+
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
    (@method sharing $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn sharing(&$self) -> $crate::Sharing {
            match $self {
                $($pattern => $to.sharing()),+
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
    (@method give_back $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn give_back(&$self, range: $crate::Span) -> Result<(), $crate::Errno> {
            match $self {
                $($pattern => $to.give_back(range)),+
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
    (@method goes_with_addresses $self:ident { $($pattern:pat => $to:expr),+ $(,)? }) => {
        fn goes_with_addresses(&$self) -> bool {
            match $self {
                $($pattern => $to.goes_with_addresses()),+
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
