//! Arrays that do not lie where they are used: lent by the caller, or on the heap.

use core::ops::{Deref, DerefMut};

/// An array whose length is known when the program runs.
#[derive(Debug)]
pub(crate) enum Array<'m, T> {
    /// A slab's.
    Lent(&'m mut [T]),
    /// On the heap; made where it stays, and freed with its owner.
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<[T]>),
}

impl<T> Array<'_, T> {
    /// Returns an array of `length` elements on the heap.
    #[cfg(feature = "alloc")]
    pub(crate) fn on_heap(length: usize, element: impl Fn() -> T) -> Self {
        Self::Owned((0..length).map(|_| element()).collect())
    }
}

impl<T> Deref for Array<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(array) => array,
            #[cfg(feature = "alloc")]
            Self::Owned(array) => array,
        }
    }
}

impl<T> DerefMut for Array<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Lent(array) => array,
            #[cfg(feature = "alloc")]
            Self::Owned(array) => array,
        }
    }
}

impl<T> AsRef<[T]> for Array<'_, T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        self
    }
}

/// An array of atomics, which others look at too.
#[derive(Debug)]
pub(crate) enum SharedArray<'m, T> {
    /// A slab's.
    Lent(&'m [T]),
    /// On the heap; made where it stays, and freed with the last of its owners.
    #[cfg(feature = "alloc")]
    Owned(alloc::sync::Arc<[T]>),
}

#[cfg(feature = "alloc")]
impl<T> SharedArray<'_, T> {
    /// Returns an array of `length` elements on the heap.
    pub(crate) fn on_heap(length: usize, element: impl Fn() -> T) -> Self {
        Self::Owned((0..length).map(|_| element()).collect())
    }

    /// Returns the same array once more.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Lent(array) => Self::Lent(array),
            Self::Owned(array) => Self::Owned(alloc::sync::Arc::clone(array)),
        }
    }
}

impl<T> Deref for SharedArray<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(array) => array,
            #[cfg(feature = "alloc")]
            Self::Owned(array) => array,
        }
    }
}
