//! Who changes the books, and how everybody else gets on with them meanwhile.

use core::ops::{Deref, DerefMut};

use lock_api::{RwLockReadGuard, RwLockWriteGuard};

use super::Set;
use super::books::Books;
use super::event::Observer;
use crate::lock::CallLock;
use crate::{Platform, Source};

type Guard<'s, P, T> = RwLockWriteGuard<'s, CallLock<<P as Platform>::Lock>, T>;

/// Until it is dropped nobody else maps or removes: whoever has it finds in the books what was there before, and locks
/// them for changes only for as long as it changes them.
pub(super) type Turn<'s, P> = Guard<'s, P, ()>;

/// The books, locked for changes, by who has the turn.
pub(super) struct Writing<'s, 'm, P: Platform, S> {
    // Given back first.
    books: Guard<'s, P, Books<'m, P, S>>,
    _turn: Turn<'s, P>,
}

impl<'s, 'm, P: Platform, S> Writing<'s, 'm, P, S> {
    #[inline]
    pub(super) const fn new(turn: Turn<'s, P>, books: Guard<'s, P, Books<'m, P, S>>) -> Self {
        Self { books, _turn: turn }
    }
}

impl<'m, P: Platform, S> Deref for Writing<'_, 'm, P, S> {
    type Target = Books<'m, P, S>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.books
    }
}

impl<P: Platform, S> DerefMut for Writing<'_, '_, P, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.books
    }
}

impl<'m, P: Platform, S: Source<Space = P::Space> + Clone, O: Observer<S>> Set<'m, P, S, O> {
    /// Waits until nobody else maps or removes.
    #[inline(never)]
    pub(super) fn turn(&self) -> Turn<'_, P> {
        self.turn.write()
    }

    /// Locks the books for a look, where bytes of code count for more than instructions.
    #[inline(never)]
    pub(super) fn look(&self) -> RwLockReadGuard<'_, CallLock<P::Lock>, Books<'m, P, S>> {
        self.books.read()
    }
}
